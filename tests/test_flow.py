"""What limits let through."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.errors import InvalidOption
from scheduler.flow import FlowKey, Limit, Rate, admit, rate_of
from scheduler.model import Job

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def jobs(*names: str) -> list[Job]:
    """Jobs called `mail` or, of a key, `mail/acme`."""
    made = []
    for place, each in enumerate(names):
        name, _, key = each.partition("/")
        job_id = f"{place}:{each}"
        made.append(
            Job(
                id=job_id,
                name=name,
                concurrency_key=key or None,
                created_at=NOON,
                scheduled_at=NOON,
            )
        )
    return made


def admitted(given: list[Job], n: int = 10, **state: Any) -> list[str]:
    state = {"limits": {}, "running": {}, "starts": {}, "now": NOON, **state}
    return [job.id for job in admit(given, n, **state).jobs]


def test_what_has_no_limit_is_taken_in_order_up_to_the_number() -> None:
    assert admitted(jobs("a", "b", "c"), 2) == ["0:a", "1:b"]


def test_as_many_run_at_a_time_as_the_limit_says() -> None:
    """Those that are processing count, and those that are taken now."""
    given, limits = jobs("a", "a", "b", "a"), {"a": Limit(concurrency=2)}
    assert admitted(given, limits=limits) == ["0:a", "1:a", "2:b"]
    assert admitted(given, limits=limits, running={("a", None): 1}) == ["0:a", "2:b"]
    assert admitted(given, limits=limits, running={("a", None): 5}) == ["2:b"]


def test_each_key_is_counted_on_its_own() -> None:
    given, limits = jobs("a/x", "a/x", "a/y", "a"), {"a": Limit(concurrency=1)}
    assert admitted(given, limits=limits) == ["0:a/x", "2:a/y", "3:a"]
    assert admitted(given, limits=limits, running={("a", "x"): 1}) == ["2:a/y", "3:a"]


def test_a_rate_holds_in_any_stretch_of_time() -> None:
    """What was started exactly so long ago counts no more."""
    limits = {"a": Limit(rate=Rate(2, 60 * SECOND))}
    starts: dict[FlowKey, tuple[datetime, ...]] = {
        ("a", None): (NOON - 60 * SECOND, NOON - 59 * SECOND)
    }
    found = admit(jobs("a", "a"), 10, limits=limits, running={}, starts=starts, now=NOON)
    assert [job.id for job in found.jobs] == ["0:a"]
    assert found.starts == {("a", None): (NOON - 59 * SECOND, NOON)}


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("10/m", 10, 60), ("1/s", 1, 1), (" 5 / 2h ", 5, 7200), ("1000/d", 1000, 86_400)],
)
def test_a_rate_is_written_as_a_number_per_time(text: str, count: int, seconds: int) -> None:
    assert rate_of("rate", text) == Rate(count, timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["", "10", "0/m", "1001/m", "m/10", "10/0m", "1/9999d", 10, None])
def test_what_is_no_rate_is_refused(text: object) -> None:
    with pytest.raises(InvalidOption, match=r"^rate:"):
        rate_of("rate", text)
