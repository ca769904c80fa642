"""Laws of limits and of ageing: what acquisition leaves for later, and what goes before its turn.

How many may start is decided by scheduler.flow; here is that the store counts them right, for all
who acquire together, and that who has reached a limit is in nobody's way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import chain

import pytest

from scheduler import lifecycle
from scheduler.errors import NaiveTime
from scheduler.flow import FlowKey, Limit, Rate, key_of
from scheduler.model import Completed, Failed, Job, JobStatus, Lease, Released
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import THREADS, TTL, at_once, ids, series, settlement, token
from scheduler.testing.values import AHEAD, HOUR, MINUTE, NOON, SECOND, a_job

TICK = timedelta(microseconds=1)
ONE = {"work": Limit(concurrency=1)}
TWO = {"work": Limit(concurrency=2)}
TWO_A_MINUTE = {"work": Limit(rate=Rate(2, MINUTE))}

KEYS = [None, "", "a", "A", "a ", "ž", "z\u030c", "\u017e" * 255, "-", ":a", r"\x00", "🐎"]
"""Keys of which a careless store takes two for one."""


def flows(jobs: list[Job]) -> Mapping[FlowKey, int]:
    """How many of `jobs` there are of each key."""
    return Counter(map(key_of, jobs))


class LimitLaws:
    """No more run, and no more start, than a limit lets."""

    def test_so_many_of_a_name_run_at_a_time(self, storage: JobStorage) -> None:
        """The first of them; each that ends, however it ends, makes room for one more."""
        saved = [a_job(max_retries=1) for _ in range(5)]
        storage.save_jobs(saved)
        first, second = storage.acquire_next_jobs(9, now=NOON, limits=TWO)
        assert ids([first, second]) == ids(saved[:2])
        assert storage.acquire_next_jobs(9, now=NOON, limits=TWO) == []
        storage.settle_jobs([settlement(second, Completed())])
        [third] = storage.acquire_next_jobs(9, now=NOON, limits=TWO)
        assert third.id == saved[2].id
        storage.settle_jobs([settlement(first, Failed("no")), settlement(third, Released())])
        assert len(storage.acquire_next_jobs(9, now=NOON, limits=TWO)) == 2
        assert storage.acquire_next_jobs(9, now=NOON, limits=TWO) == []

    def test_what_runs_counts_however_it_came_to(self, storage: JobStorage) -> None:
        """Taken without a limit, saved or moved as it is: in any queue, by whomever."""
        free = a_job(queue="other")
        storage.save_jobs([free, a_job()])
        assert storage.acquire_next_jobs(1, queue="other", now=NOON)
        assert storage.acquire_next_jobs(1, now=NOON, limits=ONE) == []
        storage.move_job(free.id, lambda job: lifecycle.cancel(job, now=NOON))
        assert len(storage.acquire_next_jobs(1, now=NOON, limits=ONE)) == 1
        leased = a_job(status=JobStatus.PROCESSING, lease=Lease("t", NOON + TTL))
        storage.save_jobs([leased, a_job()])
        three = {"work": Limit(concurrency=3)}
        assert storage.acquire_next_jobs(9, now=NOON, limits=TWO) == []
        assert len(storage.acquire_next_jobs(9, now=NOON, limits=three)) == 1

    def test_a_job_of_a_limited_name_is_acquired_as_any(self, storage: JobStorage) -> None:
        """As the life cycle says, and stored like that."""
        storage.save_job(job := a_job(concurrency_key="a"))
        [taken] = storage.acquire_next_jobs(1, ttl=TTL, worker="w", now=NOON, limits=ONE)
        leased = Lease(token(taken), NOON + TTL)
        assert taken == lifecycle.acquire(job, leased, worker="w", now=NOON)
        assert storage.get_job(job.id) == taken

    def test_each_name_and_each_key_is_counted_for_itself(self, storage: JobStorage) -> None:
        """No key is one too, and an empty key another; keys are keys to the last code point."""
        limits = {name: Limit(concurrency=1, rate=Rate(1, MINUTE)) for name in ("work", "other")}
        expected = {(name, key): 1 for name in limits for key in KEYS}
        storage.save_jobs(
            [a_job(name=name, concurrency_key=key) for name, key in expected for _ in range(2)]
        )
        taken = storage.acquire_next_jobs(99, now=NOON, limits=limits)
        assert flows(taken) == expected
        assert storage.acquire_next_jobs(99, now=NOON, limits=limits) == []
        storage.settle_jobs([settlement(job, Completed()) for job in taken])
        assert storage.acquire_next_jobs(99, now=NOON, limits=limits) == []
        again = storage.acquire_next_jobs(99, now=NOON + MINUTE, limits=limits)
        assert flows(again) == expected

    def test_so_many_of_a_name_start_within_a_time(self, storage: JobStorage) -> None:
        """Any stretch of that length: a start counts until exactly so much later, ended or not."""
        storage.save_jobs([a_job() for _ in range(9)])

        def started(now: datetime, n: int = 9) -> int:
            taken = storage.acquire_next_jobs(n, now=now, limits=TWO_A_MINUTE)
            storage.settle_jobs([settlement(job, Completed()) for job in taken])
            return len(taken)

        half = MINUTE / 2
        assert [started(NOON, 1), started(NOON + half), started(NOON + half)] == [1, 1, 0]
        assert started((NOON + MINUTE - TICK).astimezone(AHEAD)) == 0
        assert started(NOON + MINUTE) == 1
        assert started(NOON + MINUTE + half - TICK) == 0
        assert started(NOON + MINUTE + half) == 1
        assert started(NOON + HOUR) == 2
        assert storage.count_jobs()[JobStatus.PENDING] == 3

    def test_no_start_counts_for_longer_when_the_clock_was_set_back(
        self, storage: JobStorage
    ) -> None:
        """One of an instant that is far ahead by now holds nobody up until then."""
        storage.save_jobs([a_job(scheduled_at=NOON - HOUR) for _ in range(3)])

        def started(now: datetime) -> int:
            taken = storage.acquire_next_jobs(9, now=now, limits=TWO_A_MINUTE)
            storage.settle_jobs([settlement(job, Completed()) for job in taken])
            return len(taken)

        assert started(NOON) == 2
        assert started(NOON - MINUTE + TICK) == 0
        assert started(NOON - MINUTE) == 1

    def test_what_is_cleared_has_started_nothing(self, storage: JobStorage) -> None:
        """Its limits begin anew."""
        for _ in range(2):
            storage.save_jobs([a_job() for _ in range(3)])
            assert len(storage.acquire_next_jobs(9, now=NOON, limits=TWO_A_MINUTE)) == 2
            storage.clear()

    def test_the_narrower_of_two_limits_holds(self, storage: JobStorage) -> None:
        """Of how many run, and of how many start."""
        limits = {"work": Limit(concurrency=2, rate=Rate(3, MINUTE))}
        storage.save_jobs([a_job() for _ in range(9)])
        taken = storage.acquire_next_jobs(9, now=NOON, limits=limits)
        assert len(taken) == 2
        storage.settle_jobs([settlement(job, Completed()) for job in taken])
        assert len(storage.acquire_next_jobs(9, now=NOON, limits=limits)) == 1

    def test_order_is_kept_across_limited_and_other_jobs(self, storage: JobStorage) -> None:
        """Priority, time and id, whatever has a limit; a full one's place goes to the next."""
        names = ["free", "work", "work", "free", "work", "slow", "slow", "free"]
        saved = [a_job(name=name, priority=place) for place, name in enumerate(names)]
        storage.save_jobs(saved[::-1])
        limits = TWO | {"slow": Limit(rate=Rate(1, MINUTE))}
        first = storage.acquire_next_jobs(3, now=NOON, limits=limits)
        rest = storage.acquire_next_jobs(9, now=NOON, limits=limits)
        assert ids(first) == ids(saved[:3])
        assert ids(rest) == ids([saved[3], saved[5], saved[7]])

    def test_a_full_key_hides_nobody(self, storage: JobStorage) -> None:
        """However many of it wait before others, of the same name or not, limited or not."""
        storage.save_jobs([a_job(concurrency_key="full", priority=-1) for _ in range(300)])
        limits = {"work": Limit(concurrency=1), "slow": Limit(rate=Rate(1, MINUTE))}
        assert len(storage.acquire_next_jobs(9, now=NOON, limits=limits)) == 1
        others = [
            a_job(concurrency_key="other"),
            a_job(name="slow"),
            a_job(name="free", concurrency_key="full"),
            a_job(),
        ]
        storage.save_jobs(others)
        taken = [storage.acquire_next_jobs(1, now=NOON, limits=limits) for _ in range(5)]
        assert ids(list(chain.from_iterable(taken))) == ids(others)
        storage.save_jobs([a_job(name="slow", priority=-1) for _ in range(50)])
        storage.save_job(last := a_job(name="slow", concurrency_key="b"))
        assert ids(storage.acquire_next_jobs(9, now=NOON, limits=limits)) == [last.id]

    def test_many_full_keys_hide_nobody(self, storage: JobStorage) -> None:
        """Full by what runs, by what was started, and by what is taken at this moment."""
        limits = {"work": Limit(concurrency=1), "slow": Limit(rate=Rate(1, MINUTE))}
        keys = [f"key-{number}" for number in range(30)]
        waiting = [
            a_job(name=name, concurrency_key=key, priority=-1)
            for _ in range(4)
            for name in limits
            for key in keys
        ]
        storage.save_jobs(waiting)
        free = [a_job(name=name) for name in ("work", "slow", "free")]
        storage.save_jobs(free)
        taken = storage.acquire_next_jobs(63, now=NOON, limits=limits)
        assert ids(taken) == ids([*waiting[:60], *free])
        storage.save_jobs(last := [a_job(name="work", concurrency_key="b"), a_job(name="free")])
        assert ids(storage.acquire_next_jobs(2, now=NOON, limits=limits)) == ids(last)

    def test_an_executor_with_limits_takes_only_what_it_can_handle(
        self, storage: JobStorage
    ) -> None:
        """Of its queue, and among its handlers, due and free; limits of other names are nothing."""
        limits = {name: Limit(concurrency=1) for name in ("work", "more", "unheard-of")}
        mine = a_job(queue="q")
        not_mine = [
            a_job(),
            a_job(name="more", queue="q"),
            a_job(queue="q", scheduled_at=NOON + SECOND),
        ]
        storage.save_jobs([*not_mine, mine])

        def taken(*names: str) -> list[str]:
            found = storage.acquire_next_jobs(
                9, handler_names=names, queue="q", now=NOON, limits=limits
            )
            return ids(found)

        assert taken("unheard-of") == taken() == []
        assert taken("work") == [mine.id]
        assert storage.acquire_next_jobs(0, now=NOON, limits=limits) == []

    def test_a_serial_job_waits_whatever_its_limit(self, storage: JobStorage) -> None:
        """It waits for its turn, and then for its limit."""
        first, second = series(storage, 2, serial=True)
        five = {"work": Limit(concurrency=5)}
        assert ids(storage.acquire_next_jobs(9, now=NOON, limits=five)) == [first.id]
        assert storage.acquire_next_jobs(9, now=NOON, limits=five) == []
        storage.complete_job(first.id)
        assert ids(storage.acquire_next_jobs(9, now=NOON, limits=five)) == [second.id]

    def test_many_threads_together_run_no_more_than_the_limit(self, storage: JobStorage) -> None:
        """However they race; nor fewer, and others are taken by one of them each."""
        keys = ["a"] * 12 + ["b"] * 12
        storage.save_jobs([a_job(concurrency_key=key) for key in keys])
        storage.save_jobs([a_job(name="free") for _ in range(12)])
        taken = taken_at_once(storage, {"work": Limit(concurrency=3)})
        assert flows(taken) == {("work", "a"): 3, ("work", "b"): 3, ("free", None): 12}
        assert len({job.id for job in taken}) == len(taken)

    def test_many_threads_together_start_no_more_than_the_rate(self, storage: JobStorage) -> None:
        """However they race; nor fewer."""
        limits = {"work": Limit(rate=Rate(5, MINUTE))}
        storage.save_jobs([a_job() for _ in range(30)])
        for now in (NOON, NOON + MINUTE):
            assert len(taken_at_once(storage, limits, now)) == 5
            assert storage.acquire_next_jobs(9, now=now + MINUTE - TICK, limits=limits) == []

    def test_what_has_waited_too_long_goes_first(self, storage: JobStorage) -> None:
        """The longest due first, then by id, whatever the priority; then the rest as ever."""
        aged_before = NOON - MINUTE
        urgent = a_job(priority=-9, scheduled_at=aged_before)
        usual = a_job(scheduled_at=NOON - SECOND)
        aged = a_job(priority=5, scheduled_at=aged_before - TICK)
        twins = [a_job(priority=number, scheduled_at=NOON - HOUR) for number in (9, 1)]
        storage.save_jobs([usual, urgent, aged, *twins[::-1]])
        ordered = ids([*twins, aged, urgent, usual])
        first = storage.acquire_next_jobs(2, now=NOON, aged_before=aged_before.astimezone(AHEAD))
        rest = storage.acquire_next_jobs(9, now=NOON, aged_before=aged_before)
        assert ids([*first, *rest]) == ordered

    def test_limits_hold_for_what_has_waited_too_long(self, storage: JobStorage) -> None:
        """Of a full key, the longest due was taken, and the others hide nobody."""
        aged = [a_job(scheduled_at=NOON - HOUR + n * SECOND, priority=-n) for n in range(3)]
        free = a_job(name="free", scheduled_at=NOON - MINUTE, priority=9)
        usual = [a_job(concurrency_key="a"), a_job(), a_job(name="free", priority=-9)]
        storage.save_jobs([*usual, *aged[::-1], free])
        taken = storage.acquire_next_jobs(9, now=NOON, limits=ONE, aged_before=NOON)
        assert ids(taken) == ids([aged[0], free, usual[2], usual[0]])

    def test_only_what_is_due_has_waited_too_long(self, storage: JobStorage) -> None:
        """Though it will have, by an instant that is yet to come."""
        early, late = a_job(scheduled_at=NOON), a_job(scheduled_at=NOON + SECOND)
        storage.save_jobs([late, early])
        taken = storage.acquire_next_jobs(9, now=NOON, aged_before=NOON + HOUR)
        assert ids(taken) == [early.id]

    def test_an_age_without_a_zone_is_refused(self, storage: JobStorage) -> None:
        """And nothing is leased."""
        storage.save_job(job := a_job())
        with pytest.raises(NaiveTime):
            storage.acquire_next_jobs(
                1,
                now=NOON,
                aged_before=datetime(2026, 1, 5, 12),  # noqa: DTZ001
            )
        assert storage.get_job(job.id) == job


def taken_at_once(
    storage: JobStorage, limits: Mapping[str, Limit], now: datetime = NOON
) -> list[Job]:
    """All that several threads got that took, two at a time, until there was no more."""

    def take_all() -> list[Job]:
        taken: list[Job] = []
        while jobs := storage.acquire_next_jobs(2, now=now, limits=limits):
            taken += jobs
        return taken

    return list(chain.from_iterable(at_once([take_all] * THREADS)))
