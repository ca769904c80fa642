"""The store's own record of what was done to each job, kept by triggers.

A trigger is part of the transaction that it records: what was undone is not on record, and what
is on record was committed, whether or not the service ever learned of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, make_url, text

_COLUMNS = "at, job, before, after, token, taken, retries, worker, error, result"

_SQLITE = f"""
CREATE TABLE changes (n INTEGER PRIMARY KEY, at TEXT, job TEXT, before TEXT, after TEXT,
    token TEXT, taken TEXT, retries INTEGER, worker TEXT, error TEXT, result TEXT);
CREATE TRIGGER audit AFTER UPDATE ON jobs
WHEN OLD.lease_token IS NOT NEW.lease_token OR OLD.status NOT IN ('pending', 'processing')
BEGIN
    INSERT INTO changes ({_COLUMNS}) VALUES (
        strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now'), NEW.id, OLD.status, NEW.status,
        OLD.lease_token, NEW.lease_token, NEW.retry_count - OLD.retry_count,
        NEW.worker, NEW.error, CAST(NEW.result AS TEXT));
END;
"""  # noqa: S608 - nothing in it is anybody's input

_POSTGRES = f"""
CREATE TABLE changes (n BIGSERIAL PRIMARY KEY, at TEXT, job TEXT, before TEXT, after TEXT,
    token TEXT, taken TEXT, retries INTEGER, worker TEXT, error TEXT, result TEXT);
CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO changes ({_COLUMNS}) VALUES (
        to_char(clock_timestamp() AT TIME ZONE 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        NEW.id, OLD.status, NEW.status,
        OLD.lease_token, NEW.lease_token, NEW.retry_count - OLD.retry_count,
        NEW.worker, NEW.error, NEW.result::text);
    RETURN NULL;
END $$;
CREATE TRIGGER audit AFTER UPDATE ON jobs FOR EACH ROW
WHEN (OLD.lease_token IS DISTINCT FROM NEW.lease_token
    OR OLD.status NOT IN ('pending', 'processing'))
EXECUTE FUNCTION audit();
"""  # noqa: S608 - nothing in it is anybody's input


@dataclass(frozen=True)
class Change:
    """One write to one job: a lease given or ended, or a finished job touched again.

    `token` is the lease it had before, `taken` the one it has now.
    """

    at: datetime
    job: str
    before: str
    after: str
    token: str | None
    taken: str | None
    retries: int
    worker: str | None
    error: str | None
    result: Any


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection of the test's own, each of whose statements is committed by itself."""
    engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def install(url: str) -> None:
    """Begin the record; the tables are there."""
    is_sqlite = make_url(url).get_backend_name() == "sqlite"
    with connected(url) as connection:
        if is_sqlite:
            driver: Any = connection.connection.driver_connection
            driver.executescript(_SQLITE)
        else:
            connection.exec_driver_sql(_POSTGRES)


def changes(url: str) -> list[Change]:
    """Everything on record; of one job, in the order it was done."""
    query = text(f"SELECT {_COLUMNS} FROM changes ORDER BY n")  # noqa: S608 - our own columns
    with connected(url) as connection:
        return [_change(dict(row)) for row in connection.execute(query).mappings()]


def _change(row: dict[str, Any]) -> Change:
    said = row["result"]
    result = None if said is None else json.loads(said)
    return Change(**{**row, "at": datetime.fromisoformat(row["at"]), "result": result})
