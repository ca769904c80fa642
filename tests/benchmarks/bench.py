"""How a benchmark measures: two sides do the same work in turns, and a row says what came of it.

The floor is the work done by hand with the bare driver, ours is the product. They alternate, and
change places every run, so that what the machine does besides hits both; the ratio is the median
of the ratios of the runs. Nothing here fails for being slow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from statistics import median
from typing import Any

from scheduler.service import settle_in
from tests.benchmarks.stores import Stores


class Size(StrEnum):
    """How much work: `tiny` shows that a benchmark works, `full` is what the targets are for."""

    TINY = "tiny"
    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is to be: its ratio to the floor, or else its value, at least or at most."""

    bound: float
    is_least: bool
    of_ratio: bool = True

    def is_met(self, *, ratio: float, value: float) -> bool:
        measured = ratio if self.of_ratio else value
        return measured >= self.bound if self.is_least else measured <= self.bound

    def shown(self, unit: str) -> str:
        amount = f"{self.bound:g} of the floor" if self.of_ratio else f"{self.bound:,g} {unit}"
        return f"{'≥' if self.is_least else '≤'} {amount}"


def ratio_at_least(bound: float) -> Target:
    return Target(bound, is_least=True)


def ratio_at_most(bound: float) -> Target:
    return Target(bound, is_least=False)


def at_least(bound: float) -> Target:
    return Target(bound, is_least=True, of_ratio=False)


def at_most(bound: float) -> Target:
    return Target(bound, is_least=False, of_ratio=False)


@dataclass(frozen=True, slots=True)
class Figure:
    """One thing that a run measures; `target` is None where nobody set one."""

    what: str
    unit: str
    target: Target | None = None


@dataclass(frozen=True, slots=True)
class Ran:
    """What one side did in one run: how much of the work, and a value for each figure."""

    count: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, over all runs. `ratio` is ours to the floor, whichever way is the better."""

    benchmark: str
    what: str
    unit: str
    floor: float
    ours: float
    ratio: float
    target: str | None
    is_met: bool | None
    runs: int
    floor_count: int
    count: int
    note: str
    all_floor: tuple[float, ...] = field(repr=False)
    all_ours: tuple[float, ...] = field(repr=False)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


Side = Callable[[], Ran]
"""Prepares what it needs, does the work of one run, and times no more than that."""

Step = Callable[[str, int], None]
"""Told what is being done, and how many runs of both sides it will take."""


class UnequalWorkError(AssertionError):
    """The sides of a comparison did not do the same: it says nothing."""


class Bench:
    """What the benchmarks of one run share: where, how much, how often, and who is told of it."""

    def __init__(
        self,
        stores: Stores,
        size: Size,
        runs: int,
        *,
        began: Step = lambda what, steps: None,
        stepped: Callable[[], None] = lambda: None,
    ) -> None:
        self.stores = stores
        self.size = size
        self.runs = runs
        self._began = began
        self._stepped = stepped

    def sized(self, *, tiny: int, small: int, full: int) -> int:
        """The number for the size at hand."""
        return {Size.TINY: tiny, Size.SMALL: small, Size.FULL: full}[self.size]

    def compare(
        self,
        benchmark: str,
        figures: Sequence[Figure],
        *,
        floor: Side,
        ours: Side,
        note: str = "",
    ) -> Iterator[Row]:
        """A row for each of `figures`. Raises UnequalWorkError if the sides' counts differ."""
        self._began(figures[0].what, 2 * self.runs)
        pairs = [self._pair(floor, ours, is_swapped=run % 2 == 1) for run in range(self.runs)]
        for ran_floor, ran_ours in pairs:
            if ran_floor.count != ran_ours.count:
                raise UnequalWorkError(
                    f"{figures[0].what}: the floor did {ran_floor.count}, ours {ran_ours.count}"
                )
        for place, figure in enumerate(figures):
            all_floor = tuple(ran.values[place] for ran, _ in pairs)
            all_ours = tuple(ran.values[place] for _, ran in pairs)
            ratio = median(ours / floor for floor, ours in zip(all_floor, all_ours, strict=True))
            value, target = median(all_ours), figure.target
            yield Row(
                benchmark=benchmark,
                what=figure.what,
                unit=figure.unit,
                floor=median(all_floor),
                ours=value,
                ratio=ratio,
                target=None if target is None else target.shown(figure.unit),
                is_met=None if target is None else target.is_met(ratio=ratio, value=value),
                runs=self.runs,
                floor_count=pairs[-1][0].count,
                count=pairs[-1][1].count,
                note=note,
                all_floor=all_floor,
                all_ours=all_ours,
            )

    def _pair(self, floor: Side, ours: Side, *, is_swapped: bool) -> tuple[Ran, Ran]:
        sides = [ours, floor] if is_swapped else [floor, ours]
        ran = []
        for side in sides:
            ran.append(side())
            self._stepped()
        first, second = ran
        return (second, first) if is_swapped else (first, second)


@contextmanager
def as_a_service() -> Iterator[None]:
    """In it, what is loaded is put out of the way of the garbage collector, as a service does."""
    undo = settle_in()
    try:
        yield
    finally:
        undo()
