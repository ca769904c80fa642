"""Column types that mean the same in every database.

Instants go in aware and come out in UTC, microseconds kept; texts compare by code point, case and
trailing blanks included; JSON comes back digit by digit. Where a database's own type would
change a value (MySQL's JSON rounds large numbers, TIMESTAMP ends in 2038), another is taken.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, Float, String, Text
from sqlalchemy.dialects import mssql, mysql
from sqlalchemy.types import TypeDecorator, TypeEngine

from scheduler.errors import NaiveTime
from scheduler.lifecycle import storable

_TEXTS_OF_JSON = ("mysql", "mssql")
"""Databases whose JSON is kept as text."""

_SQL_SERVER_COLLATION = "Latin1_General_100_BIN2"

_END = "␠"
"""What ends a text on SQL Server that would else end in a blank, or in this itself."""
_PADDED = (" ", _END)
_ENDED = tuple(end + _END for end in _PADDED)


_encoded = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_decoded = json.JSONDecoder().decode


def to_json(value: Any) -> str:
    """A value as JSON text, ASCII, as every database can hold it.

    An empty object, the data of most jobs, is written without an encoder.
    """
    return "{}" if isinstance(value, dict) and not value else _encoded(value)


def from_json(text: str | bytes) -> Any:
    """The value of a JSON text as `to_json` makes it, an empty object without a parser."""
    if isinstance(text, bytes):
        text = text.decode()
    return {} if text == "{}" else _decoded(text)


class UtcDateTime(TypeDecorator[datetime]):
    """An instant. TIMESTAMPTZ on PostgreSQL, sortable text on SQLite, DATETIME(6) on MySQL."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.DATETIME(fsp=6))
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.DATETIMEOFFSET(6))  # type: ignore[no-untyped-call]
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise NaiveTime("instant", value)
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "mysql" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class ShortText(TypeDecorator[str]):
    """Text of a bounded length, such as a name or a key.

    What no database holds, NUL say, is escaped: it is stored readable, and finds nothing. To
    SQL Server 'a' and 'a ' are equal, in keys and whatever the collation: there a text does not
    end in a blank. It counts in units of UTF-16, of which a character may have two.
    """

    impl = String
    cache_ok = True

    def __init__(self, length: int) -> None:
        super().__init__(length)
        self._length = length

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        length = self._length
        if dialect.name == "mssql":
            wide = mssql.NVARCHAR(2 * length, collation=_SQL_SERVER_COLLATION)
            return dialect.type_descriptor(wide)
        if dialect.name == "mysql":
            # Without padding: to the others, 'a' and 'a ' are equal.
            is_mariadb = getattr(dialect, "is_mariadb", False)
            collation = "utf8mb4_nopad_bin" if is_mariadb else "utf8mb4_0900_bin"
            return dialect.type_descriptor(mysql.VARCHAR(length, collation=collation))
        if dialect.name == "postgresql":
            return String(length, collation="C")  # the database's own may be a language's
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        text = storable(value)
        return text + _END if dialect.name == "mssql" and text.endswith(_PADDED) else text

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:
        if value is None or dialect.name != "mssql" or not value.endswith(_ENDED):
            return value
        return value.removesuffix(_END)


class LongText(TypeDecorator[str]):
    """Text of any length."""

    impl = Text
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name == "mysql":
            return dialect.type_descriptor(mysql.LONGTEXT(charset="utf8mb4"))  # TEXT: 64 KiB
        if dialect.name == "mssql":
            return dialect.type_descriptor(mssql.NVARCHAR(collation=_SQL_SERVER_COLLATION))
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else storable(value)


class Json(TypeDecorator[Any]):
    """A JSON value; None is NULL. JSON and not JSONB on PostgreSQL: JSONB refuses \\u0000."""

    impl = JSON
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(none_as_null=True)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name in _TEXTS_OF_JSON:
            return LongText().load_dialect_impl(dialect)
        return super().load_dialect_impl(dialect)

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name not in _TEXTS_OF_JSON:
            return value
        return to_json(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        if value is None or dialect.name not in _TEXTS_OF_JSON:
            return value
        return from_json(value)


class Seconds(TypeDecorator[timedelta]):
    """A duration, stored as seconds."""

    impl = Float(53)
    cache_ok = True

    def process_bind_param(self, value: timedelta | None, dialect: Dialect) -> float | None:
        return None if value is None else value.total_seconds()

    def process_result_value(self, value: float | None, dialect: Dialect) -> timedelta | None:
        return None if value is None else timedelta(seconds=value)
