"""What the services under test do: every call of a handler leaves one line in a file.

A line is one write to a file opened for appending, and has a length that divides a page's: a kill
between two pages, or a reader that comes between them, would find half of it. So it is whole, or
not there. It says under which lease it was made, and the handler returns the same, so that a result
tells whose it is.
"""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from scheduler import JobContext, job

LOG = "FAULTS_LOG"
"""The variable that names the file of lines."""

LENGTH = 512
"""Bytes of a line, of which the last ends it."""

FAILURE = "fails at first, under "
"""What stands before the token of the lease in the error of a handler that was made to fail."""

RETRIES = 20
"""More than any fault here uses up: a job that fails for good is a lost one."""


def effect(ctx: JobContext) -> str:
    """Leave a line; the token of the lease it was made under."""
    job, lease = ctx.job, ctx.job.lease
    assert lease is not None
    line = {
        "job": job.id,
        "token": lease.token,
        "worker": job.worker,
        "attempt": ctx.attempt,
        "due": job.scheduled_at.isoformat(),
    }
    text = json.dumps(line).ljust(LENGTH - 1) + "\n"
    assert len(text) == LENGTH, text
    file = os.open(os.environ[LOG], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)
    return lease.token


@job(max_retries=RETRIES)
def plain(ctx: JobContext) -> str:
    return effect(ctx)


@job(max_retries=RETRIES)
def flaky(ctx: JobContext) -> str:
    """Fails at its first attempt."""
    token = effect(ctx)
    if ctx.attempt == 1:
        raise RuntimeError(FAILURE + token)
    return token


@job(max_retries=RETRIES)
def held(ctx: JobContext, until: str) -> str:
    """Runs until there is a file of that name."""
    token = effect(ctx)
    never = threading.Event()  # not time.sleep, which libfaketime ends with an error
    while not Path(until).exists():
        never.wait(0.02)
    return token
