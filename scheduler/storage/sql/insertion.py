"""New rows into a table: one by a statement of its own, many the quickest way the database has.

Many are converted column by column. Columns without a value are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ClauseElement, Table, bindparam, insert, type_coerce
from sqlalchemy.types import NULLTYPE

from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.driver import Hand, Prepared, Within
from scheduler.storage.sql.records import to_stored
from scheduler.storage.sql.rows import Values, converted


class Insertion:
    """Inserts what is new into `table`; `values` give of each thing what its columns hold.

    What has a key that is taken is an IntegrityError.
    """

    def __init__(self, database: OnConflict, table: Table, values: Values) -> None:
        self._database = database
        self._table = table
        self._columns = [
            (name, value, to_stored(database, table.c[name], database.json))
            for name, value in values.items()
        ]
        self._announced: dict[tuple[str, ...], Prepared] = {}

    def announce(self, hand: Hand, thing: object) -> None:
        """Insert one thing, and tell executors of it, by one statement."""
        given: dict[str, Any] = {}
        for name, value, convert in self._columns:
            each = value(thing)
            if each is not None:
                given[name] = each if convert is None else convert(each)
        names = tuple(given)
        statement = self._announced.get(names)
        if statement is None:
            statement = self._announced[names] = Prepared(self._of_values(names), hand.dialect)
        hand.run(statement, given)

    def load(self, hand: Within, things: Sequence[object]) -> None:
        """Insert these things, of which there are some."""
        columns: dict[str, Sequence[Any]] = {}
        for name, value, convert in self._columns:
            column = list(map(value, things))
            if column.count(None) < len(column):
                columns[name] = column if convert is None else converted(column, convert)
        self._database.load(hand, self._table, columns)

    def _of_values(self, names: Sequence[str]) -> ClauseElement:
        # Of no type, so that SQLAlchemy leaves the values as they are.
        values = {name: type_coerce(bindparam(name, required=True), NULLTYPE) for name in names}
        return self._database.announced(insert(self._table).inline().values(values))
