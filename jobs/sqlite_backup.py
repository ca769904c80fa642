"""Backs up a SQLite database while it is in use, checks the copy, and keeps the newest few."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from sqlalchemy import make_url

from scheduler import JobContext, cron, job
from scheduler.settings import read_settings

Count = Annotated[int, Field(ge=1)]


class DamagedBackupError(Exception):
    """The copy did not pass SQLite's own check, and was thrown away."""


@job(cron("30 2 * * *"), timeout=3600)
def back_up_sqlite(
    ctx: JobContext,
    database: Path | None = None,
    directory: Path = Path("data/backups"),
    keep: Count = 7,
) -> dict[str, Any]:
    """The path and size of a checked copy of `database` in `directory`, and what was deleted.

    Without `database`, the service backs up its own store, if that is a SQLite file. Of the
    copies that earlier runs made of a database of this name, the newest `keep` stay.
    """
    source = database or _own_store()
    if source is None:
        ctx.log.info("nothing to back up: the service keeps its jobs elsewhere than in SQLite")
        return {"backup": None}
    if not source.is_file():
        raise FileNotFoundError(f"{source.resolve()}: no such database")
    directory.mkdir(parents=True, exist_ok=True)
    backup = directory / f"{source.stem}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    partial = backup.with_name(f".{backup.name}.partial")
    try:
        _copy(source, partial)
        partial.replace(backup)
    finally:
        partial.unlink(missing_ok=True)
    return {
        "backup": str(backup),
        "bytes": backup.stat().st_size,
        "deleted": _delete_old(directory, source.stem, keep),
    }


def _own_store() -> Path | None:
    url = make_url(read_settings().database)
    in_file = url.get_backend_name() == "sqlite" and url.database not in {None, "", ":memory:"}
    return Path(str(url.database)) if in_file else None


def _copy(source: Path, target: Path) -> None:
    """A checked copy of `source`, safe on disk. Raises DamagedBackupError."""
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with (
        closing(sqlite3.connect(f"{source.resolve().as_uri()}?mode=ro", uri=True)) as original,
        closing(sqlite3.connect(target)) as copy,
    ):
        # In one step: in several, every write to the original would start the copy anew.
        original.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, no -wal beside it
        findings = [str(finding) for (finding,) in copy.execute("PRAGMA integrity_check")]
    if findings != ["ok"]:
        raise DamagedBackupError(f"{source.resolve()}: {'; '.join(findings[:3])}")
    with target.open("rb") as written:
        os.fsync(written.fileno())


def _delete_old(directory: Path, stem: str, keep: int) -> list[str]:
    """The names of the backups that were deleted: all but the newest `keep` of this `stem`."""
    ours = re.compile(rf"{re.escape(stem)}-\d{{8}}T\d{{6}}Z\.db")
    backups = sorted(path for path in directory.iterdir() if ours.fullmatch(path.name))
    for path in backups[:-keep]:
        path.unlink()
    return [path.name for path in backups[:-keep]]
