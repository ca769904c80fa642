"""The driver's end of a connection to no server: it keeps what would be sent.

It takes the place of python-tds's connection alone: SQLAlchemy, its dialect and ours are the real
ones, and text and types of parameters are made as python-tds makes them for sp_executesql. What
it answers says nothing about SQL Server: no rows, one row written, or as it was told; of the
catalog it knows the tables and indexes that were made.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytds
from pytds import tds_base, tds_types
from sqlalchemy import event

from scheduler.storage.sql import SQLStorage

SERVER_VERSION = 16 << 24  # SQL Server 2022
_INFERRED = tds_types.TdsTypeInferrer(
    tds_types.SerializerFactory(tds_base.TDS74), bytes_to_unicode=True, allow_tz=True
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sent:
    """One statement."""

    text: str
    types: Mapping[str, str]
    """What each parameter is declared as, by its name."""


@dataclass(frozen=True)
class Answer:
    """What one statement brings."""

    rows: Sequence[Row] = ()
    written: int = 1
    error: int | None = None
    """The number of the error it ends in."""


@dataclass
class Recorder:
    """What was sent, and what is answered to it."""

    sent: list[Sent] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)
    indexes: dict[str, str] = field(default_factory=dict)
    """The table of each."""
    given: dict[str, Any] = field(default_factory=dict)
    """What the driver was told to connect with."""
    _answers: list[tuple[str, Answer]] = field(default_factory=list)

    def record(self, storage: SQLStorage) -> None:
        """Take the place of the server of `storage`."""

        @event.listens_for(storage._engine, "do_connect")
        def connect(_dialect: Any, _record: Any, _arguments: Any, given: dict[str, Any]) -> Any:
            self.given = dict(given)
            return Connection(self)

    def answer(self, fragment: str, *rows: Row, **given: Any) -> None:
        """Give this to the next statement that has `fragment` in it, if none was promised it."""
        self._answers.append((fragment, Answer(rows, **given)))

    def execute(self, statement: str, parameters: Row) -> Answer:
        text = statement % {name: f"@{name}" for name in parameters}
        self.sent.append(
            Sent(text, {f"@{name}": _declared(parameters[name]) for name in parameters})
        )
        if made := re.search(r"CREATE TABLE (?:\S+\.)?(\S+)", text):
            self.tables.add(made[1])
        if made := re.search(r"CREATE (?:UNIQUE )?INDEX (\S+) ON (?:\S+\.)?(\S+)", text):
            self.indexes[made[1]] = made[2]
        for place, (fragment, answer) in enumerate(self._answers):
            if fragment in text:
                del self._answers[place]
                return answer
        asked = {each.value for each in parameters.values() if isinstance(each, tds_base.Param)}
        return Answer(
            [row for kind in _CATALOG if kind in text for row in _CATALOG[kind](self, asked)]
        )


def _tables(recorder: Recorder, asked: set[Any]) -> list[Row]:
    return [{"name": name} for name in sorted(recorder.tables & asked)]


def _indexes(recorder: Recorder, asked: set[Any]) -> list[Row]:
    return [
        {
            "table_name": table,
            "index_id": number,
            "is_unique": 0,
            "name": name,
            "type": 2,
            "filter_definition": None,
        }
        for number, (name, table) in enumerate(recorder.indexes.items())
        if table in asked
    ]


_CATALOG: dict[str, Callable[[Recorder, set[Any]], list[Row]]] = {
    "SELECT sys.objects.name \n": _tables,
    "FROM sys.indexes JOIN": _indexes,
}


def _declared(value: Any) -> str:
    given = value.type if isinstance(value, tds_base.Param) else _INFERRED.from_value(value)
    declaration: str = given.get_declaration()
    return declaration


class Connection:
    """As much of python-tds's as is used."""

    product_version = SERVER_VERSION

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def cursor(self) -> Cursor:
        return Cursor(self._recorder)

    def commit(self) -> None: ...

    def rollback(self) -> None: ...

    def close(self) -> None: ...


class Cursor:
    """As much of python-tds's as is used."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._rows: list[tuple[Any, ...]] = []
        self.rowcount = -1
        self.description: list[tuple[Any, ...]] = []

    def execute(self, statement: str, parameters: Row | None = None) -> None:
        if parameters is None:  # sent as it is, and not through sp_executesql
            statement, parameters = statement.replace("%", "%%"), {}
        answer = self._recorder.execute(statement, parameters)
        if answer.error is not None:
            raise refused(answer.error)
        self.rowcount = answer.written
        names = list(answer.rows[0]) if answer.rows else [""]
        self.description = [(name, *[None] * 6) for name in names]
        self._rows = [tuple(row.values()) for row in answer.rows]

    def fetchone(self) -> tuple[Any, ...] | None:
        return self._rows.pop(0) if self._rows else None

    def fetchall(self) -> list[tuple[Any, ...]]:
        rows, self._rows = self._rows, []
        return rows

    def nextset(self) -> bool:
        return False

    def close(self) -> None: ...


def refused(number: int) -> pytds.DatabaseError:
    """The error of this number, as python-tds makes it of the server's message."""
    message = {
        "marker": tds_base.TDS_ERROR_TOKEN,
        "msgno": number,
        "state": 1,
        "severity": 14,
        "sql_state": None,
        "priv_msg_type": 1,
        "message": f"error {number}",
        "server": "",
        "proc_name": "",
        "line_number": 1,
    }
    return tds_base._create_exception_by_message(message, message["message"])
