"""Rotates a directory of old files: packs them, and deletes packed ones only when told to.

A pack is complete on disk before its original goes, and bears the original's last change in
its name: a run that dies halfway is simply run again, and no pack replaces another file's.
"""

from __future__ import annotations

import gzip
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

from pydantic import Field

from scheduler import JobContext, job, rrule

Days = Annotated[int, Field(ge=0, le=36_500)]

_PACK = re.compile(r"(?P<original>.+)\.\d{8}T\d{6}Z\.gz")


@job(rrule("FREQ=WEEKLY;BYDAY=SU", dtstart="2026-01-01T04:00"), timeout=3600)
def rotate_old_files(
    ctx: JobContext,
    directory: Path = Path("data/logs"),
    pattern: str = "*.log",
    pack_after_days: Days = 7,
    delete_after_days: Days | None = None,
) -> dict[str, int]:
    """How many files of `directory` were packed, and how many packs deleted.

    Packed is what matches `pattern` and has not changed for `pack_after_days`: `app.log`
    becomes `app.log.20260103T221500Z.gz`. Packs whose originals last changed more than
    `delete_after_days` ago are deleted; None keeps them all. Only regular files directly in
    `directory` are touched, no links and nothing below it.
    """
    counts = {"packed": 0, "deleted": 0}
    if not directory.is_dir():
        ctx.log.warning("nothing to rotate: no such directory", directory=str(directory))
        return counts
    now = datetime.now(UTC)
    for path in _older(directory, now - timedelta(days=pack_after_days)):
        if fnmatchcase(path.name, pattern):
            _pack(path)
            counts["packed"] += 1
    if delete_after_days is not None:
        for path in _older(directory, now - timedelta(days=delete_after_days)):
            pack = _PACK.fullmatch(path.name)
            if pack is not None and fnmatchcase(pack["original"], pattern):
                path.unlink()
                counts["deleted"] += 1
    return counts


def _older(directory: Path, limit: datetime) -> Iterator[Path]:
    """The regular files of `directory` that last changed at or before `limit`."""
    for path in sorted(directory.iterdir()):
        if path.is_file() and not path.is_symlink() and _changed_at(path) <= limit:
            yield path


def _changed_at(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC)


def _pack(path: Path) -> None:
    """Replace a file by its pack, which keeps its mode and its time."""
    pack = path.with_name(f"{path.name}.{_changed_at(path):%Y%m%dT%H%M%SZ}.gz")
    partial = pack.with_name(f".{pack.name}.partial")
    try:
        with path.open("rb") as source, partial.open("wb") as target:
            with gzip.GzipFile(path.name, "wb", fileobj=target, mtime=0) as packed:
                shutil.copyfileobj(source, packed)
            target.flush()
            os.fsync(target.fileno())
        shutil.copystat(path, partial)
        partial.replace(pack)
    finally:
        partial.unlink(missing_ok=True)
    path.unlink()
