"""The laws that every storage keeps, as one class to inherit from.

A subclass gives a fixture `storage`: an empty, prepared JobStorage. The laws of JobContract are
those of the seven verbs and of what the base class makes of them; ScheduleContract adds
schedules, which a storage may leave out. Instants are passed in, so that no law waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import chain
from typing import Any, TypeVar

import pytest
from freezegun import freeze_time

from scheduler import lifecycle
from scheduler.errors import (
    DuplicateJob,
    InvalidMove,
    NaiveTime,
    StaleSchedule,
    UnknownJobId,
)
from scheduler.expansion import Expansion, expand
from scheduler.model import (
    Action,
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
from tests.values import HOURLY, MINUTE, NOON, SECOND, a_job, a_schedule, utc

T = TypeVar("T")
TTL = timedelta(seconds=30)

JSON_VALUES = [
    None,
    True,
    0,
    -(2**53),
    2**70,
    0.1,
    1e-300,
    "",
    'O\'Hara "said" \\ %s %(x)s :x ? {}',
    "'; DROP TABLE jobs; --",
    "NUL \x00 in the middle",
    "lone surrogate \udcff",
    "žluťoučký kůň 🐎 \u202e \u2028",
    [],
    {},
    [1, [2, [3, {"a": None}]]],
    {"": 1, "with space": 2, "$.path": 3, "ключ": 4, "\x00": 5},
]
HOSTILE_NAMES = [
    "O'Hara",
    'dou"ble',
    "per%cent %s %(name)s",
    "back\\slash",
    "semi;colon -- comment",
    "ünïcödé 🐎",
    "like_%",
    " leading and trailing ",
    "x" * 255,
]


def lease(storage: JobStorage, now: datetime = NOON, **given: Any) -> Job:
    """The next due job, which must be there."""
    job = storage.acquire_next_job(given.pop("ttl", TTL), now=now, **given)
    assert job is not None
    return job


def settlement(job: Job, outcome: Outcome, now: datetime = NOON + SECOND) -> Settlement:
    assert job.lease is not None
    return Settlement(lifecycle.settle(job, outcome, now=now), job.lease.token)


def ids(jobs: Sequence[Job]) -> list[str]:
    return [job.id for job in jobs]


def at_once(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return, each on a thread of its own, all let go at one moment."""
    gate = threading.Barrier(len(calls))

    def run(call: Callable[[], T]) -> T:
        gate.wait(timeout=10)
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


