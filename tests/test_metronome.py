"""The one place that waits: duties are called when they ask to be, and never at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial

import pytest

from scheduler import clock
from scheduler.errors import StorageUnavailable
from scheduler.metronome import Metronome, Tick, within
from scheduler.testing.values import HOUR, MINUTE, NOON

WAIT = 30

Begin = Callable[..., Metronome]
Answer = Callable[[datetime], datetime | None]


@pytest.fixture(autouse=True)
def unasked_calls_are_far(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test waits for has a cause: the call that comes in any case is an hour away."""
    monkeypatch.setattr("scheduler.metronome.LONGEST_WAIT", HOUR)


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Starts a metronome, stopped after the test."""
    begun: list[Metronome] = []

    def start(**duties: Tick) -> Metronome:
        metronome = Metronome(duties)
        begun.append(metronome)
        metronome.start()
        return metronome

    yield start
    for metronome in begun:
        metronome.stop()


class Calls:
    """The instants of the calls of a duty, which can be waited for."""

    def __init__(self, *answers: Answer) -> None:
        self.at: list[datetime] = []
        self._answers = list(answers)
        self._arrived = threading.Semaphore(0)

    def __call__(self, now: datetime) -> datetime | None:
        self.at.append(now)
        self._arrived.release()
        return self._answers.pop(0)(now) if self._answers else None

    def wait(self, number: int = 1) -> None:
        for _ in range(number):
            assert self._arrived.acquire(timeout=WAIT)


class Held:
    """A call that, once begun, goes on until it is let go."""

    def __init__(self, answer: Answer = lambda now: None) -> None:
        self._answer = answer
        self._begun, self._go_on = threading.Event(), threading.Event()

    def __call__(self, now: datetime) -> datetime | None:
        self._begun.set()
        assert self._go_on.wait(WAIT)
        return self._answer(now)

    def wait(self) -> None:
        assert self._begun.wait(WAIT)

    def let_go(self) -> None:
        self._go_on.set()


def raises(error: Exception) -> Answer:
    def answer(now: datetime) -> datetime | None:
        raise error

    return answer


def test_a_duty_is_called_at_once_and_then_when_it_asks(begin: Begin) -> None:
    """To the instant, never before it."""
    pause = timedelta(milliseconds=80)
    calls = Calls(lambda now: now + pause, lambda now: now + pause)
    begin(duty=calls)
    calls.wait(3)
    first, second, third = calls.at
    assert second - first >= pause
    assert third - second >= pause


def test_a_duty_that_has_more_to_do_is_called_again_at_once(begin: Begin) -> None:
    """Without a wait in between."""
    calls = Calls(*[lambda now: now] * 50)
    begin(duty=calls)
    calls.wait(51)


def test_waking_calls_a_duty_now(begin: Begin) -> None:
    """Though it asked for much later."""
    calls = Calls(lambda now: now + timedelta(hours=1))
    metronome = begin(duty=calls)
    calls.wait()
    metronome.wake("duty")
    calls.wait()


def test_waking_an_unknown_duty_does_nothing(begin: Begin) -> None:
    """The queue wakes an expander that may not be its own."""
    begin().wake("nobody")


def test_a_duty_woken_while_it_runs_is_called_once_more(begin: Begin) -> None:
    """What woke it may have come too late for the call under way."""
    held = Held()
    calls = Calls(held)
    metronome = begin(duty=calls)
    held.wait()
    for _ in range(10):
        metronome.wake("duty")
    assert len(calls.at) == 1
    held.let_go()
    calls.wait(2)
    assert len(calls.at) == 2


def test_a_duty_is_never_called_twice_at_once(begin: Begin) -> None:
    """However often and from wherever it is woken; and nothing is lost."""
    inside = threading.Semaphore(1)
    overlaps, go_on = threading.Event(), threading.Event()
    calls = Calls()

    def duty(now: datetime) -> datetime | None:
        if not inside.acquire(blocking=False):
            overlaps.set()
            return None
        calls(now)
        go_on.wait(0.002)  # long enough to be woken in the middle of it
        inside.release()
        return None

    metronome = begin(duty=duty)

    def wake_often() -> None:
        for _ in range(300):
            metronome.wake("duty")

    wakers = [threading.Thread(target=wake_often) for _ in range(4)]
    for waker in wakers:
        waker.start()
    for waker in wakers:
        waker.join()
    before = clock.now()
    metronome.wake("duty")
    while not calls.at or calls.at[-1] < before:
        calls.wait()
    assert not overlaps.is_set()


def test_a_wake_up_and_an_alarm_that_meet_are_one_call(begin: Begin) -> None:
    """And where a call is under way, it is the one after it."""
    held = Held()
    calls = Calls(held)
    metronome = begin(duty=calls)
    held.wait()
    metronome.duties["duty"].wake()
    metronome.duties["duty"].ring()
    held.let_go()
    while len(calls.at) < 2:
        calls.wait()
    metronome.duties["duty"].stop()
    assert metronome.duties["duty"].wait(WAIT)
    assert len(calls.at) == 2


def test_one_duty_does_not_wait_for_another(begin: Begin) -> None:
    """A store that is slow for one is no reason to keep the other waiting."""
    slow, quick = Held(), Calls()
    begin(slow=slow, quick=quick)
    quick.wait()
    slow.let_go()


@pytest.mark.parametrize("error", [StorageUnavailable("refused"), ZeroDivisionError()], ids=repr)
def test_a_duty_that_raises_is_called_again(begin: Begin, error: Exception) -> None:
    """After a pause; meanwhile its error is there for the health check, afterwards it is not."""
    recovery = Held(lambda now: now)
    calls = Calls(raises(error), recovery)
    metronome = begin(duty=calls)
    recovery.wait()
    assert metronome.duties["duty"].error is error
    assert calls.at[1] - calls.at[0] >= timedelta(milliseconds=200)
    recovery.let_go()
    calls.wait(3)
    assert metronome.duties["duty"].error is None


def test_stopping_waits_for_the_call_under_way() -> None:
    """And then nothing is called any more."""
    held = Held(lambda now: now)
    calls = Calls(held)
    metronome = Metronome({"duty": calls})
    metronome.start()
    held.wait()
    stopper = threading.Thread(target=metronome.stop)
    stopper.start()
    assert stopper.is_alive()
    held.let_go()
    stopper.join(timeout=WAIT)
    assert not stopper.is_alive()
    metronome.wake("duty")
    assert len(calls.at) <= 2


def test_a_call_that_does_not_return_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    """After the patience, and with a warning; nobody waits for its thread, not even Python."""
    held, well = Held(), Calls()
    metronome = Metronome({"hung": held, "well": well})
    metronome.start()
    held.wait()
    well.wait()
    assert metronome.stop(timedelta(seconds=0.2)) == ["hung"]
    assert "left behind" in caplog.text
    hung = [each for each in threading.enumerate() if each.name == "scheduler-hung"]
    assert [each.daemon for each in hung] == [True]
    held.let_go()


def test_an_answer_is_waited_for_as_long_as_there_is_patience() -> None:
    """What is said in time comes back, errors included; silence is a store that is not there."""
    answer = threading.Event()
    assert within(MINUTE, lambda: 7) == 7
    with pytest.raises(TimeoutError, match="mine"):
        within(MINUTE, partial(raises(TimeoutError("mine")), NOON))
    with pytest.raises(StorageUnavailable, match=r"nothing for 0 s"):
        within(timedelta(0), answer.wait)
    answer.set()


def test_it_can_be_stopped_at_any_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not least while a duty is being handed over; no thread dies of it."""
    deaths: list[object] = []
    monkeypatch.setattr(threading, "excepthook", deaths.append)
    for _ in range(150):
        metronome = Metronome({"duty": lambda now: None})
        metronome.start()

        def wake_often(metronome: Metronome = metronome) -> None:
            for _ in range(20):
                metronome.wake("duty")

        waker = threading.Thread(target=wake_often)
        waker.start()
        metronome.stop()
        waker.join()
    assert deaths == []
