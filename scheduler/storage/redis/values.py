"""Values as the texts that Redis keeps, and back.

A job is two texts. Its *state* is what scripts read, change and sort by: a row of fields, none of
which holds the byte 0xFF, since no UTF-8 does. Its *record* is everything else, as JSON that no
script looks into, so that it comes back as it was. What is compared is of fixed width: an instant
is 18 digits, the microseconds since the year 1; a priority is 10 digits, 2**31 more than it is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from scheduler.errors import InvalidOption, NaiveTime
from scheduler.model import (
    Action,
    Attempt,
    CatchUp,
    Declaration,
    Ending,
    Job,
    JobStatus,
    Lease,
    Note,
    Origin,
    Overlap,
    Schedule,
    ScheduleStatus,
    Skip,
    SkipReason,
)
from scheduler.storage.base import turn_at

Value = TypeVar("Value", Job, Schedule, Skip, Note, Attempt, Declaration)

END = b"\xff"
"""The end of a field; also the upper bound of everything that begins with what precedes it."""

INSTANT = 18
"""How many digits an instant has."""

_YEAR_1 = datetime.min.replace(tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_DAY_TICKS = 86_400_000_000
_SECOND_TICKS = 1_000_000
_PRIORITY_OFFSET = 2**31


# --- texts, instants and numbers ------------------------------------------------------------


def text(value: str) -> bytes:
    """`value` in UTF-8, whose bytes sort as its code points do; lone surrogates are let through."""
    return value.encode("utf-8", "surrogatepass")


def of_text(stored: bytes) -> str:
    """The inverse of `text`."""
    return stored.decode("utf-8", "surrogatepass")


def optional(value: str | None) -> bytes:
    """`value` marked as being there, so that "" is not None, which is empty."""
    return b"" if value is None else b"=" + text(value)


def of_optional(stored: bytes) -> str | None:
    """The inverse of `optional`."""
    return of_text(stored[1:]) if stored else None


def instant(moment: datetime, field: str = "instant") -> bytes:
    """`moment` as 18 digits that sort by time. Raises NaiveTime, naming `field`."""
    return b"%018d" % _ticks(moment, field)


def instant_after(moment: datetime, wait: timedelta) -> bytes:
    """The instant so long after `moment`: in its order also where no calendar has it."""
    return b"%018d" % (_ticks(moment, "now") + wait // _TICK)


def _ticks(moment: datetime, field: str) -> int:
    if moment.tzinfo is None:
        raise NaiveTime(field, moment)
    since = moment - _YEAR_1
    return since.days * _DAY_TICKS + since.seconds * _SECOND_TICKS + since.microseconds


def of_instant(stored: bytes) -> datetime:
    """The inverse of `instant`, in UTC."""
    return _YEAR_1 + timedelta(microseconds=int(stored))


def maybe_instant(moment: datetime | None, field: str = "instant") -> bytes:
    """`instant`, and nothing for None."""
    return b"" if moment is None else instant(moment, field)


def of_maybe_instant(stored: bytes) -> datetime | None:
    """The inverse of `maybe_instant`."""
    return of_instant(stored) if stored else None


def priority(number: int) -> bytes:
    """`number` as 10 digits that sort as it does.

    Raises InvalidOption if it is not an integer of 32 bits.
    """
    if not -_PRIORITY_OFFSET <= number < _PRIORITY_OFFSET:
        raise InvalidOption("priority", number, "is not in -2147483648 to 2147483647")
    return b"%010d" % (number + _PRIORITY_OFFSET)


def of_priority(stored: bytes) -> int:
    """The inverse of `priority`."""
    return int(stored) - _PRIORITY_OFFSET


# --- jobs -----------------------------------------------------------------------------------

_SCHEDULE, _OCCURRENCE, _KEY = 9, 11, 13
"""Which of the fields of a state are the schedule, the occurrence and the concurrency key."""

_IN_STATE = frozenset(
    (
        "id",
        "name",
        "status",
        "queue",
        "priority",
        "scheduled_at",
        "started_at",
        "completed_at",
        "schedule_id",
        "concurrency_key",
        "lease",
        "worker",
    )
)
"""The fields of a job that its id and its state hold; the others are its record."""


def job_texts(job: Job) -> tuple[bytes, bytes, bytes]:
    """The id, the state and the record of `job`. Raises NaiveTime and InvalidOption.

    lua/layout.lua names the fields of a state in their order. The concurrency key ends it where
    there is one, so that states which were written before there were any are read as they are.
    """
    lease = job.lease
    in_series = bool(job.schedule_id) and job.sequence is not None
    place = occurrence = b""
    if job.schedule_id is not None:
        place_at = instant(job.occurrence_at or job.created_at, "occurrence_at")
        place = (b"0" if in_series else b"1") + place_at
        if job.occurrence_at is not None:
            occurrence = place_at + (b"0" if job.occurrence else b"1")
    key = () if job.concurrency_key is None else (optional(job.concurrency_key),)
    state = END.join(
        (
            job.status.value.encode(),
            optional(lease.token) if lease else b"",
            instant(lease.expires_at, "lease") if lease else b"",
            optional(job.worker),
            maybe_instant(job.started_at, "started_at"),
            maybe_instant(job.completed_at, "completed_at"),
            text(job.name),
            text(job.queue),
            priority(job.priority) + instant(job.scheduled_at, "scheduled_at"),
            optional(job.schedule_id),
            place,
            occurrence,
            b"1" if job.serial and in_series else b"0",
            *key,
        )
    )
    return text(job.id), state, _json(job)


def job_of(job_id: bytes, state: bytes, record: bytes) -> Job:
    """The job in these texts."""
    parts = state.split(END)
    status, token, expires, worker, started, completed, name, queue, rank, schedule = parts[:10]
    return _from_json(
        Job,
        record,
        id=of_text(job_id),
        status=JobStatus(status.decode()),
        lease=Lease(of_text(token[1:]), of_instant(expires)) if token else None,
        worker=of_optional(worker),
        started_at=of_maybe_instant(started),
        completed_at=of_maybe_instant(completed),
        name=of_text(name),
        queue=of_text(queue),
        priority=of_priority(rank[:10]),
        scheduled_at=of_instant(rank[10:]),
        schedule_id=of_optional(schedule),
        concurrency_key=of_optional(b"".join(parts[_KEY:])),
    )


def place_of(state: bytes) -> tuple[str | None, datetime | None]:
    """The schedule and the occurrence of the job in this state; None where it has none."""
    parts = state.split(END)
    occurrence = parts[_OCCURRENCE][:INSTANT]
    return of_optional(parts[_SCHEDULE]), of_maybe_instant(occurrence)


# --- schedules, and what is kept with them --------------------------------------------------


def schedule_state(schedule: Schedule) -> tuple[bytes, bytes, bytes]:
    """What every write of `schedule` changes: its id, its revision and its cursor."""
    return (
        text(schedule.id),
        b"%d" % schedule.revision,
        instant(schedule.cursor_at, "cursor_at"),
    )


def schedule_text(schedule: Schedule) -> bytes:
    """`schedule` as it is stored: its state, when it is next due (empty: never), and its record."""
    due = maybe_instant(turn_at(schedule), "next_at")
    return END.join((*schedule_state(schedule), due, _json(schedule)))


def schedule_of(stored: bytes) -> Schedule:
    """The schedule in this text."""
    return _from_json(Schedule, stored.rpartition(END)[2])


def skip_texts(skip: Skip) -> tuple[bytes, bytes]:
    """What no two skips share, and the rest of `skip`, which begins with when it ends."""
    key = text(skip.schedule_id) + END + instant(skip.first_at, "first_at")
    return key, instant(skip.last_at, "last_at") + _json(skip)


def skip_of(stored: bytes) -> Skip:
    """The skip in these texts, joined."""
    return _from_json(Skip, stored.rpartition(END)[2][2 * INSTANT :])


def note_texts(note: Note) -> tuple[bytes, bytes]:
    """What no two notes share, and the rest of `note`."""
    return text(note.schedule_id) + END + b"%020d" % note.revision, _json(note)


def note_of(stored: bytes) -> Note:
    """The note in these texts, joined."""
    return _from_json(Note, stored.rpartition(END)[2][20:])


def attempt_texts(attempt: Attempt) -> tuple[bytes, bytes]:
    """What no two attempts share, and the rest of `attempt`."""
    started = instant(attempt.started_at, "started_at")
    return text(attempt.job_id) + END + started + b"%020d" % attempt.number, _json(attempt)


def attempt_of(stored: bytes) -> Attempt:
    """The attempt in these texts, joined."""
    return _from_json(Attempt, stored.rpartition(END)[2][INSTANT + 20 :])


def declaration_text(declaration: Declaration) -> bytes:
    """`declaration` as it is stored: when its process was last seen, and its record."""
    return instant(declaration.seen_at, "seen_at") + _json(declaration)


def declaration_of(stored: bytes) -> Declaration:
    """The declaration in this text."""
    return _from_json(Declaration, stored[INSTANT:], seen_at=of_instant(stored[:INSTANT]))


# --- records: what no script looks into -----------------------------------------------------


def _json(value: Any) -> bytes:
    """The record of `value`: ASCII, NaN refused, and what users gave as they gave it."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).encode()