class JobContract:
    """The laws of jobs."""

    # --- saving and reading ----------------------------------------------------------------

    def test_a_job_comes_back_as_it_was_saved(self, storage: JobStorage) -> None:
        """Every field survives, to the microsecond, whatever the zone it was given in."""
        job = a_job(
            data={"region": "eu"},
            created_at=utc("2026-01-05T11:59:59.999999+00:00"),
            scheduled_at=utc("2026-01-05T13:00:00.000001+01:00"),
            queue="reports",
            priority=-7,
            max_retries=5,
            retry_count=2,
            timeout=timedelta(seconds=90, microseconds=1),
            error="ValueError: earlier",
            result={"rows": 3},
            repeat={"every": 1, "unit": "days"},
            schedule_id="s1",
            occurrence_at=utc("2026-01-05T12:00:00.000001+00:00"),
            sequence=4,
            worker="host:1:ab",
        )
        storage.save_job(job)
        stored = storage.get_job(job.id)
        assert stored == job
        assert stored is not None
        assert stored.scheduled_at.utcoffset() == timedelta(0)

    def test_a_leased_job_comes_back_with_its_lease(self, storage: JobStorage) -> None:
        """The token and the expiry are part of what is stored."""
        job = a_job(status=JobStatus.PROCESSING, lease=Lease("t" * 16, NOON + TTL), started_at=NOON)
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize("value", JSON_VALUES, ids=ascii)
    def test_any_json_survives_as_data_and_as_result(self, storage: JobStorage, value: Any) -> None:
        """JSON goes in and the same JSON comes out, hostile text included."""
        job = a_job(data={"value": value})
        storage.save_job(job)
        storage.settle_jobs([settlement(lease(storage), Completed(value))])
        stored = storage.get_job(job.id)
        assert stored is not None
        assert (stored.data, stored.result) == ({"value": value}, value)

    @pytest.mark.parametrize("name", HOSTILE_NAMES)
    def test_any_name_is_only_a_name(self, storage: JobStorage, name: str) -> None:
        """Names and queues are data: they match themselves and nothing else."""
        storage.save_job(a_job(name="decoy", queue="decoy"))
        job = a_job(name=name, queue=name)
        storage.save_job(job)
        assert ids(storage.list_jobs(name=name)) == [job.id]
        assert lease(storage, handler_names=[name], queue=name).id == job.id

    @pytest.mark.parametrize("error", ["", "line 1\nline 2", "'\"\\ 🐎", "x" * 100_000])
    def test_any_error_text_survives(self, storage: JobStorage, error: str) -> None:
        """What a handler raised is kept in full."""
        storage.save_job(a_job())
        job = lease(storage)
        storage.settle_jobs([settlement(job, Failed(error))])
        stored = storage.get_job(job.id)
        assert stored is not None
        assert stored.error == error

    def test_an_error_that_no_text_column_holds_is_escaped(self, storage: JobStorage) -> None:
        """NUL and lone surrogates, as in undecodable file names, cannot stop a settlement."""
        storage.save_job(a_job())
        job = lease(storage)
        assert storage.settle_jobs([settlement(job, Failed("a\x00b\udcffc"))]) == [True]
        stored = storage.get_job(job.id)
        assert stored is not None
        assert stored.error == r"a\x00b\udcffc"

    @pytest.mark.parametrize(
        "field", ["created_at", "scheduled_at", "started_at", "completed_at", "occurrence_at"]
    )
    def test_a_naive_instant_is_refused(self, storage: JobStorage, field: str) -> None:
        """An instant without a zone is never guessed at, and nothing is written."""
        job = a_job()
        given: dict[str, Any] = {field: datetime(2026, 1, 5, 12)}  # noqa: DTZ001
        naive = replace(job, **given)
        with pytest.raises(NaiveTime):
            storage.save_job(naive)
        assert storage.get_job(job.id) is None
        storage.save_job(job)
        with pytest.raises(NaiveTime):
            storage.update_job(naive)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize(
        "moment",
        [
            "0001-01-01T00:00:00+00:00",
            "1969-12-31T23:59:59.999999+00:00",
            "2038-01-19T03:14:08+00:00",
            "9999-12-31T23:59:59.999999+00:00",
        ],
    )
    def test_every_instant_of_the_calendar_survives(self, storage: JobStorage, moment: str) -> None:
        """From year 1 to 9999, to the microsecond, and it sorts where it belongs."""
        job = a_job(scheduled_at=utc(moment))
        storage.save_job(job)
        assert storage.get_scheduled_jobs(utc(moment)) == [job]

    def test_an_unknown_id_is_none(self, storage: JobStorage) -> None:
        """Reading what is not there is no error."""
        assert storage.get_job("nobody") is None

    @pytest.mark.parametrize(
        "text", ["", "\x00", "a\x00b", "\udcff", "' OR 1=1 --", "%"], ids=ascii
    )
    def test_what_nothing_is_called_finds_nothing(self, storage: JobStorage, text: str) -> None:
        """Whatever a caller asks for, it is an answer and not an error."""
        storage.save_job(a_job(schedule_id="s"))
        assert storage.get_job(text) is None
        assert storage.list_jobs(name=text) == []
        assert storage.list_jobs(schedule_id=text) == []
        assert storage.get_schedule(text) is None
        assert storage.list_skips(text) == []
        assert storage.acquire_next_job(handler_names=[text], now=NOON) is None
        assert storage.acquire_next_job(queue=text, now=NOON) is None
        assert storage.renew_leases({text: text}, expires_at=NOON) == set()
        assert len(storage.list_jobs(before_id=f"9{text}")) == 1

    def test_an_id_is_taken_once(self, storage: JobStorage) -> None:
        """A second job of the same id is refused, and the first stays."""
        first = a_job()
        storage.save_job(first)
        with pytest.raises(DuplicateJob, match=first.id):
            storage.save_job(replace(first, name="other"))
        assert storage.get_job(first.id) == first

    def test_an_occurrence_has_at_most_one_job(self, storage: JobStorage) -> None:
        """(schedule_id, occurrence_at) is a key, compared as an instant, not as text."""
        storage.save_job(a_job(schedule_id="s1", occurrence_at=NOON))
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
        with pytest.raises(DuplicateJob):
            storage.save_job(a_job(schedule_id="s1", occurrence_at=elsewhere))
        storage.save_job(a_job(schedule_id="s2", occurrence_at=NOON))
        storage.save_job(a_job(schedule_id="s1", occurrence_at=NOON + timedelta(microseconds=1)))
        assert len(storage.list_jobs()) == 3

    def test_jobs_without_an_occurrence_do_not_collide(self, storage: JobStorage) -> None:
        """Run by hand, a schedule's job stands for no occurrence: any number may."""
        storage.save_job(a_job(schedule_id="s1"))
        storage.save_job(a_job(schedule_id="s1"))
        storage.save_job(a_job(occurrence_at=NOON))
        storage.save_job(a_job(occurrence_at=NOON))
        assert len(storage.list_jobs()) == 4

    def test_update_overwrites_every_field(self, storage: JobStorage) -> None:
        """The stored job is the one given, whole."""
        job = a_job()
        storage.save_job(job)
        edited = replace(job, name="other", priority=3, data={"a": 1}, error="e", queue="q")
        storage.update_job(edited)
        assert storage.get_job(job.id) == edited

    def test_what_is_not_there_cannot_be_updated_or_ended(self, storage: JobStorage) -> None:
        """UnknownJobId names the id."""
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.update_job(a_job(id="ghost"))
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.complete_job("ghost")
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.fail_job("ghost", "boom")

    def test_a_batch_is_saved_whole_or_not_at_all(self, storage: JobStorage) -> None:
        """One job that cannot be saved keeps the others out."""
        taken = a_job()
        storage.save_job(taken)
        with pytest.raises(DuplicateJob):
            storage.save_jobs([a_job(), replace(taken), a_job()])
        twin = a_job()
        with pytest.raises(DuplicateJob):
            storage.save_jobs([twin, twin])
        assert ids(storage.list_jobs()) == [taken.id]

    def test_an_empty_batch_is_nothing(self, storage: JobStorage) -> None:
        """No jobs, no settlements, no leases: no error and no effect."""
        storage.save_jobs([])
        assert storage.settle_jobs([]) == []
        assert storage.renew_leases({}, expires_at=NOON) == set()
        assert storage.acquire_next_jobs(5, now=NOON) == []

    # --- lists -----------------------------------------------------------------------------

    def test_lists_are_in_order_of_acquisition(self, storage: JobStorage) -> None:
        """Priority, then scheduled_at, then id: for one status, and for one priority."""
        late = a_job(priority=1, scheduled_at=NOON + SECOND)
        low = a_job(priority=2)
        first, second = a_job(priority=1), a_job(priority=1)
        urgent = a_job(priority=-1, scheduled_at=NOON + MINUTE)
        done = a_job(priority=1, status=JobStatus.COMPLETED)
        storage.save_jobs([done, low, late, second, first, urgent])
        ordered = [urgent, first, second, late, low]
        assert ids(storage.get_jobs_by_status(JobStatus.PENDING)) == ids(ordered)
        assert ids(storage.get_jobs_by_priority(1)) == ids([first, second, late])
        assert ids(storage.get_jobs_by_status(JobStatus.COMPLETED)) == [done.id]

    def test_scheduled_jobs_are_those_of_a_half_open_window(self, storage: JobStorage) -> None:
        """start <= scheduled_at < end, pending only, by time."""
        tick = timedelta(microseconds=1)
        at_end = a_job(scheduled_at=NOON + MINUTE)
        before_end = a_job(scheduled_at=NOON + MINUTE - tick, priority=-9)
        at_start = a_job(scheduled_at=NOON, priority=9)
        before_start = a_job(scheduled_at=NOON - tick)
        running = a_job(scheduled_at=NOON, status=JobStatus.PROCESSING)
        storage.save_jobs([at_end, before_end, at_start, before_start, running])
        window = storage.get_scheduled_jobs(NOON, NOON + MINUTE)
        assert ids(window) == ids([at_start, before_end])
        assert ids(storage.get_scheduled_jobs(NOON)) == ids([at_start, before_end, at_end])
        assert storage.get_scheduled_jobs(NOON, NOON) == []

    def test_list_jobs_pages_from_the_newest_id(self, storage: JobStorage) -> None:
        """Each page starts below the last id of the one before: none twice, none left out."""
        saved = [a_job() for _ in range(7)]
        storage.save_jobs(saved)
        seen: list[str] = []
        while page := storage.list_jobs(limit=3, before_id=seen[-1] if seen else None):
            assert len(page) <= 3
            seen += ids(page)
        assert seen == ids(saved)[::-1]

    def test_list_jobs_filters_by_all_that_is_given(self, storage: JobStorage) -> None:
        """Status, name and schedule narrow it down together."""
        wanted = a_job(name="a", schedule_id="s", status=JobStatus.FAILED)
        others = [
            a_job(name="b", schedule_id="s", status=JobStatus.FAILED),
            a_job(name="a", schedule_id="t", status=JobStatus.FAILED),
            a_job(name="a", schedule_id="s"),
        ]
        storage.save_jobs([wanted, *others])
        assert storage.list_jobs(name="a", schedule_id="s", status=JobStatus.FAILED) == [wanted]

    def test_every_status_is_counted(self, storage: JobStorage) -> None:
        """Zero is a count too."""
        storage.save_jobs([a_job(), a_job(), a_job(status=JobStatus.FAILED)])
        assert storage.count_jobs() == {
            JobStatus.PENDING: 2,
            JobStatus.PROCESSING: 0,
            JobStatus.COMPLETED: 0,
            JobStatus.FAILED: 1,
            JobStatus.CANCELLED: 0,
        }

    def test_the_next_due_time_is_of_jobs_one_could_take(self, storage: JobStorage) -> None:
        """The earliest pending job that matches handler and queue, whatever its priority."""
        assert storage.next_job_at() is None
        storage.save_jobs(
            [
                a_job(scheduled_at=NOON + MINUTE, priority=9),
                a_job(scheduled_at=NOON + 2 * MINUTE, priority=-9),
                a_job(scheduled_at=NOON, name="other"),
                a_job(scheduled_at=NOON, queue="other"),
                a_job(scheduled_at=NOON, status=JobStatus.COMPLETED),
            ]
        )
        found = storage.next_job_at(handler_names=["work"], queue="default")
        assert found == NOON + MINUTE
        assert storage.next_job_at(handler_names=[]) is None

    # --- acquisition -----------------------------------------------------------------------

    def test_acquisition_is_by_priority_then_time_then_id(self, storage: JobStorage) -> None:
        """One after the other and as a batch, in the same order."""
        late = a_job(scheduled_at=NOON)
        low = a_job(scheduled_at=NOON - MINUTE, priority=1)
        first = a_job(scheduled_at=NOON - SECOND)
        second = a_job(scheduled_at=NOON - SECOND)
        urgent = a_job(scheduled_at=NOON, priority=-1)
        storage.save_jobs([late, low, second, first, urgent])
        one = lease(storage)
        rest = storage.acquire_next_jobs(10, ttl=TTL, now=NOON)
        assert ids([one, *rest]) == ids([urgent, first, second, late, low])

    def test_an_acquired_job_is_as_the_life_cycle_says(self, storage: JobStorage) -> None:
        """Processing, leased until now + ttl, started now, by this worker; stored like that."""
        job = a_job(error="earlier", retry_count=1)
        storage.save_job(job)
        acquired = lease(storage, worker="host:1")
        assert acquired.lease is not None
        assert acquired.lease.token
        assert acquired == lifecycle.acquire(
            job, Lease(acquired.lease.token, NOON + TTL), worker="host:1", now=NOON
        )
        assert storage.get_job(job.id) == acquired

    def test_a_job_is_due_from_its_instant_on(self, storage: JobStorage) -> None:
        """A microsecond early is early."""
        storage.save_job(a_job())
        assert storage.acquire_next_job(TTL, now=NOON - timedelta(microseconds=1)) is None
        assert storage.acquire_next_job(TTL, now=NOON) is not None

    def test_without_now_the_clock_decides(self, storage: JobStorage) -> None:
        """The clock is the one that tests freeze."""
        storage.save_job(a_job())
        with freeze_time("2026-01-05T11:59:59Z"):
            assert storage.acquire_next_job() is None
        with freeze_time("2026-01-05T12:00:00Z"):
            assert storage.acquire_next_job() is not None

    @pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PENDING])
    def test_only_pending_jobs_are_acquired(self, storage: JobStorage, status: JobStatus) -> None:
        """What runs or has ended is nobody's next job."""
        storage.save_job(a_job(status=status))
        assert storage.acquire_next_jobs(5, now=NOON) == []

    def test_an_executor_takes_only_what_it_can_handle(self, storage: JobStorage) -> None:
        """Of its queue, and among its handlers; an executor without handlers takes nothing."""
        mine = a_job(name="mine", queue="q")
        storage.save_jobs([a_job(name="mine"), a_job(name="other", queue="q"), mine])
        taken = storage.acquire_next_jobs(9, handler_names=["mine", "more"], queue="q", now=NOON)
        assert ids(taken) == [mine.id]
        assert storage.acquire_next_jobs(9, handler_names=[], now=NOON) == []

    def test_no_more_than_asked_for_is_acquired(self, storage: JobStorage) -> None:
        """A batch is at most n, and the rest stays pending."""
        storage.save_jobs([a_job() for _ in range(5)])
        assert len(storage.acquire_next_jobs(3, now=NOON)) == 3
        assert storage.count_jobs()[JobStatus.PENDING] == 2

    def test_a_job_is_acquired_by_one_of_many_threads(self, storage: JobStorage) -> None:
        """However they race, each job is handed out once, and all of them are."""
        saved = [a_job() for _ in range(40)]
        storage.save_jobs(saved)

        def take_all() -> list[str]:
            taken: list[str] = []
            while jobs := storage.acquire_next_jobs(3, now=NOON):
                taken += ids(jobs)
            return taken

        taken = at_once([take_all] * 4)
        assert sorted(chain.from_iterable(taken)) == ids(saved)

    # --- leases ----------------------------------------------------------------------------

    @freeze_time(NOON + SECOND)
    def test_a_leased_job_is_settled_by_its_holder(self, storage: JobStorage) -> None:
        """Completed, retried, failed or released: what is handed in is what is stored."""
        storage.save_jobs([a_job(), a_job(max_retries=1), a_job(), a_job()])
        outcomes: list[Outcome] = [Completed({"n": 1}), Failed("boom"), Failed("boom"), Released()]
        leased = storage.acquire_next_jobs(4, now=NOON)
        settlements = [settlement(*pair) for pair in zip(leased, outcomes, strict=True)]
        assert storage.settle_jobs(settlements) == [True] * 4
        stored = [storage.get_job(job.id) for job in leased]
        assert stored == [each.job for each in settlements]
        assert [job.status.value for job in stored if job] == [
            "completed",
            "pending",
            "failed",
            "pending",
        ]

    def test_a_lost_lease_cannot_settle(self, storage: JobStorage) -> None:
        """Who was taken over writes nothing, not even when the job runs elsewhere by now."""
        storage.save_job(a_job())
        lost = lease(storage)
        storage.settle_jobs([settlement(lost, Released())])
        assert storage.settle_jobs([settlement(lost, Completed("late"))]) == [False]
        held = lease(storage)
        assert storage.settle_jobs([settlement(lost, Completed("late"))]) == [False]
        assert storage.get_job(lost.id) == held

    def test_a_settled_job_cannot_be_settled_again(self, storage: JobStorage) -> None:
        """The second outcome is dropped."""
        storage.save_job(a_job())
        job = lease(storage)
        assert storage.settle_jobs([settlement(job, Completed(1))]) == [True]
        assert storage.settle_jobs([settlement(job, Completed(2))]) == [False]
        stored = storage.get_job(job.id)
        assert stored is not None
        assert stored.result == 1

    def test_each_settlement_of_a_batch_stands_for_itself(self, storage: JobStorage) -> None:
        """One lost lease, or one job that is gone, does not keep the others from being written."""
        storage.save_jobs([a_job(), a_job(), a_job()])
        first, second, third = storage.acquire_next_jobs(3, now=NOON)
        storage.settle_jobs([settlement(second, Released())])
        ghost = settlement(replace(first, id="ghost"), Completed())
        batch = [settlement(each, Completed("x")) for each in (first, second, third)]
        assert storage.settle_jobs([ghost, *batch]) == [False, True, False, True]
        assert storage.count_jobs()[JobStatus.COMPLETED] == 2

    def test_one_of_many_threads_settles(self, storage: JobStorage) -> None:
        """An outcome is written once, however many hold the same token."""
        storage.save_job(a_job())
        job = lease(storage)
        written = at_once(
            [lambda: storage.settle_jobs([settlement(job, Completed())]) for _ in range(4)]
        )
        assert sorted(written) == [[False], [False], [False], [True]]

    def test_an_expired_job_is_settled_only_if_its_lease_ran_out(self, storage: JobStorage) -> None:
        """A lease renewed in between stays with its holder."""
        storage.save_job(a_job())
        job = lease(storage)
        assert job.lease is not None
        expired_at = NOON + TTL
        rescue = Settlement(
            lifecycle.settle(job, Expired(), now=expired_at), job.lease.token, expired_by=expired_at
        )
        assert storage.renew_leases({job.id: job.lease.token}, expires_at=expired_at + SECOND)
        assert storage.settle_jobs([rescue]) == [False]
        assert storage.get_expired_jobs(expired_at) == []
        assert storage.settle_jobs([replace(rescue, expired_by=expired_at + SECOND)]) == [True]

    def test_expired_jobs_are_those_whose_lease_ran_out(self, storage: JobStorage) -> None:
        """By then, the instant of expiry included; longest first; at most as many as asked."""
        storage.save_jobs([a_job() for _ in range(4)])
        later, last, first, _ = [
            lease(storage, ttl=timedelta(seconds=seconds)) for seconds in (20, 30, 10, 31)
        ]
        storage.save_job(a_job())
        now = NOON + timedelta(seconds=30)
        assert storage.get_expired_jobs(now) == [first, later, last]
        assert storage.get_expired_jobs(now, limit=1) == [first]
        assert storage.get_expired_jobs(NOON) == []

    def test_a_renewed_lease_lasts_longer(self, storage: JobStorage) -> None:
        """Those that still hold get the new expiry and are named; the others are left alone."""
        storage.save_jobs([a_job(), a_job(), a_job()])
        held, lost, ended = (lease(storage) for _ in range(3))
        storage.settle_jobs([settlement(lost, Released()), settlement(ended, Completed())])
        again = lease(storage)
        assert again.id == lost.id
        tokens = {job.id: job.lease.token for job in (held, lost, ended) if job.lease}
        tokens["ghost"] = "none"
        expires_at = NOON + 10 * TTL
        assert storage.renew_leases(tokens, expires_at=expires_at) == {held.id}
        stored = storage.get_job(held.id)
        assert stored is not None
        assert stored.lease == Lease(tokens[held.id], expires_at)
        assert storage.get_job(lost.id) == again

    def test_a_renewal_is_fenced_by_each_jobs_own_token(self, storage: JobStorage) -> None:
        """Another job's token, though it is in the same call, renews nothing."""
        storage.save_jobs([a_job(), a_job()])
        one, other = lease(storage), lease(storage)
        assert one.lease is not None
        assert other.lease is not None
        swapped = {one.id: other.lease.token, other.id: one.lease.token}
        assert storage.renew_leases(swapped, expires_at=NOON + 10 * TTL) == set()
        assert [storage.get_job(one.id), storage.get_job(other.id)] == [one, other]

    # --- ending by hand --------------------------------------------------------------------

    @freeze_time(NOON)
    def test_complete_job_completes_a_processing_job(self, storage: JobStorage) -> None:
        """As the life cycle says, at the clock's now."""
        storage.save_job(a_job())
        job = lease(storage)
        storage.complete_job(job.id, {"n": 1})
        assert storage.get_job(job.id) == lifecycle.complete(job, {"n": 1}, now=NOON)

    @freeze_time(NOON)
    @pytest.mark.parametrize("max_retries", [0, 1])
    def test_fail_job_retries_while_retries_are_left(
        self, storage: JobStorage, max_retries: int
    ) -> None:
        """Pending again with a backoff, or failed for good."""
        storage.save_job(a_job(max_retries=max_retries))
        job = lease(storage)
        storage.fail_job(job.id, "boom")
        assert storage.get_job(job.id) == lifecycle.fail(job, "boom", now=NOON)

    @pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PROCESSING])
    def test_only_a_processing_job_can_be_ended(
        self, storage: JobStorage, status: JobStatus
    ) -> None:
        """Any other move is refused, and the job stays as it was."""
        job = a_job(status=status)
        storage.save_job(job)
        with pytest.raises(InvalidMove, match=job.id):
            storage.complete_job(job.id)
        with pytest.raises(InvalidMove, match=f"fail while {status}|retry while {status}"):
            storage.fail_job(job.id, "boom")
        assert storage.get_job(job.id) == job


