"""What the tests of rules share: occurrences as short ISO texts, and the two clocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import freezegun
import pytest

from scheduler.rules import Rule, occurrences

Instants = Callable[..., list[str]]


def short(at: datetime) -> str:
    """An instant as 2024-03-10T07:30Z; seconds and microseconds only where there are any."""
    assert at.utcoffset() is not None
    assert at.tzinfo is UTC
    wall = at.replace(tzinfo=None)
    text = wall.isoformat()
    return (text.removesuffix(":00") if not wall.second and not wall.microsecond else text) + "Z"


@pytest.fixture
def instants() -> Instants:
    """The occurrences of [start, end) as short texts, at most `first` of them."""

    def listed(
        rule: Rule | Mapping[str, Any],
        start: str = "2024-01-01T00:00",
        end: str = "2034-01-01T00:00",
        timezone: str = "UTC",
        first: int = 100,
    ) -> list[str]:
        return [short(at) for at in islice(occurrences(rule, start, end, timezone), first)]

    return listed


@pytest.fixture(params=["running", "frozen"])
def clock(request: pytest.FixtureRequest) -> Iterator[str]:
    """The test once in real time and once frozen, where datetime itself is replaced."""
    if request.param == "frozen":
        with freezegun.freeze_time("2024-11-03T05:45:00Z"):
            yield request.param
    else:
        yield request.param
