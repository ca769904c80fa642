"""A random walk over two storages at once: whatever is done, both answer the same.

One of them is MemoryStorage, whose every verb is a few lines over dicts. Ids, names, queues and
instants are of few and mean kinds, so that they collide: one the beginning of another, empty,
without a place in ASCII or in UTF-8, and at the ends of the calendar and of 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from freezegun import freeze_time
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scheduler import lifecycle
from scheduler.errors import DuplicateJob, InvalidMove, StaleSchedule, UnknownJobId
from scheduler.expander import made_of
from scheduler.expansion import NOTHING, Expansion, expand
from scheduler.flow import Limit, Rate
from scheduler.model import (
    Action,
    Cancelled,
    CatchUp,
    Completed,
    Declaration,
    Expired,
    Failed,
    Job,
    JobStatus,
    Lease,
    Note,
    Origin,
    Outcome,
    Overlap,
    Released,
    ScheduleStatus,
    Settlement,
    Skip,
    SkipReason,
)
from scheduler.storage import JobStorage
from scheduler.testing.values import MINUTE, NOON, SECOND, a_schedule, utc

TICK = timedelta(microseconds=1)
INSTANTS = [
    utc("0001-01-01T00:00:00+00:00"),
    NOON - MINUTE,
    NOON - TICK,
    NOON,
    NOON + TICK,
    NOON + SECOND,
    NOON + MINUTE,
    utc("9999-12-31T23:59:59.999999+00:00"),
]
IDS = [
    "",
    "0",
    "00",
    "0-",
    "0\x00",
    "Z",
    "_",
    "a",
    "é",
    "ﬀ",
    "🐎",
    "\udcff",
    *map(str, range(10, 30)),
]
NAMES = ["", "a", "aa", "é", "\x00"]
QUEUES = ["", "a", "q", "qq"]
SCHEDULES = [None, "", "s", "ss"]
PRIORITIES = [-(2**31), -1, 0, 1, 2**31 - 1]
KEYS = [None, None, "", "k", "kk", "é"]

instants = st.sampled_from(INSTANTS)
nows = st.sampled_from(INSTANTS[1:-1])
ids = st.sampled_from(IDS)
names = st.sampled_from(NAMES)
schedule_ids = st.sampled_from(SCHEDULES)
handlers = st.none() | st.lists(names, max_size=3)
queues = st.none() | st.sampled_from(QUEUES)
outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Completed({"n": 1}, log=("a line",)),
        Failed("boom", traceback="é\x00"),
        Released(),
        Expired(),
        Cancelled("no more"),
    ]
)
rates = st.builds(Rate, st.integers(1, 3), st.sampled_from([TICK, SECOND, MINUTE]))
limits = st.dictionaries(
    names,
    st.builds(Limit, concurrency=st.none() | st.integers(1, 3), rate=st.none() | rates),
    max_size=3,
)


@st.composite
def jobs(draw: Callable[..., Any]) -> Job:
    status = draw(st.sampled_from([JobStatus.PENDING] * 5 + list(JobStatus)))
    is_leased = status is JobStatus.PROCESSING and draw(st.booleans())
    return Job(
        id=draw(ids),
        name=draw(names),
        queue=draw(st.sampled_from(QUEUES)),
        status=status,
        priority=draw(st.sampled_from(PRIORITIES)),
        created_at=draw(instants),
        scheduled_at=draw(instants),
        max_retries=draw(st.sampled_from([0, 1])),
        schedule_id=draw(schedule_ids),
        occurrence_at=draw(st.none() | instants),
        sequence=draw(st.none() | st.just(1)),
        serial=draw(st.booleans()),
        concurrency_key=draw(st.sampled_from(KEYS)),
        origin=draw(st.sampled_from([Origin.OCCURRENCE, Origin.OCCURRENCE, Origin.RUN_NOW])),
        lease=Lease("token", draw(instants)) if is_leased else None,
    )


@st.composite
def series_jobs(draw: Callable[..., Any]) -> Job:
    """One that may wait for an earlier one of its schedule."""
    job: Job = draw(jobs())
    return replace(
        job,
        status=draw(st.sampled_from([JobStatus.PENDING, JobStatus.PENDING, job.status])),
        scheduled_at=NOON,
        schedule_id=draw(st.sampled_from(["s", "ss"])),
        occurrence_at=draw(nows),
        sequence=draw(st.sampled_from([1, 1, None])),
        serial=draw(st.sampled_from([True, True, False])),
    )


@st.composite
def keyed_jobs(draw: Callable[..., Any]) -> Job:
    """One that shares its name's limits with many."""
    job: Job = draw(jobs())
    return replace(
        job,
        name="a",
        queue=draw(st.sampled_from(["a", "q"])),
        status=JobStatus.PENDING,
        priority=draw(st.sampled_from([0, 1])),
        scheduled_at=draw(nows),
        concurrency_key=draw(st.sampled_from(["k", "k", "kk", None])),
        serial=False,
        lease=None,
    )


