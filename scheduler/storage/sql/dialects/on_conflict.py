"""What PostgreSQL and SQLite have in common: INSERT … ON CONFLICT, RETURNING, JSON as a table.

So the verbs that almost every job goes through are few statements, which the driver runs itself.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import (
    ClauseElement,
    Column,
    ColumnClause,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Select,
    Table,
    column,
    type_coerce,
)
from sqlalchemy.types import NULLTYPE

from scheduler.storage.sql.dialects.base import Database, Rows, all_but_key
from scheduler.storage.sql.driver import Within
from scheduler.storage.sql.types import to_json


class OnConflict(Database):
    """A database whose INSERT can be told what to do with keys that are taken."""

    insert: ClassVar[Callable[[Table], Any]]
    """SQLAlchemy's INSERT of the dialect."""

    row_place: ClassVar[str]
    """The system's column that says where a row is."""
    has_lateral: ClassVar[bool] = False
    """Whether a query can be made for each row of another, within one statement."""
    writes_within: ClassVar[bool] = False
    """Whether the WITH of a statement can write, too."""

    @abstractmethod
    def texts_in(self, keys: str) -> Select[Any]:
        """The texts in the JSON array that is bound as `keys`."""

    def unread(self, column: Column[Any]) -> ColumnElement[Any]:
        """`column` as the driver returns it, for who converts many values at once; JSON as text."""
        return type_coerce(column, NULLTYPE)

    def place(self, table: FromClause) -> ColumnClause[Any]:
        """Where a row of `table` is, until somebody else writes it."""
        place: ColumnClause[Any] = column(self.row_place)
        place.table = table
        return place

    @abstractmethod
    def among(self, text: ColumnElement[Any], name: str) -> ColumnElement[bool]:
        """That `text` is one of those that the parameter `name` holds, as `listed` makes it."""

    @abstractmethod
    def listed(self, texts: Collection[str]) -> Any:
        """A parameter that holds some texts."""

    @abstractmethod
    def records(self, columns: Collection[Column[Any]], name: str) -> Mapping[str, Any]:
        """Values of these columns, by their names: one of each for every row of a FROM.

        The rows are in the parameter `name`, and in `same_as(name)` what they have in common: see
        `Records`.
        """

    @abstractmethod
    def instant(self, at: datetime) -> str:
        """An instant as text that is one in a record."""

    json: Callable[[Any], Any] = staticmethod(to_json)
    """JSON text, as the driver takes it for a column of JSON."""

    @abstractmethod
    def from_driver(self, column: Column[Any]) -> Callable[[Any], Any] | None:
        """What makes a value, as the driver reads it, that of the model; None if it is that."""

    @abstractmethod
    def load(self, hand: Within, table: Table, columns: Mapping[str, Sequence[Any]]) -> None:
        """Insert rows into `table`, of which these are the columns, as the database reads them."""

    def announced(self, insert: Insert) -> ClauseElement:
        """A statement that does `insert` and announces it."""
        return insert

    def insert_new(self, connection: Connection, table: Table, rows: Rows) -> None:
        connection.execute(type(self).insert(table).on_conflict_do_nothing(), rows)

    def insert_or_replace(self, connection: Connection, table: Table, rows: Rows) -> None:
        new = type(self).insert(table)
        key = [column.name for column in table.primary_key]
        replacing = new.on_conflict_do_update(
            index_elements=key, set_=all_but_key(table, new.excluded)
        )
        connection.execute(replacing, rows)
