"""Many rows for one statement, as the rows of a table within it.

They travel in two texts of JSON: what varies from row to row, and what all have in common. A list
of parameters would be one for each value, and an array is made slowly by drivers. Values are
converted column by column.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from sqlalchemy import Column

from scheduler.errors import NaiveTime
from scheduler.lifecycle import storable
from scheduler.storage.sql.dialects.base import same_as
from scheduler.storage.sql.dialects.on_conflict import OnConflict
from scheduler.storage.sql.rows import Convert, converted
from scheduler.storage.sql.types import Json, LongText, Seconds, ShortText, UtcDateTime, to_json


class Records:
    """Rows of values of these `columns`, under a `name` within the statement.

    `json` makes the text of a JSON value.
    """

    def __init__(
        self,
        database: OnConflict,
        name: str,
        columns: Sequence[Column[Any]],
        *,
        json: Convert = to_json,
    ) -> None:
        self._database = database
        self._name = name
        self._columns = columns
        self._names = [column.name for column in columns]
        self._converts = [to_stored(database, column, json) for column in columns]

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

    def converted(self, rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
        """The columns of these rows as the database has them."""
        return [
            values if convert is None else converted(values, convert)
            for values, convert in zip(zip(*rows, strict=True), self._converts, strict=True)
        ]


def to_stored(database: OnConflict, column: Column[Any], json: Convert) -> Convert | None:
    """What makes a value of `column` one that the database reads; None if it is that.

    `json` makes the text of a JSON value.
    """

    def aware(at: datetime) -> Any:
        if at.tzinfo is None:
            raise NaiveTime("instant", at)
        return database.instant(at)

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
