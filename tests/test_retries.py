"""When a failed attempt is followed by another."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from scheduler.errors import InvalidOption
from scheduler.registry import define
from scheduler.retries import DEFAULT_BACKOFF, DEFAULT_POLICY, Exponential, RetryPolicy

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("retry_count", "seconds"),
    [(1, 1), (2, 2), (3, 4), (4, 8), (11, 1024), (12, 2048), (13, 3600), (10**9, 3600)],
)
def test_waits_double_up_to_an_hour(retry_count: int, seconds: int) -> None:
    """1 s, 2 s, 4 s, …, and never overflow; without jitter exactly so."""
    assert Exponential(jitter=0).wait(retry_count, "a") == timedelta(seconds=seconds)


def test_jobs_that_failed_together_do_not_come_back_together() -> None:
    """A wait is prolonged by up to a tenth, by the job and the retry alone."""
    waits = [DEFAULT_POLICY.wait(3, f"job-{n}") for n in range(1000)]
    assert waits == [DEFAULT_POLICY.wait(3, f"job-{n}") for n in range(1000)]
    assert 4 * SECOND <= min(waits) < 4.01 * SECOND
    assert 4.39 * SECOND < max(waits) < 4.4 * SECOND
    assert len(set(waits)) > 990


def test_a_list_goes_on_with_its_last_wait() -> None:
    policy = RetryPolicy(backoff=(SECOND, 5 * SECOND))
    assert [policy.wait(n, "a") for n in (1, 2, 3, 99)] == [SECOND, *[5 * SECOND] * 3]


@pytest.mark.parametrize("given", [7, 7.0, timedelta(seconds=7)])
def test_a_function_says_seconds_or_a_duration(given: float | timedelta) -> None:
    assert RetryPolicy(backoff=lambda n: given).wait(1, "a") == 7 * SECOND


def test_no_wait_is_below_zero() -> None:
    assert RetryPolicy(backoff=lambda n: -n).wait(1, "a") == timedelta(0)


@pytest.mark.parametrize(
    "backoff", [lambda n: 1 / 0, lambda n: "soon", lambda n: float("inf"), lambda n: None]
)
def test_a_broken_backoff_loses_no_outcome(backoff: Callable[[int], Any]) -> None:
    """The default one is taken in its place."""
    policy = RetryPolicy(backoff=backoff)
    assert policy.wait(3, "a") == DEFAULT_BACKOFF.wait(3, "a")


@pytest.mark.parametrize(
    ("policy", "error", "is_final"),
    [
        (RetryPolicy(), ValueError(), False),
        (RetryPolicy(), SystemExit(), True),
        (RetryPolicy(retry_on=OSError), TimeoutError(), False),
        (RetryPolicy(retry_on=OSError), ValueError(), True),
        (RetryPolicy(give_up_on=(KeyError, ValueError)), ValueError(), True),
        (RetryPolicy(retry_on=LookupError, give_up_on=KeyError), KeyError(), True),
        (RetryPolicy(retry_on=LookupError, give_up_on=KeyError), IndexError(), False),
    ],
)
def test_what_is_raised_decides(policy: RetryPolicy, error: BaseException, is_final: bool) -> None:
    assert policy.is_final(error) is is_final


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (Exponential(factor=1e20), "factor: 1e+20 is not a number from 1 to 1000"),
        (Exponential(factor=float("nan")), "factor: nan is not a number"),
        (Exponential(jitter=-1), "jitter: -1 is not a number from 0 to 1"),
        (Exponential(first=timedelta(-1)), "first: -86400 is not a number of seconds from 0"),
        (Exponential(longest=timedelta.max), "longest: 8.64e+13 is not a number of seconds"),
    ],
)
def test_a_formula_without_a_wait_is_refused(formula: Exponential, said: str) -> None:
    """Where it is declared: whoever writes an outcome, or rescues a job, has to have its wait."""
    with pytest.raises(InvalidOption, match=re.escape(said)):
        define(lambda: None, name="work", backoff=formula)


def test_a_formula_may_be_given_in_seconds() -> None:
    """As every other duration."""
    formula: Any = Exponential(first=5, longest=8, jitter=0)  # type: ignore[arg-type]
    policy = define(lambda: None, name="work", backoff=formula).retries
    assert [policy.wait(n, "a") for n in (1, 2)] == [5 * SECOND, 8 * SECOND]


def test_an_id_of_any_text_has_its_wait() -> None:
    """A lone surrogate, which UTF-8 has no bytes for, included."""
    assert Exponential().wait(1, "\ud800") >= timedelta(seconds=1)
