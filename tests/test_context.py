"""What a handler is told when its outcome is no longer wanted."""

from __future__ import annotations

import pytest

from scheduler.context import JobContext
from scheduler.testing.values import a_job


@pytest.fixture
def ctx() -> JobContext:
    return JobContext(a_job())


def test_a_cancellation_is_told_once_to_everyone_who_asked(ctx: JobContext) -> None:
    """At once, in the order asked; a second one says nothing new."""
    told: list[str] = []
    with ctx.on_cancel(lambda: told.append("a")), ctx.on_cancel(lambda: told.append("b")):
        said = [ctx.cancelled]
        for _ in range(2):
            ctx.cancel()
            said.append(ctx.cancelled)
    assert told == ["a", "b"]
    assert said == [False, True, True]


def test_who_asks_late_is_told_at_once(ctx: JobContext) -> None:
    """So that no cancellation falls between."""
    told: list[str] = []
    ctx.cancel()
    with ctx.on_cancel(lambda: told.append("late")):
        assert told == ["late"]


def test_after_the_block_nobody_is_told(ctx: JobContext) -> None:
    """Also where it is left by an exception."""
    told: list[str] = []
    with pytest.raises(KeyError), ctx.on_cancel(lambda: told.append("never")):
        raise KeyError
    ctx.cancel()
    assert told == []


def test_what_the_told_raise_harms_nobody(
    ctx: JobContext, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the others are told."""
    told: list[str] = []

    def broken() -> None:
        raise ValueError("broken")

    with ctx.on_cancel(broken), ctx.on_cancel(lambda: told.append("told")):
        ctx.cancel()
    assert told == ["told"]
    assert "on_cancel raised" in caplog.text
