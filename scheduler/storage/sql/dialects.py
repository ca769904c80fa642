"""What differs between databases: connections, transactions, and inserts that may collide.

SQLite: WAL, so that readers and one writer go on together, and BEGIN IMMEDIATE for every
writing transaction: a SELECT followed by an UPDATE in a deferred transaction lets two
processes read the same row as free. PostgreSQL: READ COMMITTED and row locks.
"""

from __future__ import annotations

import sqlite3
from time import sleep
from typing import Any

from sqlalchemy import URL, Connection, Dialect, Engine, Table, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError
from sqlalchemy.pool import QueuePool
from sqlalchemy.sql.dml import Insert

from scheduler.errors import InvalidOption

SQLITE_BUSY_SECONDS = 30
_ASK_AGAIN_SECONDS = 0.01
POSTGRES_CONNECT_SECONDS = 5
_EXTRAS = {"psycopg": "postgres"}
_IMMEDIATE = "scheduler_begin_immediate"


def read_url(text: str) -> URL:
    """`text` as a URL with our driver filled in. Raises InvalidOption if it is none."""
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not the text itself: what looks like half a URL may hold a password.
        raise InvalidOption(
            "database", "the URL", "cannot be read", "write sqlite:///jobs.db or postgresql://…"
        ) from None
    if url.drivername in ("postgres", "postgresql"):
        return url.set(drivername="postgresql+psycopg")
    return url


def connect(url: URL) -> Engine:
    """An engine for `url`; nothing is connected yet.

    Raises InvalidOption if the driver is unknown or not installed.
    """
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite(url)
        return create_engine(
            url,
            pool_pre_ping=True,
            json_serializer=_to_json,
            connect_args={"connect_timeout": POSTGRES_CONNECT_SECONDS},
        )
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get(error.name or "", "postgres")
        raise InvalidOption(
            "database",
            url.drivername,
            f"needs the driver {error.name}, which is not installed",
            f"pip install 'scheduler-service[{extra}]'",
        ) from None
    except NoSuchModuleError:
        raise InvalidOption(
            "database", url.drivername, "is not a known driver", "write sqlite:// or postgresql://"
        ) from None


def _to_json(value: Any) -> str:
    import json

    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def _sqlite(url: URL) -> Engine:
    in_memory = url.database in (None, "", ":memory:")
    # An in-memory database lives and dies with its one connection; threads take turns on it.
    pool = {"pool_size": 1, "max_overflow": 0} if in_memory else {"pool_size": 5}
    engine = create_engine(
        url,
        poolclass=QueuePool,
        json_serializer=_to_json,
        connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
        **pool,
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; we do
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Of several that are first to open a file at once, one switches and the others wait.

    SQLite does not reliably wait here itself: whatever its timeout, it may answer at once that
    the database is locked. So its timeout is off for this statement, and we ask again.
    """
    connection.execute("PRAGMA busy_timeout=0").close()
    for tries_left in reversed(range(round(SQLITE_BUSY_SECONDS / _ASK_AGAIN_SECONDS))):
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # or one of its kinds
            if not is_busy or not tries_left:
                raise
            sleep(_ASK_AGAIN_SECONDS)
    connection.execute(f"PRAGMA busy_timeout={SQLITE_BUSY_SECONDS * 1000}").close()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def reading(engine: Engine) -> Engine:
    """`engine` for transactions that only read: on SQLite they wait for no writer."""
    return engine.execution_options(**{_IMMEDIATE: False})


def lacks_tables(error: DBAPIError) -> bool:
    """Whether the database said that a table or a column is not there."""
    # SQLite has no error code of its own for it.
    said = str(error.orig)
    missing = said.startswith(("no such table", "no such column")) or "has no column" in said
    return isinstance(error, ProgrammingError) or missing


def insert_new(dialect: Dialect, table: Table) -> Insert:
    """An INSERT that leaves alone the rows whose key is already taken."""
    new: Insert = _insert(dialect, table).on_conflict_do_nothing()
    return new


def insert_or_replace(dialect: Dialect, table: Table) -> Insert:
    """An INSERT that overwrites the row whose primary key is already taken."""
    insert = _insert(dialect, table)
    key = [column.name for column in table.primary_key]
    rest = {column.name: column for column in insert.excluded if column.name not in key}
    written: Insert = insert.on_conflict_do_update(index_elements=key, set_=rest)
    return written


def _insert(dialect: Dialect, table: Table) -> Any:
    if dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        return postgres_insert(table)
    from sqlalchemy.dialects.sqlite import insert as sqlite_insert

    return sqlite_insert(table)
