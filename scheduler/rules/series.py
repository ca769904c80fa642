"""A set of instants as arithmetic: what a rule becomes once its zone and anchor are known.

A series answers for any window in time that does not depend on the distance from its start:
ascending, descending, by count. Instants are integers (see instants.py), windows half-open.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from heapq import merge
from itertools import combinations, islice
from math import gcd

from scheduler.errors import InvalidRule
from scheduler.rules.instants import DAY, END, FIRST, MINUTE
from scheduler.rules.marks import Marks, left, marked, marked_count, shared, united

MOST_STEPS = 200_000
"""How many fruitless steps a search takes before it gives up with an error."""


class Unbound(InvalidRule):
    """A rule was asked for occurrences before anyone said where it begins."""


class SearchEnded(InvalidRule):
    """A search took all its steps and found nothing; the rule may or may not go on."""


class Budget:
    """Steps that all the searches of one question share."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left


BUDGET: ContextVar[Budget | None] = ContextVar("budget", default=None)
"""What the searches begun here may take together, where that is less than MOST_STEPS each."""


@contextmanager
def searching(most: int) -> Iterator[None]:
    """Searches begun inside take `most` fruitless steps in all, then raise SearchEnded."""
    token = BUDGET.set(Budget(most))
    try:
        yield
    finally:
        BUDGET.reset(token)


class Search:
    """The steps of one search for the next occurrence."""

    __slots__ = ("_budget", "_field", "_steps")

    def __init__(self, field: str) -> None:
        self._field = field
        self._steps = MOST_STEPS
        self._budget = BUDGET.get()

    def step(self) -> None:
        """Count a fruitless step; raises SearchEnded after too many."""
        self._steps -= 1
        if self._budget is not None:
            self._budget.left -= 1
        if self._steps < 0 or (self._budget is not None and self._budget.left < 0):
            reason = "gave no occurrence in as many steps as a search may take"
            hint = "it may be impossible; simplify it"
            raise SearchEnded(self._field, "the rule", reason, hint)

    def found(self) -> None:
        """Start to count again."""
        self._steps = MOST_STEPS


class Series(ABC):
    """Strictly ascending instants, without duplicates."""

    __slots__ = ()

    @abstractmethod
    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        """The instants of [lo, hi), oldest first, lazily."""

    @abstractmethod
    def descending(self, lo: int, hi: int) -> Iterator[int]:
        """The instants of [lo, hi), newest first, lazily."""

    def after(self, instant: int, hi: int = END) -> int | None:
        """The first one strictly later than `instant` and before `hi`; None if there is none."""
        return next(self.ascending(instant + 1, hi), None)

    def count(self, lo: int, hi: int) -> int:
        """How many lie in [lo, hi)."""
        return sum(1 for _ in self.ascending(lo, hi))

    def at_most(self, lo: int, hi: int) -> int:
        """No less than `count`, and cheap: what is filtered out is not looked for."""
        return self.count(lo, hi)

    def marks(self, lo: int, hi: int) -> Marks:
        """The instants of [lo, hi), a day or less, as bits (marks.py)."""
        return marked(self.ascending(lo, hi), lo)


