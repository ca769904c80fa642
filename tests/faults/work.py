"""What recurs by the second, in the services under test."""

from __future__ import annotations

import time

from scheduler import JobContext, cron, every, job
from tests.faults.tasks import RETRIES, effect

ORIGIN = "2026-01-01T00:00:00Z"


@job(
    every(seconds=1, start_date=ORIGIN),
    overlap="allow",
    catch_up="all",
    catch_up_max=100_000,
    max_retries=RETRIES,
)
def each_second(ctx: JobContext) -> str:
    return effect(ctx)


@job(cron("*/2 * * * * *"), overlap="allow", catch_up="all", max_retries=RETRIES)
def by_cron(ctx: JobContext) -> str:
    return effect(ctx)


@job(every(seconds=1, start_date=ORIGIN), overlap="skip", max_retries=RETRIES)
def slowly(ctx: JobContext) -> str:
    """Longer than its interval, and than a third of the leases here."""
    token = effect(ctx)
    time.sleep(1.5)
    return token
