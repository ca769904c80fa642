"""The commands. Each reads its settings, asks the core, and prints; none decides anything.

What a command needs is imported inside it: `scheduler --help` loads neither drivers nor web.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from scheduler.cli import database, jobs, plan, schedules, simulate
from scheduler.cli.arguments import (
    AsJson,
    Database,
    Modules,
    duration,
    json_object,
    midnight,
    moment,
    rule_object,
)
from scheduler.cli.output import print_json, print_table, refuse, short
from scheduler.cli.session import schedules_with, settings_of, storage_of
from scheduler.views import local

if TYPE_CHECKING:
    from scheduler.previews import Previewed

app = typer.Typer(
    name="scheduler",
    help="Recurring jobs that survive deploys.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(database.app, name="db")
app.add_typer(schedules.app, name="schedules")
app.add_typer(jobs.app, name="jobs")
app.command()(schedules.explain)
app.command()(plan.plan)
app.command()(simulate.simulate)


Start = Annotated[str | None, typer.Option("--from", help="Begin here (now).")]
End = Annotated[str | None, typer.Option("--to", help="End before this.")]
Count = Annotated[
    int | None,
    typer.Option(
        "-n", min=1, max=1000, help="How many (10, or with --to 1000).", show_default=False
    ),
]


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
    queue: Annotated[str | None, typer.Option(help="Run the jobs of this queue alone.")] = None,
    concurrency: Annotated[int | None, typer.Option(help="Handlers at a time.")] = None,
    web: Annotated[bool | None, typer.Option("--web/--no-web", help="Serve HTTP.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the HTTP API.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the HTTP API.")] = None,
) -> int:
    """Expand schedules, run jobs, serve the API, until SIGTERM or Ctrl-C."""
    from scheduler import logs
    from scheduler.cli.display import Display
    from scheduler.errors import StorageUnavailable
    from scheduler.service import Role, Service

    settings = settings_of(
        database=database,
        modules=modules,
        queue=queue,
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
    try:
        left_running = service.run(duration=length, started=display.show_start)
    except StorageUnavailable as error:
        if service.queue.executor.running:
            _leave(refuse(str(error)))
        raise
    if left_running:
        _leave(0)  # their jobs are given back already
    return 0


def _leave(code: int) -> NoReturn:
    """Exit without the handlers that still run: Python would wait for their threads."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@app.command(name="next")
def next_(
    name: Annotated[str, typer.Argument(help="The schedule.")],
    start: Start = None,
    end: End = None,
    count: Count = None,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Show when a schedule runs next; with --to, also what of the window is dropped, and why."""
    settings = settings_of(database=database, modules=modules)
    with schedules_with(name, settings) as schedules:
        schedule = schedules.get(name)
        found = schedules.preview(schedule, count, start=midnight(start), end=midnight(end))
    _print_previews(
        found,
        schedule.timezone,
        as_json=as_json,
        empty=f"{name} is {schedule.status.value}: no run follows{_here(end)}.",
    )


@app.command()
def preview(
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its JSON, or a cron line.")],
    start: Start = None,
    end: End = None,
    count: Count = None,
    timezone: Annotated[str | None, typer.Option(help="The zone of a rule without one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show when a rule would run, without storing it; with --to, also what is dropped, and why."""
    from scheduler.queue import JobQueue
    from scheduler.rules import rule_from_json
    from scheduler.rules.zones import zone

    parsed = rule_from_json(rule_object(rule))
    if timezone is not None:
        zone(timezone, "--timezone")
    default = settings_of().default_timezone
    schedules = JobQueue("memory://", default_timezone=default).schedules
    found = schedules.preview(
        parsed, count, start=midnight(start), end=midnight(end), timezone=timezone
    )
    key = parsed.timezone or timezone or default
    _print_previews(found, key, as_json=as_json, empty=f"No run follows{_here(end)}.")


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


def _here(end: str | None) -> str:
    return "" if end is None else " in this window"


def _print_previews(found: list[Previewed], zone: str, *, as_json: bool, empty: str) -> None:
    from scheduler.views import preview_view

    if as_json:
        print_json([preview_view(each) for each in found])
        return
    columns: dict[str, list[str]] = {
        "#": [str(n) for n, _ in enumerate(found, start=1)],
        "UTC": [local(each.occurrence_at) for each in found],
        zone: [local(each.occurrence_at, zone) for each in found],
        "starts": [
            "" if each.scheduled_at == each.occurrence_at else local(each.scheduled_at, zone)
            for each in found
        ],
        "dropped": ["" if each.dropped is None else each.dropped.value for each in found],
    }
    shown = {name: cells for name, cells in columns.items() if any(cells)}
    print_table(tuple(shown), zip(*shown.values(), strict=True), empty=empty)
