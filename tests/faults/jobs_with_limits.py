"""A job with a limit: where one is, leasing takes a transaction of several statements."""

from __future__ import annotations

from scheduler import JobContext, job
from tests.faults.tasks import RETRIES, effect


@job(concurrency=2, max_retries=RETRIES)
def limited(ctx: JobContext) -> str:
    return effect(ctx)
