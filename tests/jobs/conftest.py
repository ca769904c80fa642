"""What tests of the example jobs need: a directory of their own, and a service in frozen time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from scheduler import Job, JobContext, JobQueue
from scheduler.registry import marks

DATABASE = "sqlite:///scheduler.db"


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and settings that are all the default."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SCHEDULER_DATABASE", DATABASE)
    return tmp_path


@pytest.fixture
def context() -> JobContext:
    """What a handler is given when its job was enqueued by hand."""
    now = datetime(2026, 3, 28, 12, tzinfo=UTC)
    return JobContext(Job(id="by-hand", name="example", created_at=now, scheduled_at=now))


@dataclass(frozen=True)
class Service:
    """The queue, expander and executor of one process, on SQLite, in frozen time."""

    queue: JobQueue
    clock: FrozenDateTimeFactory

    def run_until(self, end: str) -> None:
        """Let time pass up to and including `end`, stopping wherever something is due."""
        until = datetime.fromisoformat(end)
        while True:
            now = datetime.now(UTC)
            next_at = self.queue.expander.tick(now)
            self.queue.executor.run_until_idle(now)
            if now >= until:
                return
            due = [next_at, self.queue.storage.next_job_at()]
            self.clock.move_to(min([until, *(moment for moment in due if moment is not None)]))

    def runs(self, name: str) -> list[Job]:
        """Every job of this name, oldest first."""
        return self.queue.storage.list_jobs(name=name)[::-1]


@pytest.fixture
def service() -> Iterator[Callable[[str, ModuleType], Service]]:
    """Starts a service that runs the jobs of one module, at an instant."""
    queue = JobQueue(DATABASE)
    with freeze_time() as clock:
        assert isinstance(clock, FrozenDateTimeFactory)

        def start(instant: str, module: ModuleType) -> Service:
            queue.register_marked(*(value for value in vars(module).values() if marks(value)))
            clock.move_to(instant)
            queue.declare()
            return Service(queue, clock)

        yield start
    queue.storage.close()
