"""`scheduler plan`: what starting this code would change in the table, before it does."""

from __future__ import annotations

from itertools import islice, zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import AsJson, Database, Modules
from scheduler.cli.output import print_json, print_table, rule_text, short
from scheduler.cli.session import queue_of, settings_of, storage_of
from scheduler.views import instant, local

if TYPE_CHECKING:
    from scheduler.declarations import Change
    from scheduler.model import Schedule
    from scheduler.settings import Settings

_SHOWN_RUNS = 10
_MARKS = {"added": "+", "changed": "~", "revived": "+", "retired": "-"}


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
    changes = _changes(settings)
    if as_json:
        print_json([_view(change) for change in changes])
    elif changes:
        for change in changes:
            _print(change)
    else:
        print("No changes: the table holds what this code declares.")
    return 1 if check and changes else 0


def _changes(settings: Settings) -> list[Change]:
    if _is_missing(settings.database):
        return queue_of(settings).declarer.plan(settings.modules)
    with storage_of(settings) as storage:
        return queue_of(settings, storage).declarer.plan(settings.modules)


def _is_missing(url: str) -> bool:
    """Whether `url` is an SQLite file that is not there: to look is no reason to make it."""
    from sqlalchemy import make_url

    parsed = make_url(url) if url.startswith("sqlite") else None
    path = None if parsed is None else parsed.database
    return path is not None and path != ":memory:" and not Path(path).exists()


def _differences(change: Change) -> dict[str, tuple[Any, Any]]:
    """What a change makes different, as {field: (from, to)}."""
    from scheduler.operations import DEFINING
    from scheduler.views import schedule_view

    if change.before is None:
        return {}
    before, after = schedule_view(change.before), schedule_view(change.after)
    names = (*DEFINING, "module", "status")
    return {name: (before[name], after[name]) for name in names if before[name] != after[name]}


def _runs(schedule: Schedule | None) -> list[Any]:
    from scheduler.expansion import upcoming

    return [] if schedule is None else list(islice(upcoming(schedule), _SHOWN_RUNS))


def _view(change: Change) -> dict[str, Any]:
    return {
        "schedule": change.after.name,
        "change": change.kind.value,
        "fields": {
            name: {"from": before, "to": after}
            for name, (before, after) in _differences(change).items()
        },
        "next_runs": {
            "before": [instant(at) for at in _runs(change.before)],
            "after": [instant(at) for at in _runs(change.after)],
        },
    }


def _print(change: Change) -> None:
    kind, schedule = change.kind.value, change.after
    print(f"{_MARKS[kind]} {schedule.name} ({kind}): {rule_text(schedule.rule)}")
    for name, (before, after) in _differences(change).items():
        print(f"    {name}: {short(before)} -> {short(after)}")
    before, after = _runs(change.before), _runs(change.after)
    zone = schedule.timezone
    if before == after:
        return
    if not before or not after:
        word = "next runs now" if before else "next runs then"
        print_table(("", word), (("", local(at, zone)) for at in before or after), empty="")
        return
    rows = zip_longest(before, after)
    print_table(
        ("", "next runs now", "next runs then"),
        (("" if old == new else "*", local(old, zone), local(new, zone)) for old, new in rows),
        empty="",
    )
