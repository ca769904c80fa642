"""What `scheduler run` shows: the schedules and when they run next, then each run as it happens.

A terminal gets lines for eyes; everything else gets the same as log records.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, TextIO

from scheduler import clock
from scheduler.cli.output import print_table, rule_text, short
from scheduler.events import Event, EventName
from scheduler.logs import logger
from scheduler.model import Job, ScheduleStatus
from scheduler.views import local

if TYPE_CHECKING:
    from scheduler.declarations import Change
    from scheduler.service import Service

log = logger(__name__)

_MOST_CHANGES = 100
"""How many of the schedules that a start writes have a line of their own."""

_MARKS = {
    EventName.COMPLETED: "✓",
    EventName.FAILED: "✗",
    EventName.RETRYING: "↻",
    EventName.RESCUED: "⚑",
    EventName.RELEASED: "←",
}


class Display:
    """The terminal's view of one running service."""

    def __init__(self, service: Service, stream: TextIO) -> None:
        self._service = service
        self._stream = stream
        self._for_eyes = stream.isatty()

    def listen(self) -> None:
        """Show every attempt that ends from now on."""
        for name in _MARKS:
            self._service.queue.add_event_listener(name, self._show)

    def show_start(self, changes: list[Change]) -> None:
        """Show what is scheduled, what changed, and where the API answers."""
        for change in changes[:_MOST_CHANGES]:
            log.info("schedule written", schedule=change.after.name, change=change.kind.value)
        if len(changes) > _MOST_CHANGES:
            log.info("schedules written", more=len(changes) - _MOST_CHANGES)
        if not self._for_eyes:
            return
        now = clock.now()
        active = [
            schedule
            for schedule in self._service.queue.storage.list_schedules()
            if schedule.status is ScheduleStatus.ACTIVE and schedule.next_at is not None
        ]
        active.sort(key=lambda schedule: schedule.next_at or now)
        print_table(
            ("schedule", "rule", "next run", "in"),
            (
                (
                    each.name,
                    rule_text(each.rule),
                    local(each.next_at, each.timezone),
                    _about(each.next_at - now) if each.next_at else "",
                )
                for each in active
            ),
            empty="Nothing is scheduled; jobs can be enqueued by hand.",
        )
        if self._service.web_url is not None:
            self._line(f"API at {self._service.web_url}/api/docs")
        self._line("Ctrl-C stops.\n")

    def _show(self, event: Event) -> None:
        job = event.job
        if job is None:
            return
        if not self._for_eyes:
            log.info(event.name.value, job=job.name, id=job.id, **_facts(job))
            return
        note = job.error or ("" if job.result is None else short(job.result))
        mark, took = _MARKS[event.name], _took(job)
        self._line(f"{event.at:%H:%M:%S} {mark} {job.name:<24} {took:>9}  {short(note)}")

    def _line(self, text: str) -> None:
        self._stream.write(f"{text}\n")
        self._stream.flush()


def _facts(job: Job) -> dict[str, str | int]:
    facts: dict[str, str | int] = {"attempt": job.retry_count + 1}
    if job.occurrence_at is not None:
        facts["occurrence_at"] = job.occurrence_at.isoformat()
    if took := _took(job):
        facts["took"] = took
    if job.error:
        facts["error"] = job.error
    return facts


def _took(job: Job) -> str:
    if job.started_at is None or job.completed_at is None:
        return ""
    return f"{(job.completed_at - job.started_at).total_seconds():.3f} s"


def _about(span: timedelta) -> str:
    """`span` in its largest unit: `now`, `42 s`, `5 min`, `3 h`, `12 d`."""
    total = span.total_seconds()
    if total < 1:
        return "now"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if total >= 2 * size:
            return f"{total // size:.0f} {unit}"
    return f"{total:.0f} s"
