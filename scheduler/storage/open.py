"""From a URL to a storage. Drivers are imported only when their URL is opened."""

from __future__ import annotations

from scheduler.errors import InvalidOption
from scheduler.storage.base import JobStorage

SCHEMES = (
    "sqlite",
    "postgresql",
    "postgres",
    "mysql",
    "mariadb",
    "mssql",
    "redis",
    "rediss",
    "memory",
)


def open_storage(url: str) -> JobStorage:
    """The storage behind `url`, ready for use.

    `sqlite:///jobs.db` (tables are made if missing), `postgresql://user@host/name`,
    `mysql://user@host/name`, `mssql://user@host/name`, `redis://host:6379/0`, `memory://`. Raises
    InvalidOption as `storage_for`, StorageUnavailable if the store does not answer, SchemaMismatch
    if its tables are not of this version.
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
    scheme = url.partition(":")[0]
    if scheme == "memory":
        from scheduler.storage.memory import MemoryStorage

        return MemoryStorage()
    if scheme in ("redis", "rediss", "unix", "redis+unix"):
        return _redis(url)
    if scheme.partition("+")[0] not in SCHEMES:
        # The scheme alone: the rest of a URL may hold a password.
        raise InvalidOption(
            "database",
            scheme,
            "is not a kind of store",
            f"use one of {', '.join(f'{each}://' for each in SCHEMES)}",
        )
    from scheduler.storage.sql import SQLStorage

    return SQLStorage(url)


def _redis(url: str) -> JobStorage:
    try:
        from scheduler.storage.redis import RedisStorage
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise InvalidOption(
            "database",
            url.partition(":")[0],
            "needs the driver redis, which is not installed",
            "pip install 'scheduler-service[redis]'",
        ) from None
    return RedisStorage(url)