def without_tokens(answer: Any) -> Any:
    """`answer` as both storages give it: the token of a lease is drawn anew by each."""
    match answer:
        case Job(lease=Lease(expires_at=expires_at)):
            return replace(answer, lease=Lease("", expires_at))
        case list() | tuple():
            return [without_tokens(each) for each in answer]
        case _:
            return answer


class Walk(RuleBasedStateMachine):
    """What is done to `model` and to `real`, and that they answer the same."""

    def __init__(self, model: JobStorage, real: JobStorage) -> None:
        super().__init__()
        self.both = (model, real)
        self.leased: list[tuple[Job, Job]] = []

    def same(self, act: Callable[[JobStorage], Any]) -> Any:
        """What both answered to `act`, an expected refusal being an answer."""
        answers = []
        for storage in self.both:
            try:
                answers.append(act(storage))
            except (DuplicateJob, UnknownJobId, InvalidMove, StaleSchedule) as error:
                answers.append(type(error))
        model, real = answers
        assert without_tokens(model) == without_tokens(real)
        return real

    # --- jobs ------------------------------------------------------------------------------

    @rule(batch=st.lists(jobs(), min_size=1, max_size=4))
    def save(self, batch: list[Job]) -> None:
        self.same(lambda storage: storage.save_jobs(batch))

    @rule(batch=st.lists(series_jobs(), min_size=1, max_size=4))
    def save_series(self, batch: list[Job]) -> None:
        self.same(lambda storage: storage.save_jobs(batch))

    @rule(batch=st.lists(keyed_jobs(), min_size=1, max_size=6))
    def save_keyed(self, batch: list[Job]) -> None:
        self.same(lambda storage: storage.save_jobs(batch))

    @rule()
    def acquire_all(self) -> None:
        self.acquire(99, now=NOON)

    @rule(n=st.integers(0, 4), names=handlers, queue=queues, now=nows)
    def acquire_some(
        self, n: int, names: list[str] | None, queue: str | None, now: datetime
    ) -> None:
        self.acquire(n, handler_names=names, queue=queue, now=now)

    @rule(
        n=st.integers(0, 9),
        names=handlers,
        queue=queues,
        now=nows,
        limits=limits,
        aged_before=st.none() | instants,
    )
    def acquire_limited(
        self,
        n: int,
        names: list[str] | None,
        queue: str | None,
        now: datetime,
        limits: dict[str, Limit],
        aged_before: datetime | None,
    ) -> None:
        self.acquire(
            n, handler_names=names, queue=queue, now=now, limits=limits, aged_before=aged_before
        )

    def acquire(self, n: int, **given: Any) -> None:
        taken = [
            storage.acquire_next_jobs(n, ttl=SECOND, worker="w", **given) for storage in self.both
        ]
        assert without_tokens(taken[0]) == without_tokens(taken[1])
        self.leased += zip(*taken, strict=True)

    @rule(data=st.data(), outcome=outcomes, now=nows, by=st.none() | nows)
    def settle(
        self, data: st.DataObject, outcome: Outcome, now: datetime, by: datetime | None
    ) -> None:
        pairs = data.draw(st.lists(st.sampled_from(self.leased), max_size=3)) if self.leased else []
        answers = [
            storage.settle_jobs(
                [
                    Settlement(
                        lifecycle.settle(pair[number], outcome, now=now),
                        pair[number].lease.token,  # type: ignore[union-attr]
                        expired_by=by,
                        attempt=lifecycle.attempt(pair[number], outcome, started_at=NOON, now=now),
                    )
                    for pair in pairs
                ]
            )
            for number, storage in enumerate(self.both)
        ]
        assert answers[0] == answers[1]

    @precondition(lambda self: self.ended())
    @rule(data=st.data(), now=nows)
    def revive(self, data: st.DataObject, now: datetime) -> None:
        job_id = data.draw(st.sampled_from(self.ended()))
        move = lambda job: lifecycle.revive(job, now=now)  # noqa: E731
        self.same(lambda storage: storage.move_job(job_id, move))

    def ended(self) -> list[str]:
        statuses = (JobStatus.FAILED, JobStatus.CANCELLED)
        return [job.id for each in statuses for job in self.both[0].get_jobs_by_status(each)]

    @rule(data=st.data(), until=instants)
    def renew(self, data: st.DataObject, until: datetime) -> None:
        pairs = data.draw(st.lists(st.sampled_from(self.leased), max_size=3)) if self.leased else []
        answers = [
            storage.renew_leases(
                {pair[number].id: pair[number].lease.token for pair in pairs},  # type: ignore[union-attr]
                expires_at=until,
            )
            for number, storage in enumerate(self.both)
        ]
        assert answers[0] == answers[1]
        held = [
            storage.held_leases({pair[number].id: pair[number].lease.token for pair in pairs})  # type: ignore[union-attr]
            for number, storage in enumerate(self.both)
        ]
        assert held[0] == held[1]

    @rule(job=jobs())
    def update_unknown(self, job: Job) -> None:
        self.same(lambda storage: storage.update_job(replace(job, id="nobody")))

    @precondition(lambda self: self.both[0].list_jobs())
    @rule(data=st.data(), job=jobs() | series_jobs())
    def update(self, data: st.DataObject, job: Job) -> None:
        """Anything but the occurrence, of which the model keeps no track here."""
        stored = data.draw(st.sampled_from(self.both[0].list_jobs()))
        given = replace(
            job,
            id=stored.id,
            schedule_id=stored.schedule_id,
            occurrence_at=stored.occurrence_at,
            origin=stored.origin,
        )
        self.same(lambda storage: storage.update_job(given))

    @precondition(lambda self: self.pending_in_series())
    @rule(data=st.data(), leaves=st.booleans())
    def amend(self, data: st.DataObject, leaves: bool) -> None:
        """Only whether a job waits for others, or is of the series at all."""
        job_id = data.draw(st.sampled_from(self.pending_in_series()))

        def act(storage: JobStorage) -> None:
            stored = storage.get_job(job_id)
            assert stored is not None
            sequence = None if leaves else stored.sequence
            storage.update_job(replace(stored, serial=not stored.serial, sequence=sequence))

        self.same(act)

    @precondition(lambda self: self.both[0].list_jobs())
    @rule(data=st.data(), fails=st.booleans(), now=nows)
    def end(self, data: st.DataObject, fails: bool, now: datetime) -> None:
        job_id = data.draw(st.sampled_from(["nobody", *IDS]) | st.sampled_from(self.running()))

        def act(storage: JobStorage) -> None:
            if fails:
                storage.fail_job(job_id, "boom")
            else:
                storage.complete_job(job_id, [1])

        with freeze_time(now):
            self.same(act)

    def pending_in_series(self) -> list[str]:
        pending = self.both[0].get_jobs_by_status(JobStatus.PENDING)
        return [job.id for job in pending if job.schedule_id and job.sequence]

    def running(self) -> list[str]:
        found = self.both[0].get_jobs_by_status(JobStatus.PROCESSING)
        return [job.id for job in found] or IDS

    # --- schedules -------------------------------------------------------------------------

    @initialize()
    def begin(self) -> None:
        for storage in self.both:
            storage.clear()
        self.schedules = [
            a_schedule(name, id=schedule_id, overlap=overlap, catch_up=CatchUp.ALL)
            for name, schedule_id, overlap in (
                ("a", "ss", Overlap.ALLOW),
                ("aa", "s", Overlap.SKIP),
                ("é", "", Overlap.CANCEL_PREVIOUS),
            )
        ]

    @rule(data=st.data(), status=st.sampled_from(ScheduleStatus), by=st.integers(0, 2))
    def save_schedule(self, data: st.DataObject, status: ScheduleStatus, by: int) -> None:
        given = data.draw(st.sampled_from(self.schedules))
        stored = self.both[0].get_schedule(given.name) or given
        edited = replace(
            stored,
            status=status,
            next_at=data.draw(st.none() | instants),
            revision=stored.revision + by,
        )
        self.same(lambda storage: storage.save_schedule(edited))

    @rule(data=st.data())
    def delete_schedule(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(self.schedules)).name
        self.same(lambda storage: storage.delete_schedule(name))

    @rule(now=st.sampled_from([NOON + n * timedelta(hours=1) for n in range(4)]))
    def expand(self, now: datetime) -> None:
        """As the expander does it, with one more that lost the race."""
        due = self.same(lambda storage: storage.due_schedules(now))
        made = made_of(self.both[0], due)
        expansions = [expand(schedule, now, made.get(schedule.id, NOTHING)) for schedule in due]
        self.same(lambda storage: storage.record_expansions(expansions))
        self.same(lambda storage: storage.record_expansions(expansions[:1]))

    @rule(data=st.data(), first=nows, last=nows, removes=st.booleans())
    def operate(self, data: st.DataObject, first: datetime, last: datetime, removes: bool) -> None:
        """Cancels, skips and notes, in one expansion."""
        before = self.both[0].get_schedule(data.draw(st.sampled_from(self.schedules)).name)
        there = self.both[0].list_jobs()
        if before is None:
            return
        called_off = data.draw(st.lists(st.sampled_from(there), max_size=2)) if there else []
        expansion = Expansion(
            before,
            replace(before, revision=before.revision + 1),
            skips=(
                Skip(
                    schedule_id=before.id,
                    reason=SkipReason.MISSED,
                    first_at=first,
                    last_at=last,
                    count=1,
                    recorded_at=NOON,
                ),
            ),
            cancelled=tuple(
                (job, replace(job, status=JobStatus.CANCELLED, completed_at=NOON, lease=None))
                for job in called_off
            ),
            note=Note(
                schedule_id=before.id,
                revision=before.revision + 1,
                at=NOON,
                action=Action.EDITED,
            ),
            removes=removes,
        )
        assert self.same(lambda storage: storage.record_expansions([expansion])) == [True]

    @rule(process=names, since=nows, seen=nows, code=st.sampled_from("ab"))
    def declare(self, process: str, since: datetime, seen: datetime, code: str) -> None:
        declaration = Declaration(
            process=process, code=code, since_at=since, seen_at=seen, schedules={"s": code}
        )
        self.same(lambda storage: storage.save_declaration(declaration))
        self.same(lambda storage: storage.renew_declaration(code, seen_at=seen))
        self.same(lambda storage: storage.list_declarations(seen_since=since))

    # --- what there is ---------------------------------------------------------------------

    @invariant()
    def hold_the_same(self) -> None:
        self.same(lambda storage: storage.list_jobs(limit=1000))
        self.same(lambda storage: storage.get_expired_jobs(NOON + SECOND, limit=3))
        self.same(lambda storage: storage.get_scheduled_jobs(INSTANTS[0]))
        self.same(lambda storage: storage.count_jobs())
        self.same(lambda storage: storage.next_job_at())
        self.same(lambda storage: storage.list_schedules())
        self.same(lambda storage: storage.next_schedule_at())

    @rule(status=st.none() | st.sampled_from(JobStatus), name=st.none() | names, data=st.data())
    def page(self, status: JobStatus | None, name: str | None, data: st.DataObject) -> None:
        schedule_id, before = data.draw(schedule_ids), data.draw(st.none() | ids)
        limit = data.draw(st.integers(0, 3))

        def act(storage: JobStorage) -> list[str]:
            found = storage.list_jobs(
                status=status, name=name, schedule_id=schedule_id, limit=limit, before_id=before
            )
            return [job.id for job in found]

        self.same(act)

    @rule(names=handlers, queue=queues, start=instants, end=st.none() | instants)
    def look(
        self, names: list[str] | None, queue: str | None, start: datetime, end: datetime | None
    ) -> None:
        for after in (None, start):
            self.same(
                lambda storage: storage.next_job_at(
                    handler_names=names,
                    queue=queue,
                    after=after,  # noqa: B023
                )
            )
        self.same(lambda storage: storage.get_scheduled_jobs(start, end))

        def records(storage: JobStorage) -> list[Any]:
            return [
                (
                    storage.get_occurrences(each, start, INSTANTS[-1]),
                    storage.list_skips(each, start, end),
                    storage.list_notes(each),
                )
                for each in ("", "s", "ss")
            ]

        self.same(records)

    @rule(wanted=st.lists(ids, max_size=3))
    def look_back(self, wanted: list[str]) -> None:
        self.same(lambda storage: storage.list_attempts(wanted))
        self.same(lambda storage: storage.list_attempts(IDS))

    @rule(priority=st.sampled_from(PRIORITIES), wanted=st.lists(schedule_ids, max_size=2))
    def look_up(self, priority: int, wanted: list[str | None]) -> None:
        self.same(lambda storage: storage.get_jobs_by_priority(priority))
        self.same(lambda storage: storage.get_jobs_by_status(JobStatus.PENDING))

        asked = [each for each in wanted if each is not None]
        self.same(lambda storage: storage.get_unfinished_jobs(asked))
