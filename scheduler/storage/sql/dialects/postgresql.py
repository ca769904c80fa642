"""PostgreSQL: READ COMMITTED, row locks with SKIP LOCKED, and NOTIFY to wake executors.

A notification is part of the transaction that made the jobs, and one is enough for any number
of them. It only hurries: an executor that misses it finds the jobs when it next looks.
"""

from __future__ import annotations

import hashlib
import os
import selectors
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from datetime import UTC, datetime, timedelta
from select import POLLIN, poll
from typing import Any

from sqlalchemy import (
    JSON,
    ClauseElement,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Insert,
    Select,
    String,
    Table,
    Text,
    any_,
    bindparam,
    cast,
    column,
    create_engine,
    event,
    func,
    select,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, insert
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.types import TypeEngine

from scheduler.lifecycle import storable
from scheduler.logs import logger
from scheduler.storage.sql.copying import blocks
from scheduler.storage.sql.dialects.base import (
    ANSWER_SECONDS,
    ANY_NUMBER,
    CONNECT_SECONDS,
    IDLE_SECONDS,
    LOCK_SECONDS,
    MOST_BEYOND,
    UPGRADE_LOCK,
    same_as,
    target,
)
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Hand, Within, alone
from scheduler.storage.sql.types import (
    Json,
    LongText,
    Seconds,
    ShortText,
    UtcDateTime,
    from_json,
    to_json,
)

log = logger(__name__)

_CONFLICTS = ("40001", "40P01")  # serialization failure, deadlock
_MISSING = ("42P01", "42703")  # no such table, no such column
# A peer that is gone is noticed so; one that acknowledges and says nothing is not.
_ALWAYS = {
    "connect_timeout": CONNECT_SECONDS,
    "keepalives_idle": ANSWER_SECONDS // 3,
    "keepalives_interval": ANSWER_SECONDS // 6,
    "keepalives_count": 4,
    "tcp_user_timeout": ANSWER_SECONDS * 1000,
}
_LIMITS = (
    f"SET {{0}} idle_in_transaction_session_timeout = '{IDLE_SECONDS}s'; "
    f"SET {{0}} lock_timeout = '{LOCK_SECONDS}s'; "
)
_IN_UTC = "SET {0} TIME ZONE 'UTC'; "
# Every hot statement has its index. The plan of one that is prepared while the table is empty would
# read it whole, until statistics are next collected; and none is worth compiling.
_PLANS = "SET {0} enable_seqscan = off; SET {0} jit = off"
_LONGEST_PAUSE = 30.0
_PLAN_AFRESH = text("SET LOCAL plan_cache_mode = force_custom_plan")
_COMMIT_EARLY = text("SET LOCAL synchronous_commit = off")
_NOTIFY = text("SELECT pg_notify(:channel, '')")


class PostgreSQL(OnConflict):
    """A server, version 12 or later."""

    name = "postgresql"
    insert = insert
    clock = "clock_timestamp()"
    row_place = "ctid"
    has_lateral = True
    writes_within = True

    def connect(self, *, most_beyond: int = MOST_BEYOND) -> Engine:
        return self._engine(most_beyond, _LIMITS + _IN_UTC + _PLANS)

    def lending(self, engine: Engine) -> Engine:
        return self._engine(ANY_NUMBER, _LIMITS)

    def _engine(self, most_beyond: int, settings: str) -> Engine:
        """An engine whose sessions, or transactions where a pooler lends those, have `settings`."""
        given: dict[str, Any] = self._given
        if self.options.pooler:
            given["prepare_threshold"] = None  # the next statement may go to another session
        engine = create_engine(
            self.url,
            max_overflow=most_beyond,
            json_serializer=to_json,
            json_deserializer=from_json,
            connect_args=given,
        )
        _ask_when_heard(engine)
        _end_pipelines(engine)
        if self.options.pooler:
            local = settings.format("LOCAL")
            event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(local))
        else:
            session = settings.format("SESSION")

            def set_session(connection: Any, _record: Any) -> None:
                connection.execute(session)
                connection.commit()

            event.listen(engine, "connect", set_session)
        return engine

    def reading(self, engine: Engine) -> Engine:
        if self.options.pooler:  # whose limits are set where a transaction begins
            return engine
        # A statement that only reads needs no BEGIN and no ROLLBACK, each an exchange of its own.
        return engine.execution_options(isolation_level="AUTOCOMMIT")

    def alone(self, engine: Engine) -> AbstractContextManager[Hand]:
        return super().alone(engine) if self.options.pooler else alone(engine, _commits_each)

    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        return text == any_(bindparam(name, type_=ARRAY(String)))

    def listed(self, texts: Collection[str]) -> list[str]:
        return [storable(each) for each in texts]

    def records(self, columns: Collection[Column[Any]], name: str) -> Mapping[str, Any]:
        def kind(each: Column[Any]) -> TypeEngine[Any]:
            is_text = isinstance(each.type, Json | ShortText | LongText)
            return Text() if is_text else each.type

        typed = [column(each.name, kind(each)) for each in columns]

        def read(function: str, parameter: str) -> Any:
            given = cast(bindparam(parameter, type_=Text), JSON)
            rows = getattr(func, function)(given).table_valued(*typed)
            return rows.render_derived(name=parameter, with_types=True).c

        rows, same = read("json_to_recordset", name), read("json_to_record", same_as(name))
        values = {each.name: func.coalesce(rows[each.name], same[each.name]) for each in columns}
        return {
            each.name: cast(values[each.name], JSON)
            if isinstance(each.type, Json)
            else values[each.name]
            for each in columns
        }

    def instant(self, at: datetime) -> str:
        return at.isoformat()

    def load(self, hand: Within, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
        into = target(hand.dialect, table, columns)
        hand.copy(f"COPY {into} FROM STDIN (ENCODING 'UTF8')", blocks(list(columns.values())))

    def from_driver(self, column: Column[Any]) -> Callable[[Any], Any] | None:
        match column.type:
            case UtcDateTime():
                return _in_utc
            case Seconds():
                return lambda seconds: timedelta(seconds=seconds)
            case _:
                return None

    @property
    def _given(self) -> dict[str, Any]:
        """What the driver is given, but for what the URL says."""
        return {name: value for name, value in _ALWAYS.items() if name not in self.url.query}

    def texts_in(self, keys: str) -> Select[Any]:
        given = cast(bindparam(keys, type_=String, required=True), JSON)
        # By code point, as the columns are: PostgreSQL compares no two collations.
        return select(func.json_array_elements_text(given, type_=String).collate("C"))

    def unread(self, column: Column[Any]) -> ColumnElement[Any]:
        is_json = isinstance(column.type, Json)
        return cast(column, Text) if is_json else super().unread(column)

    def lacks_tables(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in _MISSING

    def is_conflict(self, error: DBAPIError) -> bool:
        return getattr(error.orig, "sqlstate", None) in _CONFLICTS

    def lock_upgrade(self, connection: Connection) -> None:
        # Of this transaction: it ends with it.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:n))"), {"n": UPGRADE_LOCK})

    @property
    def _channel(self) -> str:
        """Executors of other tables of the database need not wake."""
        named = f"{self.options.schema or ''}.{self.options.table_prefix}jobs"
        # A name may have 63 bytes, less than the two of a URL together.
        return f"scheduler_{hashlib.sha256(named.encode()).hexdigest()[:16]}"

    def plan_afresh(self, connection: Connection) -> None:
        # The plan kept of a prepared statement is of when the table was small, until statistics
        # are next collected: a table that is being filled is then read whole for every page.
        connection.execute(_PLAN_AFRESH)

    def commit_early(self, connection: Connection) -> None:
        connection.execute(_COMMIT_EARLY)

    def announce(self, connection: Connection) -> None:
        if self.options.notify:
            connection.execute(_NOTIFY, {"channel": self._channel})

    def announced(self, insert: Insert) -> ClauseElement:
        if not self.options.notify:
            return insert
        return select(func.pg_notify(self._channel, "")).add_cte(insert.cte("made"))

    def listen(self, wake: Callable[[], None]) -> Callable[[], None] | None:
        if not self.options.notify or self.options.pooler:
            return None
        from psycopg import connect, sql

        positional, named = self.connect().dialect.create_connect_args(self.url)
        given = {**named, **self._given}
        begin = sql.SQL("LISTEN {}").format(sql.Identifier(self._channel))

        def connected() -> Any:
            connection = connect(*positional, **given, autocommit=True)
            connection.execute(begin)
            return connection

        return Listener(connected, wake).stop


def _in_utc(at: datetime) -> datetime:
    return at if at.tzinfo is UTC else at.astimezone(UTC)


def _commits_each(connection: Any, commits: bool) -> None:
    connection.autocommit = commits


def _ask_when_heard(engine: Engine) -> None:
    """Ask whether a connection still answers, before it is lent, if the server has said something.

    Unasked it says little but that it ends the connection. SQLAlchemy's pool_pre_ping asks each
    time: in a busy process that is a third of all exchanges.
    """

    def lent(connection: Any, _record: Any, _proxy: Any) -> None:
        heard = poll()
        try:
            heard.register(connection.fileno(), POLLIN)
            if heard.poll(0):
                engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError(str(error)) from error

    event.listen(engine, "checkout", lent)


def _end_pipelines(engine: Engine) -> None:
    """Let an exchange follow what is run for many rows, which psycopg sends as a pipeline.

    Its last word there is a request to flush, after which the server does not count for how long
    the transaction stands still: that of a process which is stopped just then would never end.
    """

    def many(cursor: Any, statement: str, rows: Sequence[Any], _context: Any) -> bool:
        cursor.executemany(statement, rows)
        cursor.connection.execute("")
        return True

    event.listen(engine, "do_executemany", many)


class Listener:
    """A thread that calls `wake` for every batch of notifications, on a connection of its own.

    `connect` gives a psycopg connection that listens. A connection that breaks is made again,
    less and less often; what was missed meanwhile is made up for by one `wake`.
    """

    def __init__(self, connect: Callable[[], Any], wake: Callable[[], None]) -> None:
        self._connect = connect
        self._wake = wake
        self._process = os.getpid()
        # Written to by `stop`; a socket, so that one wait is for it and for the server.
        self._stopping, self._stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name="scheduler-listen", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when `wake` is not called any more; at once in a forked child, with no thread."""
        if os.getpid() != self._process:
            return
        self._stopping.send(b".")
        self._thread.join()
        self._stopping.close()
        self._stopped.close()

    def _run(self) -> None:
        import psycopg

        pause = 0.1
        while True:
            try:
                with closing(self._connect()) as connection:
                    pause = 0.1
                    self._wake()
                    if self._heard(connection):
                        return
            except psycopg.Error as error:
                log.warning("not listening for new jobs", error=str(error).strip(), pause=pause)
            if self._told_to_stop(pause):
                return
            pause = min(_LONGEST_PAUSE, 2 * pause)

    def _heard(self, connection: Any) -> bool:
        """Wake at every notification until told to stop; True then. Raises as the driver."""
        while True:
            if self._stopped in self._readable(connection, self._stopped):
                return True
            # All that has arrived, so that a storm of them is one wake.
            if any(True for _ in connection.notifies(timeout=0)):
                self._wake()

    def _told_to_stop(self, seconds: float) -> bool:
        return bool(self._readable(self._stopped, seconds=seconds))

    @staticmethod
    def _readable(*sources: Any, seconds: float | None = None) -> list[Any]:
        """Those of `sources` that have something to be read, once any has, or after `seconds`."""
        with selectors.DefaultSelector() as selector:  # select() ends at the 1,024th open file
            for source in sources:
                selector.register(source, selectors.EVENT_READ)
            return [key.fileobj for key, _ in selector.select(seconds)]
