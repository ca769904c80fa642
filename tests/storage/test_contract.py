"""The contract of storages, over every storage there is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.storage import JobStorage, open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.sql import SQLStorage
from scheduler.testing import StorageContract
from tests.storage.file_storage import FileStorage


class TestMemory(StorageContract, processes=False):
    """In one process."""

    @pytest.fixture
    def storage(self) -> JobStorage:
        return MemoryStorage()


class TestFiles(StorageContract):
    """In plain files, as somebody's own storage may."""

    @pytest.fixture
    def storage(self, tmp_path: Path) -> JobStorage:
        return FileStorage(tmp_path)

    @pytest.fixture
    def reopen(self, tmp_path: Path) -> tuple[str, str]:
        return f"{FileStorage.__module__}:{FileStorage.__name__}", str(tmp_path)


class TestSQLite(StorageContract):
    """In a file."""

    @pytest.fixture
    def storage(self, sqlite_url: str) -> Iterator[JobStorage]:
        with open_storage(sqlite_url) as storage:
            yield storage

    @pytest.fixture
    def reopen(self, sqlite_url: str) -> tuple[str, str]:
        return "scheduler.storage:open_storage", sqlite_url


class TestSQLiteInMemory(StorageContract, processes=False):
    """On the one connection of an in-memory database, on which threads take turns."""

    @pytest.fixture
    def storage(self) -> Iterator[JobStorage]:
        with open_storage("sqlite://") as storage:
            yield storage


class TestPostgreSQL(StorageContract):
    """On a server."""

    @pytest.fixture
    def storage(self, postgres_storage: SQLStorage) -> JobStorage:
        postgres_storage.clear()
        return postgres_storage

    @pytest.fixture
    def reopen(self, postgres_store_url: str) -> tuple[str, str]:
        return "scheduler.storage:open_storage", postgres_store_url


class TestPgBouncer(StorageContract):
    """Through a pooler in transaction mode, which keeps no session between transactions."""

    @pytest.fixture
    def storage(self, pooled_postgres: str, postgres_storage: SQLStorage) -> Iterator[JobStorage]:
        postgres_storage.clear()
        with open_storage(pooled_postgres) as storage:
            yield storage

    @pytest.fixture
    def reopen(self, pooled_postgres: str) -> tuple[str, str]:
        return "scheduler.storage:open_storage", pooled_postgres


class TestMariaDB(StorageContract):
    """On a server that returns nothing from an UPDATE, and indexes whole tables."""

    @pytest.fixture
    def storage(self, mariadb_storage: SQLStorage) -> JobStorage:
        mariadb_storage.clear()
        return mariadb_storage

    @pytest.fixture
    def reopen(self, mariadb_store_url: str) -> tuple[str, str]:
        return "scheduler.storage:open_storage", mariadb_store_url


class TestRedis(StorageContract):
    """On a server, under a prefix of its own."""

    @pytest.fixture
    def storage(self, redis_url: str) -> Iterator[JobStorage]:
        with open_storage(redis_url) as storage:
            yield storage

    @pytest.fixture
    def reopen(self, redis_url: str) -> tuple[str, str]:
        return "scheduler.storage:open_storage", redis_url
