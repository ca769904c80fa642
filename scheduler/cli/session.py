"""What a command works on: its settings, its store, and what the job modules declare."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.queue import JobQueue
    from scheduler.schedules import Schedules
    from scheduler.settings import Settings
    from scheduler.storage import JobStorage


def settings_of(**given: Any) -> Settings:
    """The settings, with what was `given` on the command line over the environment's."""
    from scheduler.settings import read_settings

    return read_settings(**given)


def storage_of(settings: Settings) -> JobStorage:
    """The store of these settings, opened and of this version."""
    from scheduler.storage import open_storage

    return open_storage(settings.database)


@contextmanager
def schedules_with(name: str, settings: Settings) -> Iterator[Schedules]:
    """The schedules of the store; where `name` is none of them, those that the code declares."""
    from scheduler.errors import UnknownName
    from scheduler.queue import JobQueue

    with storage_of(settings) as storage:
        schedules = JobQueue(storage, default_timezone=settings.default_timezone).schedules
        known = {each.name for each in schedules.all()}
        if name in known:
            yield schedules
            return
    queue = queue_of(settings)
    declared = {change.after.name for change in queue.declare()}
    if name not in declared:
        raise UnknownName("schedule", name, known | declared)
    yield queue.schedules


def queue_of(settings: Settings, storage: JobStorage | None = None) -> JobQueue:
    """A queue with what the job modules declare, on `storage` (None: in memory); not started."""
    from scheduler.queue import JobQueue
    from scheduler.registry import discover
    from scheduler.storage.memory import MemoryStorage

    return JobQueue(
        MemoryStorage() if storage is None else storage,
        registry=discover(settings.modules),
        name=settings.queue or "default",
        max_retries=settings.max_retries,
        default_timezone=settings.default_timezone,
    )
