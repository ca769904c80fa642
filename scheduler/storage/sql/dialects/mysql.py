"""MySQL 8 and MariaDB 10.6 or later, through PyMySQL.

READ COMMITTED, because the default, REPEATABLE READ, locks the gaps between rows and makes
acquirers wait for each other. An UPDATE returns nothing here, and InnoDB undoes one of two
transactions that wait for each other: the verbs try again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, text
from sqlalchemy.dialects.mysql import insert
from sqlalchemy.exc import DBAPIError

from scheduler.errors import InvalidOption
from scheduler.storage.sql.dialects.base import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    IDLE_SECONDS,
    LOCK_SECONDS,
    MOST_BEYOND,
    UPGRADE_LOCK,
    UPGRADE_SECONDS,
    Database,
    Options,
    Rows,
    all_but_key,
    still_upgrading,
)

_DEADLOCK = 1213
_MISSING = (1054, 1146)  # no such column, no such table
# What MySQL 8 has no variable for is in a comment that only MariaDB reads.
_SESSION = (
    "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00', "
    f"innodb_lock_wait_timeout = {LOCK_SECONDS} "
    f"/*M!100300 , idle_transaction_timeout = {IDLE_SECONDS} */"
)


class MySQL(Database):
    """A server of either kind."""

    name = "mysql"
    updates_return = False
    locks_in_passing = True
    clock = "UTC_TIMESTAMP(6)"

    def __init__(self, url: URL, options: Options) -> None:
        if not url.database:
            raise InvalidOption("database", url.drivername, "names no database", "add /name")
        for name in url.query:
            # The driver would refuse it only when it connects.
            hint = "leave it out, or set it at the server"
            raise InvalidOption("database", name, "is not an option here", hint)
        super().__init__(url, options)

    def connect(self, *, most_beyond: int = MOST_BEYOND) -> Engine:
        return create_engine(
            self.url.update_query_dict({"charset": "utf8mb4"}),
            pool_pre_ping=True,
            max_overflow=most_beyond,
            isolation_level="READ COMMITTED",
            connect_args=self._connect_args(),
        )

    def _connect_args(self) -> dict[str, Any]:
        given: dict[str, Any] = {
            "connect_timeout": CONNECT_SECONDS,
            "read_timeout": ANSWER_SECONDS,
            "write_timeout": ANSWER_SECONDS,
            "init_command": _SESSION,
        }
        if self.url.password is not None:
            # Left to itself, the driver takes it for Latin 1, as no server does.
            given["password"] = str(self.url.password).encode()
        return given

    def insert_new(self, connection: Connection, table: Table, rows: Rows) -> None:
        # Not INSERT IGNORE: that also lets through what does not fit.
        key = table.primary_key.columns.values()[0]
        connection.execute(insert(table).on_duplicate_key_update({key.name: key}), rows)

    def insert_or_replace(self, connection: Connection, table: Table, rows: Rows) -> None:
        new = insert(table)
        connection.execute(new.on_duplicate_key_update(all_but_key(table, new.inserted)), rows)

    def lacks_tables(self, error: DBAPIError) -> bool:
        return _code(error) in _MISSING

    def is_conflict(self, error: DBAPIError) -> bool:
        return _code(error) == _DEADLOCK

    def lock_upgrade(self, connection: Connection) -> None:
        got = connection.scalar(
            text("SELECT GET_LOCK(:name, :seconds)"),
            {"name": UPGRADE_LOCK, "seconds": UPGRADE_SECONDS},
        )
        if got != 1:
            raise still_upgrading()


def _code(error: DBAPIError) -> int | None:
    arguments: Sequence[object] = getattr(error.orig, "args", ())
    code = arguments[0] if arguments else None
    return code if isinstance(code, int) else None
