"""Writes a daily report of the service's own runs, as Markdown.

A run counts for the day on which it ended, for good or ill.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from scheduler import Job, JobContext, JobStatus, JobStorage, every, job, open_storage
from scheduler.settings import read_settings

Days = Annotated[int, Field(ge=0, le=36_500)]

PAGE = 1000
"""How many jobs are read at a time."""

_HEAD = (
    "| job | runs | completed | failed | retries | longest |",
    "|---|--:|--:|--:|--:|--:|",
)


class WrongStoreError(Exception):
    """The settings name another store than the one this job came from."""


@job(every(days=1, start_date="2026-01-01T00:10"), timeout=600)
def report_runs(
    ctx: JobContext, directory: Path = Path("data/reports"), look_back_days: Days = 7
) -> dict[str, Any]:
    """The counts of yesterday's runs, and the path of the report: `directory`/2026-03-28.md.

    Days are those of UTC. A report that is already there is written anew. Jobs that were
    enqueued more than `look_back_days` before that day are not looked at.
    """
    today = ctx.occurrence_at or datetime.now(UTC)
    end = today.replace(hour=0, minute=0, second=0, microsecond=0)
    start = end - timedelta(days=1)
    with open_storage(read_settings().database) as storage:
        if storage.get_job(ctx.job.id) is None:
            raise WrongStoreError("this job is in another store than SCHEDULER_DATABASE names")
        since = start - timedelta(days=look_back_days)
        runs = [
            each
            for each in _newest(storage, since)
            if each.completed_at is not None and start <= each.completed_at < end
        ]
        missed = _missed(storage, start, end)
    directory.mkdir(parents=True, exist_ok=True)
    report = directory / f"{start:%Y-%m-%d}.md"
    partial = report.with_name(f".{report.name}.partial")
    partial.write_text(_rendered(start, runs, missed), encoding="utf-8")
    partial.replace(report)
    return {
        "report": str(report),
        "runs": len(runs),
        "failed": _count(runs, JobStatus.FAILED),
        "missed": sum(missed.values()),
    }


def _newest(storage: JobStorage, since: datetime) -> Iterator[Job]:
    """The jobs of occurrences, or enqueued by hand, from `since` on; newest first."""
    last_id = None
    while page := storage.list_jobs(limit=PAGE, before_id=last_id):
        yield from (each for each in page if _moment(each) >= since)
        if _moment(page[-1]) < since:
            return
        last_id = page[-1].id


def _moment(run: Job) -> datetime:
    """What ids sort by."""
    return run.occurrence_at or run.created_at


def _missed(storage: JobStorage, start: datetime, end: datetime) -> dict[str, int]:
    """How many occurrences of each schedule were recorded in [start, end) as missed."""
    counts = {
        schedule.name: sum(
            skip.count for skip in storage.list_skips(schedule.id) if start <= skip.last_at < end
        )
        for schedule in storage.list_schedules()
    }
    return {name: count for name, count in counts.items() if count}


def _rendered(day: datetime, runs: list[Job], missed: dict[str, int]) -> str:
    by_name: defaultdict[str, list[Job]] = defaultdict(list)
    for each in runs:
        by_name[each.name].append(each)
    lines = [f"# Runs of {day:%Y-%m-%d} (UTC)", ""]
    lines += _HEAD if runs else ["No run ended on this day."]
    lines += [_row(name, its_runs) for name, its_runs in sorted(by_name.items())]
    failures = [each for each in reversed(runs) if each.status is JobStatus.FAILED]
    if failures:
        lines += ["", "## Failed", ""]
        lines += [f"- {each.name} `{each.id}`: {_one_line(each.error)}" for each in failures]
    if missed:
        lines += ["", "## Missed while nothing ran", ""]
        lines += [f"- {name}: {count}" for name, count in sorted(missed.items())]
    return "\n".join(lines) + "\n"


def _row(name: str, runs: list[Job]) -> str:
    retries = sum(each.retry_count for each in runs)
    completed, failed = _count(runs, JobStatus.COMPLETED), _count(runs, JobStatus.FAILED)
    longest = max((_took(each) for each in runs), default=timedelta(0)).total_seconds()
    return f"| {name} | {len(runs)} | {completed} | {failed} | {retries} | {longest:.1f} s |"


def _took(run: Job) -> timedelta:
    if run.started_at is None or run.completed_at is None:
        return timedelta(0)
    return run.completed_at - run.started_at


def _count(runs: list[Job], status: JobStatus) -> int:
    return sum(each.status is status for each in runs)


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())