class ScheduleContract(JobContract):
    """The laws of jobs and schedules."""

    def test_a_schedule_comes_back_as_it_was_saved(self, storage: JobStorage) -> None:
        """Every field survives, to the microsecond."""
        schedule = a_schedule(
            "O'Hara's 🐎 %s",
            rule={"every": 2, "unit": "days", "start_date": "2026-01-31T09:00", "limit": 7},
            timezone="Europe/Berlin",
            data={"region": "\x00eu"},
            queue="q",
            priority=-3,
            max_retries=2,
            timeout=timedelta(seconds=1.5),
            catch_up=CatchUp.ALL,
            grace=timedelta(milliseconds=1),
            catch_up_max=9,
            module="jobs.books",
            created_at=utc("2026-01-05T12:00:00.000001+00:00"),
        )
        stamped = replace(schedule, status=ScheduleStatus.PAUSED, error="why", materialised=3)
        storage.save_schedule(stamped)
        assert storage.get_schedule(stamped.name) == stamped

    def test_schedules_are_listed_by_name(self, storage: JobStorage) -> None:
        """In code point order, whatever the database's collation."""
        for name in ("b", "Z", "_", "a", "ä"):
            storage.save_schedule(a_schedule(name))
        assert [each.name for each in storage.list_schedules()] == ["Z", "_", "a", "b", "ä"]

    def test_an_unknown_schedule_is_none(self, storage: JobStorage) -> None:
        """Reading what is not there is no error; nor is deleting it."""
        assert storage.get_schedule("nobody") is None
        assert storage.delete_schedule("nobody") is False

    def test_a_name_is_taken_once(self, storage: JobStorage) -> None:
        """A second new schedule of the same name is refused, and the first stays."""
        first = a_schedule()
        storage.save_schedule(first)
        with pytest.raises(StaleSchedule, match="books"):
            storage.save_schedule(a_schedule())
        assert storage.list_schedules() == [first]

    def test_a_schedule_is_written_by_who_read_it_last(self, storage: JobStorage) -> None:
        """Revision n overwrites n-1 and nothing else."""
        first = a_schedule()
        storage.save_schedule(first)
        second = replace(first, revision=2, priority=1)
        storage.save_schedule(second)
        for stale in (replace(first, revision=2, priority=9), replace(first, revision=4)):
            with pytest.raises(StaleSchedule, match="books"):
                storage.save_schedule(stale)
        assert storage.get_schedule("books") == second

    def test_a_deleted_schedule_cannot_be_edited(self, storage: JobStorage) -> None:
        """Nor can its successor of the same name, by who read the old one."""
        old = a_schedule()
        storage.save_schedule(old)
        storage.delete_schedule(old.name)
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(old, revision=2))
        successor = a_schedule()
        storage.save_schedule(successor)
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(old, revision=2))
        assert storage.get_schedule(old.name) == successor

    def test_one_of_many_writers_of_a_revision_wins(self, storage: JobStorage) -> None:
        """The others learn that they read an older one."""
        first = a_schedule()
        storage.save_schedule(first)

        def write(priority: int) -> bool:
            try:
                storage.save_schedule(replace(first, revision=2, priority=priority))
            except StaleSchedule:
                return False
            return True

        won = at_once([lambda n=n: write(n) for n in range(4)])  # type: ignore[misc]
        assert sum(won) == 1
        stored = storage.get_schedule("books")
        assert stored is not None
        assert stored.priority == won.index(True)

    def test_deleting_a_schedule_leaves_its_jobs(self, storage: JobStorage) -> None:
        """Its skips go with it."""
        schedule = a_schedule(catch_up=CatchUp.SKIP)
        storage.save_schedule(schedule)
        storage.record_expansions([expand(schedule, NOON + 3 * MINUTE)])
        storage.save_job(a_job(schedule_id=schedule.id))
        assert storage.list_skips(schedule.id)
        assert storage.delete_schedule(schedule.name) is True
        assert storage.get_schedule(schedule.name) is None
        assert storage.list_skips(schedule.id) == []
        assert len(storage.list_jobs(schedule_id=schedule.id)) == 1

    def test_due_schedules_are_live_and_longest_due_first(self, storage: JobStorage) -> None:
        """next_at <= now, only active and paused ones, at most as many as asked."""
        second = replace(a_schedule("b"), next_at=NOON)
        first = replace(a_schedule("c", status=ScheduleStatus.PAUSED), next_at=NOON - SECOND)
        later = replace(a_schedule("a"), next_at=NOON + timedelta(microseconds=1))
        idle = [
            replace(a_schedule(status), status=status, next_at=NOON)
            for status in ScheduleStatus
            if status not in (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED)
        ]
        spent = replace(a_schedule("spent"), next_at=None)
        assert storage.next_schedule_at() is None
        for schedule in (later, second, first, *idle, spent):
            storage.save_schedule(schedule)
        assert storage.due_schedules(NOON) == [first, second]
        assert storage.due_schedules(NOON, limit=1) == [first]
        assert storage.next_schedule_at() == first.next_at

    # --- expansion -------------------------------------------------------------------------

    def test_an_expansion_is_written_whole(self, storage: JobStorage) -> None:
        """Jobs, skips and the next cursor together."""
        schedule = a_schedule(catch_up=CatchUp.LATEST)
        storage.save_schedule(schedule)
        expansion = expand(schedule, NOON + timedelta(hours=3, minutes=5))
        assert len(expansion.jobs) == 1
        assert len(expansion.skips) == 1
        assert storage.record_expansions([expansion]) == [True]
        assert storage.get_schedule(schedule.name) == expansion.after
        assert storage.list_jobs() == list(expansion.jobs)
        assert storage.list_skips(schedule.id) == list(expansion.skips)

    def test_an_expansion_of_what_has_changed_writes_nothing(self, storage: JobStorage) -> None:
        """Another expander, an edit or a deletion was first."""
        expanded, edited, deleted = (a_schedule(name) for name in ("a", "b", "c"))
        for schedule in (expanded, edited, deleted):
            storage.save_schedule(schedule)
        now = NOON + timedelta(hours=2)
        expansions = [expand(schedule, now) for schedule in (expanded, edited, deleted)]
        assert storage.record_expansions(expansions[:1]) == [True]
        storage.save_schedule(replace(edited, revision=2, priority=5))
        storage.delete_schedule(deleted.name)
        written = {job.id for job in storage.list_jobs()}
        assert storage.record_expansions(expansions) == [False, False, False]
        assert {job.id for job in storage.list_jobs()} == written
        assert [each.name for each in storage.list_schedules()] == ["a", "b"]
        assert storage.list_skips(edited.id) == []

    def test_expansions_of_one_call_stand_for_themselves(self, storage: JobStorage) -> None:
        """One that came second does not keep the others from being written."""
        stale, fresh = a_schedule("a"), a_schedule("b")
        storage.save_schedule(stale)
        storage.save_schedule(fresh)
        storage.save_schedule(replace(stale, revision=2))
        expansions = [expand(each, NOON + timedelta(hours=1)) for each in (stale, fresh)]
        assert storage.record_expansions(expansions) == [False, True]
        assert storage.get_schedule("b") == expansions[1].after

    def test_a_failed_expansion_leaves_nothing(self, storage: JobStorage) -> None:
        """Not the cursor without the jobs, and not the jobs of a neighbour without theirs."""
        good, bad = a_schedule("a"), a_schedule("b")
        storage.save_schedule(good)
        storage.save_schedule(bad)
        fine = expand(good, NOON + timedelta(hours=1))
        broken = expand(bad, NOON + timedelta(hours=1))
        naive = datetime(2026, 1, 5, 12)  # noqa: DTZ001
        jobs = tuple(replace(job, scheduled_at=naive) for job in broken.jobs)
        with pytest.raises(NaiveTime):
            storage.record_expansions([fine, replace(broken, jobs=jobs)])
        assert storage.list_schedules() == [good, bad]
        assert storage.list_jobs() == []

    def test_an_occurrence_that_has_a_job_keeps_it(self, storage: JobStorage) -> None:
        """The cursor moves on; the job that was there, made by a backfill, say, is not touched."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        there = a_job(schedule_id=schedule.id, occurrence_at=NOON, data={"by": "hand"})
        storage.save_job(there)
        expansion = expand(schedule, NOON)
        assert [job.occurrence_at for job in expansion.jobs] == [NOON]
        assert storage.record_expansions([expansion]) == [True]
        assert storage.list_jobs() == [there]
        assert storage.get_schedule(schedule.name) == expansion.after

    def test_one_of_many_expanders_writes(self, storage: JobStorage) -> None:
        """Each occurrence has one job, and each schedule moved once."""
        schedules = [a_schedule(f"s{n:02}") for n in range(10)]
        for schedule in schedules:
            storage.save_schedule(schedule)
        expansions = [expand(schedule, NOON) for schedule in schedules]
        won = at_once([lambda: storage.record_expansions(expansions)] * 4)
        # Who finds a row locked leaves it to the one that holds it: nobody wins twice.
        assert [sum(column) for column in zip(*won, strict=True)] == [1] * 10
        assert len(storage.list_jobs()) == 10
        assert {each.materialised for each in storage.list_schedules()} == {1}

    def test_skips_are_kept_by_schedule_and_in_order(self, storage: JobStorage) -> None:
        """Each as it was recorded."""
        schedule, other = a_schedule("a"), a_schedule("b")
        for each in (schedule, other):
            storage.save_schedule(each)

        def skip(schedule_id: str, hours: int) -> Skip:
            first_at = NOON + timedelta(hours=hours)
            return Skip(
                schedule_id=schedule_id,
                reason=SkipReason.MISSED,
                first_at=first_at,
                last_at=first_at + MINUTE,
                count=2,
                recorded_at=NOON,
            )

        later, earlier = skip(schedule.id, 2), skip(schedule.id, 1)
        after = replace(schedule, revision=2)
        storage.record_expansions(
            [
                Expansion(schedule, after, skips=(later, earlier)),
                Expansion(other, replace(other, revision=2), skips=(skip(other.id, 0),)),
            ]
        )
        assert storage.list_skips(schedule.id) == [earlier, later]

    # --- the live schedule -----------------------------------------------------------------

    def series(self, storage: JobStorage, n: int, **given: Any) -> list[Job]:
        """So many jobs of one schedule, an hour apart from NOON, all due: saved and pending."""
        made = [
            a_job(
                schedule_id="of-books",
                occurrence_at=NOON + number * timedelta(hours=1),
                sequence=number + 1,
                origin=Origin.OCCURRENCE,
                **given,
            )
            for number in range(n)
        ]
        storage.save_jobs(made)
        return made

    def test_a_serial_job_waits_for_the_earlier_ones(self, storage: JobStorage) -> None:
        """Pending or processing; it is neither acquired nor announced before they ended."""
        first, second, third = self.series(storage, 3, serial=True)
        [taken] = storage.acquire_next_jobs(9, now=NOON)
        assert (taken.id, storage.next_job_at()) == (first.id, None)
        assert storage.acquire_next_jobs(9, now=NOON) == []
        storage.complete_job(first.id)
        assert storage.next_job_at() == NOON
        assert [job.id for job in storage.acquire_next_jobs(9, now=NOON)] == [second.id]
        storage.fail_job(second.id, "no")
        assert [job.id for job in storage.acquire_next_jobs(9, now=NOON)] == [third.id]

    def test_a_serial_job_waits_for_nothing_else(self, storage: JobStorage) -> None:
        """Not for later ones, other schedules, or what is outside of its series."""
        [job] = self.series(storage, 1, serial=True)
        early = NOON - timedelta(hours=5)
        others = [
            a_job(schedule_id="of-books", occurrence_at=early, origin=Origin.BACKFILL),
            a_job(schedule_id="of-books", occurrence_at=early, origin=Origin.RUN_NOW),
            a_job(schedule_id="of-tea", occurrence_at=early, sequence=1),
            a_job(),
        ]
        storage.save_jobs(others)
        assert job.id in {each.id for each in storage.acquire_next_jobs(9, now=NOON)}

    def test_jobs_that_may_overlap_do(self, storage: JobStorage) -> None:
        """All at once."""
        self.series(storage, 3)
        assert len(storage.acquire_next_jobs(9, now=NOON)) == 3

    def test_jobs_run_by_hand_take_no_occurrence(self, storage: JobStorage) -> None:
        """Two of them and an occurrence may be of one instant, a second occurrence may not."""
        [job] = self.series(storage, 1)
        for _ in range(2):
            storage.save_job(replace(a_job(), **_place(job), origin=Origin.RUN_NOW))
        with pytest.raises(DuplicateJob):
            storage.save_job(replace(a_job(), **_place(job), origin=Origin.BACKFILL))
        assert len(storage.get_occurrences("of-books", NOON, NOON + SECOND)) == 3

    def test_unfinished_jobs_are_found_by_schedule(self, storage: JobStorage) -> None:
        """Pending and processing ones, by occurrence."""
        made = self.series(storage, 4)
        for _ in range(2):
            storage.acquire_next_job(now=NOON)
        storage.complete_job(made[0].id)
        storage.save_job(a_job(schedule_id="of-tea", occurrence_at=NOON))
        found = storage.get_unfinished_jobs(["of-books", "of-nothing"])
        assert [job.id for job in found] == [job.id for job in made[1:]]
        assert storage.get_unfinished_jobs([]) == []

    def test_occurrences_are_found_by_their_window(self, storage: JobStorage) -> None:
        """[start, end), in every status, in order."""
        made = self.series(storage, 4)
        storage.acquire_next_job(now=NOON)
        hour = timedelta(hours=1)
        found = storage.get_occurrences("of-books", NOON, NOON + 2 * hour)
        assert [job.id for job in found] == [job.id for job in made[:2]]

    def test_every_new_field_comes_back(self, storage: JobStorage) -> None:
        """Of jobs, schedules and skips."""
        run = Skip(
            schedule_id="s",
            reason=SkipReason.OVERLAP,
            first_at=NOON,
            last_at=NOON + MINUTE,
            count=2,
            recorded_at=NOON + SECOND,
            backfilled=1,
        )
        schedule = a_schedule(
            catch_up_window=MINUTE,
            overlap=Overlap.QUEUE_ONE,
            jitter=SECOND,
            paused_at=NOON,
            paused_by="ada",
            last_occurrence_at=NOON,
            open_skip=run,
            declared="d",
        )
        storage.save_schedule(schedule)
        assert storage.get_schedule(schedule.name) == schedule
        [job] = self.series(
            storage, 1, serial=True, missed_before=3, previous_occurrence_at=NOON - MINUTE
        )
        assert storage.get_job(job.id) == job

    def test_a_skip_overwrites_the_one_it_prolongs(self, storage: JobStorage) -> None:
        """The same first instant is the same run; windows find what reaches into them."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        run = Skip(
            schedule_id=schedule.id,
            reason=SkipReason.PAUSED,
            first_at=NOON,
            last_at=NOON,
            count=1,
            recorded_at=NOON,
        )
        longer = replace(run, last_at=NOON + MINUTE, count=2, backfilled=1)
        for number, each in enumerate((run, longer), start=1):
            before = replace(schedule, revision=number)
            assert storage.record_expansions(
                [Expansion(before, replace(schedule, revision=number + 1), skips=(each,))]
            ) == [True]
        assert storage.list_skips(schedule.id) == [longer]
        assert storage.list_skips(schedule.id, NOON + MINUTE, NOON + 2 * MINUTE) == [longer]
        assert storage.list_skips(schedule.id, NOON + 2 * MINUTE) == []
        assert storage.list_skips(schedule.id, None, NOON) == []

    def test_a_cancellation_holds_only_for_jobs_as_they_were(self, storage: JobStorage) -> None:
        """One that has started, or ended, in between is left alone."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        waiting, started = a_job(), a_job(priority=-1)
        storage.save_jobs([waiting, started])
        cancelled = tuple((job, lifecycle.cancel(job, now=NOON)) for job in (waiting, started))
        storage.acquire_next_job(now=NOON)
        after = replace(schedule, revision=2)
        storage.record_expansions([Expansion(schedule, after, cancelled=cancelled)])
        assert storage.get_jobs_by_status(JobStatus.CANCELLED) == [cancelled[0][1]]
        assert [job.id for job in storage.get_jobs_by_status(JobStatus.PROCESSING)] == [started.id]

    def test_a_cancelled_job_has_lost_its_lease(self, storage: JobStorage) -> None:
        """Its executor learns it at the next renewal, and its outcome is not written."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        storage.save_job(a_job())
        [job] = storage.acquire_next_jobs(1, now=NOON)
        assert job.lease is not None
        cancelled = ((job, lifecycle.cancel(job, now=NOON)),)
        storage.record_expansions(
            [Expansion(schedule, replace(schedule, revision=2), cancelled=cancelled)]
        )
        assert storage.renew_leases({job.id: job.lease.token}, expires_at=NOON) == set()
        settlement = Settlement(lifecycle.settle(job, Completed(1), now=NOON), job.lease.token)
        assert storage.settle_jobs([settlement]) == [False]

    def test_an_operation_is_written_with_its_note(self, storage: JobStorage) -> None:
        """And what it edited; what removes the schedule removes its record."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        edited = replace(
            schedule, revision=2, priority=7, rule={"cron": "@daily"}, overlap=Overlap.ALLOW
        )
        note = Note(
            schedule_id=schedule.id,
            revision=2,
            at=NOON,
            action=Action.EDITED,
            actor="ada",
            detail={"priority": [0, 7]},
        )
        assert storage.record_expansions([Expansion(schedule, edited, note=note)]) == [True]
        assert storage.get_schedule(schedule.name) == edited
        assert storage.list_notes(schedule.id) == [note]
        assert storage.record_expansions([Expansion(edited, edited, removes=True)]) == [True]
        assert (storage.list_schedules(), storage.list_notes(schedule.id)) == ([], [])

    def test_an_expansion_of_a_cursor_that_moved_is_refused(self, storage: JobStorage) -> None:
        """Though the revision is the same; and so is an overwriting that would set it back."""
        schedule = a_schedule()
        storage.save_schedule(schedule)
        first, second = expand(schedule, NOON), expand(schedule, NOON + timedelta(hours=1))
        assert first.after.revision == second.after.revision == schedule.revision
        assert storage.record_expansions([first]) == [True]
        assert storage.record_expansions([second]) == [False]
        with pytest.raises(StaleSchedule):
            storage.save_schedule(replace(schedule, revision=2))

    def test_declarations_are_kept_while_they_are_seen(self, storage: JobStorage) -> None:
        """By the age of their version; what has not been seen for long is removed."""
        old = Declaration(
            process="a",
            code="1",
            since_at=NOON,
            seen_at=NOON,
            schedules={"s": "x"},
        )
        new = replace(old, process="b", code="2", since_at=NOON + SECOND, schedules={})
        for each in (new, old):
            storage.save_declaration(each)
        assert storage.list_declarations(seen_since=NOON) == [old, new]
        assert storage.renew_declaration("b", seen_at=NOON + MINUTE)
        assert not storage.renew_declaration("c", seen_at=NOON)
        renewed = replace(new, seen_at=NOON + MINUTE)
        assert storage.list_declarations(seen_since=NOON + SECOND) == [renewed]
        assert not storage.renew_declaration("a", seen_at=NOON)

    def test_clear_removes_everything(self, storage: JobStorage) -> None:
        """Jobs, schedules and skips, and what they took up can be taken again."""
        schedule = a_schedule(rule=dict(HOURLY))
        expansion = expand(schedule, NOON + timedelta(hours=2))
        for _ in range(2):
            storage.save_schedule(schedule)
            assert storage.record_expansions([expansion]) == [True]
            assert storage.list_jobs() == list(expansion.jobs)
            storage.clear()
            assert (storage.list_jobs(), storage.list_schedules()) == ([], [])
            assert storage.list_skips(schedule.id) == []


def _place(job: Job) -> dict[str, Any]:
    """Where `job` stands: its schedule and its occurrence."""
    return {"schedule_id": job.schedule_id, "occurrence_at": job.occurrence_at}
