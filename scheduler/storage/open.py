"""From a URL to a storage. Drivers are imported only when their URL is opened."""

from __future__ import annotations

from scheduler.errors import InvalidOption
from scheduler.storage.base import JobStorage

SCHEMES = ("sqlite", "postgresql", "memory")


def open_storage(url: str) -> JobStorage:
    """The storage behind `url`, ready for use.

    `sqlite:///jobs.db` (tables are made if missing), `postgresql://user@host/name`,
    `memory://`. Raises InvalidOption as `storage_for`, StorageUnavailable if the store does
    not answer, SchemaMismatch if its tables are not of this version.
    """
    storage = storage_for(url)
    try:
        storage.prepare()
    except BaseException:
        storage.close()
        raise
    return storage


def storage_for(url: str) -> JobStorage:
    """The storage behind `url`, not yet connected.

    Raises InvalidOption if the URL cannot be read, its kind of store is unknown, or the
    driver for it is not installed.
    """
    if url.partition(":")[0] == "memory":
        from scheduler.storage.memory import MemoryStorage

        return MemoryStorage()
    from scheduler.storage.sql import SQLStorage

    if url.partition(":")[0].partition("+")[0] not in ("sqlite", "postgresql", "postgres"):
        # The scheme alone: the rest of a URL may hold a password.
        raise InvalidOption(
            "database",
            url.partition(":")[0],
            "is not a kind of store",
            f"use one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}",
        )
    return SQLStorage(url)
