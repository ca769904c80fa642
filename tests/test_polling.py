"""How an executor adapts its polling, as a table of what follows what."""

from __future__ import annotations

from datetime import timedelta

import pytest

from scheduler.polling import MOST_AHEAD, Ahead, Polling
from scheduler.testing.values import NOON


def polling(interval: float = 1, concurrency: int = 4, **given: object) -> Polling:
    return Polling(
        **{  # type: ignore[arg-type]
            "interval": timedelta(seconds=interval),
            "concurrency": concurrency,
            "intelligent": True,
            "least_concurrency": 2,
            "max_concurrency": 8,
            "max_empty_polls": 3,
            **given,
        }
    )


@pytest.mark.parametrize(
    ("before", "acquired", "running", "after"),
    [
        # Above the load factor: shorter, and more at a time.
        (polling(1, 4), 3, 3, polling(0.8, 5)),
        (polling(1, 7), 7, 7, polling(0.8, 8)),
        (polling(1, 8), 8, 8, polling(0.8, 8)),
        (polling(0.1, 4), 4, 4, polling(0.1, 5)),
        # At it or below: longer.
        (polling(1, 4), 2, 2, polling(1.2, 4)),
        (polling(4.9, 4), 1, 1, polling(5, 4)),
        # Nothing acquired: counted, and then much longer, at the least concurrency.
        (polling(1, 4), 0, 0, polling(1, 4, empty_polls=1)),
        (polling(1, 4, empty_polls=2), 0, 0, polling(1.5, 2)),
        (polling(4, 4, empty_polls=2), 0, 4, polling(5, 2)),
        # A job in between starts the count again.
        (polling(1, 4, empty_polls=2), 1, 1, polling(1.2, 4)),
    ],
)
def test_polling_follows_the_load(
    before: Polling, acquired: int, running: int, after: Polling
) -> None:
    """Within its bounds."""
    assert before.after(acquired=acquired, running=running) == after


def test_without_intelligence_nothing_changes() -> None:
    """The interval is the one that was asked for."""
    fixed = polling(intelligent=False)
    assert fixed.after(acquired=0, running=0) is fixed
    assert fixed.after(acquired=9, running=9) is fixed


MILLISECOND = timedelta(milliseconds=1)


def ahead(size: int, stock: int, *, was_full: bool = True) -> Ahead:
    return Ahead(size=size).asked(NOON, stock=stock, was_full=was_full)


@pytest.mark.parametrize(
    ("before", "passed", "waiting", "size"),
    [
        # All that came was begun at once: as many as there are slots, then four times as many.
        (ahead(0, 10), 1, 0, 10),
        (ahead(10, 20), 1, 0, 40),
        (ahead(1800, 1810), 20, 0, MOST_AHEAD),
        # No more than are begun in 100 ms at that rate.
        (ahead(100, 110), 100, 0, 110),
        (ahead(100, 110), 200, 0, 55),
        # There was no more to be had, or not all was begun: not more.
        (ahead(20, 25, was_full=False), 1, 0, 20),
        (ahead(20, 30), 1, 5, 20),
        # The handlers in the slots take longer than that: none.
        (ahead(10, 20), 300, 0, 0),
        (ahead(20, 30), 20, 29, 0),
        # No time has passed: nothing is known.
        (ahead(20, 30), 0, 0, 20),
        (Ahead(), 1, 0, 0),
    ],
)
def test_jobs_are_leased_ahead_by_the_rate_at_which_they_begin(
    before: Ahead, passed: int, waiting: int, size: int
) -> None:
    assert before.at(NOON + passed * MILLISECOND, waiting=waiting, slots=10).size == size
