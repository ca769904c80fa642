"""How many occurrences a second, ours and others', on the same rules in the same run.

`python -m tests.benchmarks.rules` prints one line per rule with the ratios. Figures are
occurrences per second of one core; "next" asks next_after again and again, as a scheduler does.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from time import perf_counter
from typing import Any
from zoneinfo import ZoneInfo

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger
from croniter import croniter
from cronsim import CronSim
from dateutil.rrule import rrulestr

from scheduler.rules import Rule, cron, every, rrule

KEY = "America/New_York"
PLACE = ZoneInfo(KEY)
START = datetime(2024, 1, 1, tzinfo=UTC)
END = datetime(2200, 1, 1, tzinfo=UTC)
CRON = ("* * * * *", "*/5 9-17 * * 1-5", "30 2 * * *", "0 0 1,15 * *", "0 9 * * 1")
Stream = Callable[[], Iterator[Any]]


def rate(stream: Stream, budget: float) -> float:
    """Items a second, over about `budget` seconds."""
    items, count = stream(), 0
    began = perf_counter()
    while (took := perf_counter() - began) < budget:
        got = sum(1 for _ in islice(items, 200))
        count += got
        if got < 200:
            items = stream()
    return count / took


def iterated(rule: Rule) -> Stream:
    return lambda: rule.between(START, END)


def chained(rule: Rule) -> Stream:
    def stream() -> Iterator[datetime]:
        at: datetime | None = START
        while at is not None and (at := rule.next_after(at)) is not None:
            yield at

    return stream


def triggered(trigger: Any) -> Stream:
    def stream() -> Iterator[datetime]:
        at = START
        while True:
            at = trigger.get_next_fire_time(at, at)
            yield at

    return stream


def crontab(text: str) -> Any:
    """The expression for APScheduler, whose weekdays count from Monday."""
    fields = text.split()
    fields[4] = {"1-5": "0-4", "1": "0"}.get(fields[4], fields[4])
    return CronTrigger(
        **dict(zip(("minute", "hour", "day", "month", "day_of_week"), fields, strict=True)),
        timezone=PLACE,
    )


def cron_line(text: str, budget: float) -> dict[str, float]:
    local = START.astimezone(PLACE)
    ours = cron(text, timezone=KEY)
    return {
        "iterated": rate(iterated(ours), budget),
        "next": rate(chained(ours), budget),
        "cronsim": rate(lambda: iter(CronSim(text, local)), budget),
        "croniter": rate(lambda: croniter(text, local).all_next(datetime), budget),
        "APScheduler": rate(triggered(crontab(text)), budget),
    }


def interval_line(budget: float, **unit: int) -> dict[str, float]:
    ours = every(**unit, start_date="1970-01-01T00:00", timezone=KEY)  # type: ignore[arg-type]
    trigger = IntervalTrigger(**unit, start_date="1970-01-01 00:00:00", timezone=PLACE)
    return {
        "iterated": rate(iterated(ours), budget),
        "next": rate(chained(ours), budget),
        "APScheduler": rate(triggered(trigger), budget),
    }


def rrule_line(text: str, budget: float) -> dict[str, float]:
    ours = rrule(text, dtstart="2024-01-01T00:00", timezone=KEY)
    naive = START.replace(tzinfo=None)
    return {
        "iterated": rate(iterated(ours), budget),
        "next": rate(chained(ours), budget),
        "dateutil": rate(lambda: iter(rrulestr(text, dtstart=naive)), budget),
    }


def far_line(rule: Rule) -> float:
    """Seconds for the first answer for 2099, of a rule that nobody has asked before."""
    began = perf_counter()
    rule.next_after(datetime(2099, 6, 1, tzinfo=UTC))
    return perf_counter() - began


def report(budget: float) -> None:
    lines = {f"cron {text}": cron_line(text, budget) for text in CRON}
    lines["every 7 seconds"] = interval_line(budget, seconds=7)
    lines["every day"] = interval_line(budget, days=1)
    for text in ("FREQ=DAILY", "FREQ=MONTHLY;BYDAY=-1FR", "FREQ=MINUTELY;INTERVAL=7"):
        lines[text] = rrule_line(text, budget)
    for name, rates in lines.items():
        base = rates["iterated"]
        shown = "  ".join(
            f"{who} {value:>9,.0f}"
            + ("" if who in ("iterated", "next") else f" (x{base / value:.0f})")
            for who, value in rates.items()
        )
        print(f"{name:28} {shown}")
    since = "1970-01-01T00:00"
    far = {
        "every second": every(seconds=1, start_date=since, timezone=KEY),
        "every month": every(months=1, start_date=since, timezone=KEY),
        "cron": cron("30 2 * * *", start_date=since, timezone=KEY),
        "MINUTELY;INTERVAL=7": rrule("FREQ=MINUTELY;INTERVAL=7", dtstart=since, timezone=KEY),
    }
    for name, rule in far.items():
        print(f"2099 from 1970, {name:22} {far_line(rule) * 1e6:6.0f} µs")
    seconds = cron("* * * * * *", timezone=KEY)
    began = perf_counter()
    seconds.count(START, START + timedelta(days=3653))
    print(f"ten years of seconds counted in {(perf_counter() - began) * 1e3:.1f} ms")


if __name__ == "__main__":
    report(float(sys.argv[1]) if len(sys.argv) > 1 else 0.5)
