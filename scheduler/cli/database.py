"""`scheduler db`: the tables of a database, and moving from one store to another."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import AsJson, Database
from scheduler.cli.output import print_json, print_table
from scheduler.cli.progress import shown_progress
from scheduler.cli.session import settings_of

if TYPE_CHECKING:
    from scheduler.storage import JobStorage

app = typer.Typer(help="The tables of the database.", no_args_is_help=True)


@app.command()
def upgrade(database: Database = None) -> None:
    """Create the tables, or bring them to this version."""
    from scheduler.storage.sql import SQLStorage

    with _named(database) as storage:
        if not isinstance(storage, SQLStorage):
            storage.upgrade()
            print(_TABLELESS)
            return
        before = storage.current_revision()
        storage.upgrade()
        after = storage.current_revision()
    print(f"{storage.url} is at {after}" + ("" if before != after else ", as it was"))


@app.command()
def current(database: Database = None, as_json: AsJson = False) -> None:
    """Show the version of the tables, and the one this program needs."""
    from scheduler.storage.sql import SQLStorage
    from scheduler.storage.sql.tables import SCHEMA_REVISION

    with _named(database) as storage:
        if not isinstance(storage, SQLStorage):
            storage.check()
            print_json({"current": None, "needed": None}) if as_json else print(_TABLELESS)
            return
        found = storage.current_revision()
    if as_json:
        print_json({"database": storage.url, "current": found, "needed": SCHEMA_REVISION})
    else:
        print(f"{storage.url} is at {found or 'no version'}; this program needs {SCHEMA_REVISION}")


_TABLELESS = "This store has no tables, and is ready."


def _named(database: str | None) -> JobStorage:
    from scheduler.storage.open import storage_for

    return storage_for(settings_of(database=database).database)


@app.command()
def copy(
    source: Annotated[str, typer.Argument(metavar="FROM_URL", help="The store to read.")],
    target: Annotated[str, typer.Argument(metavar="TO_URL", help="The store to write.")],
    as_json: AsJson = False,
) -> int:
    """Copy jobs and schedules, and all that is on record of them, and count what was copied.

    Stop all that runs on either store first: a job under way is copied with its lease, and is run
    again at the new store when that ends. The tables of the new store are made or upgraded. What is
    there already is compared and left alone, so that a copy that was cut off is completed by
    another. The exit code is 1 if the counts do not add up.
    """
    from scheduler import clock
    from scheduler.settings import redacted
    from scheduler.storage import moving

    with _opened(source, target) as (old, new), shown_progress() as show:
        leases = moving.live_leases(old, clock.now())
        if leases:
            running = f"warning: {leases} jobs are being run at {redacted(source)}"
            print(f"{running}; stop its executors", file=sys.stderr)
        moved = moving.copy(old, new, progress=show)
    copied = {kind.value: tally.copied for kind, tally in moved.tallies.items()}
    there = {kind.value: tally.there for kind, tally in moved.tallies.items()}
    if as_json:
        print_json(
            {
                "from": redacted(source),
                "to": redacted(target),
                "copied": copied,
                "already_there": there,
                "being_run": leases,
                "faults": moved.faults,
            }
        )
    else:
        print(f"{redacted(source)} to {redacted(target)}")
        print_table(
            ("", "copied", "there already"),
            ((kind, f"{copied[kind]:,}", f"{there[kind]:,}") for kind in copied),
            empty="",
        )
    for fault in moved.faults:
        print(f"error: {fault}", file=sys.stderr)
    if moved.faults:
        print("error: stop all that runs on either store, and copy again", file=sys.stderr)
    return 1 if moved.faults else 0


@contextmanager
def _opened(source: str, target: str) -> Iterator[tuple[JobStorage, JobStorage]]:
    """Both stores: the one checked and not changed, the other made ready."""
    from scheduler.errors import InvalidOption, SchemaMismatch
    from scheduler.settings import redacted
    from scheduler.storage.open import storage_for

    old, new = storage_for(source), storage_for(target)
    if source == target:
        raise InvalidOption("TO_URL", redacted(target), "is the same as FROM_URL")
    _refuse_fleeting("FROM_URL", source)
    _refuse_fleeting("TO_URL", target)
    _refuse_missing(source)
    with old, new:
        try:
            old.check()
        except SchemaMismatch as error:
            raise SchemaMismatch(f"FROM_URL {redacted(source)}: {error}") from error
        new.upgrade()
        yield old, new


def _refuse_fleeting(argument: str, url: str) -> None:
    """Raises InvalidOption if the store lives and dies with this process."""
    from scheduler.errors import InvalidOption

    if url.partition(":")[0] == "memory" or _sqlite_file(url) in ("", ":memory:"):
        raise InvalidOption(argument, url, "is in the memory of this process", "give a lasting one")


def _refuse_missing(source: str) -> None:
    """Raises InvalidOption if there is no such file; opening it would make an empty one."""
    from pathlib import Path

    from scheduler.errors import InvalidOption

    file = _sqlite_file(source)
    if file is not None and not file.startswith("file:") and not Path(file).exists():
        raise InvalidOption("FROM_URL", source, "is not there")


def _sqlite_file(url: str) -> str | None:
    """What an SQLite URL names; None if `url` is of another kind."""
    from sqlalchemy import make_url

    if not url.startswith("sqlite"):
        return None
    return make_url(url).database or ""
