"""What recurs in services whose clock is set: by the second, not making up for what was missed."""

from __future__ import annotations

from scheduler import JobContext, every, job
from tests.faults.tasks import RETRIES, effect
from tests.faults.work import ORIGIN


@job(every(seconds=1, start_date=ORIGIN), overlap="allow", catch_up="skip", max_retries=RETRIES)
def ticking(ctx: JobContext) -> str:
    return effect(ctx)


@job(every(hours=1, start_date=ORIGIN), overlap="allow", catch_up="all", max_retries=RETRIES)
def hourly(ctx: JobContext) -> str:
    return effect(ctx)
