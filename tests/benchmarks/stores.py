"""Fresh stores to measure on, and a quick way to fill them with as many rows as are wanted.

A store is a database with the product's tables, the product's storage on it, and the floor's own
connection. Rows are copies that the database makes of one that the product wrote, so that they are
what the product would have written.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from scheduler.model import Job, Schedule
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.tables import tables_of
from scheduler.storage.sql.types import Json
from tests.benchmarks.floor import Floor
from tests.benchmarks.floor_postgres import PostgresFloor
from tests.benchmarks.floor_sqlite import SQLiteFloor
from tests.servers import fresh_database

NUMBER = "0000000000"
"""What a number is led by in names and ids, so that they sort as numbers."""


@dataclass(frozen=True)
class Store:
    """One empty database of the kind `name`. `floor` is a connection of its own."""

    name: str
    url: str
    storage: SQLStorage
    floor: Floor
    _new_floor: Callable[[str], Floor]

    def another_floor(self) -> Floor:
        """One more connection, for a thread of its own; to be closed by who asks for it."""
        return self._new_floor(self.url)

    def fill_jobs(self, model: Job, n: int, *, prefix: str) -> None:
        """`n` jobs like `model`, which itself is not there."""
        self.storage.save_jobs([model])
        self._copy("jobs", model.id, n, {"id": self._numbered(prefix)})

    def fill_schedules(self, model: Schedule, n: int) -> None:
        """`n` schedules like `model`, which itself is not there."""
        self.storage.save_schedule(model)
        numbered = {"id": self._in_a_row(), "name": self._numbered("schedule-")}
        self._copy("schedules", model.id, n, numbered)

    def _numbered(self, prefix: str) -> str:
        """SQL: `prefix` and the number g."""
        is_sqlite = self.name == SQLITE
        number = f"substr('{NUMBER}' || g, -10)" if is_sqlite else "lpad(g::text, 10, '0')"
        return f"'{prefix}' || {number}"

    def _in_a_row(self) -> str:
        """SQL: the id of the number g, as if one process had made all of them in one go."""
        is_sqlite = self.name == SQLITE
        tail = "printf('%015x', g << 31)" if is_sqlite else "lpad(to_hex(g::bigint << 31), 15, '0')"
        return f"'019b9100-0000-7000-8' || substr({tail}, 1, 3) || '-' || substr({tail}, 4)"

    def _copy(self, table: str, model: str, n: int, numbered: Mapping[str, str]) -> None:
        """`n` copies of the row whose id is `model`, and then not that row.

        `numbered` are the columns that differ: SQL in which the number of a copy is g.
        """
        is_sqlite = self.name == SQLITE
        columns = self.columns(table)
        values = [numbered.get(each, each) for each in columns]
        numbers = f"generate_series(1, {n}) AS g"
        if is_sqlite:
            up = f"SELECT 1 UNION ALL SELECT g + 1 FROM up WHERE g < {n}"
            numbers = f"(WITH RECURSIVE up (g) AS ({up}) SELECT g FROM up)"
        which = self.floor.key.format("model")
        self.floor.execute(
            f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(values)} "
            f"FROM {table}, {numbers} WHERE id = {which}",
            {"model": model},
        )
        self.floor.execute(f"DELETE FROM {table} WHERE id = {which}", {"model": model})
        self.analyse()

    def columns(self, table: str) -> list[str]:
        """The names of the columns of one of the product's tables."""
        return [column.name for column in self._table(table).columns]

    def as_loaded(self, table: str, column: str) -> str:
        """What to select so that a value can be loaded again: JSON is wanted as it is written."""
        is_parsed = self.name == POSTGRESQL and isinstance(self._table(table).c[column].type, Json)
        return f"{column}::text" if is_parsed else column

    def _table(self, table: str) -> Table:
        dialect = "sqlite" if self.name == SQLITE else "postgresql"
        return tables_of(dialect).metadata.tables[table]

    def analyse(self) -> None:
        """Do what PostgreSQL soon does by itself; on SQLite nobody does it, so neither do we."""
        if self.name == POSTGRESQL:
            self.floor.execute("VACUUM (ANALYZE)")


POSTGRESQL, SQLITE = "PostgreSQL", "SQLite"
KINDS = (POSTGRESQL, SQLITE)


@dataclass(frozen=True)
class Stores:
    """Where stores are made: the URL of a PostgreSQL server, and a directory for SQLite's files."""

    server: str
    directory: Path

    @contextmanager
    def fresh(self, kind: str) -> Iterator[Store]:
        """An empty store, gone after the block."""
        with self._url(kind) as url:
            new_floor: Callable[[str], Floor] = SQLiteFloor if kind == SQLITE else PostgresFloor
            with SQLStorage(url) as storage:
                storage.upgrade()
                floor = new_floor(url)
                try:
                    yield Store(kind, url, storage, floor, new_floor)
                finally:
                    floor.close()

    @contextmanager
    def _url(self, kind: str) -> Iterator[str]:
        if kind == SQLITE:
            with tempfile.TemporaryDirectory(dir=self.directory) as home:
                yield f"sqlite:///{Path(home) / 'jobs.db'}"
        else:
            with fresh_database(self.server) as url:
                yield url

    def settings(self) -> dict[str, Any]:
        """What the figures depend on, as the databases themselves say it.

        Raises AssertionError if one of them does not write durably.
        """
        with self.fresh(POSTGRESQL) as store:
            asked = ("server_version", "fsync", "synchronous_commit", "full_page_writes")
            shared = ("wal_sync_method", "shared_buffers", "max_wal_size")
            postgres = {name: store.floor.execute(f"SHOW {name}")[0][0] for name in asked + shared}
        assert postgres["fsync"] == postgres["synchronous_commit"] == "on", postgres
        with self.fresh(SQLITE) as store:
            sqlite = {
                name: store.floor.execute(f"PRAGMA {name}")[0][0]
                for name in ("journal_mode", "synchronous")
            }
        assert sqlite == {"journal_mode": "wal", "synchronous": 1}, sqlite
        return {
            POSTGRESQL: postgres,
            SQLITE: {"version": sqlite3.sqlite_version, **sqlite, "synchronous": "NORMAL"},
        }
