"""What happened, told to whoever listens, after it was committed.

A listener that raises is logged and does no harm to the job or to other listeners.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from scheduler.errors import UnknownName
from scheduler.logs import logger
from scheduler.model import Job, JsonObject

log = logger(__name__)


class EventName(StrEnum):
    """Every event there is."""

    SCHEDULED = "scheduled"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    RETRYING = "retrying"
    SKIPPED = "skipped"
    CANCELLED = "cancelled"
    RELEASED = "released"
    RESCUED = "rescued"
    LEASE_LOST = "lease-lost"
    CLOCK_JUMPED = "clock-jumped"
    BUFFER_REFILL_SUCCESS = "buffer-refill-success"
    POLLING_INTERVAL_UPDATED = "polling-interval-updated"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened at `at`; `job` as it stands after it, None if it is about none."""

    name: EventName
    at: datetime
    job: Job | None = None
    detail: JsonObject = field(default_factory=dict)


Listener = Callable[[Event], Any]


class Events:
    """Listeners by event name."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[EventName, tuple[Listener, ...]] = {}
        """Of each event those that there are, anew with each change: who tells locks nothing."""

    def add_listener(self, name: str, listener: Listener) -> None:
        """Call `listener` on every event of this name. Raises UnknownName if there is none."""
        event = _event_name(name)
        with self._lock:
            self._listeners[event] = (*self._listeners.get(event, ()), listener)

    def remove_listener(self, name: str, listener: Listener) -> None:
        """Call `listener` no more; nothing happens if it was not there."""
        event = _event_name(name)
        with self._lock:
            listeners = list(self._listeners.get(event, ()))
            if listener in listeners:
                listeners.remove(listener)
            self._listeners[event] = tuple(listeners)

    def tell(self, name: EventName, at: datetime, job: Job | None = None, **detail: Any) -> None:
        """Emit an event, which is made only if somebody listens."""
        if self._listeners.get(name):
            self.emit(Event(name, at, job, detail))

    def tell_each(self, name: EventName, at: datetime, jobs: Iterable[Job]) -> None:
        """The same for each of `jobs`."""
        if self._listeners.get(name):
            for job in jobs:
                self.emit(Event(name, at, job))

    def emit(self, event: Event) -> None:
        """Tell every listener of this event, in the order they were added."""
        for listener in self._listeners.get(event.name, ()):
            try:
                listener(event)
            except Exception:
                log.exception("listener raised", event_name=event.name, listener=repr(listener))


def _event_name(name: str) -> EventName:
    try:
        return EventName(name)
    except ValueError:
        raise UnknownName("event", name, [each.value for each in EventName]) from None
