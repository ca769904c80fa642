"""The laws of contract.py, over every storage there is."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.storage import JobStorage, open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.sql import SQLStorage
from tests.storage.contract import ScheduleContract


class TestMemory(ScheduleContract):
    """In one process."""

    @pytest.fixture
    def storage(self) -> JobStorage:
        return MemoryStorage()


class TestSQLite(ScheduleContract):
    """In a file."""

    @pytest.fixture
    def storage(self, sqlite_url: str) -> Iterator[JobStorage]:
        with open_storage(sqlite_url) as storage:
            yield storage


class TestSQLiteInMemory(ScheduleContract):
    """On the one connection of an in-memory database, on which threads take turns."""

    @pytest.fixture
    def storage(self) -> Iterator[JobStorage]:
        with open_storage("sqlite://") as storage:
            yield storage


class TestPostgreSQL(ScheduleContract):
    """On a server."""

    @pytest.fixture
    def storage(self, postgres_storage: SQLStorage) -> JobStorage:
        postgres_storage.clear()
        return postgres_storage
