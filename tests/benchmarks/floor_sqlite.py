"""The floor on SQLite: Python's sqlite3, with WAL and synchronous=NORMAL as the product has."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.benchmarks.floor import (
    JOB_COLUMNS,
    LIVE,
    OCCURRENCE_COLUMNS,
    TTL,
    Floor,
    Taken,
)

_SETTLE = """
UPDATE jobs SET status = 'completed', completed_at = :now, result = NULL, error = NULL,
  lease_token = NULL, lease_expires_at = NULL
WHERE id IN (SELECT value FROM json_each(:ended)) AND lease_token = :token
  AND status = 'processing'
"""
_TAKE = """
UPDATE jobs SET status = 'processing', started_at = :now, lease_token = :token,
  lease_expires_at = :until, worker = 'by hand'
WHERE id IN (
  SELECT id FROM jobs WHERE status = 'pending' AND scheduled_at <= :now
  ORDER BY priority, scheduled_at, id LIMIT :n
)
RETURNING id, name, data, scheduled_at
"""
_MAKE = f"""
INSERT INTO jobs ({OCCURRENCE_COLUMNS})
SELECT id || '-' || strftime('%s', next_at), job_name, data, 'pending', :now, next_at, queue,
  priority, max_retries, 0, 'occurrence', 0, 0, timeout, rule, id, next_at, materialised + 1,
  last_occurrence_at
FROM schedules WHERE {LIVE} AND next_at <= :now ORDER BY next_at, id
"""
# Six digits, as the product stores them; SQLite itself gives three.
_MOVE = f"""
UPDATE schedules SET cursor_at = :now, last_occurrence_at = next_at, updated_at = :now,
  next_at = strftime('%Y-%m-%d %H:%M:%f', next_at, :period) || '000',
  materialised = materialised + 1
WHERE {LIVE} AND next_at <= :now
"""


class SQLiteFloor(Floor):
    """On a connection of its own to the file of an SQLAlchemy URL."""

    key = ":{}"
    insert = (
        f"INSERT INTO jobs ({JOB_COLUMNS}) VALUES (:id, :name, '{{}}', 'pending', :now, :now, "
        "'default', 0, 3, 0, 'added', 0, 0)"
    )

    def __init__(self, url: str) -> None:
        path = url.removeprefix("sqlite:///")
        self.connection = sqlite3.connect(
            path, timeout=30, isolation_level=None, check_same_thread=False
        )
        self.connection.execute("PRAGMA journal_mode=WAL").close()
        self.connection.execute("PRAGMA synchronous=NORMAL").close()

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        return self.connection.execute(statement, values or {}).fetchall()

    def at(self, moment: datetime) -> Any:
        return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def moment(self, stored: Any) -> datetime:
        return datetime.fromisoformat(stored).replace(tzinfo=UTC)

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join("?" for _ in columns)
        into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"
        with self._writing():
            self.connection.executemany(into, rows)

    def cycle(self, n: int, ended: Sequence[str], token: str, now: datetime) -> list[Taken]:
        at = {"now": self.at(now), "token": token}
        with self._writing():
            if ended:
                self.execute(_SETTLE, {**at, "ended": json.dumps(list(ended))})
            rows = self.execute(_TAKE, {**at, "until": self.at(now + TTL), "n": n})
        return [Taken(*row) for row in rows]

    def expand(self, now: datetime, period: timedelta) -> int:
        values = {"now": self.at(now)}
        with self._writing():
            made = self.connection.execute(_MAKE, values).rowcount
            self.execute(_MOVE, {**values, "period": f"+{period.total_seconds():g} seconds"})
        return made

    def _writing(self) -> sqlite3.Connection:
        """A block that is one transaction."""
        self.connection.execute("BEGIN IMMEDIATE").close()
        return self.connection

    def close(self) -> None:
        self.connection.close()
