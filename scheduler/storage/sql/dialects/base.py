"""What differs between databases, as one class to inherit from: a Database.

Connections, transactions, row locks, inserts that may collide, and what errors mean. A statement
that every database understands is not here but with its verb.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar

from sqlalchemy import (
    URL,
    Connection,
    Dialect,
    Engine,
    Select,
    Table,
)
from sqlalchemy.exc import DBAPIError

from scheduler.errors import InvalidOption, StorageUnavailable
from scheduler.storage.sql.driver import Hand, together

Rows = Sequence[Mapping[str, Any]]

CONNECT_SECONDS = 5
"""How long a server may take to answer a new connection."""

IDLE_SECONDS = 15
"""How long a transaction may stand still before a server ends it, and with it its locks.

A process that is stopped, or a machine that sleeps, would hold on to its rows for as long.
"""

LOCK_SECONDS = 20
"""How long a statement may wait for what another transaction holds."""

ANSWER_SECONDS = 30
"""How long a connection may be silent before it is taken for broken."""

MOST_BEYOND = 10
"""How many connections there may be at a time, beyond those that are kept."""

ANY_NUMBER = -1
"""Of these: SQLAlchemy's word for it."""

UPGRADE_SECONDS = 60
"""How long one of several that upgrade at once waits for the others."""

UPGRADE_LOCK = "scheduler_upgrade"

_SWITCH = {"on": True, "off": False}


@dataclass(frozen=True, slots=True)
class Options:
    """What a URL says beside where the database is."""

    schema: str | None = None
    """The schema of the tables; None: the connection's own."""
    table_prefix: str = ""
    """What leads the name of every table."""
    notify: bool = True
    """Whether new jobs are announced to executors (PostgreSQL)."""
    pooler: bool = False
    """Whether a pooler lends out connections by the transaction (PostgreSQL)."""


class Database(ABC):
    """One kind of database, at `url`."""

    name: ClassVar[str]
    """SQLAlchemy's name of the dialect."""
    embedded: ClassVar[bool] = False
    """Whether the database is this process's own, its tables made when it is opened."""
    updates_return: ClassVar[bool] = True
    """Whether an UPDATE can return the rows it wrote."""
    locks_in_passing: ClassVar[bool] = False
    """Whether a row that a locking query looks at and leaves is locked for that moment."""
    clock: ClassVar[str | None] = None
    """What is the server's time, to the microsecond, in UTC; None if it is this machine's."""

    def __init__(self, url: URL, options: Options) -> None:
        self.url = url
        self.options = options

    @abstractmethod
    def connect(self, *, most_beyond: int = MOST_BEYOND) -> Engine:
        """An engine, with at most so many connections beyond those it keeps; none is made yet."""

    def lending(self, engine: Engine) -> Engine:
        """An engine beside `engine`, for connections that others hold for as long as they like.

        How many, the executor says that runs them; its own verbs do not wait for theirs.
        """
        return self.connect(most_beyond=ANY_NUMBER)

    def reading(self, engine: Engine) -> Engine:
        """`engine` for transactions that only read."""
        return engine

    def alone(self, engine: Engine) -> AbstractContextManager[Hand]:
        """What runs one statement that is a transaction of its own."""
        return together(engine)

    def locked(self, query: Select[Any], table: Table, *, skip: bool = False) -> Select[Any]:
        """`query` with its rows of `table` locked; with `skip`, those that others hold left out."""
        return query.with_for_update(skip_locked=skip)

    @abstractmethod
    def insert_new(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert `rows`, leaving alone those whose key is already taken."""

    @abstractmethod
    def insert_or_replace(self, connection: Connection, table: Table, rows: Rows) -> None:
        """Insert `rows`, overwriting those whose primary key is already taken."""

    @abstractmethod
    def lacks_tables(self, error: DBAPIError) -> bool:
        """Whether the database said that a table or a column is not there."""

    @abstractmethod
    def is_conflict(self, error: DBAPIError) -> bool:
        """Whether it undid the transaction for the sake of another: the same again may work."""

    def whole(self, connection: Connection) -> AbstractContextManager[Any]:
        """A block that, if it raises, leaves nothing in a transaction which is not ours to end."""
        return nullcontext()

    def lock_upgrade(self, connection: Connection) -> None:  # noqa: B027 - most need it not
        """Let one at a time change the tables, until `connection`, which has no other use, ends."""

    def plan_afresh(self, connection: Connection) -> None:  # noqa: B027 - most need it not
        """Plan each statement of this transaction for the tables as they are by now."""

    def commit_early(self, connection: Connection) -> None:  # noqa: B027 - most need it not
        """Let this transaction end before the disk has it: a crash may undo it as a whole."""

    def announce(self, connection: Connection) -> None:  # noqa: B027 - most need it not
        """Tell executors, once the transaction is committed, that there are new jobs."""

    def listen(self, wake: Callable[[], None]) -> Callable[[], None] | None:
        """Call `wake` when jobs are announced, until what comes back is called.

        None where nothing is announced.
        """
        return None


def same_as(name: str) -> str:
    """The parameter with what the records in the parameter `name` have in common."""
    return f"{name}_same"


def target(dialect: Dialect, table: Table, columns: Iterable[str]) -> str:
    """`table` and some of its columns, as INSERT and COPY name them."""
    quoted = dialect.identifier_preparer
    return f"{quoted.format_table(table)} ({', '.join(map(quoted.quote, columns))})"


def all_but_key(table: Table, source: Any) -> dict[str, Any]:
    """The columns of `source` that are no part of the primary key of `table`, by name."""
    key = {column.name for column in table.primary_key}
    return {column.name: source[column.name] for column in table.columns if column.name not in key}


def switch(name: str, value: object) -> bool:
    """What `on` and `off` say in a URL. Raises InvalidOption."""
    if not isinstance(value, str) or value not in _SWITCH:
        raise InvalidOption(f"database: {name}", value, "is not on or off")
    return _SWITCH[value]


def still_upgrading() -> StorageUnavailable:
    """What one who upgrades is told who has waited for another for UPGRADE_SECONDS."""
    return StorageUnavailable(
        f"database: another process has been changing the tables for {UPGRADE_SECONDS} s"
    )
