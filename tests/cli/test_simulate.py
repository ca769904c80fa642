"""`scheduler simulate`: what would run, and how it refuses what cannot be simulated."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.conftest import MODULE, Scheduler

TWICE = """
@job(every(days=2, start_date="2024-02-01T07:00Z"))
def stocktake(): ...
"""


def test_the_runs_of_a_window_are_shown(scheduler: Scheduler) -> None:
    shown = scheduler("simulate", "--from", "2024-03-30", "--to", "2024-04-02", "--json").json
    assert [run["started_at"] for run in shown["runs"]] == [
        "2024-03-30T08:00:00Z",
        "2024-03-31T07:00:00Z",
        "2024-04-01T07:00:00Z",
    ]
    assert shown["jobs"] == {"report": 3}
    assert [change["at"] for change in shown["clock_changes"]] == ["2024-03-31T01:00:00Z"]


def test_busy_minutes_and_collisions_are_those_with_more_than_one_start(
    workplace: Path, scheduler: Scheduler
) -> None:
    alone = scheduler("simulate", "--from", "2024-04-01", "--to", "2024-04-02")
    assert "1 run from" in alone.out
    assert "busy" not in alone.out
    (workplace / "errands.py").write_text(MODULE + TWICE)
    sys.modules.pop("errands")
    busy = scheduler("simulate", "--from", "2024-04-01", "--to", "2024-04-03")
    assert "busy: 2024-04-01 07:00:00 UTC starts 2 in a minute" in busy.out
    assert busy.out.count("busy") == 1
    assert "collisions: 1 instant starts more than one job" in busy.out


@pytest.mark.parametrize(
    ("start", "end", "fault"),
    [
        ("0001-01-01", "0001-01-05", "--from: 0001-01-01T00:00:00+00:00 is outside the years"),
        ("9998-12-30", "9999-12-30", "--to: 9999-12-30T00:00:00+00:00 is outside the years"),
        ("2024-01-02", "2024-01-01", "--to: 2024-01-01 is not after 2024-01-02"),
        ("2024-01-01", "2024-01-01", "--to: 2024-01-01 is not after 2024-01-01"),
        ("now", "2024-01-01", "--from: now"),
    ],
)
def test_a_window_that_cannot_be_is_refused(
    scheduler: Scheduler, start: str, end: str, fault: str
) -> None:
    answer = scheduler("simulate", "--from", start, "--to", end)
    assert (answer.code, answer.out) == (2, "")
    assert fault in answer.err
    assert len(answer.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("start", "end"), [("0002-01-01", "0002-01-03"), ("9998-12-29", "9998-12-31")]
)
def test_the_first_and_the_last_days_are_simulated(
    scheduler: Scheduler, start: str, end: str
) -> None:
    answer = scheduler("simulate", "--from", start, "--to", end)
    assert (answer.code, answer.err) == (0, "")
