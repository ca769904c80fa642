"""A server that speaks SQL Server's protocol: pysqlbridge, in a thread of the tests.

It reads T-SQL, and answers SELECTs from tables that it is given, over TLS alone. It locks nothing,
cannot read a parameter that is an instant, and writes nothing: an INSERT is answered here as if it
were done. It is no SQL Server; it shows that the driver gets through, and that what is asked is
T-SQL to somebody else too.
"""

from __future__ import annotations

import datetime as dt
import socket
import struct
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from pysqlbridge.catalog import Catalog
from pysqlbridge.certificate import Certificate
from pysqlbridge.logins import Login, LoginStore, hash_password
from pysqlbridge.server import BridgeServer
from pysqlbridge.source import Table as Served
from pysqlbridge.tds.result import (
    Bit,
    Column,
    ColumnType,
    Float,
    Integer,
    NVarChar,
    Query,
    QueryError,
    QueryResult,
)
from sqlalchemy import Boolean, Table
from sqlalchemy import Float as SQLFloat
from sqlalchemy import Integer as SQLInteger

from scheduler.storage.sql.types import Seconds, UtcDateTime

USER = "a@b\\c:ü"
PASSWORD = "p@s:s/w?rd #100%ü"  # noqa: S105 - of a server that lives as long as the test


class DateTimeOffset(ColumnType):  # type: ignore[misc]
    """DATETIMEOFFSET(6), which the server has not: MS-TDS 2.2.5.5.1.9."""

    def type_info(self) -> bytes:
        return bytes([0x2B, 6])

    def encode(self, value: dt.datetime | None) -> bytes:
        if value is None:
            return b"\x00"
        midnight = value.replace(hour=0, minute=0, second=0, microsecond=0)
        time = (value - midnight) // dt.timedelta(microseconds=1)
        date = value.toordinal() - 1
        return b"\x0a" + time.to_bytes(5, "little") + date.to_bytes(3, "little") + b"\x00\x00"


class _Server(BridgeServer):  # type: ignore[misc]
    """Which knows its connections."""

    def __init__(self, **given: Any) -> None:
        super().__init__(port=0, **given)
        self.accepted: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self.accepted.append(connection)
        return connection, address


class Bridge:
    """The server; it listens from the start to the end of the block."""

    def __init__(self, directory: Path, certificate: Certificate) -> None:
        self._trusted = directory / "trusted.pem"
        self._trusted.write_bytes(certificate.cert_pem)
        self._catalog = Catalog()
        self._told: list[tuple[str, Callable[[], object]]] = []
        self._ended = threading.Event()
        self.asked: list[tuple[str, Mapping[str, Any]]] = []
        """Each statement that arrived, and its parameters."""
        secret = hash_password(PASSWORD, iterations=1)
        self._server = _Server(
            certificate=certificate,
            query_handler=self._answer,
            logins=LoginStore([Login(USER, secret, hashed=True)]),
        )
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def url(self, options: str = "", *, word: str = PASSWORD) -> str:
        """Where it is: with more of a query, such as `validate_host=off`; with another password."""
        at = f"{quote(USER, safe='')}:{quote(word, safe='')}@localhost:{self._server.address[1]}"
        more = f"&{options}" if options else ""
        return f"mssql://{at}/jobs%20%26%20co?cafile={quote(str(self._trusted), safe='')}{more}"

    def serve(self, table: Table, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        """Have a table, with these rows as the driver is to give them back."""
        columns = [Column(each.name, _type(each.type)) for each in table.columns]
        values = [[row[each.name] for each in table.columns] for row in rows]
        self._catalog.add(Served(table.name, columns, values))

    def fail(self, fragment: str, number: int, *, severity: int = 13) -> None:
        """Answer the next statement that has `fragment` in it with the error of this number."""

        def refuse() -> None:
            raise QueryError(f"as told: {number}", number=number, severity=severity)

        self._told.append((fragment, refuse))

    def hang_up(self, fragment: str) -> None:
        """Break the connections on the next statement that has `fragment` in it."""
        self._told.append((fragment, self.break_connections))

    def say_nothing(self, fragment: str) -> None:
        """Not answer the next statement that has `fragment` in it, until the end of the block."""
        self._told.append((fragment, lambda: self._ended.wait()))

    def break_connections(self) -> None:
        """As a server that dies: what is sent to it later is answered by a reset."""
        broken, self._server.accepted = self._server.accepted, []  # who comes back meanwhile stays
        for connection in broken:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, query: Query) -> QueryResult:
        self.asked.append((query.sql, query.parameters))
        for place, (fragment, act) in enumerate(self._told):
            if fragment in query.sql:
                del self._told[place]
                act()
                break
        if query.sql.startswith("INSERT"):  # which it would refuse
            return QueryResult(columns=[], rows=[])
        return self._catalog.answer(query)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _type(kind: Any) -> ColumnType:
    match kind:
        case UtcDateTime():
            return DateTimeOffset()
        case Boolean():
            return Bit()
        case SQLInteger():
            return Integer()
        case SQLFloat() | Seconds():
            return Float()
    return NVarChar()
