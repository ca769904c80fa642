"""The soak, short: SCHEDULER_SOAK=60000 is the whole of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.checker import Verdict
from tests.faults.nursery import Nursery
from tests.faults.soak import MOST_GROWTH, slope, soak

NUMBER = int(os.environ.get("SCHEDULER_SOAK", "20000"))

pytestmark = pytest.mark.timeout(300 + NUMBER // 20)


def test_occurrences_as_fast_as_it_goes_with_a_service_killed_every_second(
    store: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """None is lost or enqueued twice, and the memory of the service that lives on is flat."""
    soaked = soak(nursery, tmp_path / "crew", store, NUMBER)
    print(*soaked.lines(), sep="\n")
    assert soaked.killed > 0
    assert soaked.verdict.expected == NUMBER
    hold(soaked.verdict)
    assert soaked.growth <= MOST_GROWTH


def test_the_slope_is_that_of_the_line_that_fits_best() -> None:
    assert slope([(0, 1.0), (1, 3.0), (2, 5.0)]) == 2.0
    assert slope([(0, 0.0), (1, 1.0), (2, 0.0), (3, 1.0)]) == pytest.approx(0.2)
    assert slope([(5, 1.0), (5, 9.0)]) == 0.0
