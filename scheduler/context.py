"""What a handler may know of the job it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler.capture import JOB_LOGGER, catch_event
from scheduler.errors import NotSupported
from scheduler.logs import logger
from scheduler.model import Job

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from structlog.stdlib import BoundLogger

    from scheduler.transactions import HandlerTransaction

log = logger(__name__)

_cancelling = threading.Lock()
"""Held while it is settled who is told of a cancellation, never while they are told."""


class _Cancellation:
    """Whether an attempt has been cancelled, and who is to be told of it."""

    __slots__ = ("is_set", "told")

    def __init__(self) -> None:
        self.is_set = False
        self.told: list[Callable[[], object]] | None = None


@dataclass(frozen=True, slots=True)
class JobContext:
    """Given to a handler's parameter that is annotated `JobContext`.

    `attempt` counts from 1. `occurrence_at` is the nominal instant the job stands for, None if
    no schedule made it. `deadline` is when the attempt times out, None without a timeout.
    """

    job: Job
    deadline: datetime | None = None
    _cancellation: _Cancellation = field(default_factory=_Cancellation)
    _transaction: HandlerTransaction | None = None

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
    def connection(self) -> Connection:
        """An SQLAlchemy connection to the store's own database, in a transaction.

        What the handler writes through it is committed together with the job's completion, and
        rolled back if the handler raises, or the job has been given to another: it is there exactly
        once, whenever a process dies. The handler neither commits nor closes it.

        The transaction begins when it is first asked for. Do so late and return soon: on SQLite
        nobody else writes until then, and a server ends it after 15 s without a statement. A
        coroutine awaits nothing from then on: on SQLite, another that asks for one meanwhile holds
        up the whole event loop. Raises NotSupported where the store is not an SQL database, the
        handler runs in another process, or its attempt is over.
        """
        if self._transaction is None:
            raise NotSupported(f"job {self.job.name}: there is no connection where it runs")
        return self._transaction.connection

    @property
    def cancelled(self) -> bool:
        """Whether the outcome of this attempt is no longer wanted; a long handler asks often.

        True once the attempt has run past its deadline, has lost its lease, or the executor
        is going down.
        """
        return self._cancellation.is_set

    def cancel(self) -> None:
        """Tell the handler that its outcome is no longer wanted."""
        with _cancelling:
            if self._cancellation.is_set:
                return
            self._cancellation.is_set = True
            told = list(self._cancellation.told or ())
        for tell in told:
            self._tell(tell)

    @contextmanager
    def on_cancel(self, tell: Callable[[], object]) -> Iterator[None]:
        """Within it, a cancellation calls `tell`: at once, on whatever thread it comes from.

        For a handler that waits and cannot ask: `with ctx.on_cancel(connection.close): …`. `tell`
        has to be quick; what it raises is logged. It may still be under way when the block ends.
        """
        with _cancelling:
            told = self._cancellation.told = self._cancellation.told or []
            told.append(tell)
            is_late = self._cancellation.is_set
        if is_late:
            self._tell(tell)
        try:
            yield
        finally:
            with _cancelling:
                told.remove(tell)

    def _tell(self, tell: Callable[[], object]) -> None:
        try:
            tell()
        except Exception as error:  # a function of somebody's own
            log.warning("on_cancel raised", job=self.job.name, id=self.job.id, exc_info=error)

    @property
    def log(self) -> BoundLogger:
        """A logger that names the job on every line.

        From INFO up its lines are on record with the attempt, shown or not.
        """
        named = logger(JOB_LOGGER, catch_event)
        return named.bind(job=self.job.name, id=self.job.id, attempt=self.attempt)

    def progress(self, fraction: float, note: str = "") -> None:
        """Log how far the job has come: `fraction` from 0 to 1, and a word about it."""
        self.log.info("progress", fraction=round(fraction, 3), note=note)
