"""What a store holds, told apart and compared: is what is there what was to be put there?

A record stands under every key that no other may have: a job under its id and its occurrence, a
schedule under its id and its name. Two are the same if a store would hold them alike, so a text
that no column holds equals its escaped form, and a tuple in JSON the list it comes back as. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, TypeVar

from scheduler.errors import DifferentRecord, shown
from scheduler.lifecycle import storable
from scheduler.model import Attempt, Job, Note, Schedule, Skip

Record = Job | Schedule | Skip | Note | Attempt
R = TypeVar("R", Job, Schedule, Skip, Note, Attempt)

_KINDS: tuple[type[Record], ...] = (Job, Schedule, Skip, Note, Attempt)
_JSON = {
    kind: frozenset(
        field.name
        for field in fields(kind)
        if field.type in ("Any", "JsonObject", "JsonObject | None")
    )
    for kind in _KINDS
}
"""The fields of each kind of record that hold JSON."""

_json = json.JSONEncoder(sort_keys=True, default=dict).encode


def new_among(given: Iterable[R], stored: Iterable[R]) -> list[R]:
    """Those of `given` that are not `stored`, in order and each once.

    Raises DifferentRecord, naming the record, if another is `stored` under one of its keys.
    """
    taken = {key: record for record in stored for key in _keys(record)}
    new: list[R] = []
    for record in given:
        there = next((taken[key] for key in _keys(record) if key in taken), None)
        if there is None:
            new.append(record)
            taken.update(dict.fromkeys(_keys(record), record))
        elif not is_same(record, there):
            raise DifferentRecord(_refusal(record, there))
    return new


def is_same(one: Record, other: Record) -> bool:
    """Whether a store would hold both alike, in every field."""
    return not any(_differing(one, other))


def _differing(one: Record, other: Record) -> Iterator[str]:
    """The names of the fields in which they differ."""
    for field in fields(one):
        is_json = field.name in _JSON[type(one)]
        if _held(getattr(one, field.name), is_json) != _held(getattr(other, field.name), is_json):
            yield field.name


def _held(value: Any, is_json: bool) -> Any:
    if is_json:
        return _json(value)  # as text, where 1, 1.0 and true are three values
    return storable(value) if isinstance(value, str) else value


def _keys(record: Record) -> Iterator[tuple[object, ...]]:
    """What no other record may have, the primary key first."""
    match record:
        case Job():
            yield Job, storable(record.id)
            if record.occurrence is not None:
                schedule_id, occurrence_at = record.occurrence
                yield "occurrence", storable(schedule_id), occurrence_at
        case Schedule():
            yield Schedule, storable(record.id)
            yield "name", storable(record.name)
        case Skip():
            yield Skip, storable(record.schedule_id), record.first_at
        case Note():
            yield Note, storable(record.schedule_id), record.revision
        case Attempt():
            yield Attempt, storable(record.job_id), record.started_at, record.number


def _refusal(record: Record, there: Record) -> str:
    match record, there:
        case Job(id=job_id), Job(id=other_id) if job_id != other_id:
            found = f"its occurrence has another job there, {shown(other_id)}"
        case Schedule(id=schedule_id), Schedule(id=other_id) if schedule_id != other_id:
            found = f"another of this name is there, of id {shown(other_id)}"
        case _:
            found = f"it is there already, and differs in {', '.join(_differing(record, there))}"
    return f"{_named(record)}: {found}; remove that, or use an empty store"


def _named(record: Record) -> str:
    match record:
        case Job():
            return f"job {shown(record.id)}"
        case Schedule():
            return f"schedule {shown(record.name)!r}"
        case Skip():
            return f"skip of schedule {shown(record.schedule_id)} at {record.first_at.isoformat()}"
        case Note():
            return f"note {record.revision} of schedule {shown(record.schedule_id)}"
        case Attempt():
            return f"attempt {record.number} of job {shown(record.job_id)}"
