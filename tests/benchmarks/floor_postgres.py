"""The floor on PostgreSQL: psycopg, prepared statements, COPY."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from tests.benchmarks.floor import (
    CHANNEL,
    JOB_COLUMNS,
    LIVE,
    OCCURRENCE_COLUMNS,
    TTL,
    Floor,
    Taken,
)

_CYCLE = """
WITH settled AS (
  UPDATE jobs SET status = 'completed', completed_at = %(now)s, result = NULL, error = NULL,
    lease_token = NULL, lease_expires_at = NULL
  FROM unnest(%(ended)s::text[]) AS ended (id)
  WHERE jobs.id = ended.id AND lease_token = %(token)s AND status = 'processing'
), due AS MATERIALIZED (
  SELECT id FROM jobs WHERE status = 'pending' AND scheduled_at <= %(now)s
  ORDER BY priority, scheduled_at, id LIMIT %(n)s FOR UPDATE SKIP LOCKED
)
UPDATE jobs SET status = 'processing', started_at = %(now)s, lease_token = %(token)s,
  lease_expires_at = %(until)s, worker = 'by hand'
FROM due WHERE jobs.id = due.id
RETURNING jobs.id, jobs.name, jobs.data, jobs.scheduled_at
"""

# The ids follow schedule and instant, so that the index stays local.
_EXPAND = f"""
WITH due AS MATERIALIZED (
  SELECT * FROM schedules WHERE {LIVE} AND next_at <= %(now)s FOR UPDATE SKIP LOCKED
), moved AS (
  UPDATE schedules SET cursor_at = %(now)s, next_at = due.next_at + %(period)s,
    materialised = due.materialised + 1, last_occurrence_at = due.next_at, updated_at = %(now)s
  FROM due WHERE schedules.id = due.id
), made AS (
  INSERT INTO jobs ({OCCURRENCE_COLUMNS})
  SELECT id || '-' || extract(epoch FROM next_at)::bigint, job_name, data, 'pending', %(now)s,
    next_at, queue, priority, max_retries, 0, 'occurrence', 0, false, timeout, rule, id, next_at,
    materialised + 1, last_occurrence_at
  FROM due ORDER BY next_at, id
  RETURNING 1
)
SELECT count(*), pg_notify('{CHANNEL}', '') FROM made
"""


class PostgresFloor(Floor):
    """On a connection of its own to the database of an SQLAlchemy URL."""

    key = "%({})s"
    insert = f"""
    WITH made AS (
      INSERT INTO jobs ({JOB_COLUMNS}) VALUES (%(id)s, %(name)s, '{{}}', 'pending', %(now)s,
        %(now)s, 'default', 0, 3, 0, 'added', 0, false) RETURNING 1
    )
    SELECT pg_notify('{CHANNEL}', '') FROM made
    """

    def __init__(self, url: str) -> None:
        native = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self.connection = psycopg.connect(native, autocommit=True)

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> list[Any]:
        cursor = self.connection.execute(statement.encode(), values, prepare=True)
        return cursor.fetchall() if cursor.description else []

    def at(self, moment: datetime) -> Any:
        return moment

    def moment(self, stored: Any) -> datetime:
        assert isinstance(stored, datetime)
        return stored

    def load(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
        )
        with self.connection.cursor() as cursor, cursor.copy(into) as copy:
            for row in rows:
                copy.write_row(row)

    def cycle(self, n: int, ended: Sequence[str], token: str, now: datetime) -> list[Taken]:
        values = {"n": n, "ended": list(ended), "token": token, "now": now, "until": now + TTL}
        return [Taken(*row) for row in self.execute(_CYCLE, values)]

    def expand(self, now: datetime, period: timedelta) -> int:
        found = self.execute(_EXPAND, {"now": now, "period": period})
        return int(found[0][0]) if found else 0

    def listen(self) -> None:
        """Be told of what `enqueue` and `expand` announce."""
        self.connection.execute(f"LISTEN {CHANNEL}".encode())

    def await_notification(self) -> None:
        """Returns when something was announced."""
        for _ in self.connection.notifies(stop_after=1):
            pass

    def close(self) -> None:
        self.connection.close()
