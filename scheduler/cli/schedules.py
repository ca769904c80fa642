"""`scheduler schedules …` and `scheduler explain`: the verbs of Schedules, as commands."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import (
    AsJson,
    Database,
    Modules,
    duration,
    json_object,
    midnight,
    rule_object,
)
from scheduler.cli.output import print_json, print_table, rule_text, short
from scheduler.cli.session import queue_of, settings_of, storage_of
from scheduler.views import local

if TYPE_CHECKING:
    from scheduler.model import Note, Schedule, Skip
    from scheduler.schedules import Schedules
    from scheduler.storage import JobStorage

app = typer.Typer(help="List the schedules, or do something to one.", invoke_without_command=True)

Name = Annotated[str, typer.Argument(help="The schedule.")]
Data = Annotated[str | None, typer.Option(metavar="JSON", help="The job's keyword arguments.")]
Timezone = Annotated[str | None, typer.Option(help="The zone of a rule without one.")]
Queue = Annotated[str | None, typer.Option(help="The queue of its jobs.")]
Priority = Annotated[int | None, typer.Option(help="A lower number runs first.")]
MaxRetries = Annotated[int | None, typer.Option(help="How often a failed job is tried again.")]
Timeout = Annotated[str | None, typer.Option(metavar="5m", help="Bound of one attempt.")]
CatchUp = Annotated[
    str | None, typer.Option(metavar="skip|latest|all", help="What of the missed ones runs.")
]
Grace = Annotated[
    str | None, typer.Option(metavar="60s", help="How late is on time, and not missed.")
]
CatchUpWindow = Annotated[
    str | None, typer.Option(metavar="2d", help="What was missed longer ago never runs.")
]
CatchUpMax = Annotated[int | None, typer.Option(help="How many `all` makes up for.")]
Overlap = Annotated[
    str | None,
    typer.Option(
        metavar="skip|allow|queue_one|cancel_previous",
        help="What happens while an earlier job is unfinished.",
    ),
]
Jitter = Annotated[str | None, typer.Option(metavar="30s", help="Delay each run by up to so much.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it (you), for the record.")]
Revision = Annotated[
    int | None, typer.Option(help="Refuse if the schedule is not at this revision.")
]


@app.callback()
def list_(context: typer.Context, database: Database = None, as_json: AsJson = False) -> None:
    """List the schedules in the table, or do something to one."""
    from scheduler.views import schedule_view

    if context.invoked_subcommand is not None:
        return
    with storage_of(settings_of(database=database)) as storage:
        found = storage.list_schedules()
    if as_json:
        print_json([schedule_view(schedule) for schedule in found])
        return
    print_table(
        ("name", "rule", "zone", "status", "next", "jobs made"),
        (
            (
                each.name,
                rule_text(each.rule),
                each.timezone,
                each.status.value,
                each.error or _next(each),
                str(each.materialised),
            )
            for each in found
        ),
        empty="No schedules yet: `scheduler run` writes those that the job modules declare.",
    )


@app.command()
def show(name: Name, database: Database = None, as_json: AsJson = False) -> None:
    """Show one schedule: what it is, what was done to it, and what of it did not run."""
    from scheduler.views import note_view, schedule_view, skip_view

    with _opened(database) as (schedules, _):
        schedule, notes, skips = schedules.get(name), schedules.notes(name), schedules.skips(name)
    view = schedule_view(schedule)
    if as_json:
        view |= {"notes": [note_view(n) for n in notes], "skips": [skip_view(s) for s in skips]}
        print_json(view)
        return
    facts = {"when": rule_text(schedule.rule)} | view
    print_table(
        ("", ""),
        ((key, short(value, 100)) for key, value in facts.items() if value not in (None, {}, "")),
        empty="",
    )
    _print_record(schedule, notes, skips)


@app.command()
def add(
    name: Name,
    job: Annotated[str, typer.Argument(help="The job that recurs.")],
    rule: Annotated[str, typer.Argument(metavar="RULE", help="Its JSON, or a cron line.")],
    data: Data = None,
    timezone: Timezone = None,
    queue: Queue = None,
    priority: Priority = None,
    max_retries: MaxRetries = None,
    timeout: Timeout = None,
    catch_up: CatchUp = None,
    grace: Grace = None,
    catch_up_window: CatchUpWindow = None,
    catch_up_max: CatchUpMax = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    allow_past: Annotated[
        bool, typer.Option("--allow-past", help="If its last occurrence is past, run it at once.")
    ] = False,
    by: By = None,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Add a schedule of a job that the job modules know."""
    options = _options(
        queue=queue,
        priority=priority,
        max_retries=max_retries,
        timeout=timeout,
        catch_up=catch_up,
        grace=grace,
        catch_up_window=catch_up_window,
        catch_up_max=catch_up_max,
        overlap=overlap,
        jitter=jitter,
    )
    values = None if data is None else json_object(data, "data")
    with _opened(database, modules, knows_jobs=True) as (schedules, _):
        schedule = schedules.add(
            name,
            job,
            rule_object(rule),
            data=values,
            timezone=timezone,
            allow_past=allow_past,
            actor=by or _user(),
            **options,
        )
    _tell(schedule, as_json=as_json)


