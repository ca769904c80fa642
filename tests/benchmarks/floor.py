"""The floor: the product's work done by hand, as fast as the bare driver and hand-written SQL go.

On the product's own tables, and as durable: what a method does is committed when it returns. What
the product promises beyond that (fencing by token aside, which the SQL keeps) is left out. A Floor
belongs to one connection and one thread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, NamedTuple

JOB_COLUMNS = (
    "id, name, data, status, created_at, scheduled_at, queue, priority, max_retries, retry_count, "
    "origin, missed_before, serial"
)
"""Those of a job that was enqueued by hand; the others are NULL."""

OCCURRENCE_COLUMNS = (
    f"{JOB_COLUMNS}, timeout, repeat, schedule_id, occurrence_at, sequence, previous_occurrence_at"
)

LIVE = "status IN ('active', 'paused')"
TTL = timedelta(minutes=1)
JOB_NAME = "work"
CHANNEL = "floor"


class Taken(NamedTuple):
    """A job, leased: what calling its handler needs."""

    id: str
    name: str
    data: Any
    scheduled_at: Any


class Floor(ABC):
    """What the bare driver does by hand; one subclass for each database."""

    insert: ClassVar[str]
    """Inserts one job and, where that is done, announces it."""
    key: ClassVar[str]
    """How a statement names its parameter `{}`."""

    @abstractmethod
    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        """The rows of one statement, which is a transaction of its own."""

    @abstractmethod
    def at(self, moment: datetime) -> Any:
        """`moment` as the driver takes it for a column of the product's."""

    @abstractmethod
    def moment(self, stored: Any) -> datetime:
        """What `at` made of a moment, as a moment."""

    @abstractmethod
    def load(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert `rows` in one transaction, by the fastest way there is."""

    @abstractmethod
    def cycle(self, n: int, ended: Sequence[str], token: str, now: datetime) -> list[Taken]:
        """Complete the jobs `ended`, held under `token`; up to `n` due ones, leased under it."""

    @abstractmethod
    def expand(self, now: datetime, period: timedelta) -> int:
        """Queue a job for every schedule due at `now`, and move each on by `period`; how many."""

    @abstractmethod
    def close(self) -> None:
        """Let go of the connection."""

    # --- what is the same by hand everywhere ------------------------------------------------

    def enqueue(self, job_id: str, now: datetime) -> None:
        """One job, due at once."""
        self.execute(self.insert, {"id": job_id, "now": self.at(now), "name": JOB_NAME})

    def enqueue_all(self, n: int, now: datetime, *, job_name: str = JOB_NAME) -> None:
        """`n` jobs, due at once, in one transaction."""
        at = self.at(now)
        rest = ("{}", "pending", at, at, "default", 0, 3, 0, "added", 0, False)
        rows = [(f"{place:032x}", job_name, *rest) for place in range(n)]
        self.load("jobs", JOB_COLUMNS.split(", "), rows)

    def take(self, n: int, token: str, now: datetime) -> list[Taken]:
        """Up to `n` due jobs, leased."""
        return self.cycle(n, [], token, now)

    def next_schedule_at(self) -> datetime | None:
        """When the next schedule is due: the one thing an idle expander has to ask."""
        found = self.execute(
            f"SELECT next_at FROM schedules WHERE {LIVE} AND next_at IS NOT NULL"
            " ORDER BY next_at LIMIT 1"
        )
        return self.moment(found[0][0]) if found else None

    def next_job_at(self) -> datetime | None:
        """When the next job is due: the one thing an idle executor has to ask."""
        found = self.execute(
            "SELECT scheduled_at FROM jobs WHERE status = 'pending' ORDER BY scheduled_at LIMIT 1"
        )
        return self.moment(found[0][0]) if found else None

    def count(self, table: str, where: str = "1 = 1") -> int:
        """How many rows of `table` there are."""
        return int(self.execute(f"SELECT count(*) FROM {table} WHERE {where}")[0][0])
