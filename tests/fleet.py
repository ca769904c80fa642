"""A fleet of mixed schedules, the outages it lives through, and what it then must have done.

`expected` is a second, plain reading of clauses 9.5, 9.7 and 3.4 for jobs that take no time: it
walks the pure set one by one and shares nothing with scheduler.expansion.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.model import CatchUp, Schedule
from scheduler.registry import JobDefinition, define
from scheduler.rules import rule_from_json
from scheduler.testing import Travel

from .record import Era, faults

START = datetime(2026, 1, 1, tzinfo=UTC)
ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Tokyo", "Australia/Sydney")
OUTAGES = (
    ("2026-03-28T20:00", "2026-03-29T14:00"),  # over the change of the clocks in Europe
    ("2026-11-30T00:10", "2026-12-03T09:20"),
    ("2027-07-01T00:00", "2027-07-01T06:00"),
)


def fleet(number: int) -> Iterator[JobDefinition]:
    """So many jobs that recur: nightly and weekly ones, office hours, month ends, a few often."""
    draw = random.Random(number)
    for place in range(number):
        yield define(
            _nothing,
            rule_from_json({"timezone": draw.choice(ZONES), **_rule(draw)}),
            name=f"job-{place:05}",
            catch_up=draw.choice(("skip", "latest", "latest", "all")),
            catch_up_max=draw.choice((2, 100)),
            catch_up_window=draw.choice((None, None, 86_400)),
            overlap=draw.choice(("skip", "skip", "allow", "queue_one", "cancel_previous")),
        )


def _nothing() -> None:
    """What each of them does."""


def _rule(draw: random.Random) -> dict[str, Any]:
    hour, minute = draw.randrange(24), draw.choice((0, 30))
    daily = f"{minute} {hour} * *"
    days = {"except": [{"annual": ["12-25", "01-01"]}]}
    kind = draw.randrange(100)
    if kind < 15:
        return {"cron": f"{daily} *"}
    if kind < 27:
        return {"cron": f"{daily} 1-5", **days}
    if kind < 60:
        return {"cron": f"{daily} {draw.randrange(7)}"}
    if kind < 70:
        return {"cron": f"{minute} {hour} L * *"}
    if kind < 80:
        dtstart = f"2026-01-{draw.randrange(1, 29):02}T{hour:02}:{minute:02}:00"
        return {"rrule": "FREQ=MONTHLY;BYDAY=-1FR", "dtstart": dtstart}
    if kind < 90:
        start = f"2026-01-31T{hour:02}:{minute:02}:00"
        return {"every": draw.randrange(1, 4), "unit": "months", "start_date": start}
    if kind < 93:
        return {"every": 12, "unit": "hours", "start_date": f"2026-01-01T{hour % 12:02}:30:00"}
    if kind < 99:
        return {"cron": f"{daily} *", "limit": draw.randrange(20, 400)}
    return {"every": 6, "unit": "hours", "start_date": "2026-01-01T00:00:00"}


def lived(travel: Travel, number: int, days: int) -> Travel:
    """`travel` after the fleet has lived through so many days, and the outages in them."""
    end = START + timedelta(days=days)
    for definition in fleet(number):
        travel.add(definition)
    for first, last in OUTAGES:
        if datetime.fromisoformat(f"{last}+00:00") < end:
            travel.down(first, last)
    return travel.until(end)


def expected(definition: JobDefinition, schedule: Schedule, pure: list[datetime]) -> list[datetime]:
    """The occurrences of `pure` that make jobs, the outages being what they are."""
    limit = schedule.rule.get("limit")
    windows = [tuple(datetime.fromisoformat(f"{at}+00:00") for at in each) for each in OUTAGES]
    made: list[datetime] = []
    rest = pure
    for down_at, up_at in windows:
        before = [at for at in rest if at < down_at]
        during = [at for at in rest if down_at <= at <= up_at]
        rest = [at for at in rest if at > up_at]
        made += before + _made_up(definition, during, up_at)
    return (made + rest)[:limit]


def _made_up(definition: JobDefinition, during: list[datetime], now: datetime) -> list[datetime]:
    on_time = [at for at in during if now - at <= definition.grace]
    missed = [at for at in during if now - at > definition.grace]
    window = definition.catch_up_window
    fresh = [at for at in missed if window is None or now - at <= window]
    match definition.catch_up:
        case CatchUp.ALL:
            return fresh[-definition.catch_up_max :] + on_time
        case CatchUp.LATEST if not on_time:
            return fresh[-1:]
        case _:
            return on_time


def wrong(travel: Travel, number: int) -> list[str]:
    """What of the fleet's record is not as it must be, by schedule; [] if all is right."""
    found: list[str] = []
    for definition in fleet(number):
        schedule = travel.storage.get_schedule(definition.name)
        assert schedule is not None
        era = Era(schedule.rule, schedule.timezone, schedule.anchor_at, _BORN, schedule.cursor_at)
        jobs = [run.job for run in travel.runs(definition.name)]
        named = f"{definition.name} {definition.catch_up} {schedule.rule}: "
        found += [
            named + each for each in faults([era], jobs, travel.storage.list_skips(schedule.id))
        ]
        must = expected(definition, schedule, era.occurrences())
        if must != [job.occurrence_at for job in jobs]:
            differs = set(must) ^ {job.occurrence_at for job in jobs}
            found.append(
                f"{named}{len(jobs)} jobs for {len(must)}: {sorted(map(str, differs))[:3]}"
            )
    return found


_BORN = START - timedelta(microseconds=1)
