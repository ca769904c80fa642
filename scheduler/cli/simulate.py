"""`scheduler simulate`: what would run when, lived through in simulated time.

The job modules' schedules run on a store in memory, their handlers replaced by recorders: the
database is not touched, and nothing is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import AsJson, Modules, moment
from scheduler.cli.output import print_json, print_table
from scheduler.cli.session import settings_of
from scheduler.views import instant, local

if TYPE_CHECKING:
    from scheduler.registry import Registry
    from scheduler.testing.report import Report

_STEPS = 100
_WIDTH = 48
_BARS = "▁▂▃▄▅▆▇█"
_BUSIEST = 5


def simulate(
    start: Annotated[str, typer.Option("--from", metavar="TIME", help="Begin here.")],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="End before this.")],
    count: Annotated[
        int, typer.Option("-n", min=0, help="How many runs to list (all in --json).")
    ] = 20,
    timezone: Annotated[
        str | None, typer.Option(help="The zone of the clocks shown, and of rules without one.")
    ] = None,
    modules: Modules = None,
    as_json: AsJson = False,
) -> None:
    """Show what would run when between two moments, and do none of it."""
    from scheduler import logs
    from scheduler.errors import InvalidOption
    from scheduler.registry import discover
    from scheduler.rules.zones import zone
    from scheduler.testing.travel import reachable

    settings = settings_of(modules=modules)
    place = zone(timezone or settings.default_timezone, "--timezone")
    first = reachable(moment(start, place, "--from"), "--from")
    last = reachable(moment(end, place, "--to"), "--to")
    if last <= first:
        raise InvalidOption("--to", end, f"is not after {start}")
    logs.configure("error", "console")
    report = _simulated(discover(settings.modules), first, last, place.key)
    if as_json:
        print_json(_view(report, place.key))
    else:
        _print(report, place.key, count)


def _simulated(registry: Registry, start: datetime, end: datetime, zone: str) -> Report:
    from scheduler.testing.report import Report, Start
    from scheduler.testing.travel import Travel

    with Travel(storage="memory://", timezone=zone, start=start) as travel, _progress() as show:
        for definition in registry:
            travel.add(definition)
        travel.record()
        for step in range(1, _STEPS + 1):
            travel.until(start + (end - start) * step / _STEPS)
            show(step)
        runs = travel.runs()
        zones = {each.job_name: each.timezone for each in travel.storage.list_schedules()}
    starts = [
        Start(run.job.name, run.started_at, run.occurrence_at)
        for run in runs
        if run.started_at < end
    ]
    return Report(start, end, starts, zones)


@contextmanager
def _progress() -> Iterator[Any]:
    """Shows how far the simulation is, on a terminal; a function of the step."""
    if not sys.stderr.isatty():
        yield lambda step: None
        return
    from freezegun import api
    from rich.console import Console
    from rich.progress import Progress

    # The bar is drawn when told to, by the real clock: the other one is frozen.
    progress = Progress(
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        get_time=lambda: api.real_monotonic(),
    )
    with progress:
        task = progress.add_task("simulating", total=_STEPS)

        def show(step: int) -> None:
            progress.update(task, completed=step)
            progress.refresh()

        yield show


def _view(report: Report, zone: str) -> dict[str, Any]:
    return {
        "from": instant(report.start),
        "to": instant(report.end),
        "timezone": zone,
        "jobs": report.counts(),
        "runs": [
            {
                "job": each.job,
                "started_at": instant(each.started_at),
                "local": local(each.started_at, zone),
                "occurrence_at": instant(each.occurrence_at),
            }
            for each in report.starts
        ],
        "busiest_minutes": [
            {"at": instant(at), "runs": runs} for at, runs in report.busiest(_BUSIEST)
        ],
        "collisions": [
            {"at": instant(at), "jobs": names} for at, names in report.collisions().items()
        ],
        "clock_changes": [
            {
                "at": instant(change.at),
                "timezone": change.zone,
                "by": change.by.total_seconds(),
                "moved": [
                    {"job": each.job, "local": local(each.started_at, change.zone)}
                    for each in change.moved
                ],
            }
            for change in report.clock_changes()
        ],
    }


def _print(report: Report, zone: str, count: int) -> None:
    first, last = local(report.start, zone), local(report.end, zone)
    print(f"{_counted(len(report.starts), 'run')} from {first} to {last}:")
    counts = report.counts()
    print_table(
        ("job", "runs", "when"),
        (
            (name, str(counts.get(name, 0)), _bar(line))
            for name, line in report.buckets(_WIDTH).items()
        ),
        empty="No job recurs: the job modules declare no rule.",
    )
    print_table(
        ("start", "job"),
        ((local(each.started_at, zone), each.job) for each in report.starts[:count]),
        empty="" if report.starts else "Nothing would run.",
    )
    if len(report.starts) > count:
        print(f"… and {len(report.starts) - count} more (-n, or --json)\n")
    collisions = report.collisions()
    for at, runs in report.busiest(_BUSIEST):
        if runs > 1:
            print(f"busy: {local(at, zone)} starts {runs} in a minute")
    if collisions:
        at, names = max(collisions.items(), key=lambda item: len(item[1]))
        verb = "starts" if len(collisions) == 1 else "start"
        print(
            f"collisions: {_counted(len(collisions), 'instant')} {verb} more than one job; "
            f"the most, {len(names)}, {local(at, zone)}"
        )
    for change in report.clock_changes():
        minutes = change.by.total_seconds() / 60
        moved = ", ".join(
            f"{each.job} to {local(each.started_at, change.zone)}" for each in change.moved
        )
        print(
            f"clocks: {change.zone} is set by {minutes:+g} min, {local(change.at, change.zone)}"
            + (f"; moves {moved}" if moved else "")
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _bar(line: list[int]) -> str:
    """One character for each part: a dot for none, and the taller the more."""
    most = max(line, default=0)
    return "".join("·" if not runs else _BARS[(runs * len(_BARS) - 1) // most] for runs in line)
