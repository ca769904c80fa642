"""INSERT … ON CONFLICT, which PostgreSQL began and SQLite took over."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, type_coerce
from sqlalchemy.types import NULLTYPE

from scheduler.storage.sql.dialects.base import Database, Rows, all_but_key


class OnConflict(Database):
    """A database whose INSERT can be told what to do with keys that are taken."""

    insert: ClassVar[Callable[[Table], Any]]
    """SQLAlchemy's INSERT of the dialect."""

    @abstractmethod
    def texts_in(self, keys: str) -> Select[Any]:
        """The texts in the JSON array that is bound as `keys`."""

    def unread(self, column: Column[Any]) -> ColumnElement[Any]:
        """`column` as the driver returns it, for who converts many values at once; JSON as text."""
        return type_coerce(column, NULLTYPE)

    def insert_new(self, connection: Connection, table: Table, rows: Rows) -> None:
        connection.execute(type(self).insert(table).on_conflict_do_nothing(), rows)

    def insert_or_replace(self, connection: Connection, table: Table, rows: Rows) -> None:
        new = type(self).insert(table)
        key = [column.name for column in table.primary_key]
        replacing = new.on_conflict_do_update(
            index_elements=key, set_=all_but_key(table, new.excluded)
        )
        connection.execute(replacing, rows)
