"""Many rows for one statement: as the rows of a table within it, or one after the other.

As a table, they travel in two texts of JSON: what varies from row to row, and what all have in
common. A list of parameters would be one for each value, and an array is made slowly by drivers.
Values are converted column by column.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import ClauseElement, Column, Table, bindparam, insert, select

from scheduler.errors import NaiveTime
from scheduler.lifecycle import storable
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.base import same_as
from scheduler.storage.sql.driver import Hand, Prepared
from scheduler.storage.sql.parts import slices
from scheduler.storage.sql.rows import Convert, converted
from scheduler.storage.sql.types import Json, LongText, Seconds, ShortText, UtcDateTime, to_json


class Records:
    """Rows of values of these `columns`, under a `name` within the statement.

    `json` makes the text of a JSON value.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        columns: Sequence[Column[Any]],
        *,
        json: Convert = to_json,
    ) -> None:
        self._database = database
        self._name = name
        self._columns = columns
        self._names = [column.name for column in columns]
        self._converts = [_to_record(column, database.instant, json) for column in columns]

    @cached_property
    def columns(self) -> Mapping[str, Any]:
        """What a statement has of each column, by name."""
        return self._database.records(self._columns, self._name)

    def parameters(self, rows: Iterable[Sequence[Any]]) -> dict[str, str]:
        """The parameters of the statement that hold these rows, of which there are some."""
        same: dict[str, Any] = {}
        names: list[str] = []
        varying: list[Sequence[Any]] = []
        columns = self.converted(rows)
        count = len(columns[0])
        for name, values in zip(self._names, columns, strict=True):
            if values.count(values[0]) < count:
                names.append(name)
                varying.append(values)
            elif values[0] is not None:  # what is left out is NULL
                same[name] = values[0]
        parts = zip(*varying, strict=True) if varying else ((),) * count
        records = [dict(zip(names, row, strict=True)) for row in parts]
        return {self._name: to_json(records), same_as(self._name): to_json(same)}

    def filled(self, rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
        """The columns in which any of these rows has a value, by name, as the database has them."""
        columns = zip(self._names, self._converts, zip(*rows, strict=True), strict=True)
        return {
            name: values if convert is None else converted(values, convert)
            for name, convert, values in columns
            if values.count(None) < len(rows)
        }

    def converted(self, rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """The columns of these rows as the database has them."""
        return [
            values if convert is None else converted(values, convert)
            for values, convert in zip(zip(*rows, strict=True), self._converts, strict=True)
        ]


class Insertion:
    """Inserts new rows into `table`, of values of all its `names`, by as few statements as can be.

    With `announces`, executors are told of them.
    """

    def __init__(
        self, database: Database, table: Table, names: Sequence[str], *, announces: bool = False
    ) -> None:
        self._database = database
        self._table = table
        self._names = names
        self._announces = announces
        columns = [table.c[name] for name in names]
        self._rows = Records(database, f"{table.name}_new", columns, json=database.json)
        self._prepared: dict[tuple[str, ...], Prepared] = {}

    def is_one(self, count: int) -> bool:
        """Whether it is one statement for so many rows."""
        return count == 1 if self._database.inserts_singly else count <= MOST_INSERTED

    def run(self, hand: Hand, rows: Sequence[Sequence[Any]]) -> None:
        """Insert `rows`. What has a key that is taken is an IntegrityError."""
        if self._database.inserts_singly:
            self._one_by_one(hand, rows)
            return
        statement = self._ready(hand, (), self._from_records)
        for part in slices(rows, MOST_INSERTED):
            hand.run(statement, self._rows.parameters(part))

    def _one_by_one(self, hand: Hand, rows: Sequence[Sequence[Any]]) -> None:
        """By one statement, prepared once, of the columns in which any of them has a value.

        Its values are in the order of the table's columns.
        """
        given = self._rows.filled(rows)
        names = tuple(each.name for each in self._table.columns if each.name in given)
        statement = self._ready(hand, names, lambda: self._of_values(names))
        hand.insert(statement.text, list(zip(*(given[name] for name in names), strict=True)))

    def _ready(
        self, hand: Hand, names: tuple[str, ...], make: Callable[[], ClauseElement]
    ) -> Prepared:
        found = self._prepared.get(names)
        if found is None:
            found = self._prepared[names] = Prepared(make(), hand.dialect)
        return found

    def _of_values(self, names: Sequence[str]) -> ClauseElement:
        values: dict[str, Any] = {name: bindparam(name, required=True) for name in names}
        return insert(self._table).values(values)

    def _from_records(self) -> ClauseElement:
        new = select(*(self._rows.columns[name] for name in self._names))
        statement = insert(self._table).from_select(list(self._names), new)
        return self._database.announced(statement) if self._announces else statement


MOST_INSERTED = 5000
"""How many rows one statement inserts: their text has to be held as a whole."""


def _to_record(
    column: Column[Any], instant: Callable[[datetime], Any], json: Convert
) -> Convert | None:
    """What makes a value of `column` one of JSON; JSON itself is text in it, as it will be."""

    def aware(at: datetime) -> Any:
        if at.tzinfo is None:
            raise NaiveTime("instant", at)
        return instant(at)

    match column.type:
        case UtcDateTime():
            return aware
        case Json():
            return json
        case Seconds():
            return timedelta.total_seconds
        case ShortText() | LongText():
            return storable
        case _:
            return None
