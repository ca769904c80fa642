"""`scheduler plan`: what starting this code would change in the table, before it does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

import typer

from scheduler.cli.arguments import AsJson, Database, Modules
from scheduler.cli.output import print_json, print_table, rule_text, short
from scheduler.cli.session import queue_of, settings_of
from scheduler.views import instant, local

if TYPE_CHECKING:
    from scheduler.declarations import Change
    from scheduler.storage import JobStorage

_SHOWN_RUNS = 10
_MARKS = {"added": "+", "changed": "~", "revived": "+", "retired": "-"}


@dataclass(frozen=True)
class _Planned:
    """A change, and how the next runs of its schedule move."""

    change: Change
    now: list[datetime]
    then: list[datetime]


def plan(
    check: Annotated[
        bool, typer.Option("--check", help="Exit 1 if there is a difference.")
    ] = False,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> int:
    """Show what `scheduler run` with this code would change in the table, and change nothing."""
    settings = settings_of(database=database, modules=modules)
    with _as_it_is(settings.database) as storage:
        declarer = queue_of(settings, storage).declarer
        changes = [_planned(change, storage) for change in declarer.plan(settings.modules)]
        edited = declarer.edited_by_hand()
    if as_json:
        print_json([_view(change) for change in changes])
        return 1 if check and changes else 0
    for change in changes:
        _print(change)
    if edited:
        print("Also" if changes else "Nothing to change;", f"edited by hand: {', '.join(edited)}.")
    elif not changes:
        print("No changes: the table holds what this code declares.")
    return 1 if check and changes else 0


@contextmanager
def _as_it_is(url: str) -> Iterator[JobStorage]:
    """The store behind `url`, in which nothing is made or upgraded; an empty one if it is blank.

    Raises SchemaMismatch, with the mend, if its tables are of another version.
    """
    from scheduler.storage.memory import MemoryStorage
    from scheduler.storage.open import storage_for
    from scheduler.storage.sql import SQLStorage

    if _is_blank_file(url):
        yield MemoryStorage()
        return
    with storage_for(url) as storage:
        if isinstance(storage, SQLStorage) and storage.current_revision() is None:
            yield MemoryStorage()
            return
        storage.check()
        yield storage


def _is_blank_file(url: str) -> bool:
    """Whether `url` is an SQLite file that is missing, or has no tables of ours.

    Asked through a connection of its own: ours would make the file, and write to it.
    """
    import sqlite3

    from sqlalchemy import make_url

    from scheduler.storage.sql.tables import VERSION_TABLE

    if not url.startswith("sqlite"):
        return False
    path, prefix = make_url(url).database, make_url(url).query.get("table_prefix", "")
    if path is None or path == ":memory:":
        return False
    if not Path(path).exists():
        return True
    connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True)
    try:
        query = "SELECT count(*) FROM sqlite_master WHERE name = ?"
        return bool(connection.execute(query, (f"{prefix}{VERSION_TABLE}",)).fetchone() == (0,))
    except sqlite3.DatabaseError:  # no database, or none that we may read: opening it says why
        return False
    finally:
        connection.close()


def _planned(change: Change, storage: JobStorage) -> _Planned:
    from scheduler import clock
    from scheduler.expander import made_of
    from scheduler.expansion import NOTHING
    from scheduler.previews import runs

    now, before, made = clock.now(), change.before, NOTHING
    if before is not None:
        made = made_of(storage, [before]).get(before.id, NOTHING)
    due = change.expansion.jobs if change.expansion else ()
    first = (job.occurrence_at for job in due if job.occurrence_at is not None)
    following = (each.occurrence_at for each in runs(change.after, now, made))
    return _Planned(
        change,
        now=[]
        if before is None
        else [each.occurrence_at for each in islice(runs(before, now, made), _SHOWN_RUNS)],
        then=list(islice(chain(first, following), _SHOWN_RUNS)),
    )


def _differences(change: Change) -> dict[str, tuple[Any, Any]]:
    """What a change makes different, as {field: (from, to)}."""
    from scheduler.history import DEFINING
    from scheduler.views import schedule_view

    if change.before is None:
        return {}
    before, after = schedule_view(change.before), schedule_view(change.after)
    names = (*DEFINING, "module", "status")
    return {name: (before[name], after[name]) for name in names if before[name] != after[name]}


def _view(planned: _Planned) -> dict[str, Any]:
    return {
        "schedule": planned.change.after.name,
        "change": planned.change.kind.value,
        "fields": {
            name: {"from": before, "to": after}
            for name, (before, after) in _differences(planned.change).items()
        },
        "next_runs": {
            "before": [instant(at) for at in planned.now],
            "after": [instant(at) for at in planned.then],
        },
    }


def _print(planned: _Planned) -> None:
    kind, schedule = planned.change.kind.value, planned.change.after
    print(f"{_MARKS[kind]} {schedule.name} ({kind}): {rule_text(schedule.rule)}")
    for name, (before, after) in _differences(planned.change).items():
        print(f"    {name}: {short(before)} -> {short(after)}")
    zone, now, then = schedule.timezone, planned.now, planned.then
    if now == then:
        return
    if not now or not then:
        word = "next runs now" if now else "next runs then"
        print_table(("", word), (("", local(at, zone)) for at in now or then), empty="")
        return
    print_table(
        ("", "next runs now", "next runs then"),
        (
            ("" if old == new else "*", local(old, zone), local(new, zone))
            for old, new in zip_longest(now, then)
        ),
        empty="",
    )
