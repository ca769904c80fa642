"""The time that all processes of one store agree on: the store's own, where it has a clock.

Machines differ, and wall clocks are set. What is compared with other machines' instants, when
jobs are due and leases run out, is therefore read here: this machine's clock, corrected by how far
it was from the store's when they were last compared. An embedded store has no other clock.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from scheduler import clock
from scheduler.logs import logger

log = logger(__name__)

COMPARED_EVERY = timedelta(minutes=1)

TOLERANCE = timedelta(milliseconds=50)
"""A smaller difference is left alone: reading a clock over a network is not more exact."""

WARNED_ABOVE = timedelta(seconds=1)


_READINGS = 10
_CLOSE_SECONDS = 50e-6


class StoreClock:
    """This process's clock, corrected to that of the store.

    `read` asks the store for its time, and answers None where it has no clock of its own. From one
    comparison to the next, such a store's time goes on by `monotonic`, in seconds, whatever the
    clock of this machine is set to meanwhile.
    """

    def __init__(
        self,
        read: Callable[[], datetime | None],
        monotonic: Callable[[], float] = lambda: time.monotonic(),
    ) -> None:
        self._read = read
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._compared: tuple[datetime, float] | None = None
        """An instant of the store's clock, and the monotonic second it was read at."""

    @property
    def ahead(self) -> timedelta:
        """How far the store's clock is ahead of this machine's."""
        return self.now() - clock.now() if self._compared else timedelta(0)

    def now(self) -> datetime:
        """The current instant by the store's clock, aware, in UTC."""
        compared = self._compared
        if compared is None:
            return clock.now()
        there, since = compared
        return there + timedelta(seconds=self._monotonic() - since)

    def here(self, at: datetime | None) -> datetime | None:
        """The instant `at` of the store's clock by this machine's."""
        return None if at is None else at - self.ahead

    def compare(self) -> timedelta:
        """Compare both clocks; how far `now` moved by that. Raises StorageUnavailable."""
        at, since = self._here()
        there = self._read()
        if there is None:
            return timedelta(0)
        took = timedelta(seconds=self._monotonic() - since)
        with self._lock:
            return self._seen(there - at - took / 2, took, at, since)

    def _here(self) -> tuple[datetime, float]:
        """This machine's time, and the monotonic second it was read at, or one a moment later.

        A thread may be interrupted between the two: the closest of several readings counts, and
        the later second, so that `now` is never ahead by that.
        """
        readings = []
        for _ in range(_READINGS):
            before, at, after = self._monotonic(), clock.now(), self._monotonic()
            readings.append((after - before, at, after))
            if after - before <= _CLOSE_SECONDS:
                break
        _, at, after = min(readings)
        return at, after

    def _seen(self, ahead: timedelta, took: timedelta, at: datetime, since: float) -> timedelta:
        # The store read its clock at some moment of the question: nothing says which.
        tolerance = max(TOLERANCE, took / 2)
        if abs(ahead) <= tolerance:
            ahead = timedelta(0)
        elif abs(ahead) > WARNED_ABOVE:
            log.warning(
                "this machine's clock differs from the store's; it is corrected",
                behind=round(ahead.total_seconds(), 3),
            )
        if self._compared is None:
            self._compared = at + ahead, since
            return ahead
        there, before = self._compared
        moved = at + ahead - there - timedelta(seconds=since - before)
        if abs(moved) > tolerance:
            self._compared = at + ahead, since
            return moved
        if not ahead:  # then this machine's clock is as good as the store's, and as close as ever
            self._compared = at, since
        return timedelta(0)

    def was_set(self, by: timedelta) -> timedelta:
        """Take in that this machine's clock was set by so much; how far `now` moved by that.

        Not at all, where the store has a clock of its own: that one was not set.
        """
        return by if self._compared is None else timedelta(0)
