"""The transaction in which a handler writes, and in which its job is completed.

It is begun when the handler asks for its connection. If the handler returns, the outcome is written
through the same connection, fenced by the lease, and both are committed at once; if it raises, or
the lease was lost meanwhile, neither is. So what it wrote there is written exactly once, whenever
the process dies.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import datetime
from typing import TYPE_CHECKING

from scheduler import lifecycle
from scheduler.errors import NotSupported
from scheduler.model import Committed, Completed, Failed, Job, Outcome, Settlement
from scheduler.settling import token_of
from scheduler.storage import JobStorage

if TYPE_CHECKING:
    from sqlalchemy import Connection


_ENDED_ITSELF = (
    "the handler ended the transaction of its connection itself, so what it wrote is not in one "
    "with its completion; leave commit, rollback and close out of it"
)


class _LeaseLost(Exception):  # noqa: N818 - an expected end, not an error
    """Ends the block of a transaction that is not to be committed."""


class HandlerTransaction:
    """That of one attempt of `job`; `now` is the time that the store is in."""

    def __init__(self, storage: JobStorage, job: Job, now: Callable[[], datetime]) -> None:
        self._storage = storage
        self._job = job
        self._now = now
        self._open = ExitStack()
        self._connection: Connection | None = None
        self._begun: object = None
        self._is_over = False

    @property
    def connection(self) -> Connection:
        """The connection; the transaction is begun with the first call.

        Raises NotSupported where the store is not an SQL database, or the attempt is over: nobody
        would end a transaction that is begun then.
        """
        if self._is_over:
            reason = "its attempt is over, and with it its transaction; write before it returns"
            raise NotSupported(f"job {self._job.name}: {reason}")
        if self._connection is None:
            self._connection = self._open.enter_context(self._storage.transaction())
            self._begun = self._connection.get_transaction()
        return self._connection

    def end(self, outcome: Outcome) -> Outcome:
        """Commit or roll back, as `outcome` says; the outcome that is left to be written.

        Raises StorageUnavailable if the commit fails; whether it took place, the lease then tells.
        """
        self._is_over = True
        if self._connection is None:
            return outcome
        if not isinstance(outcome, Completed):
            self._roll_back()
            return outcome
        if self._connection.closed or self._connection.get_transaction() is not self._begun:
            self._roll_back()
            return Failed(_ENDED_ITSELF, is_final=True)
        ended = self._completed(outcome)
        try:
            [is_held] = self._storage.settle_jobs_in(self._connection, [ended])
        except BaseException as error:
            self._roll_back(error)
            raise
        if not is_held:
            self._roll_back()
            return Failed("the lease was lost; what the handler wrote is rolled back")
        self._open.close()
        return Committed(ended.job)

    def _completed(self, outcome: Completed) -> Settlement:
        job, now = self._job, self._now()
        tried = lifecycle.attempt(job, outcome, started_at=job.started_at or now, now=now)
        settled = lifecycle.settle(job, outcome, now=now)
        return Settlement(settled, token_of(job), attempt=tried)

    def _roll_back(self, error: BaseException | None = None) -> None:
        cause = error or _LeaseLost()
        with suppress(type(cause)):  # it is raised again where the block ends
            self._open.__exit__(type(cause), cause, cause.__traceback__)
