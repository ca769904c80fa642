"""SQL Server 2016 or later, and Azure SQL, through python-tds.

READ COMMITTED, and the rows that a verb must hold are locked by table hints: FOR UPDATE is left
out here without a word. The unique indexes alone decide what is taken already: MERGE, and asking
before writing, can be overtaken between the two. Best with READ_COMMITTED_SNAPSHOT, under which
who only reads waits for nobody; the hints lock under it as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Select,
    Table,
    bindparam,
    create_engine,
    event,
    insert,
    text,
    update,
)
from sqlalchemy.exc import DBAPIError, IntegrityError

from scheduler.errors import InvalidOption
from scheduler.storage.sql.dialects.base import (
    CONNECT_SECONDS,
    MOST_BEYOND,
    UPGRADE_LOCK,
    UPGRADE_SECONDS,
    Database,
    Options,
    Rows,
    still_upgrading,
    switch,
)

_DRIVER = "mssql+pytds"
_ALWAYS = {
    "isolation_level": 2,  # READ COMMITTED: READPAST is refused in others
    "login_timeout": CONNECT_SECONDS,
    # By itself the driver gives the first try to log in a twelfth of that time, and cuts it off.
    "disable_connect_retry": True,
}
_CONFLICTS = (1205, 1222)  # deadlock victim, lock request timeout
_MISSING = (207, 208)  # no such column, no such table
_TAKEN = (2601, 2627)  # in a unique index, in a unique constraint or a primary key

_LOCK_SECONDS = 50
"""How long a statement waits for what another holds before the verb is tried again."""

# What filtered indexes ask of every session that writes their table. The driver asks for ODBC's
# defaults, which are not all of it, and the server may be set to others. NOCOUNT would hide how
# many rows were written; XACT_ABORT would undo the transaction when a row is there already.
_SESSION = (
    "SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, "
    "QUOTED_IDENTIFIER ON; "
    "SET NUMERIC_ROUNDABORT, NOCOUNT, XACT_ABORT, IMPLICIT_TRANSACTIONS OFF; "
    f"SET LOCK_TIMEOUT {_LOCK_SECONDS * 1000}"
)

# NOCOUNT, to the end of this batch: else the counts of the procedure's own statements come first.
_LOCK = text(
    "SET NOCOUNT ON; DECLARE @got INT; "
    "EXEC @got = sp_getapplock @Resource = :name, @LockMode = 'Exclusive', "
    "@LockOwner = 'Transaction', @LockTimeout = :wait; SELECT @got"
)


class SQLServer(Database):
    """A server.

    Connections are encrypted only where the URL says `?cafile=…`, a file of the certificates to
    trust: without it even the password is readable to who listens in. `validate_host=off` takes
    a trusted certificate of any host. `timeout=…`, of one statement, none by default, and
    `login_timeout=…` are in seconds.
    """

    name = "mssql"
    clock = "SYSUTCDATETIME()"

    def __init__(self, url: URL, options: Options) -> None:
        if url.drivername != _DRIVER:
            raise InvalidOption(
                "database", url.drivername, "is not the driver for SQL Server", "write mssql://…"
            )
        super().__init__(url, options)
        self._given = _given(url.query)

    def connect(self, *, most_beyond: int = MOST_BEYOND) -> Engine:
        from scheduler.storage.sql.dialects import tds

        engine = create_engine(
            self.url.set(drivername=tds.NAME, query={}),
            pool_pre_ping=True,
            max_overflow=most_beyond,
            connect_args=_ALWAYS | self._given,
        )
        event.listen(engine, "connect", _prepare)
        return engine

    def locked(self, query: Select[Any], table: Table, *, skip: bool = False) -> Select[Any]:
        hints = "UPDLOCK, READPAST, ROWLOCK" if skip else "UPDLOCK, ROWLOCK"
        return query.with_hint(table, f"WITH ({hints})", self.name)

    def insert_new(self, connection: Connection, table: Table, rows: Rows) -> None:
        new = insert(table)
        for row in rows:
            try:
                connection.execute(new, row)
            except IntegrityError as error:
                # The refused statement is undone, and the transaction goes on.
                if _number(error) not in _TAKEN:
                    raise

    def insert_or_replace(self, connection: Connection, table: Table, rows: Rows) -> None:
        key = [column.name for column in table.primary_key]
        # HOLDLOCK keeps the place of a row that is not there, until it is.
        replace = (
            update(table)
            .with_hint("WITH (UPDLOCK, HOLDLOCK)", dialect_name=self.name)
            .where(*(table.c[name] == bindparam(f"key_{name}") for name in key))
        )
        new = insert(table)
        for row in rows:
            values = {name: value for name, value in row.items() if name not in key}
            keys = {f"key_{name}": row[name] for name in key}
            if connection.execute(replace.values(values), keys).rowcount == 0:
                connection.execute(new, row)

    def lacks_tables(self, error: DBAPIError) -> bool:
        return _number(error) in _MISSING

    def is_conflict(self, error: DBAPIError) -> bool:
        return _number(error) in _CONFLICTS

    def lock_upgrade(self, connection: Connection) -> None:
        # Of this transaction: it ends with it.
        wait = {"name": UPGRADE_LOCK, "wait": UPGRADE_SECONDS * 1000}
        if connection.execute(_LOCK, wait).scalar_one() < 0:
            raise still_upgrading()


def _prepare(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    # Without parameters, and so not inside of a procedure, at whose end it would be as before.
    cursor.execute(_SESSION)
    cursor.close()


def _number(error: DBAPIError) -> int | None:
    number: int | None = getattr(error.orig, "number", None)
    return number


def _given(query: Mapping[str, str | tuple[str, ...]]) -> dict[str, Any]:
    """What the driver is given of the URL's query. Raises InvalidOption.

    What is not known is refused: the driver would ignore it, and with it, say, `encrypt=yes`.
    """
    given: dict[str, Any] = {}
    for name, value in query.items():
        if name not in _READ:
            known = ", ".join(_READ)
            raise InvalidOption("database", name, "is not an option here", f"use one of {known}")
        given[name] = _READ[name](name, value)
    return given


def _file(name: str, value: object) -> str:
    if not isinstance(value, str) or not Path(value).is_file():
        raise InvalidOption(f"database: {name}", value, "is not a file that is there")
    return value


def _seconds(name: str, value: object) -> int:
    if not isinstance(value, str) or not value.isascii() or not value.isdigit() or int(value) < 1:
        raise InvalidOption(f"database: {name}", value, "is not a number of seconds, 1 or more")
    return int(value)


_READ = {
    "cafile": _file,
    "validate_host": switch,
    "timeout": _seconds,
    "login_timeout": _seconds,
}