def _from_json(kind: type[Value], record: bytes, **given: Any) -> Value:
    """The value of this record, with what is kept beside it as `given`."""
    return kind(**_fields(kind, json.loads(record)), **given)


def _plain(value: Any) -> dict[str, Any]:
    plain = {}
    for name, codec in _RECORDED[type(value)]:
        part = getattr(value, name)
        plain[name] = part if part is None or codec is None else codec[0](part, name)
    return plain


def _fields(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    found = {}
    for name, codec in _RECORDED[kind]:
        if name in plain:  # what an older version did not know has its default
            part = plain[name]
            found[name] = part if part is None or codec is None else codec[1](part)
    return found


def _instant_json(moment: datetime, field: str) -> str:
    if moment.tzinfo is None:
        raise NaiveTime(field, moment)
    return moment.astimezone(UTC).isoformat()


_Codec = tuple[Callable[[Any, str], Any], Callable[[Any], Any]]

_CODECS: Mapping[str, _Codec] = {
    "datetime": (_instant_json, datetime.fromisoformat),
    "timedelta": (lambda part, _: part // _TICK, lambda ticks: timedelta(microseconds=ticks)),
    "JsonObject": (lambda part, _: dict(part), dict),
    "Mapping[str, str]": (lambda part, _: dict(part), dict),
    "tuple[str, ...]": (lambda part, _: list(part), tuple),
    "Skip": (lambda part, _: _plain(part), lambda plain: Skip(**_fields(Skip, plain))),
    **{
        kind.__name__: (lambda part, _: part.value, kind)
        for kind in (Action, CatchUp, Ending, Origin, Overlap, ScheduleStatus, SkipReason)
    },
}
"""To JSON and back, by how a field is annotated. A field of no such type holds JSON already."""

_RECORDED: Mapping[type, tuple[tuple[str, _Codec | None], ...]] = {
    kind: tuple(
        (field.name, _CODECS.get(str(field.type).removesuffix(" | None")))
        for field in fields(kind)
        if field.name not in kept_beside
    )
    for kind, kept_beside in (
        (Job, _IN_STATE),
        (Schedule, ()),
        (Skip, ()),
        (Note, ()),
        (Attempt, ()),
        (Declaration, ("seen_at",)),
    )
}
"""The fields of a record, in their order."""
