"""The time that all processes of one store agree on."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from freezegun import freeze_time

from scheduler.store_clock import StoreClock

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize("behind", [5 * SECOND, -5 * SECOND, timedelta(days=400)])
def test_a_clock_that_differs_from_the_stores_is_corrected(behind: timedelta) -> None:
    """And said by how much that moves the time of the ticks; the same again moves nothing."""
    with freeze_time(NOON):
        clock = StoreClock(lambda: NOON + behind)
        assert clock.compare() == behind
        assert clock.compare() == timedelta(0)
        assert clock.now() == NOON + behind
        assert clock.ahead == behind
        assert clock.here(NOON + behind + SECOND) == NOON + SECOND
        assert clock.here(None) is None


def test_a_difference_that_is_no_more_than_the_reading_is_left_alone() -> None:
    with freeze_time(NOON):
        clock = StoreClock(lambda: NOON + timedelta(milliseconds=40))
        clock.compare()
        assert clock.now() == NOON


def test_a_reading_of_both_clocks_that_was_interrupted_is_made_again() -> None:
    """Else the time of the ticks would be ahead by as much, and jobs would start early."""
    seconds = [0.0, 0.005, 0.006, 0.006, 0.006]
    with freeze_time(NOON):
        clock = StoreClock(
            lambda: NOON, monotonic=lambda: seconds.pop(0) if len(seconds) > 1 else seconds[0]
        )
        clock.compare()
        assert clock.now() == NOON


def test_a_store_without_a_clock_has_this_machines() -> None:
    """And that may be set."""
    with freeze_time(NOON):
        clock = StoreClock(lambda: None)
        clock.compare()
        assert clock.now() == NOON
        assert clock.was_set(SECOND) == SECOND


@pytest.mark.parametrize("by", [timedelta(hours=2), timedelta(hours=-2)])
def test_the_stores_clock_is_not_set_with_this_machines(by: timedelta) -> None:
    """Not for a moment: before anybody has noticed, and before the store can be asked again."""
    there, passed = NOON + 5 * SECOND, 0.0
    with freeze_time(NOON) as here:
        clock = StoreClock(lambda: there, monotonic=lambda: passed)
        clock.compare()
        here.move_to(NOON + by)
        there, passed = there + SECOND, 1.0
        assert clock.now() == there
        assert clock.here(there) == NOON + by
        assert clock.was_set(by) == timedelta(0)
        assert clock.compare() == timedelta(0)
        assert clock.now() == there


@pytest.mark.parametrize(("behind", "is_warned"), [(0.9, False), (1.1, True), (-1.1, True)])
def test_more_than_a_second_is_warned_about(
    caplog: pytest.LogCaptureFixture, behind: float, is_warned: bool
) -> None:
    with freeze_time(NOON), caplog.at_level(logging.WARNING, "scheduler"):
        StoreClock(lambda: NOON + timedelta(seconds=behind)).compare()
    assert bool(caplog.records) is is_warned