@app.command()
def edit(
    name: Name,
    rule: Annotated[
        str | None, typer.Option(metavar="RULE", help="Its JSON, or a cron line.")
    ] = None,
    job: Annotated[str | None, typer.Option(help="The job that recurs.")] = None,
    data: Data = None,
    timezone: Timezone = None,
    queue: Queue = None,
    priority: Priority = None,
    max_retries: MaxRetries = None,
    timeout: Timeout = None,
    catch_up: CatchUp = None,
    grace: Grace = None,
    catch_up_window: CatchUpWindow = None,
    catch_up_max: CatchUpMax = None,
    overlap: Overlap = None,
    jitter: Jitter = None,
    reset_count: Annotated[
        bool, typer.Option("--reset-count", help="Count from none for the limit again.")
    ] = False,
    keep_pending: Annotated[
        bool, typer.Option("--keep-pending", help="Leave later jobs that are queued.")
    ] = False,
    revision: Revision = None,
    by: By = None,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Change a schedule from now on; what its code declares wins again when the code changes."""
    changes = _options(
        job=job,
        timezone=timezone,
        queue=queue,
        priority=priority,
        max_retries=max_retries,
        timeout=timeout,
        catch_up=catch_up,
        grace=grace,
        catch_up_window=catch_up_window,
        catch_up_max=catch_up_max,
        overlap=overlap,
        jitter=jitter,
    )
    if rule is not None:
        changes["rule"] = rule_object(rule)
    if data is not None:
        changes["data"] = json_object(data, "data")
    with _opened(database, modules, knows_jobs=True) as (schedules, _):
        schedule = schedules.edit(
            name,
            revision=revision,
            reset_count=reset_count,
            keep_pending=keep_pending,
            actor=by or _user(),
            **changes,
        )
    _tell(schedule, as_json=as_json)


@app.command()
def pause(
    name: Name,
    revision: Revision = None,
    by: By = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Make no more jobs of a schedule; those that are queued go on."""
    with _opened(database) as (schedules, _):
        schedule = schedules.pause(name, revision=revision, actor=by or _user())
    _tell(schedule, as_json=as_json)


@app.command()
def resume(
    name: Name,
    catch_up: Annotated[
        bool, typer.Option("--catch-up", help="Treat what the pause held as missed.")
    ] = False,
    revision: Revision = None,
    by: By = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Let a paused schedule go on from now, in its old phase."""
    with _opened(database) as (schedules, _):
        schedule = schedules.resume(name, catch_up=catch_up, revision=revision, actor=by or _user())
    _tell(schedule, as_json=as_json)


@app.command()
def run(
    name: Name,
    data: Data = None,
    database: Database = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue one extra job of a schedule now; the series goes on as if it were not there."""
    from scheduler.views import job_view

    values = None if data is None else json_object(data, "data")
    with _opened(database, modules, knows_jobs=values is not None) as (schedules, _):
        job = schedules.run_now(name, data=values)
    if as_json:
        print_json(job_view(job))
    else:
        print(f"{job.id}  {job.name} is due {local(job.scheduled_at)}")


@app.command()
def backfill(
    name: Name,
    start: Annotated[str, typer.Option("--from", help="The first instant.")],
    end: Annotated[str, typer.Option("--to", help="The instant before which it ends.")],
    revision: Revision = None,
    by: By = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Enqueue a job for every occurrence of a window in the past that has none."""
    from scheduler.views import job_view

    with _opened(database) as (schedules, _):
        made = schedules.backfill(
            name, midnight(start), midnight(end), revision=revision, actor=by or _user()
        )
        zone = schedules.get(name).timezone
    if as_json:
        print_json([job_view(job) for job in made])
        return
    print_table(
        ("id", "occurrence"),
        ((job.id, local(job.occurrence_at, zone)) for job in made),
        empty="Nothing to backfill: every occurrence of this window has, or had, its job.",
    )


@app.command()
def delete(
    name: Name,
    keep_jobs: Annotated[
        bool, typer.Option("--keep-jobs", help="Leave the jobs that have not started.")
    ] = False,
    revision: Revision = None,
    database: Database = None,
) -> None:
    """Remove a schedule and its record, and cancel its jobs that have not started."""
    with _opened(database) as (schedules, _):
        schedules.delete(name, keep_jobs=keep_jobs, revision=revision)
    print(f"{name} is deleted; what ran stays.")


def explain(
    name: Name,
    at: Annotated[
        str, typer.Option("--at", metavar="TIME", help="Wall clock in the schedule's zone, or UTC.")
    ],
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Say why a schedule did, or did not, run at a moment."""
    from scheduler.views import explanation_view

    with _opened(database) as (schedules, _):
        explanation = schedules.explain(name, midnight(at))
    if as_json:
        print_json(explanation_view(explanation))
    else:
        print(explanation.sentence)


@contextmanager
def _opened(
    database: str | None, modules: str | None = None, *, knows_jobs: bool = False
) -> Iterator[tuple[Schedules, JobStorage]]:
    """The schedules of the store; with `knows_jobs`, the job modules are imported for it.

    Without, so that a module that cannot be imported does not stand between an operator and a
    schedule to be paused.
    """
    from scheduler.queue import JobQueue

    settings = settings_of(database=database, modules=modules)
    with storage_of(settings) as storage:
        queue = queue_of(settings, storage) if knows_jobs else JobQueue(storage)
        yield queue.schedules, storage


def _options(**given: Any) -> dict[str, Any]:
    """What was given; durations as durations."""
    found = {name: value for name, value in given.items() if value is not None}
    for name in ("timeout", "grace", "catch_up_window", "jitter"):
        if name in found:
            found[name] = duration(found[name], f"--{name.replace('_', '-')}")
    return found


def _user() -> str | None:
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return None


def _next(schedule: Schedule) -> str:
    from scheduler.model import ScheduleStatus

    if schedule.status is ScheduleStatus.PAUSED:
        by = f" by {schedule.paused_by}" if schedule.paused_by else ""
        return f"paused {local(schedule.paused_at, schedule.timezone)}{by}"
    return local(schedule.next_at, schedule.timezone)


def _tell(schedule: Schedule, *, as_json: bool) -> None:
    from scheduler.views import schedule_view

    if as_json:
        print_json(schedule_view(schedule))
        return
    print(
        f"{schedule.name} is {schedule.status.value}, at revision {schedule.revision}: "
        f"{rule_text(schedule.rule)}; next: {_next(schedule) or 'none'}"
    )


def _print_record(schedule: Schedule, notes: list[Note], skips: list[Skip]) -> None:
    zone = schedule.timezone
    print_table(
        ("when", "done", "by", "detail"),
        ((local(n.at, zone), n.action.value, n.actor or "", short(dict(n.detail))) for n in notes),
        empty="Nothing was done to it by hand or by a deploy.",
    )
    print_table(
        ("skipped", "from", "to", "how many", "backfilled"),
        (
            (
                s.reason.value,
                local(s.first_at, zone),
                local(s.last_at, zone),
                str(s.count),
                str(s.backfilled),
            )
            for s in skips
        ),
        empty="None of its occurrences was skipped.",
    )
