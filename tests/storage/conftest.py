"""One database of each server for all storage tests of a session, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.storage.sql import SQLStorage
from scheduler.testing.contract.processes import CONTEXT, PRELOADED
from tests.servers import fresh_database, mariadb
from tests.servers.pgbouncer import pooled

CONTEXT.set_forkserver_preload(
    [
        *PRELOADED,
        "psycopg",
        "pymysql",
        "redis",
        "scheduler.storage.redis",
        "scheduler.storage.sql.dialects.mysql",
        "scheduler.storage.sql.dialects.postgresql",
        "scheduler.storage.sql.dialects.sqlite",
        "scheduler.storage.sql.storage",
    ]
)


@pytest.fixture(scope="session")
def postgres_store_url(postgres_url: str) -> Iterator[str]:
    """The URL of a migrated PostgreSQL database; not emptied."""
    with fresh_database(postgres_url) as url:
        with SQLStorage(url) as storage:
            storage.upgrade()
        yield url


@pytest.fixture(scope="session")
def postgres_storage(postgres_store_url: str) -> Iterator[SQLStorage]:
    """The store at that URL; not emptied."""
    with SQLStorage(postgres_store_url) as storage:
        yield storage


@pytest.fixture(scope="session")
def mariadb_store_url(mariadb_url: str) -> Iterator[str]:
    """The URL of a MariaDB database with its tables; not emptied."""
    with mariadb.fresh_database(mariadb_url) as url:
        with SQLStorage(url) as storage:
            storage.upgrade()
        yield url


@pytest.fixture(scope="session")
def mariadb_storage(mariadb_store_url: str) -> Iterator[SQLStorage]:
    """The store at that URL; not emptied."""
    with SQLStorage(mariadb_store_url) as storage:
        yield storage


@pytest.fixture(scope="session")
def pooled_postgres(postgres_store_url: str) -> Iterator[str]:
    """The URL of the PostgreSQL database through a pooler in transaction mode."""
    with pooled(postgres_store_url) as url:
        yield f"{url}?pooler=on"
