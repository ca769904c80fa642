"""Whether a failed attempt is followed by another, and when.

A policy is a job's own: how long to wait, which exceptions are worth another attempt, which are
not. The waits are the same whoever computes them: what is random in them is drawn from the job's
id, so that jobs that failed together do not come back together. Pure: no clock, no I/O.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from hashlib import blake2b

from scheduler.logs import logger

log = logger(__name__)

FIRST_WAIT = timedelta(seconds=1)
LONGEST_WAIT = timedelta(hours=1)
JITTER = 0.1

Kinds = type[BaseException] | tuple[type[BaseException], ...]
"""An exception class, or several."""


class Retry(Exception):  # noqa: N818 - an order, not an error
    """Raised by a handler to be tried again: in `in_` (seconds or a timedelta), or its backoff.

    It counts as a failed attempt: when no retry is left, the job has failed.
    """

    def __init__(self, reason: str = "", *, in_: float | timedelta | None = None) -> None:
        super().__init__(reason or "asked to be tried again")
        self.in_ = in_


class Cancel(Exception):  # noqa: N818 - an order, not an error
    """Raised by a handler to call its own job off: it is cancelled, and not tried again."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "called off by its handler")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """Waits of `first`, then `factor` times the last one, at most `longest`.

    Each is prolonged by up to `jitter` of it (0.1: a tenth), differently for each job and retry.
    """

    first: timedelta = FIRST_WAIT
    factor: float = 2.0
    longest: timedelta = LONGEST_WAIT
    jitter: float = JITTER

    def wait(self, retry_count: int, job_id: str) -> timedelta:
        """How long the job waits before its retry number `retry_count`, from 1."""
        wait = self.first
        for _ in range(retry_count - 1):
            if wait >= self.longest:
                break
            wait = min(wait * self.factor, self.longest)
        jitter: float = self.jitter * _fraction(job_id, retry_count)
        return min(wait, self.longest) * (1 + jitter)


Backoff = Exponential | Sequence[timedelta] | Callable[[int], float | timedelta]
"""How long to wait before retry number n, from 1: by a formula, a list whose last element goes on
for ever, or a function of n."""

DEFAULT_BACKOFF = Exponential()


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When a job is tried again. Without `retry_on`, every Exception is worth another attempt."""

    backoff: Backoff = DEFAULT_BACKOFF
    retry_on: Kinds = Exception
    give_up_on: Kinds = ()

    def is_final(self, error: BaseException) -> bool:
        """Whether what was raised is not worth another attempt, however many are left."""
        return isinstance(error, self.give_up_on) or not isinstance(error, self.retry_on)

    def wait(self, retry_count: int, job_id: str) -> timedelta:
        """How long the job waits before its retry number `retry_count`, from 1; never below 0.

        Where a function of somebody's own raises, or gives no duration, the default backoff is
        taken: the outcome of an attempt has to be written.
        """
        match self.backoff:
            case Exponential() as formula:
                return formula.wait(retry_count, job_id)
            case Sequence() as listed:
                wait: timedelta = listed[min(retry_count, len(listed)) - 1]
                return wait
            case function:
                try:
                    return max(timedelta(0), _duration(function(retry_count)))
                except Exception as error:
                    log.warning("backoff failed; the default is taken", id=job_id, exc_info=error)
                    return DEFAULT_BACKOFF.wait(retry_count, job_id)


DEFAULT_POLICY = RetryPolicy()


def _duration(given: float | timedelta) -> timedelta:
    return given if isinstance(given, timedelta) else timedelta(seconds=given)


def _fraction(job_id: str, retry_count: int) -> float:
    """From 0 to below 1, always the same for a job and a retry."""
    digest = blake2b(
        f"{job_id}/{retry_count}".encode(errors="surrogatepass"), digest_size=4
    ).digest()
    return int.from_bytes(digest, "big") / 2**32
