"""The commands on jobs: list and prune them; look at one, call it off, try it again."""

from __future__ import annotations

from time import monotonic, sleep
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import AsJson, Database, duration
from scheduler.cli.output import print_json, print_table, short
from scheduler.cli.progress import shown_progress
from scheduler.cli.session import settings_of, storage_of
from scheduler.views import instant, local

if TYPE_CHECKING:
    from scheduler.model import Attempt, Job

app = typer.Typer(
    help="List jobs; show, cancel or retry one; prune them.", invoke_without_command=True
)

Id = Annotated[str, typer.Argument(metavar="ID", help="The job.")]


@app.callback()
def jobs(
    context: typer.Context,
    database: Database = None,
    status: Annotated[str | None, typer.Option(help="Only jobs in this status.")] = None,
    name: Annotated[str | None, typer.Option(help="Only jobs of this name.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, help="At most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List jobs, newest first; or, with a command, show, cancel or retry one, or prune them."""
    from scheduler.errors import UnknownName
    from scheduler.model import JobStatus
    from scheduler.views import job_view

    if context.invoked_subcommand is not None:
        return
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
                _attempt(each),
                _outcome(each),
            )
            for each in found
        ),
        empty="No such jobs.",
    )


@app.command()
def show(job_id: Id, database: Database = None, as_json: AsJson = False) -> None:
    """Show one job: how it stands, and each of its attempts with what it logged."""
    from scheduler.jobs import Jobs
    from scheduler.views import attempt_view, job_view

    with storage_of(settings_of(database=database)) as storage:
        of_store = Jobs(storage)
        job = of_store.get(job_id)
        attempts = of_store.attempts(job)
    if as_json:
        print_json(job_view(job) | {"attempts": [attempt_view(each) for each in attempts]})
        return
    view = job_view(job)
    shown = {name: value for name, value in view.items() if value not in (None, {}, False)}
    print_table(
        ("field", "value"),
        ((name, short(value, 200)) for name, value in shown.items()),
        empty="",
    )
    for each in attempts:
        _print_attempt(each)


@app.command()
def cancel(
    job_id: Id,
    reason: Annotated[str | None, typer.Option(help="Why, for the record.")] = None,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Call off a job that waits or runs; its handler is told to end."""
    from scheduler.jobs import BY_HAND, Jobs

    with storage_of(settings_of(database=database)) as storage:
        job = Jobs(storage).cancel(job_id, reason=reason or BY_HAND)
    _print_moved(job, "is cancelled", as_json=as_json)


@app.command()
def retry(job_id: Id, database: Database = None, as_json: AsJson = False) -> None:
    """Let a job that failed or was cancelled be tried once more, now."""
    from scheduler.jobs import Jobs

    with storage_of(settings_of(database=database)) as storage:
        job = Jobs(storage).retry(job_id)
    _print_moved(job, f"is due again, for attempt {_attempt(job)}", as_json=as_json)


@app.command()
def prune(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="30d", help="What ended longer ago than this.")
    ],
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            help="Only what ended so: completed, failed, cancelled; may be repeated.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the jobs, and remove none.")
    ] = False,
    database: Database = None,
    as_json: AsJson = False,
) -> None:
    """Remove finished jobs, with their attempts, while the service goes on.

    `scheduler run` does that by itself, as the settings SCHEDULER_RETENTION_… say. The job of a
    schedule's last run stays. There is no way back.
    """
    from scheduler import clock
    from scheduler.errors import InvalidOption
    from scheduler.model import JobStatus
    from scheduler.options import check_duration
    from scheduler.pruner import steps
    from scheduler.retention import FINISHED

    statuses = status or FINISHED
    for each in statuses:
        if each not in FINISHED:
            raise InvalidOption("--status", each, f"is not one of {', '.join(FINISHED)}")
    age = check_duration("--older-than", duration(older_than, "--older-than"), zero=True)
    until = clock.now() - age
    ended_before = {JobStatus(each): until for each in statuses}
    looked_at = found = 0
    with storage_of(settings_of(database=database)) as storage, shown_progress() as show:
        total = sum(storage.count_jobs().values())
        began = monotonic()
        for step in steps(storage, ended_before, dry_run=dry_run):
            looked_at, found = looked_at + step.looked_at, found + step.removed
            show("jobs", looked_at, max(total, looked_at))
            # As long as the step took: half of the time the store is there for others.
            sleep(0 if dry_run else monotonic() - began)
            began = monotonic()
    if as_json:
        print_json({"ended_before": instant(until), "jobs": found, "dry_run": dry_run})
        return
    done = "would be removed" if dry_run else "removed"
    print(f"{found:,} jobs {done}, which had ended before {local(until)}")


def _print_moved(job: Job, what: str, *, as_json: bool) -> None:
    from scheduler.views import job_view

    if as_json:
        print_json(job_view(job))
    else:
        print(f"{job.id}  {job.name} {what}")


def _print_attempt(attempt: Attempt) -> None:
    took = (attempt.ended_at - attempt.started_at).total_seconds()
    said = f": {attempt.error}" if attempt.error else ""
    print(
        f"\nattempt {attempt.number} {attempt.ending.value} after {took:g} s"
        f" ({local(attempt.started_at)}, {attempt.worker}){said}"
    )
    for line in attempt.log:
        print(f"  {line}")
    if attempt.traceback:
        print("".join(f"  | {line}\n" for line in attempt.traceback.splitlines()), end="")


def _attempt(job: Job) -> str:
    return f"{job.retry_count + 1} of {job.max_retries + 1}"


def _outcome(job: Job) -> str:
    return short(job.error or job.result) if job.error or job.result is not None else ""
