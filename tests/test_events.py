"""Listeners: told in order, by name, and never in each other's way."""

from __future__ import annotations

import pytest

from scheduler.errors import UnknownName
from scheduler.events import Event, EventName, Events
from scheduler.testing.values import NOON


@pytest.mark.parametrize("name", EventName)
def test_a_listener_hears_its_own_event_only(name: EventName) -> None:
    """By its name as text or as EventName."""
    events = Events()
    heard: list[Event] = []
    events.add_listener(name.value, heard.append)
    for each in EventName:
        events.emit(Event(each, NOON))
    assert heard == [Event(name, NOON)]


def test_listeners_are_told_in_the_order_they_were_added() -> None:
    """A listener added twice hears twice."""
    events = Events()
    trail: list[str] = []
    first, second = (lambda _: trail.append("first")), (lambda _: trail.append("second"))
    for listener in (first, second, first):
        events.add_listener("failed", listener)
    events.emit(Event(EventName.FAILED, NOON))
    assert trail == ["first", "second", "first"]


def test_a_listener_that_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And the next one is told."""
    events = Events()
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise RuntimeError("no ear")

    events.add_listener("failed", broken)
    events.add_listener("failed", heard.append)
    events.emit(Event(EventName.FAILED, NOON))
    assert len(heard) == 1
    assert "no ear" in caplog.text


def test_a_listener_may_change_who_listens() -> None:
    """From the next event on."""
    events = Events()
    heard: list[Event] = []

    def once(event: Event) -> None:
        events.remove_listener("failed", once)
        events.add_listener("failed", heard.append)

    events.add_listener("failed", once)
    events.emit(Event(EventName.FAILED, NOON))
    assert heard == []
    events.emit(Event(EventName.FAILED, NOON))
    assert len(heard) == 1


def test_an_unknown_event_is_refused() -> None:
    """With the one that was meant."""
    with pytest.raises(UnknownName, match="did you mean 'completed'"):
        Events().add_listener("complete", print)
    with pytest.raises(UnknownName, match="event"):
        Events().remove_listener("complete", print)
