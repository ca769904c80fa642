"""What an edit changed, as its note tells it; and from the notes, what a schedule was before.

The note of an edit holds each field that it changed, as [from, to], and the cursor that it left.
What lies after that cursor is decided by the new definition, what lies at or before it was
decided by the old one: whatever the clock said, and however often a field was changed. Pure:
no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from scheduler.model import CatchUp, JsonObject, Note, Overlap, Schedule

DEFINING = (
    "job_name",
    "rule",
    "timezone",
    "data",
    "queue",
    "priority",
    "max_retries",
    "timeout",
    "catch_up",
    "grace",
    "catch_up_window",
    "catch_up_max",
    "overlap",
    "jitter",
    "concurrency_key",
)
"""The fields of a schedule that say what it is; the others are how far it has come."""

_TOLD = (*DEFINING, "anchor_at")
_CURSOR = "cursor_at"


def difference(before: Schedule, after: Schedule) -> JsonObject:
    """What an edit made of `before`, as the detail of its note: {field: [from, to]}."""
    told = {
        name: [_plain(getattr(before, name)), _plain(getattr(after, name))]
        for name in _TOLD
        if getattr(before, name) != getattr(after, name)
    }
    return {**told, _CURSOR: [_plain(before.cursor_at), _plain(after.cursor_at)]}


def as_of(schedule: Schedule, notes: Sequence[Note], at: datetime) -> Schedule:
    """`schedule` with the rule, zone, anchor and policies by which `at` was, or is, decided.

    `notes` are all of the schedule, oldest first. How far it has come stays as it is.
    """
    return _without(
        schedule,
        [
            note
            for note in notes
            if _CURSOR in note.detail and at <= datetime.fromisoformat(note.detail[_CURSOR][1])
        ],
    )


def at_revision(schedule: Schedule, notes: Sequence[Note], revision: int) -> Schedule:
    """`schedule` with the rule, zone, anchor and policies that it had at an earlier `revision`.

    `notes` are all of the schedule, oldest first.
    """
    return _without(schedule, [note for note in notes if note.revision > revision])


def _without(schedule: Schedule, edits: Sequence[Note]) -> Schedule:
    """`schedule` as it was before these edits, which are given oldest first."""
    was: dict[str, Any] = {}
    for note in reversed(edits):
        if _CURSOR in note.detail:
            was |= {name: note.detail[name][0] for name in _TOLD if name in note.detail}
    return replace(schedule, **{name: _read(name, value) for name, value in was.items()})


def _plain(value: Any) -> Any:
    """`value` as JSON."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.isoformat() if isinstance(value, datetime) else value


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "timeout": _seconds,
    "catch_up": CatchUp,
    "grace": _seconds,
    "catch_up_window": _seconds,
    "overlap": Overlap,
    "jitter": _seconds,
    "anchor_at": datetime.fromisoformat,
}


def _read(name: str, value: Any) -> Any:
    """What `_plain` made JSON of."""
    return value if value is None or name not in _READERS else _READERS[name](value)
