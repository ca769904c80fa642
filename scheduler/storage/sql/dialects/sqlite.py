"""SQLite, the embedded default: one file, one writer at a time, any number of readers.

WAL, so that readers and the writer go on together, and BEGIN IMMEDIATE for every writing
transaction: a SELECT followed by an UPDATE in a deferred transaction lets two processes read
the same row as free. So nothing has to be locked row by row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    LargeBinary,
    Select,
    String,
    Table,
    bindparam,
    case,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    select,
    type_coerce,
)
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from scheduler.lifecycle import storable
from scheduler.storage.sql.dialects.base import MOST_BEYOND, same_as, target
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Hand, Within, alone
from scheduler.storage.sql.types import Json, Seconds, UtcDateTime, from_json, to_json

BUSY_SECONDS = 30
_ASK_AGAIN_SECONDS = 0.01
_IMMEDIATE = "scheduler_begin_immediate"


def _to_json(value: Any) -> str | bytes:
    """`value` as JSON; as bytes where SQLite would take the text for a number of its own.

    To it, a column of type JSON is numeric: 1.0 would come back as 1, and 2**63 rounded.
    """
    is_rounded = isinstance(value, float) or (isinstance(value, int) and abs(value) >= 2**63)
    return to_json(value).encode() if is_rounded else to_json(value)


class SQLite(OnConflict):
    """A file, or memory."""

    name = "sqlite"
    insert = insert
    embedded = True
    row_place = "rowid"
    json = staticmethod(_to_json)

    def connect(self, *, most_beyond: int = MOST_BEYOND) -> Engine:
        # An in-memory database lives and dies with its one connection; threads take turns on it.
        kept, more = (1, 0) if self._is_in_memory else (5, most_beyond)
        engine = create_engine(
            self.url,
            poolclass=QueuePool,
            json_serializer=_to_json,
            connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
            pool_size=kept,
            max_overflow=more,
        )
        event.listen(engine, "connect", _prepare)
        event.listen(engine, "begin", _begin)
        return engine

    @property
    def _is_in_memory(self) -> bool:
        return self.url.database in (None, "", ":memory:")

    def lending(self, engine: Engine) -> Engine:
        return engine if self._is_in_memory else super().lending(engine)

    def reading(self, engine: Engine) -> Engine:
        return engine.execution_options(**{_IMMEDIATE: False})

    def alone(self, engine: Engine) -> AbstractContextManager[Hand]:
        return alone(engine, _commits_each)

    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return text.in_(self.texts_in(name))

    def listed(self, texts: Collection[str]) -> str:
        return to_json([storable(each) for each in texts])

    def records(self, columns: Collection[Column[Any]], name: str) -> Mapping[str, Any]:
        rows = func.json_each(bindparam(name, type_=String)).table_valued("value").alias(name)

        same = bindparam(same_as(name), type_=String)

        def value(each: Column[Any]) -> ColumnElement[Any]:
            path: ColumnElement[str] = literal_column(f"'$.{each.name}'")
            found = func.coalesce(
                func.json_extract(rows.c.value, path), func.json_extract(same, path), type_=String
            )
            if not isinstance(each.type, Json):
                return type_coerce(found, each.type)
            is_number = found.op("GLOB", is_comparison=True)("[-0-9]*")  # see `_to_json`
            kept = case((is_number, cast(found, LargeBinary)), else_=found)
            return type_coerce(kept, each.type)

        return {each.name: value(each) for each in columns}

    def instant(self, at: datetime) -> str:
        moment = at if at.tzinfo is UTC else at.astimezone(UTC)
        return moment.isoformat(" ", "microseconds")[:26]

    def load(self, hand: Within, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
        # One by one: of an INSERT … SELECT, SQLite keeps what it would need to undo it.
        into = target(hand.dialect, table, columns)
        places = {name: _literal(values) for name, values in columns.items()}
        given = [columns[name] for name, literal in places.items() if literal is None]
        said = ", ".join(literal or "?" for literal in places.values())
        rows = zip(*given, strict=True)
        hand.run_each(f"INSERT INTO {into} VALUES ({said})", rows)  # noqa: S608 - names, numbers

    def from_driver(self, column: Column[Any]) -> Callable[[Any], Any] | None:
        match column.type:
            case UtcDateTime():
                return lambda text: _read_instant(f"{text}+00:00")
            case Seconds():
                return lambda seconds: timedelta(seconds=seconds)
            case Json():
                return _from_json
            case Boolean():
                return bool
            case _:
                return None

    @contextmanager
    def whole(self, connection: Connection) -> Iterator[None]:
        # A statement that fails undoes itself, and no row that was inserted before it.
        if not connection.in_transaction():
            connection.begin()
        driven: Any = connection.connection.driver_connection
        if not driven.in_transaction:
            # The driver waits with it for the first row: a savepoint would be the transaction, and
            # its end a commit.
            connection.exec_driver_sql("BEGIN")
        with connection.begin_nested():
            yield

    def locked(self, query: Select[Any], table: Table, *, skip: bool = False) -> Select[Any]:
        return query  # the whole database is

    def texts_in(self, keys: str) -> Select[Any]:
        given = bindparam(keys, type_=String, required=True)
        return select(func.json_each(given).table_valued("value").c.value)

    def lacks_tables(self, error: DBAPIError) -> bool:
        # SQLite has no error code of its own for it.
        said = str(error.orig)
        return said.startswith(("no such table", "no such column")) or "has no column" in said

    def is_conflict(self, error: DBAPIError) -> bool:
        return False  # who is busy waits, and does not undo


def _literal(values: Sequence[Any]) -> str | None:
    """The integer or truth value that all of these are, as it stands in a statement; else None."""
    first = values[0]
    is_shared = isinstance(first, int) and values.count(first) == len(values)
    return str(int(first)) if is_shared else None


_read_instant = datetime.fromisoformat
"""Of the class itself: a frozen clock swaps the name for its own."""


def _from_json(stored: Any) -> Any:
    """The JSON value in a column: SQLite makes numbers of texts that are whole ones."""
    return from_json(stored) if isinstance(stored, str | bytes) else stored


def _commits_each(connection: sqlite3.Connection, commits: bool) -> None:
    """It always does: see `_prepare`."""


def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself; we do
    _switch_to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL").close()


def _switch_to_wal(connection: sqlite3.Connection) -> None:
    """Of several that are first to open a file at once, one switches and the others wait.

    SQLite does not reliably wait here itself: whatever its timeout, it may answer at once that
    the database is locked. So its timeout is off for this statement, and we ask again.
    """
    connection.execute("PRAGMA busy_timeout=0").close()
    for tries_left in reversed(range(round(BUSY_SECONDS / _ASK_AGAIN_SECONDS))):
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            break
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # or one of its kinds
            if not is_busy or not tries_left:
                raise
            sleep(_ASK_AGAIN_SECONDS)
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}").close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, True)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