class Steady(Series):
    """Every `step` microseconds from `first`: closed form throughout."""

    __slots__ = ("first", "step")

    def __init__(self, first: int, step: int) -> None:
        self.first = first
        self.step = step

    def _range(self, lo: int, hi: int) -> range:
        behind = max(0, -((self.first - lo) // self.step))
        return range(self.first + behind * self.step, hi, self.step)

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        return iter(self._range(lo, hi))

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        return reversed(self._range(lo, hi))

    def after(self, instant: int, hi: int = END) -> int | None:
        found = first = self.first
        if instant >= first:
            found = instant + self.step - (instant - first) % self.step
        return found if found < hi else None

    def count(self, lo: int, hi: int) -> int:
        run = self._range(lo, hi)
        # len() of a range stops at sys.maxsize; this arithmetic does not.
        return max(0, -((run.start - run.stop) // run.step))

    def marks(self, lo: int, hi: int) -> Marks:
        return marked(self._range(lo, hi), lo)

    def common(self, other: Steady) -> Steady | None:
        """The instants that both have, which are steady too; None if there are none."""
        divisor = gcd(self.step, other.step)
        apart = other.first - self.first
        if apart % divisor:
            return None
        step = self.step // divisor * other.step
        turns = apart // divisor * pow(self.step // divisor, -1, other.step // divisor)
        first = self.first + turns * self.step
        start = max(self.first, other.first)
        return Steady(start + (first - start) % step, step)


class Listed(Series):
    """Given instants."""

    __slots__ = ("instants",)

    def __init__(self, instants: Sequence[int]) -> None:
        self.instants = sorted(set(instants))

    def _slice(self, lo: int, hi: int) -> list[int]:
        return self.instants[bisect_left(self.instants, lo) : bisect_left(self.instants, hi)]

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        return iter(self._slice(lo, hi))

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        return reversed(self._slice(lo, hi))

    def count(self, lo: int, hi: int) -> int:
        return max(0, bisect_left(self.instants, hi) - bisect_left(self.instants, lo))


class Clipped(Series):
    """The instants of `inner` inside [lo, hi)."""

    __slots__ = ("hi", "inner", "lo")

    def __init__(self, inner: Series, lo: int, hi: int) -> None:
        self.inner = inner
        self.lo = lo
        self.hi = hi

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        lo, hi = max(lo, self.lo), min(hi, self.hi)
        return self.inner.ascending(lo, hi) if lo < hi else iter(())

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        lo, hi = max(lo, self.lo), min(hi, self.hi)
        return self.inner.descending(lo, hi) if lo < hi else iter(())

    def after(self, instant: int, hi: int = END) -> int | None:
        return self.inner.after(max(instant, self.lo - 1), min(hi, self.hi))

    def count(self, lo: int, hi: int) -> int:
        lo, hi = max(lo, self.lo), min(hi, self.hi)
        return self.inner.count(lo, hi) if lo < hi else 0

    def at_most(self, lo: int, hi: int) -> int:
        lo, hi = max(lo, self.lo), min(hi, self.hi)
        return self.inner.at_most(lo, hi) if lo < hi else 0

    def marks(self, lo: int, hi: int) -> Marks:
        whole = self.lo <= lo and hi <= self.hi
        return self.inner.marks(lo, hi) if whole else super().marks(lo, hi)


def unclipped(series: Series) -> tuple[Series, int, int]:
    """What is inside the bounds of `series`, and the bounds [lo, hi)."""
    lo, hi = FIRST, END
    while isinstance(series, Clipped):
        lo, hi = max(lo, series.lo), min(hi, series.hi)
        series = series.inner
    return series, lo, hi


_WALKED_TO_END = 64
"""How many instants are walked at the end of a search by halves."""


class Limited(Series):
    """The first `limit` instants of `inner` at or after `start`."""

    __slots__ = ("_clear", "_counted", "_end", "inner", "limit", "start")

    def __init__(self, inner: Series, start: int, limit: int) -> None:
        self.inner = inner
        self.start = start
        self.limit = limit
        # (instant, how many came before it): where the last count ended, to go on from there.
        self._counted = (start, 0)
        # (instant, no less than came before it), below the limit.
        self._clear = (start, 0)
        self._end: int | None = None

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        lo = max(lo, self.start)
        if not self._is_left(lo):
            return
        # As many as are left for certain; only who takes them all needs the exact number.
        clear_until, bound = self._clear
        sure = self.limit - (bound if lo <= clear_until else self._used(lo))
        for instant in islice(self.inner.ascending(lo, hi), min(sure, sys.maxsize)):
            yield instant
            lo = instant + 1
        rest = self.limit - self._used(lo)
        yield from islice(self.inner.ascending(lo, hi), min(rest, sys.maxsize))

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        lo, hi = self._bounds(lo, hi)
        return self.inner.descending(lo, hi) if lo < hi else iter(())

    def after(self, instant: int, hi: int = END) -> int | None:
        instant = max(instant, self.start - 1)
        return self.inner.after(instant, hi) if self._is_left(instant + 1) else None

    def count(self, lo: int, hi: int) -> int:
        lo, hi = self._bounds(lo, hi)
        return self.inner.count(lo, hi) if lo < hi else 0

    def marks(self, lo: int, hi: int) -> Marks:
        whole = (lo, hi) == self._bounds(lo, hi)
        return self.inner.marks(lo, hi) if whole else super().marks(lo, hi)

    def _bounds(self, lo: int, hi: int) -> tuple[int, int]:
        """What of [lo, hi) is after the start and before the end of the limit."""
        if not self._is_left(hi) and self._end is not None:
            hi = min(hi, self._end)
        return max(lo, self.start), hi

    def _is_left(self, instant: int) -> bool:
        """Whether some of the limit is left at `instant`.

        A limit that a cheap bound does not reach is not counted: the bound is taken in steps
        that double, and kept, so that walking on asks for it rarely.
        """
        if self._end is not None:
            return instant < self._end
        at, bound = self._clear
        while at < instant:
            until = min(at + max(MINUTE, at - self.start), END)
            bound += self.inner.at_most(at, until)
            if bound >= self.limit:
                return self._used(instant) < self.limit
            at = until if until < END else max(until, instant)
            self._clear = at, bound
        return True

    def _used(self, instant: int) -> int:
        """How many of the limit come before `instant`."""
        if self._end is not None and instant >= self._end:
            return self.limit
        at, used = self._counted
        if instant < at:
            at, used = self.start, 0
        for since, until in _strides(at, instant):
            more = self.inner.count(since, until)
            if used + more >= self.limit:
                self._end = self._cutoff(since, until, self.limit - used)
                return self.limit
            used += more
        self._counted = (max(at, instant), used)
        return used

    def _cutoff(self, lo: int, hi: int, wanted: int) -> int:
        """The instant after the `wanted`th of [lo, hi), which has that many."""
        while wanted > _WALKED_TO_END:
            middle = (lo + hi) // 2
            here = self.inner.count(lo, middle)
            if here >= wanted:
                hi = middle
            else:
                lo, wanted = middle, wanted - here
        return next(islice(self.inner.ascending(lo, hi), wanted - 1, None)) + 1


def _strides(lo: int, hi: int) -> Iterator[tuple[int, int]]:
    """[lo, hi) in windows that double: a count that stops early has not looked far ahead."""
    length = MINUTE
    while lo < hi:
        until = min(lo + length, hi)
        yield lo, until
        lo, length = until, 2 * length


_WALKED_A_DAY = 16
"""How many instants are walked in the time that a day of them takes as bits."""


class Union(Series):
    """The instants of any member."""

    __slots__ = ("members",)

    def __init__(self, members: Sequence[Series]) -> None:
        self.members = members

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        return _distinct(merge(*(member.ascending(lo, hi) for member in self.members)))

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        runs = (member.descending(lo, hi) for member in self.members)
        return _distinct(merge(*runs, reverse=True))

    def after(self, instant: int, hi: int = END) -> int | None:
        first = None
        for member in self.members:
            found = member.after(instant, hi)
            if found is not None:
                first = hi = found
        return first

    def count(self, lo: int, hi: int) -> int:
        steady = [
            (s, since, until)
            for s, since, until in map(unclipped, self.members)
            if isinstance(s, Steady)
        ]
        if len(steady) == len(self.members) <= _MOST_SUBSETS:
            return _count_any(steady, lo, hi)
        counts = [member.count(lo, hi) for member in self.members]
        most = max(counts)
        if (sum(counts) - most) * DAY > _WALKED_A_DAY * (hi - lo):
            return _count_by_days(self, lo, hi)
        # The densest member stays as counted, and only the others are walked.
        others = list(self.members)
        dense = others.pop(counts.index(most))
        walked = _distinct(merge(*(member.ascending(lo, hi) for member in others)))
        return most + sum(1 for at in walked if dense.after(at - 1, at + 1) != at)

    def at_most(self, lo: int, hi: int) -> int:
        return sum(member.at_most(lo, hi) for member in self.members)

    def marks(self, lo: int, hi: int) -> Marks:
        return united([member.marks(lo, hi) for member in self.members])


def _count_by_days(series: Series, lo: int, hi: int) -> int:
    days = ((day, min(day + DAY, hi)) for day in range(lo, hi, DAY))
    return sum(marked_count(series.marks(*day)) for day in days)


_MOST_SUBSETS = 10
"""Members up to which a union of steady ones is counted by its 2**n subsets."""


def _count_any(members: Sequence[tuple[Steady, int, int]], lo: int, hi: int) -> int:
    """How many instants of [lo, hi) any of the members has, by inclusion and exclusion.

    A member is steady and has its own bounds [lo, hi).
    """
    total = 0
    for size in range(1, len(members) + 1):
        sign = 1 if size % 2 else -1
        for (joined, since, until), *others in combinations(members, size):
            common: Steady | None = joined
            since, until = max(lo, since), min(hi, until)
            for other, other_since, other_until in others:
                common = common and common.common(other)
                since, until = max(since, other_since), min(until, other_until)
            if common and since < until:
                total += sign * common.count(since, until)
    return total


class Including(Union):
    """The instants of `inner`, and those of a list."""

    __slots__ = ("added", "inner")

    def __init__(self, inner: Series, added: Listed) -> None:
        super().__init__((inner, added))
        self.inner = inner
        self.added = added

    def count(self, lo: int, hi: int) -> int:
        new = sum(
            1 for at in self.added.ascending(lo, hi) if self.inner.after(at - 1, at + 1) != at
        )
        return self.inner.count(lo, hi) + new


class Intersection(Series):
    """The instants that every member has, found by leaping from member to member."""

    __slots__ = ("members",)

    def __init__(self, members: Sequence[Series]) -> None:
        self.members = members

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        at: int | None = lo - 1
        while at is not None and (at := self._next(at, hi)) is not None:
            yield at

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        search = Search("all")
        while hi > lo:
            newest = hi
            for member in self.members:
                found = next(member.descending(lo, newest), None)
                if found is None:
                    return
                newest = found + 1
            if all(next(m.descending(lo, newest), None) == newest - 1 for m in self.members):
                yield newest - 1
                search.found()
                hi = newest - 1
            else:
                search.step()
                hi = newest

    def after(self, instant: int, hi: int = END) -> int | None:
        return self._next(instant, hi)

    def count(self, lo: int, hi: int) -> int:
        if self.at_most(lo, hi) * DAY <= _WALKED_A_DAY * (hi - lo):
            return super().count(lo, hi)
        return _count_by_days(self, lo, hi)

    def at_most(self, lo: int, hi: int) -> int:
        return min(member.at_most(lo, hi) for member in self.members)

    def marks(self, lo: int, hi: int) -> Marks:
        return shared([member.marks(lo, hi) for member in self.members])

    def _next(self, instant: int, hi: int) -> int | None:
        """The first common instant in (instant, hi)."""
        agreed, search = 0, Search("all")
        candidate, members = instant, self.members
        while True:
            for member in members:
                found = member.after(candidate - 1 if agreed else candidate, hi)
                if found is None:
                    return None
                agreed = agreed + 1 if agreed and found == candidate else 1
                candidate = found
                if agreed == len(members):
                    return candidate
                search.step()


class Without(Series):
    """The instants of `inner` that are not in `removed`."""

    __slots__ = ("inner", "removed")

    def __init__(self, inner: Series, removed: Series) -> None:
        self.inner = inner
        self.removed = removed

    def ascending(self, lo: int, hi: int) -> Iterator[int]:
        def removed(at: int) -> Iterator[int]:
            return self.removed.ascending(at, hi)

        return _difference(self.inner.ascending(lo, hi), removed, lo, 1)

    def descending(self, lo: int, hi: int) -> Iterator[int]:
        def removed(at: int) -> Iterator[int]:
            return self.removed.descending(lo, at + 1)

        return _difference(self.inner.descending(lo, hi), removed, hi - 1, -1)

    def count(self, lo: int, hi: int) -> int:
        return self.inner.count(lo, hi) - Intersection((self.removed, self.inner)).count(lo, hi)

    def at_most(self, lo: int, hi: int) -> int:
        return self.inner.at_most(lo, hi)

    def marks(self, lo: int, hi: int) -> Marks:
        return left(self.inner.marks(lo, hi), self.removed.marks(lo, hi))


def _distinct(stream: Iterator[int]) -> Iterator[int]:
    last = None
    for instant in stream:
        if instant != last:
            yield instant
            last = instant


_NEAR = 8
"""How many removed instants are walked past before the next one is asked for."""


def _difference(
    kept: Iterator[int], removed: Callable[[int], Iterator[int]], first: int, sign: int
) -> Iterator[int]:
    """`kept` without the removed, both ascending (sign 1) or both descending (sign -1).

    `removed(instant)` gives those from `instant` on, itself included; `first` is the earliest
    place of both.
    """
    stream, search = removed(first), Search("except")
    gone = next(stream, None)
    for instant in kept:
        walked = 0
        while gone is not None and (gone - instant) * sign < 0:
            walked += 1
            if walked > _NEAR:
                stream = removed(instant)
            gone = next(stream, None)
        if instant == gone:
            search.step()
        else:
            yield instant
            search.found()
