"""Jobs and schedules as JSON: the one shape that HTTP, the command line and tests share.

Instants are RFC 3339 in UTC, durations are seconds. A lease's token stays inside: who knows it
could settle the job.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from scheduler.model import Attempt, Job, Note, Origin, Schedule, ScheduleStatus, Skip

if TYPE_CHECKING:
    from scheduler.explanation import Explanation
    from scheduler.previews import Previewed

_ACTIVE = ScheduleStatus.ACTIVE


def instant(moment: datetime | None) -> str | None:
    """`moment` as `2026-03-29T00:30:00Z`, with microseconds only where there are any."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def local(moment: datetime | None, zone: str = "UTC") -> str:
    """`moment` as a person reads it in `zone`: `2026-03-29 03:00:00 CEST`; "" for None.

    In UTC where the zone's clock shows a year that does not exist.
    """
    if moment is None:
        return ""
    place = ZoneInfo(zone)
    try:
        # Not moment.astimezone(place): in time that freezegun froze, that forgets the fold.
        there = place.fromutc(moment.astimezone(UTC).replace(tzinfo=place))
    except OverflowError:
        there = moment.astimezone(UTC)
    fraction = f".{there.microsecond:06d}".rstrip("0") if there.microsecond else ""
    return f"{there:%Y-%m-%d %H:%M:%S}{fraction} {there:%Z}"


def seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def job_view(job: Job) -> dict[str, Any]:
    """`job` as a JSON object."""
    return {
        "id": job.id,
        "name": job.name,
        "data": dict(job.data),
        "status": job.status.value,
        "queue": job.queue,
        "priority": job.priority,
        "created_at": instant(job.created_at),
        "scheduled_at": instant(job.scheduled_at),
        "started_at": instant(job.started_at),
        "completed_at": instant(job.completed_at),
        "retry_count": job.retry_count,
        "max_retries": job.max_retries,
        "timeout": seconds(job.timeout),
        "concurrency_key": job.concurrency_key,
        "result": job.result,
        "error": job.error,
        "schedule_id": job.schedule_id,
        "occurrence_at": instant(job.occurrence_at),
        "sequence": job.sequence,
        "origin": job.origin.value,
        "catch_up": job.origin is Origin.CATCH_UP,
        "backfill": job.origin is Origin.BACKFILL,
        "previous_occurrence_at": instant(job.previous_occurrence_at),
        "missed_before": job.missed_before,
        "repeat": None if job.repeat is None else dict(job.repeat),
        "worker": job.worker,
        "lease_expires_at": instant(job.lease.expires_at) if job.lease else None,
    }


def attempt_view(attempt: Attempt) -> dict[str, Any]:
    """`attempt` as a JSON object."""
    return {
        "number": attempt.number,
        "started_at": instant(attempt.started_at),
        "ended_at": instant(attempt.ended_at),
        "worker": attempt.worker,
        "ending": attempt.ending.value,
        "error": attempt.error,
        "traceback": attempt.traceback,
        "log": list(attempt.log),
    }


def schedule_view(schedule: Schedule) -> dict[str, Any]:
    """`schedule` as a JSON object."""
    return {
        "id": schedule.id,
        "name": schedule.name,
        "job_name": schedule.job_name,
        "status": schedule.status.value,
        "error": schedule.error,
        "rule": dict(schedule.rule),
        "timezone": schedule.timezone,
        "data": dict(schedule.data),
        "queue": schedule.queue,
        "priority": schedule.priority,
        "max_retries": schedule.max_retries,
        "timeout": seconds(schedule.timeout),
        "catch_up": schedule.catch_up.value,
        "grace": seconds(schedule.grace),
        "catch_up_window": seconds(schedule.catch_up_window),
        "catch_up_max": schedule.catch_up_max,
        "overlap": schedule.overlap.value,
        "jitter": seconds(schedule.jitter),
        "concurrency_key": schedule.concurrency_key,
        "module": schedule.module,
        "paused_at": instant(schedule.paused_at),
        "paused_by": schedule.paused_by,
        "next_at": instant(schedule.next_at) if schedule.status is _ACTIVE else None,
        "cursor_at": instant(schedule.cursor_at),
        "materialised": schedule.materialised,
        "revision": schedule.revision,
        "created_at": instant(schedule.created_at),
        "updated_at": instant(schedule.updated_at),
    }


def skip_view(skip: Skip) -> dict[str, Any]:
    """`skip` as a JSON object."""
    return {
        "reason": skip.reason.value,
        "first_at": instant(skip.first_at),
        "last_at": instant(skip.last_at),
        "count": skip.count,
        "backfilled": skip.backfilled,
        "recorded_at": instant(skip.recorded_at),
    }


def note_view(note: Note) -> dict[str, Any]:
    """`note` as a JSON object."""
    return {
        "revision": note.revision,
        "at": instant(note.at),
        "action": note.action.value,
        "actor": note.actor,
        "detail": dict(note.detail),
    }


def explanation_view(explanation: Explanation) -> dict[str, Any]:
    """`explanation` as a JSON object."""
    return {
        "schedule": explanation.schedule,
        "at": instant(explanation.at),
        "verdict": explanation.verdict.value,
        "sentence": explanation.sentence,
        "job": explanation.job and job_view(explanation.job),
        "skip": explanation.skip and skip_view(explanation.skip),
        "note": explanation.note and note_view(explanation.note),
        "previous_at": instant(explanation.previous_at),
        "next_at": instant(explanation.next_at),
    }


def preview_view(previewed: Previewed) -> dict[str, Any]:
    """`previewed` as a JSON object."""
    return {
        "occurrence_at": instant(previewed.occurrence_at),
        "local": local(previewed.occurrence_at, previewed.timezone),
        "scheduled_at": instant(previewed.scheduled_at),
        "dropped": previewed.dropped and previewed.dropped.value,
    }
