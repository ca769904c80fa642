"""The whole contract on a SQL Server, where SCHEDULER_TEST_MSSQL_URL is the URL of one.

Of a user who may create databases, such as mssql://sa:…@host/master. Where it is not set there is
nothing here to run, and so nothing to skip; what ran is said at the end of the session.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import make_url, text

from scheduler.storage import JobStorage
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.dialects import database_of
from scheduler.testing import StorageContract
from tests.storage.mssql.summary import VARIABLE, VERSION

SERVER = os.environ.get(VARIABLE)


def administer(server: str, *statements: str) -> None:
    """Run what may not be in a transaction."""
    engine = database_of(server).connect()
    with engine.connect() as connection:
        driver: Any = connection.connection.driver_connection
        driver.autocommit = True
        for statement in statements:
            driver.cursor().execute(statement)
        driver.autocommit = False
    engine.dispose()


@contextmanager
def fresh_storage(server: str, *, snapshots: str) -> Iterator[SQLStorage]:
    """A new database with its tables, dropped after the block."""
    name = f"scheduler_test_{uuid4().hex}"
    administer(
        server,
        f"CREATE DATABASE {name}",
        f"ALTER DATABASE {name} SET READ_COMMITTED_SNAPSHOT {snapshots}",
    )
    try:
        url = make_url(server).set(database=name).render_as_string(hide_password=False)
        with SQLStorage(url) as storage:
            storage.upgrade()
            yield storage
    finally:
        administer(
            server,
            f"ALTER DATABASE {name} SET SINGLE_USER WITH ROLLBACK IMMEDIATE",
            f"DROP DATABASE {name}",
        )


if SERVER is not None:

    @pytest.fixture(scope="module", params=["OFF", "ON"], ids=["locks", "snapshots"])
    def server_storage(request: pytest.FixtureRequest) -> Iterator[SQLStorage]:
        """One database that reads wait in, and one that has READ_COMMITTED_SNAPSHOT."""
        assert SERVER is not None
        with fresh_storage(SERVER, snapshots=request.param) as storage:
            yield storage

    class TestSQLServer(StorageContract):
        """On a server."""

        @pytest.fixture
        def storage(self, server_storage: SQLStorage) -> JobStorage:
            server_storage.clear()
            return server_storage

        @pytest.fixture
        def reopen(self, server_storage: SQLStorage) -> tuple[str, str]:
            url = server_storage._database.url.render_as_string(hide_password=False)
            return "scheduler.storage:open_storage", url

    def test_the_server_says_what_it_is(
        server_storage: SQLStorage, record_property: Callable[[str, object], None]
    ) -> None:
        """For the end of the session."""
        with server_storage._engine.connect() as connection:
            version: str = connection.execute(text("SELECT @@VERSION")).scalar_one()
        record_property(VERSION, version.splitlines()[0])
