"""A thousand mixed schedules lived through for two years, with three outages, and checked.

    python -m tests.benchmarks.travel [schedules] [days] [storage URL]

tests/testing/test_fleet.py does the same with fewer.
"""

from __future__ import annotations

import sys

from freezegun import api

from scheduler import logs
from scheduler.testing import Travel
from tests.fleet import START, lived, wrong


def main(number: int = 1000, days: int = 730, storage: str = "memory://") -> None:
    logs.configure("error", "console")
    began = api.real_perf_counter()
    with Travel(storage=storage, start=START) as travel:
        lived(travel, number, days)
        took = api.real_perf_counter() - began
        runs, hops = len(travel.runs()), travel.hops
        print(
            f"{storage}: {number} schedules, {days} days, {runs:,} runs, {hops:,} hops in "
            f"{took:.1f} s: {runs / took:,.0f} runs/s"
        )
        faults = wrong(travel, number)
    print(
        f"checked in {api.real_perf_counter() - began - took:.1f} s: {len(faults)} faults",
        *faults[:5],
        sep="\n",
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    main(*(int(each) if each.isdigit() else each for each in given))  # type: ignore[arg-type]
