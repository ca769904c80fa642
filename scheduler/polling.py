"""How soon an executor asks again, when nothing says when the next job is due.

A full batch asks again at once. Otherwise the interval is fixed, or, with intelligent
polling, adapts: shorter while the load is above `load_factor`, longer after `max_empty_polls`
empty polls. Pure: no clock, no I/O.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

WITHIN = timedelta(milliseconds=100)
"""In what time handlers are to have begun what is leased ahead of free slots."""

MOST_AHEAD = 2000

_FASTER, _SLOWER, _IDLER = 0.8, 1.2, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """The present interval and concurrency, and the bounds they adapt within."""

    interval: timedelta
    concurrency: int
    intelligent: bool = False
    min_interval: timedelta = timedelta(milliseconds=100)
    max_interval: timedelta = timedelta(seconds=5)
    max_empty_polls: int = 5
    load_factor: float = 0.5
    least_concurrency: int = 1
    max_concurrency: int = 10
    empty_polls: int = 0

    def after(self, *, acquired: int, running: int) -> Polling:
        """The polling after a poll that brought `acquired` jobs, with `running` under way."""
        if not self.intelligent:
            return self
        if acquired == 0:
            empty = self.empty_polls + 1
            if empty < self.max_empty_polls:
                return replace(self, empty_polls=empty)
            return replace(self._at(_IDLER), concurrency=self.least_concurrency, empty_polls=0)
        if running / self.concurrency > self.load_factor:
            more = min(self.max_concurrency, -int(-self.concurrency * _SLOWER // 1))
            level = max(self.concurrency, more)
            return replace(self._at(_FASTER), concurrency=level, empty_polls=0)
        return replace(self._at(_SLOWER), empty_polls=0)

    def _at(self, factor: float) -> Polling:
        interval = min(self.max_interval, max(self.min_interval, self.interval * factor))
        return replace(self, interval=interval)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """How many jobs are leased beyond the free slots, for handlers that end soon.

    At first none; then up to four times as many whenever all that was asked for came and has been
    begun, as far as their rate lets them begin WITHIN that time. None where the handlers in the
    slots take longer than that. `stock` is how many waited for a slot at `asked_at`.
    """

    size: int = 0
    stock: int = 0
    asked_at: datetime | None = None
    was_full: bool = False

    def at(self, now: datetime, *, waiting: int, slots: int) -> Ahead:
        """What holds at `now`, with so many jobs waiting still, and so many slots."""
        since = timedelta(0) if self.asked_at is None else now - self.asked_at
        if since <= timedelta(0):  # as in a frozen test: there is no telling how soon they end
            return self
        within = int((self.stock - waiting) * (WITHIN / since))
        most = max(slots, 4 * self.size) if self.was_full and not waiting else self.size
        return replace(self, size=min(MOST_AHEAD, most, within) if within >= slots else 0)

    def asked(self, now: datetime, *, stock: int, was_full: bool) -> Ahead:
        """What holds once jobs were leased at `now`, of which so many wait now."""
        return replace(self, stock=stock, asked_at=now, was_full=was_full)
