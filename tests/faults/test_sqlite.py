"""SQLite fails under the services: the disk is full, or somebody else holds the file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import make_url

from scheduler import clock
from tests.faults import audit
from tests.faults.checker import Verdict, Why
from tests.faults.crew import TTL, Member
from tests.faults.limited import PAGES
from tests.faults.nursery import Nursery
from tests.faults.scene import busy_scene

PLENTY = 1_000_000

pytestmark = pytest.mark.timeout(300)


def test_the_disk_is_full_for_a_while(
    sqlite_url: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """No page more is to be had; then there is room, and nothing of the meantime is missing."""
    pages = tmp_path / "pages"
    settings = {PAGES: str(pages)}
    allow(pages, PLENTY)
    with busy_scene(nursery, tmp_path / "crew", sqlite_url, settings=settings) as acted:
        acted.crew.start_all(command=("tests.faults.limited", "run"))
        allow(pages, 1)
        acted.crew.until(lambda: any(found_it_full(each) for each in acted.crew.members))
        acted.crew.pass_time(TTL)
        allow(pages, PLENTY)
        hold(acted.finish("disk full", Why.CUT_OFF))


def allow(file: Path, pages: int) -> None:
    new = file.with_suffix(".new")
    new.write_text(str(pages))
    new.replace(file)


def found_it_full(member: Member) -> bool:
    return any("disk is full" in record["error"] for record in member.logged("duty failed"))


def test_another_process_holds_the_file_for_longer_than_a_lease(
    sqlite_url: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """Every write waits for it; then all go on."""
    file = make_url(sqlite_url).database or ""
    with busy_scene(nursery, tmp_path / "crew", sqlite_url) as acted:
        acted.crew.start_all()
        with closing(sqlite3.connect(file, timeout=30, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            since = clock.now()
            acted.crew.pass_time(TTL + 1)
            until = clock.now()
            other.execute("ROLLBACK")
        hold(acted.finish("file locked past the lease", Why.CUT_OFF))
        assert not [each for each in audit.changes(sqlite_url) if since < each.at < until]
