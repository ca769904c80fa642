"""Statements that the driver runs itself, for the verbs that every job goes through.

SQLAlchemy finds out how an expression compiles, converts what goes in and comes out value by
value, and begins and ends a transaction: several times what the database takes. A Prepared
statement is compiled once. Alone it is a transaction of its own, in one exchange with the server;
within a connection it is part of that one's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Protocol

from sqlalchemy import ClauseElement, Connection, Dialect, Engine, SelectBase
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import PoolProxiedConnection

Row = Sequence[Any]
Convert = Callable[[Any], Any]


class Prepared:
    """A statement as the driver takes it. Its parameters are the binds that have no value yet."""

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        self.text = str(compiled)
        self.returns_rows = isinstance(statement, SelectBase) or bool(compiled.effective_returning)
        names = compiled.bind_names
        self._fixed = {names[b]: b.effective_value for b in names if not b.required}
        self._order: Sequence[str] | None = compiled.positiontup
        kinds = {name: bind.type.dialect_impl(dialect) for bind, name in names.items()}
        converts = {name: kind.bind_processor(dialect) for name, kind in kinds.items()}
        self._converts: Mapping[str, Convert] = {n: c for n, c in converts.items() if c}

    def parameters(self, values: Mapping[str, Any]) -> Any:
        """What the driver is given for these `values`, which are by name."""
        given = {**self._fixed, **values}
        for name, convert in self._converts.items():
            given[name] = convert(given[name])
        return given if self._order is None else tuple(given[name] for name in self._order)


class Hand(Protocol):
    """What runs prepared statements."""

    dialect: Dialect

    def run(self, prepared: Prepared, values: Mapping[str, Any]) -> Sequence[Row]:
        """The rows that it returns, as the driver makes them; none if it returns none."""


class Within:
    """Runs statements in the transaction of `connection`."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect = connection.dialect

    def run(self, prepared: Prepared, values: Mapping[str, Any]) -> Sequence[Row]:
        given = prepared.parameters(values)
        result = self.connection.exec_driver_sql(prepared.text, given)
        return result.fetchall() if prepared.returns_rows else ()

    def run_each(self, text: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Run a statement once for each of `rows`, which are its parameters."""
        with self._cursor() as cursor:
            cursor.executemany(text, rows)

    def copy(self, text: str, blocks: Iterable[bytes]) -> None:
        """Run a statement that reads `blocks`, as psycopg runs COPY … FROM STDIN."""
        with self._cursor() as cursor, cursor.copy(text) as copy:
            for block in blocks:
                copy.write(block)

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        """A cursor of the driver's; its errors are raised as SQLAlchemy's."""
        if not self.connection.in_transaction():
            self.connection.begin()  # as with a statement of SQLAlchemy's
        driven = self.connection.connection
        try:
            with closing(driven.cursor()) as cursor:
                yield cursor
        except self.dialect.loaded_dbapi.Error as error:
            is_gone = self.dialect.is_disconnect(error, driven.dbapi_connection, None)
            if is_gone:
                self.connection.invalidate(error)
            raise _as_sqlalchemys(error, self.dialect, is_gone=is_gone) from error


class _Alone:
    """Runs statements on a connection of the driver's that is in no transaction."""

    def __init__(self, connection: Any, dialect: Dialect) -> None:
        self._connection = connection
        self.dialect = dialect

    def run(self, prepared: Prepared, values: Mapping[str, Any]) -> Sequence[Row]:
        cursor = self._connection.execute(prepared.text, prepared.parameters(values))
        return cursor.fetchall() if prepared.returns_rows else ()


@contextmanager
def together(engine: Engine) -> Iterator[Hand]:
    """Runs statements in one transaction, which is committed at the end of the block."""
    with engine.begin() as connection:
        yield Within(connection)


@contextmanager
def alone(engine: Engine, commits: Callable[[Any, bool], None]) -> Iterator[Hand]:
    """Runs each statement as a transaction of its own, on a connection of the pool of `engine`.

    `commits` tells a connection of the driver whether it commits each statement by itself. The
    driver's errors are raised as SQLAlchemy's, and a connection that broke is not lent again.
    """
    dialect = engine.dialect
    lent: PoolProxiedConnection | None = None
    connection: Any = None
    try:
        lent = engine.raw_connection()
        connection = lent.dbapi_connection
        commits(connection, True)
        yield _Alone(connection, dialect)
    except dialect.loaded_dbapi.Error as error:
        is_gone = lent is None or dialect.is_disconnect(error, connection, None)
        if lent is not None and is_gone:
            lent.invalidate(error)
        raise _as_sqlalchemys(error, dialect, is_gone=is_gone) from error
    finally:
        if lent is not None:
            _give_back(lent, connection, commits)


def _as_sqlalchemys(error: Exception, dialect: Dialect, *, is_gone: bool) -> BaseException:
    """An error of the driver's as SQLAlchemy tells it; with `is_gone` the connection broke."""
    return DBAPIError.instance(
        None,
        None,
        error,
        dialect.loaded_dbapi.Error,
        connection_invalidated=is_gone,
        dialect=dialect,
    )


def _give_back(
    lent: PoolProxiedConnection, connection: Any, commits: Callable[[Any, bool], None]
) -> None:
    try:
        if lent.is_valid:
            commits(connection, False)
    finally:
        lent.close()
