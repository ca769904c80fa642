"""What a handler may know of the job it runs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.logs import logger
from scheduler.model import Job

if TYPE_CHECKING:
    from structlog.stdlib import BoundLogger


@dataclass(frozen=True, slots=True)
class JobContext:
    """Given to a handler's parameter that is annotated `JobContext`.

    `attempt` counts from 1. `occurrence_at` is the nominal instant the job stands for, None if
    no schedule made it. `deadline` is when the attempt times out, None without a timeout.
    """

    job: Job
    deadline: datetime | None = None
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def attempt(self) -> int:
        return self.job.retry_count + 1

    @property
    def occurrence_at(self) -> datetime | None:
        return self.job.occurrence_at

    @property
    def previous_occurrence_at(self) -> datetime | None:
        """The occurrence of the series' previous job; None for the first, or without a schedule.

        A handler that works on an interval of data takes [this, `occurrence_at`).
        """
        return self.job.previous_occurrence_at

    @property
    def cancelled(self) -> bool:
        """Whether the outcome of this attempt is no longer wanted; a long handler asks often.

        True once the attempt has run past its deadline, has lost its lease, or the executor
        is going down.
        """
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Tell the handler that its outcome is no longer wanted."""
        self._cancelled.set()

    @property
    def log(self) -> BoundLogger:
        """A logger that names the job on every line."""
        named = logger("scheduler.job")
        return named.bind(job=self.job.name, id=self.job.id, attempt=self.attempt)

    def progress(self, fraction: float, note: str = "") -> None:
        """Log how far the job has come: `fraction` from 0 to 1, and a word about it."""
        self.log.info("progress", fraction=round(fraction, 3), note=note)
