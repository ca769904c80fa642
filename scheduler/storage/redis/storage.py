"""RedisStorage: the interface in Redis.

Every verb is one script, or one command, and so atomic: what it does is in lua/, how values look
there in values.py. Everything is checked and encoded before it is sent. What a job needs to be
found, sorted and leased by is in its state and in indexes that follow it; the rest is opaque.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler import clock, lifecycle
from scheduler.errors import (
    DuplicateJob,
    SchemaMismatch,
    StaleSchedule,
    StorageError,
    UnknownJobId,
)
from scheduler.expansion import Expansion
from scheduler.flow import Limit
from scheduler.model import (
    Attempt,
    Declaration,
    Job,
    JobStatus,
    Note,
    Schedule,
    Settlement,
    Skip,
)
from scheduler.retention import Pruned
from scheduler.storage.base import (
    DEFAULT_TTL,
    by_acquisition,
    by_occurrence,
    can_spare,
    check_ended,
    new_token,
    or_clock,
)
from scheduler.storage.batches import BatchStorage
from scheduler.storage.records import new_among
from scheduler.storage.redis import scripts, values
from scheduler.storage.redis.connection import Connection, unfit
from scheduler.storage.redis.values import instant, maybe_instant, optional, text

SCHEMA_VERSION = 2
"""Of the keys and the texts in them; stored beside them, and checked before they are used.

