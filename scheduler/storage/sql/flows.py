"""Limits in SQL: what of a name or a key runs and was started, and the lock to count it under.

Who takes jobs that have a limit holds the rows of their keys in `flows` until its transaction ends,
and counts after it got them: nobody else starts any of these meanwhile. Nobody waits for a key that
another is busy with. What may start, scheduler.flow decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from operator import itemgetter

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from scheduler.flow import FlowKey, Limit, room
from scheduler.storage.sql.dialects import Database
from scheduler.storage.sql.dialects.base import Rows
from scheduler.storage.sql.parts import LONGEST
from scheduler.storage.sql.tables import Tables

Starts = Mapping[FlowKey, Sequence[datetime]]
Running = Mapping[FlowKey, int]
_Found = dict[FlowKey, list[datetime]]


class Flows:
    """The counts of one database."""

    def __init__(self, database: Database, tables: Tables) -> None:
        self._database = database
        self._jobs = tables.jobs
        self._flows = flows = tables.flows
        self._processing = tables.jobs.c.status == literal_column("'processing'")
        self._started = update(flows).where(
            flows.c.name == bindparam("started_name"),
            flows.c.concurrency_key == bindparam("started_key"),
        )

    def full(
        self, connection: Connection, limits: Mapping[str, Limit], now: datetime
    ) -> set[FlowKey]:
        """The keys of which, at first sight and with nothing locked, no more may start."""
        running, starts = self.running(connection, limits), self._recent(connection, limits, now)
        return {
            key
            for key in running.keys() | starts.keys()
            if room(
                limits[key[0]], running=running.get(key, 0), starts=starts.get(key, ()), now=now
            )
            == 0
        }

    def running(self, connection: Connection, limits: Mapping[str, Limit]) -> Running:
        """How many jobs of each key are processing, of the names for which that counts."""
        names = [name for name, limit in limits.items() if limit.concurrency is not None]
        if not names:
            return {}
        key = (self._jobs.c.name, self._jobs.c.concurrency_key)
        query = select(*key, func.count()).where(self._processing, self._jobs.c.name.in_(names))
        found = connection.execute(query.group_by(*key))
        return {(name, key): count for name, key, count in found}

    def _recent(self, connection: Connection, limits: Mapping[str, Limit], now: datetime) -> Starts:
        rates = {name: limit.rate for name, limit in limits.items() if limit.rate is not None}
        if not rates:
            return {}
        since = now - max(rate.per for rate in rates.values())
        flows = self._flows
        return self._select(connection, flows.c.name.in_(list(rates)), flows.c.last_at > since)

    def hold(self, connection: Connection, keys: Collection[FlowKey]) -> _Found:
        """The starts of those of `keys` that no other is busy with, theirs until it ends."""
        held = self._lock(connection, keys)
        missing = set(keys) - held.keys()
        if missing:
            missing -= self._select(connection, self._among(missing)).keys()
        if missing:
            rows: Rows = [
                {"name": name, "concurrency_key": key, "starts": [], "last_at": None}
                for name, key in _stored(missing)
            ]
            self._database.insert_new(connection, self._flows, rows)
            held |= self._lock(connection, missing)
        return held

    def record(self, connection: Connection, starts: Starts) -> None:
        """Write the starts of keys that are held."""
        rows = [
            {
                "started_name": name,
                "started_key": _stored_key(key),
                "starts": [at.astimezone(UTC).isoformat() for at in instants],
                "last_at": max(instants),
            }
            for (name, key), instants in starts.items()
        ]
        if rows:
            connection.execute(self._started, rows)

    def _lock(self, connection: Connection, keys: Collection[FlowKey]) -> _Found:
        return self._select(connection, self._among(keys), lock=True)

    def _select(
        self, connection: Connection, *where: ColumnElement[bool], lock: bool = False
    ) -> _Found:
        flows = self._flows
        query = select(flows.c.name, flows.c.concurrency_key, flows.c.starts).where(*where)
        if lock:
            query = query.order_by(flows.c.name, flows.c.concurrency_key)
            query = self._database.locked(query, flows, skip=True)
        return {
            (name, _key_of(stored)): [datetime.fromisoformat(at) for at in starts]
            for name, stored, starts in connection.execute(query)
        }

    def _among(self, keys: Iterable[FlowKey]) -> ColumnElement[bool]:
        flows = self._flows
        return or_(
            *(
                and_(flows.c.name == name, flows.c.concurrency_key.in_([key for _, key in some]))
                for name, some in groupby(_stored(keys), itemgetter(0))
            ),
        )

    def none_of(self, keys: Collection[FlowKey]) -> Iterator[ColumnElement[bool]]:
        """That a job is of none of these keys; of LONGEST at most, as a statement takes."""
        jobs = self._jobs
        some = sorted(keys, key=lambda each: (each[0], _stored_key(each[1])))[:LONGEST]
        for name, group in groupby(some, itemgetter(0)):
            named = {key for _, key in group}
            others = []
            if given := sorted(key for key in named if key is not None):
                no_key = jobs.c.concurrency_key.is_(None)
                others.append(or_(no_key, jobs.c.concurrency_key.not_in(given)))
            if None in named:
                others.append(jobs.c.concurrency_key.is_not(None))
            yield or_(jobs.c.name != name, and_(*others))


def _stored(keys: Iterable[FlowKey]) -> list[tuple[str, str]]:
    """The keys as `flows` has them, in the order in which they are locked."""
    return sorted((name, _stored_key(key)) for name, key in keys)


def _stored_key(key: str | None) -> str:
    return "" if key is None else f":{key}"


def _key_of(stored: str) -> str | None:
    return stored[1:] if stored else None
