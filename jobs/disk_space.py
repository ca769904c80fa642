"""Watches the free space of a file system.

A run that finds too little fails, on purpose: failed jobs are what people look at.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from scheduler import every, job

Percent = Annotated[float, Field(ge=0, le=100)]


class DiskSpaceError(Exception):
    """There is less free space than was asked for."""


@job(every(minutes=5), max_retries=0, timeout=60)
def watch_disk_space(path: Path = Path(), least_free_percent: Percent = 5) -> dict[str, Any]:
    """How much is free on the file system of `path`. Raises DiskSpaceError below the least."""
    usage = shutil.disk_usage(path)
    free_percent = round(100 * usage.free / usage.total, 1)
    if free_percent < least_free_percent:
        raise DiskSpaceError(
            f"{path.resolve()}: {free_percent} % is free ({usage.free} bytes), "
            f"less than {least_free_percent:g} %"
        )
    return {"free_percent": free_percent, "free_bytes": usage.free}
