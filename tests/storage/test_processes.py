"""What only databases with migrations must do between processes: be upgraded once."""

from __future__ import annotations

from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.tables import SCHEMA_REVISION
from scheduler.testing.contract.processes import PROCESSES, together


def upgraded(url: str) -> SQLStorage:
    """The storage of `url`, as the first of several processes, or a later one, finds it."""
    storage = SQLStorage(url)
    storage.upgrade()
    return storage


def test_processes_that_start_at_once_upgrade_once(database_url: str) -> None:
    """On a database that has no tables, and for SQLite no file: one works, the others wait."""
    reopen = (f"{__name__}:{upgraded.__name__}", database_url)
    assert together("acquire", reopen) == [[]] * PROCESSES
    with SQLStorage(database_url) as storage:
        storage.check()
        assert storage.current_revision() == SCHEMA_REVISION
