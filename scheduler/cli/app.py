"""The commands. Each reads its settings, asks the core, and prints; none decides anything.

What a command needs is imported inside it: `scheduler --help` loads neither drivers nor web.
"""

from __future__ import annotations

import os
import sys
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Annotated

import typer

from scheduler.cli import plan, schedules, simulate
from scheduler.cli.arguments import (
    AsJson,
    Database,
    Modules,
    duration,
    json_object,
    moment,
    rule_object,
)
from scheduler.cli.output import print_json, print_table, short
from scheduler.cli.session import schedule_of, settings_of, storage_of
from scheduler.views import local

app = typer.Typer(
    name="scheduler",
    help="Recurring jobs that survive deploys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
database = typer.Typer(help="The tables of the database.", no_args_is_help=True)
app.add_typer(database, name="db")
app.add_typer(schedules.app, name="schedules")
app.command()(schedules.explain)
app.command()(plan.plan)
app.command()(simulate.simulate)


class Part(StrEnum):
    EXPANDER = "expander"
    EXECUTOR = "executor"
    WEB = "web"


def _version(wanted: bool) -> None:
    if wanted:
        import scheduler

        print(f"scheduler {scheduler.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Recurring jobs that survive deploys."""


@app.command()
def run(
    database: Database = None,
    modules: Modules = None,
    only: Annotated[Part | None, typer.Option(help="Run this part alone.")] = None,
    for_: Annotated[
        str | None, typer.Option("--for", metavar="10s", help="Stop after so long.")
    ] = None,
    concurrency: Annotated[int | None, typer.Option(help="Handlers at a time.")] = None,
    web: Annotated[bool | None, typer.Option("--web/--no-web", help="Serve HTTP.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the HTTP API.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the HTTP API.")] = None,
) -> int:
    """Expand schedules, run jobs, serve the API, until SIGTERM or Ctrl-C."""
    from scheduler import logs
    from scheduler.cli.display import Display
    from scheduler.service import Role, Service

    settings = settings_of(
        database=database,
        modules=modules,
        concurrency=concurrency,
        web=web,
        host=host,
        port=port,
    )
    length = None if for_ is None else duration(for_, "--for")
    for_eyes = sys.stdout.isatty() and "log_level" not in settings.model_fields_set
    logs.configure("warning" if for_eyes else settings.log_level, settings.log_format)
    service = Service(settings, only=None if only is None else Role(only))
    # So that a handler that reads the settings finds the store it is run from.
    os.environ["SCHEDULER_DATABASE"] = settings.database
    display = Display(service, sys.stdout)
    display.listen()
    left_running = service.run(duration=length, started=display.show_start)
    if left_running:
        # Python would wait for their threads; their jobs are given back already.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


@app.command()
def jobs(
    database: Database = None,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first."""
    from scheduler.errors import UnknownName
    from scheduler.model import JobStatus
    from scheduler.views import job_view

    if status is not None and status not in set(JobStatus):
        raise UnknownName("status", status, JobStatus)
    wanted = None if status is None else JobStatus(status)
    with storage_of(settings_of(database=database)) as storage:
        found = storage.list_jobs(status=wanted, name=name, limit=limit)
    if as_json:
        print_json([job_view(job) for job in found])
        return
    print_table(
        ("id", "name", "status", "scheduled", "attempt", "outcome"),
        (
            (
                each.id,
                each.name,
                each.status.value,
                local(each.scheduled_at),
                f"{each.retry_count + 1} of {each.max_retries + 1}",
                short(each.error or each.result) if each.error or each.result is not None else "",
            )
            for each in found
        ),
        empty="No such jobs.",
    )


@app.command(name="next")
def next_(
    name: Annotated[str, typer.Argument(help="The schedule.")],
    count: Annotated[int, typer.Option("-n", min=1, max=1000, help="How many.")] = 10,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule runs next."""
    from scheduler.expansion import upcoming

    schedule = schedule_of(name, settings_of(database=database, modules=modules))
    _print_occurrences(
        list(islice(upcoming(schedule), count)),
        schedule.timezone,
        as_json=as_json,
        empty=f"{name} is {schedule.status.value}: no run follows.",
    )


@app.command()
def preview(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its JSON, or a cron line.")],
    start: Annotated[str | None, typer.Option("--from", help="Begin here (now).")] = None,
    end: Annotated[str | None, typer.Option("--to", help="End before this.")] = None,
    count: Annotated[
        int | None, typer.Option("-n", min=1, max=1000, help="How many (10, or all up to --to).")
    ] = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of a rule without one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show when a rule would run, without storing it."""
    from scheduler import clock
    from scheduler.expansion import LATEST_INSTANT
    from scheduler.rules import occurrences, rule_from_json
    from scheduler.rules.zones import zone

    parsed = rule_from_json(rule_object(rule))
    key = timezone or parsed.timezone or settings_of().default_timezone
    place = zone(key, "--timezone")
    begin = clock.now() if start is None else moment(start, place, "--from")
    until = LATEST_INSTANT if end is None else moment(end, place, "--to")
    found = islice(occurrences(parsed, begin, until, key), count or (10 if end is None else None))
    _print_occurrences(
        list(found), parsed.timezone or key, as_json=as_json, empty="No run in this window."
    )


@app.command()
def enqueue(
    name: Annotated[str, typer.Argument(help="The job.")],
    data: Annotated[str, typer.Argument(metavar="JSON", help="Its keyword arguments.")] = "{}",
    in_: Annotated[
        str | None, typer.Option("--in", metavar="5m", help="Run so much later.")
    ] = None,
    at: Annotated[str | None, typer.Option("--at", metavar="TIME", help="Run then.")] = None,
    priority: Annotated[int | None, typer.Option(help="A lower number runs first.")] = None,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job by hand."""
    from scheduler import clock
    from scheduler.errors import InvalidOption
    from scheduler.queue import JobQueue
    from scheduler.registry import discover
    from scheduler.rules.zones import zone
    from scheduler.views import job_view

    settings = settings_of(database=database, modules=modules)
    if in_ is not None and at is not None:
        raise InvalidOption("--at", at, "cannot go with --in", "give one of them")
    due_at = None
    if in_ is not None:
        due_at = clock.now() + duration(in_, "--in")
    elif at is not None:
        due_at = moment(at, zone(settings.default_timezone), "--at")
    registry = discover(settings.modules)
    values = json_object(data, "data")
    registry.get(name).signature.check(values)
    with storage_of(settings) as storage:
        queue = JobQueue(
            storage,
            registry=registry,
            name=settings.queue or "default",
            max_retries=settings.max_retries,
        )
        job = queue.add(name, values, priority=priority, scheduled_at=due_at)
    if as_json:
        print_json(job_view(job))
    else:
        print(f"{job.id}  {job.name} is due {local(job.scheduled_at)}")


@app.command()
def config(as_json: AsJson = False) -> None:
    """Show every setting, its value and where it can be set; passwords are hidden."""
    from scheduler.settings import described

    rows = described(settings_of())
    if as_json:
        print_json({row.name: row.value for row in rows})
        return
    print_table(
        ("variable", "value", "meaning"),
        ((row.variable, short(row.value), row.meaning) for row in rows),
        empty="",
    )


@database.command()
def upgrade(database: Database = None) -> None:
    """Create the tables, or bring them to this version."""
    from scheduler.storage.sql import SQLStorage

    with SQLStorage(settings_of(database=database).database) as storage:
        before = storage.current_revision()
        storage.upgrade()
        after = storage.current_revision()
    print(f"{storage.url} is at {after}" + ("" if before != after else ", as it was"))


@database.command()
def current(database: Database = None, as_json: AsJson = False) -> None:
    """Show the version of the tables, and the one this program needs."""
    from scheduler.storage.sql import SQLStorage
    from scheduler.storage.sql.tables import SCHEMA_REVISION

    with SQLStorage(settings_of(database=database).database) as storage:
        found = storage.current_revision()
    if as_json:
        print_json({"database": storage.url, "current": found, "needed": SCHEMA_REVISION})
    else:
        print(f"{storage.url} is at {found or 'no version'}; this program needs {SCHEMA_REVISION}")


def _print_occurrences(found: list[datetime], zone: str, *, as_json: bool, empty: str) -> None:
    from scheduler.views import instant

    if as_json:
        print_json([{"occurrence_at": instant(at), "local": local(at, zone)} for at in found])
        return
    print_table(
        ("#", "UTC", zone),
        ((str(n), local(at), local(at, zone)) for n, at in enumerate(found, start=1)),
        empty=empty,
    )