Version 2 knows concurrency keys, limits and attempts. The texts of version 1 are read as they are.
"""

_SLACK = timedelta(hours=1)
"""How far the clocks of two executors may be apart, and no start is forgotten that one counts."""

_PAGE = 1000
_NO = b""


class RedisStorage(BatchStorage):
    """Jobs and schedules in a Redis server of version 7.0 or later, under one prefix of keys.

    `url` is `redis://`, `rediss://` (TLS) or `redis+unix:///path/to/socket`, with `?prefix=name`
    for another prefix than "scheduler"; stores of different prefixes know nothing of each other.
    Nothing is connected until the first verb. Raises InvalidOption if the URL cannot be read.

    When a connection breaks, a verb that only reads is asked once more, and so are `renew_leases`,
    `save_declaration`, `renew_declaration`, `list_declarations`, `prepare` and `check`, which leave
    the same behind when they are done twice. Every other verb raises StorageUnavailable and may
    have been carried out: a repeat of `acquire_next_jobs` then takes other jobs, while those of
    the first wait for the end of their leases; a repeat of `save_jobs` raises DuplicateJob.
    """

    def __init__(self, url: str) -> None:
        self._connection = Connection(url)

    @property
    def url(self) -> str:
        """The URL with its passwords hidden."""
        return self._connection.url

    # --- jobs: one at a time ---------------------------------------------------------------

    def save_jobs(self, jobs: Sequence[Job]) -> None:
        if not jobs:
            return
        taken, job_id = self._connection.run("save", *_joined(map(values.job_texts, jobs)))
        if taken == b"id":
            raise DuplicateJob(f"job {values.of_text(job_id)}: its id is already taken")
        if taken == b"occurrence":
            raise _occurrence_taken(values.of_text(job_id))

    def get_job(self, job_id: str) -> Job | None:
        found = self._jobs("get", text(job_id))
        return found[0] if found else None

    def update_job(self, job: Job) -> None:
        self._replace(job)

    def complete_job(self, job_id: str, result: Any = None) -> None:
        self.move_job(job_id, lambda job: lifecycle.complete(job, result, now=clock.now()))

    def fail_job(self, job_id: str, error: str) -> None:
        self.move_job(job_id, lambda job: lifecycle.fail(job, error, now=clock.now()))

    def move_job(self, job_id: str, move: Callable[[Job], Job]) -> Job:
        # Over what it was computed from and nothing else. Where another wrote the job in between,
        # it is computed anew: each time somebody got on.
        while True:
            stored = self._connection.run("get", text(job_id), repeat=True)
            if not stored:
                raise UnknownJobId(job_id)
            moved = move(values.job_of(*stored))
            if self._replace(moved, *stored[1:]):
                return moved

    def _replace(self, job: Job, *seen: bytes) -> bool:
        """Write `job`; False if its texts are no longer those that were `seen`, where given."""
        answer = self._connection.run("replace", *values.job_texts(job), *seen)
        if answer == b"unknown":
            raise UnknownJobId(job.id)
        if answer == b"taken":
            raise _occurrence_taken(job.id)
        return bool(answer == b"written")

    # --- jobs: reading ---------------------------------------------------------------------

    def get_jobs_by_status(self, status: JobStatus) -> list[Job]:
        # In pages, so that nobody waits for one long script: an id keeps its place among ids.
        jobs: list[Job] = []
        while page := self.list_jobs(
            status=status, limit=_PAGE, before_id=jobs[-1].id if jobs else None
        ):
            jobs += page
        return sorted(jobs, key=by_acquisition)

    def get_jobs_by_priority(self, priority: int) -> list[Job]:
        return sorted(
            self._jobs("pending", values.priority(priority), _NO, _NO), key=by_acquisition
        )

    def get_scheduled_jobs(self, start: datetime, end: datetime | None = None) -> list[Job]:
        found = self._jobs("pending", _NO, instant(start), maybe_instant(end))
        return sorted(found, key=lambda job: (job.scheduled_at, job.id))

    def list_jobs(
        self,
        *,
        status: JobStatus | None = None,
        name: str | None = None,
        schedule_id: str | None = None,
        limit: int = 100,
        before_id: str | None = None,
    ) -> list[Job]:
        return self._jobs(
            "list",
            limit,
            optional(before_id),
            optional(status),
            optional(name),
            _NO if schedule_id is None else b"=" + optional(schedule_id),
        )

    def count_jobs(self) -> dict[JobStatus, int]:
        statuses = list(JobStatus)
        counts = self._connection.run("count", *map(text, statuses), repeat=True)
        return dict(zip(statuses, counts, strict=True))

    def next_job_at(
        self,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        after: datetime | None = None,
    ) -> datetime | None:
        found = self._connection.run(
            "next", maybe_instant(after, "after"), *_asked(handler_names, queue), repeat=True
        )
        return None if found is None else values.of_instant(found)

    def list_attempts(self, job_ids: Collection[str]) -> list[Attempt]:
        if not job_ids:
            return []
        wanted = map(text, sorted(set(job_ids)))
        found = map(values.attempt_of, self._connection.run("attempts", *wanted, repeat=True))
        return sorted(found, key=lambda each: (each.job_id, each.started_at, each.number))

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        if not schedule_ids:
            return []
        found = self._jobs("unfinished", *map(optional, sorted(set(schedule_ids))))
        return sorted(found, key=by_occurrence)

    def get_occurrences(self, schedule_id: str, start: datetime, end: datetime) -> list[Job]:
        found = self._jobs("occurrences", optional(schedule_id), instant(start), instant(end))
        return sorted(found, key=by_occurrence)

    def _jobs(self, script: str, *args: bytes | int) -> list[Job]:
        return _jobs_of(self._connection.run(script, *args, repeat=True))

    # --- jobs: acquisition and settlement --------------------------------------------------

    def acquire_next_jobs(
        self,
        n: int,
        *,
        handler_names: Collection[str] | None = None,
        queue: str | None = None,
        ttl: timedelta = DEFAULT_TTL,
        worker: str = "",
        now: datetime | None = None,
        limits: Mapping[str, Limit] | None = None,
        aged_before: datetime | None = None,
    ) -> list[Job]:
        at = or_clock(now)
        return _jobs_of(
            self._connection.run(
                "acquire",
                n,
                instant(at, "now"),
                optional(new_token()),
                instant(at + ttl, "now"),
                optional(worker),
                maybe_instant(aged_before, "aged_before"),
                *_lists(_limit_texts(limits or {}, at)),
                *_asked(handler_names, queue),
            )
        )

    def settle_jobs(self, settlements: Sequence[Settlement]) -> list[bool]:
        if not settlements:
            return []
        args: list[bytes] = []
        for each in settlements:
            job_id, state, record = values.job_texts(each.job)
            expired_by = maybe_instant(each.expired_by, "expired_by")
            attempt = values.attempt_texts(each.attempt) if each.attempt else (_NO, _NO)
            args += (job_id, optional(each.token), expired_by, state, record, *attempt)
        return [held == 1 for held in self._connection.run("settle", *args)]

    def renew_leases(self, tokens: Mapping[str, str], *, expires_at: datetime) -> set[str]:
        if not tokens:
            return set()
        pairs = _joined((text(job_id), optional(token)) for job_id, token in tokens.items())
        until = instant(expires_at, "expires_at")
        return {
            values.of_text(job_id)
            for job_id in self._connection.run("renew", until, *pairs, repeat=True)
        }

    def held_leases(self, tokens: Mapping[str, str]) -> set[str]:
        if not tokens:
            return set()
        pairs = _joined((text(job_id), optional(token)) for job_id, token in tokens.items())
        return set(map(values.of_text, self._connection.run("held", *pairs, repeat=True)))

    def get_expired_jobs(self, now: datetime, *, limit: int = 100) -> list[Job]:
        return self._jobs("expired", instant(now, "now"), max(0, limit))

    def prune_jobs(
        self,
        ended_before: Mapping[JobStatus, datetime],
        *,
        limit: int = 1000,
        after_id: str | None = None,
        before_id: str | None = None,
        dry_run: bool = False,
    ) -> Pruned:
        check_ended(ended_before)
        if limit < 1:
            return Pruned(0, 0, None)
        looked_at, last_id, ended, stored = self._connection.run(
            "ended",
            limit,
            optional(after_id),
            optional(before_id),
            *_joined((text(status), instant(at)) for status, at in ended_before.items()),
            repeat=True,
        )
        schedules = {each.id: each for each in map(values.schedule_of, stored)}
        going: list[bytes] = []
        for job_id, state in zip(ended[::2], ended[1::2], strict=True):
            schedule_id, occurrence_at = values.place_of(state)
            schedule = schedules.get(schedule_id or "")
            if schedule is None or can_spare(schedule, occurrence_at):
                going += (job_id, state)
        found = removed = len(going) // 2
        if going and not dry_run:
            removed = self._connection.run("remove", *going)
        next_id = values.of_text(last_id) if looked_at == limit else None
        return Pruned(looked_at, removed, next_id, lost=found - removed)

    # --- schedules -------------------------------------------------------------------------

    def save_schedule(self, schedule: Schedule) -> None:
        before = _NO if schedule.revision == 1 else b"%d" % (schedule.revision - 1)
        stored = values.schedule_text(schedule)
        if not self._connection.run("save_schedule", text(schedule.name), before, stored):
            raise StaleSchedule(f"schedule {schedule.name!r}: written by another meanwhile")

    def get_schedule(self, name: str) -> Schedule | None:
        stored = self._ask("HGET", "schedules", text(name))
        return None if stored is None else values.schedule_of(stored)

    def list_schedules(self) -> list[Schedule]:
        found = map(values.schedule_of, self._ask("HVALS", "schedules"))
        return sorted(found, key=lambda schedule: schedule.name)

    def get_schedules(self, names: Collection[str], *, declared: bool = False) -> list[Schedule]:
        if declared or not names:
            return super().get_schedules(names, declared=declared)
        found = self._ask("HMGET", "schedules", *map(text, sorted(set(names))))
        return [values.schedule_of(stored) for stored in found if stored is not None]

    def delete_schedule(self, name: str) -> bool:
        return bool(self._connection.run("delete_schedule", text(name)))

    def due_schedules(self, now: datetime, *, limit: int = 1000) -> list[Schedule]:
        found = self._connection.run("due", instant(now, "now"), max(0, limit), repeat=True)
        return [values.schedule_of(stored) for stored in found]

    def next_schedule_at(self) -> datetime | None:
        first = self._ask("ZRANGE", "turns", 0, 0)
        return values.of_instant(first[0][: values.INSTANT]) if first else None

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        if not expansions:
            return []
        args = _joined(map(_expansion_texts, expansions))
        return [written == 1 for written in self._connection.run("record", *args)]

    def list_skips(
        self,
        schedule_id: str,
        start: datetime | None = None,
        end: datetime | None = None,
        *,
        limit: int | None = None,
    ) -> list[Skip]:
        window = maybe_instant(start, "start"), maybe_instant(end, "end")
        number = -1 if limit is None else limit
        last_first = self._connection.run("skips", text(schedule_id), *window, number, repeat=True)
        return [values.skip_of(stored) for stored in reversed(last_first)]

    def list_notes(self, schedule_id: str) -> list[Note]:
        found = self._connection.run("notes", text(schedule_id), repeat=True)
        return [values.note_of(stored) for stored in found]

    def save_declaration(self, declaration: Declaration) -> None:
        stored = values.declaration_text(declaration)
        self._ask("HSET", "declarations", text(declaration.process), stored)

    def renew_declaration(self, process: str, *, seen_at: datetime) -> bool:
        seen = instant(seen_at, "seen_at")
        return bool(self._connection.run("renew_declaration", text(process), seen, repeat=True))

    def list_declarations(self, *, seen_since: datetime) -> list[Declaration]:
        since = instant(seen_since, "seen_since")
        found = self._connection.run("declarations", since, repeat=True)
        declarations = map(values.declaration_of, found)
        return sorted(declarations, key=lambda each: (each.since_at, each.process))

    def _ask(self, command: str, name: str, *args: bytes | int) -> Any:
        """What the server answers to a command on one key that a repeat does not harm."""
        return self._connection.ask(command, self._connection.key(name), *args, repeat=True)

    # --- moving house ----------------------------------------------------------------------

    def restore(
        self,
        *,
        jobs: Sequence[Job] = (),
        schedules: Sequence[Schedule] = (),
        skips: Sequence[Skip] = (),
        notes: Sequence[Note] = (),
        attempts: Sequence[Attempt] = (),
    ) -> int:
        # Compared here, and written only if nothing has come to be there meanwhile.
        while True:
            args = _records(jobs, schedules, skips, notes, attempts)
            found = self._connection.run("there", *args, repeat=True)
            jobs = new_among(jobs, _jobs_of(found[0]))
            schedules = new_among(schedules, map(values.schedule_of, found[1]))
            skips = new_among(skips, map(values.skip_of, found[2]))
            notes = new_among(notes, map(values.note_of, found[3]))
            attempts = new_among(attempts, map(values.attempt_of, found[4]))
            new = len(jobs) + len(schedules) + len(skips) + len(notes) + len(attempts)
            args = _records(jobs, schedules, skips, notes, attempts)
            if not new or self._connection.run("restore", *args):
                return new

    # --- the store itself ------------------------------------------------------------------

    def clear(self) -> None:
        self._connection.ask("UNLINK", *map(self._connection.key, scripts.KINDS))

    def prepare(self) -> None:
        """Claim the prefix for this version's keys if nobody has, and check it.

        Keys of version 1 are made to be of this version: nothing in them is rewritten, and what
        runs is entered beside. Processes of the version before are to be stopped by then: what
        they start and end is not counted. Raises StorageUnavailable, SchemaMismatch, or
        StorageError if the server is older than 7.0, may evict the keys, or has other things
        under them.
        """
        self._refuse_unfit()
        self._connection.run("prepare", SCHEMA_VERSION, repeat=True)
        self.check()

    def check(self) -> None:
        """Return if the server can hold jobs and its keys are of this version, else raise.

        Raises as `prepare`.
        """
        self._refuse_unfit()
        stored, *kinds = self._connection.ask_all(
            ("GET", self._connection.key(scripts.SCHEMA)),
            *(("TYPE", self._connection.key(name)) for name in scripts.KINDS),
        )
        where = f"database {self.url}"
        if stored is None:
            raise SchemaMismatch(
                f"{where}: nothing is prepared there yet; open it once with open_storage"
            )
        if stored != b"%d" % SCHEMA_VERSION:
            mend = (
                "run: scheduler db upgrade"
                if stored == b"1"
                else "install the scheduler-service that made it, or use another prefix"
            )
            raise SchemaMismatch(
                f"{where}: its schema is {stored.decode(errors='replace')}, and this version's is "
                f"{SCHEMA_VERSION}; {mend}"
            )
        for (name, expected), kind in zip(scripts.KINDS.items(), kinds, strict=True):
            if kind.decode() not in (expected, "none"):
                raise StorageError(
                    f"{where}: {self._connection.key(name)} is a {kind.decode()} and not ours; "
                    "remove it, or use another prefix"
                )

    def read_clock(self) -> datetime:
        seconds, microseconds = map(int, self._connection.ask("TIME", repeat=True))
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=microseconds)

    def _refuse_unfit(self) -> None:
        reason = unfit(self._connection.ask("INFO", repeat=True))
        if reason is not None:
            raise StorageError(f"database {self.url}: {reason}")

    def close(self) -> None:
        self._connection.close()


def _jobs_of(found: Sequence[bytes]) -> list[Job]:
    """The jobs of a script's answer: id, state and record of each."""
    texts = iter(found)
    return [values.job_of(*job) for job in zip(texts, texts, texts, strict=True)]


