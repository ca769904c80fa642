"""One PostgreSQL database for all storage tests of a session, emptied before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from scheduler.storage.sql import SQLStorage
from tests.servers import fresh_database


@pytest.fixture(scope="session")
def postgres_storage(postgres_url: str) -> Iterator[SQLStorage]:
    """A migrated PostgreSQL database; not emptied."""
    with fresh_database(postgres_url) as url:
        storage = SQLStorage(url)
        storage.upgrade()
        yield storage
        storage.close()