def _joined(rows: Iterable[Iterable[bytes]]) -> list[bytes]:
    return [part for row in rows for part in row]


def _asked(handler_names: Collection[str] | None, queue: str | None) -> list[bytes]:
    """What walking.lua reads with `asked`."""
    if handler_names is None:
        return [b"*", optional(queue)]
    return [_NO, optional(queue), *map(text, sorted(set(handler_names)))]


def _limit_texts(limits: Mapping[str, Limit], now: datetime) -> Iterator[tuple[bytes, ...]]:
    """What limiting.lua reads of each limit there is."""
    for name, limit in limits.items():
        most = _NO if limit.concurrency is None else b"%d" % limit.concurrency
        if limit.rate is not None:
            count, per = limit.rate.count, limit.rate.per
            window = (values.instant_after(now, by) for by in (-per, per, per + _SLACK))
            yield text(name), most, b"%d" % count, *window
        elif most:
            yield text(name), most, _NO, _NO, _NO, _NO


def _expansion_texts(expansion: Expansion) -> list[bytes]:
    """What record.lua reads of one expansion."""
    before, notes = expansion.before, [expansion.note] if expansion.note else []
    args = [
        text(before.name),
        *values.schedule_state(before),
        b"1" if expansion.removes else b"0",
        values.schedule_text(expansion.after),
    ]
    return args + _lists(
        map(values.job_texts, expansion.jobs),
        map(values.skip_texts, expansion.skips),
        map(values.note_texts, notes),
        (
            (
                text(was.id),
                text(was.status),
                text(becomes.status),
                maybe_instant(becomes.completed_at, "completed_at"),
            )
            for was, becomes in expansion.cancelled
        ),
    )


def _records(
    jobs: Sequence[Job],
    schedules: Sequence[Schedule],
    skips: Sequence[Skip],
    notes: Sequence[Note],
    attempts: Sequence[Attempt],
) -> list[bytes]:
    """What restoring.lua reads."""
    return _lists(
        map(values.job_texts, jobs),
        ((text(each.name), values.schedule_text(each)) for each in schedules),
        map(values.skip_texts, skips),
        map(values.note_texts, notes),
        map(values.attempt_texts, attempts),
    )


def _lists(*lists: Iterable[Sequence[bytes]]) -> list[bytes]:
    """What lists.lua reads: each list after its length."""
    args: list[bytes] = []
    for rows in map(list, lists):
        args += [b"%d" % len(rows), *_joined(rows)]
    return args


def _occurrence_taken(job_id: str) -> DuplicateJob:
    return DuplicateJob(f"job {job_id}: its occurrence has a job already")
