"""The scheduler component: due schedules become jobs, once, and it says when it is needed next."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import chain

import pytest

from scheduler import expander as expander_module
from scheduler.errors import StorageUnavailable
from scheduler.events import Event
from scheduler.expander import LOST_RACE_PAUSE, ClockWatch, Expander
from scheduler.expansion import Expansion
from scheduler.model import CatchUp, Job, JobStatus, ScheduleStatus
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.values import NOON, SECOND, a_schedule, utc

HOUR = timedelta(hours=1)


@pytest.fixture
def storage() -> Iterator[JobStorage]:
    with open_storage("sqlite://") as storage:
        yield storage


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def expander(storage: JobStorage, told: list[Event]) -> Expander:
    return Expander(storage, emit=told.append)


def test_nothing_is_due_in_an_empty_store(expander: Expander) -> None:
    """Then nothing is known of a next time either."""
    assert expander.tick(NOON) is None


def test_a_tick_says_when_the_next_occurrence_is(expander: Expander, storage: JobStorage) -> None:
    """The earliest of all active schedules."""
    storage.save_schedule(a_schedule("hourly"))
    rule = {"every": 1, "unit": "days", "start_date": "2026-01-05T12:20Z"}
    storage.save_schedule(a_schedule("daily", rule=rule))
    assert expander.tick(NOON - SECOND) == NOON
    assert expander.tick(NOON) == NOON + timedelta(minutes=20)
    assert expander.tick(NOON + HOUR / 2) == NOON + HOUR


@pytest.mark.parametrize("status", [ScheduleStatus.COMPLETED, ScheduleStatus.RETIRED])
def test_an_ended_schedule_is_not_expanded(
    expander: Expander, storage: JobStorage, status: ScheduleStatus
) -> None:
    """Completed and retired ones wait for nobody."""
    storage.save_schedule(replace(a_schedule(), status=status))
    assert expander.tick(NOON + HOUR) is None
    assert storage.list_jobs() == []


def test_all_that_is_due_is_expanded_in_batches(
    expander: Expander, storage: JobStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many: one tick leaves nothing due."""
    monkeypatch.setattr(expander_module, "BATCH", 3)
    for number in range(10):
        storage.save_schedule(a_schedule(f"s{number}"))
    assert expander.tick(NOON) == NOON + HOUR
    assert len(storage.list_jobs()) == 10


class Slow(MemoryStorage):
    """A storage elsewhere, whose first write ends when what comes next is being decided."""

    exchanges_at_once = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[list[str]] = []
        self.is_next_asked = threading.Event()

    def get_unfinished_jobs(self, schedule_ids: Collection[str]) -> list[Job]:
        self.asked.append(list(schedule_ids))
        if len(self.asked) == 2:
            self.is_next_asked.set()
        return super().get_unfinished_jobs(schedule_ids)

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        assert self.is_next_asked.wait(10)
        return super().record_expansions(expansions, wait=wait)


def test_while_some_are_written_the_next_are_decided(
    monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> None:
    """And no schedule is asked for twice."""
    monkeypatch.setattr(expander_module, "BATCH", 3)
    storage = Slow()
    for number in range(7):
        storage.save_schedule(a_schedule(f"s{number}"))
    assert Expander(storage, emit=told.append).tick(NOON) == NOON + HOUR
    assert len(storage.list_jobs()) == len(told) == 7
    assert sorted(chain.from_iterable(storage.asked)) == sorted(
        each.id for each in storage.list_schedules()
    )


class Failing(MemoryStorage):
    """A storage elsewhere that cannot be reached for the n-th write."""

    exchanges_at_once = False

    def __init__(self, n: int) -> None:
        super().__init__()
        self.left = n

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        self.left -= 1
        if self.left == 0:
            raise StorageUnavailable("gone")
        return super().record_expansions(expansions, wait=wait)


@pytest.mark.parametrize("failing", [1, 2, 3])
def test_what_cannot_be_written_is_due_again(
    failing: int, monkeypatch: pytest.MonkeyPatch, told: list[Event]
) -> None:
    """Whichever write fails: the tick says so, what was written stays, the next writes the rest."""
    monkeypatch.setattr(expander_module, "BATCH", 3)
    storage = Failing(failing)
    for number in range(8):
        storage.save_schedule(a_schedule(f"s{number}"))
    expander = Expander(storage, emit=told.append)
    with pytest.raises(StorageUnavailable):
        expander.tick(NOON)
    assert len(storage.list_jobs()) == len(told) == 3 * (failing - 1)
    assert expander.tick(NOON) == NOON + HOUR
    assert len(storage.list_jobs()) == len(told) == 8


def test_a_bad_schedule_is_paused_and_the_others_go_on(
    expander: Expander, storage: JobStorage
) -> None:
    """With its error, for a person to read."""
    storage.save_schedule(replace(a_schedule("bad"), rule={"every": 0, "unit": "hours"}))
    storage.save_schedule(a_schedule("good"))
    assert expander.tick(NOON) == NOON + HOUR
    bad = storage.get_schedule("bad")
    assert bad is not None
    assert bad.status is ScheduleStatus.PAUSED
    assert "every" in str(bad.error)
    assert len(storage.list_jobs()) == 1


def test_what_was_written_is_told(
    expander: Expander, storage: JobStorage, told: list[Event]
) -> None:
    """Skips with their run, jobs as they are stored."""
    storage.save_schedule(a_schedule(catch_up=CatchUp.LATEST))
    expander.tick(NOON + 2 * HOUR + HOUR / 2)
    skipped, scheduled = told
    assert skipped.name == "skipped"
    assert dict(skipped.detail) == {
        "schedule": "books",
        "reason": "missed",
        "count": 2,
        "first_at": NOON.isoformat(),
        "last_at": (NOON + HOUR).isoformat(),
    }
    assert scheduled.name == "scheduled"
    assert [scheduled.job] == storage.list_jobs()


class Weighed(MemoryStorage):
    """Says of each write how many jobs it was."""

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[int] = []

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        self.jobs.append(sum(len(each.jobs) for each in expansions))
        return super().record_expansions(expansions, wait=wait)


def test_what_many_schedules_missed_is_written_bit_by_bit() -> None:
    """In one tick, and all of it: but never are the jobs of all of them in memory at once."""
    storage, each, schedules = Weighed(), 700, 20
    for n in range(schedules):
        missed = a_schedule(
            f"missed-{n}",
            rule={"every": 1, "unit": "minutes", "start_date": "2026-01-05T00:00Z"},
            catch_up=CatchUp.ALL,
            catch_up_max=each,
            created_at=utc("2026-01-05T00:00Z"),
        )
        storage.save_schedule(missed)
    now = utc("2026-01-05T00:00Z") + timedelta(minutes=each - 1)
    assert Expander(storage, emit=lambda event: None).tick(now) == now + timedelta(minutes=1)
    assert sum(storage.jobs) == storage.count_jobs()[JobStatus.PENDING] == schedules * each
    assert max(storage.jobs) < expander_module.MOST_JOBS + each


class Outrun(MemoryStorage):
    """A storage in which another expander is always first with the schedules it is told."""

    def __init__(self, first_with: set[str]) -> None:
        super().__init__()
        self.first_with = first_with

    def record_expansions(
        self, expansions: Sequence[Expansion], *, wait: bool = True
    ) -> list[bool]:
        theirs = [each for each in expansions if each.before.name in self.first_with]
        super().record_expansions(theirs)
        return super().record_expansions(expansions)


def test_what_another_was_first_with_is_not_told(told: list[Event]) -> None:
    """Its events are the other's; the rest is ours, and we look again after a moment."""
    storage = Outrun({"theirs"})
    for name in ("ours", "theirs"):
        storage.save_schedule(a_schedule(name))
    next_at = Expander(storage, emit=told.append).tick(NOON)
    assert next_at == NOON + HOUR
    assert len(storage.list_jobs()) == 2
    ours = storage.get_schedule("ours")
    assert ours is not None
    assert [event.job.schedule_id for event in told if event.job] == [ours.id]


def test_who_is_outrun_does_not_spin(told: list[Event]) -> None:
    """A schedule whose row another holds is still due: we wait a moment for them."""

    class Held(MemoryStorage):
        def record_expansions(
            self, expansions: Sequence[Expansion], *, wait: bool = True
        ) -> list[bool]:
            return [False for _ in expansions]

    storage = Held()
    storage.save_schedule(a_schedule())
    assert Expander(storage, emit=told.append).tick(NOON) == NOON + LOST_RACE_PAUSE
    assert told == []


def test_an_outage_loses_nothing(told: list[Event]) -> None:
    """What was not written is due again."""

    class Down(MemoryStorage):
        outages = 1

        def record_expansions(
            self, expansions: Sequence[Expansion], *, wait: bool = True
        ) -> list[bool]:
            if self.outages:
                self.outages -= 1
                raise StorageUnavailable("connection refused")
            return super().record_expansions(expansions)

    storage = Down()
    storage.save_schedule(a_schedule())
    expander = Expander(storage, emit=told.append)
    with pytest.raises(StorageUnavailable):
        expander.tick(NOON)
    assert told == []
    assert expander.tick(NOON + SECOND) == NOON + HOUR
    assert [job.occurrence_at for job in storage.list_jobs()] == [NOON]


@pytest.mark.parametrize(
    ("looks", "doubts"),
    [
        ([2, 2], [True, False]),
        ([2, 0], [True, False]),
        ([0.9], [False]),
        ([-3], [False]),
        ([2, 24 * 3650, 24 * 3650], [True, True, False]),
        ([2, 5, 2, 2], [True, True, True, False]),
        ([2, 2, 3.5, 3.5], [True, False, True, False]),
    ],
)
def test_9_4_a_jump_is_believed_when_the_same_is_there_again(
    looks: list[float], doubts: list[bool]
) -> None:
    """How many hours the clock is ahead of the time that passed, at looks a second apart."""
    monotonic = iter(range(len(looks) + 1))
    watch = ClockWatch(lambda: next(monotonic))
    assert watch.jump(NOON) is None
    found = [
        watch.jump(NOON + number * SECOND + hours * HOUR)
        for number, hours in enumerate(looks, start=1)
    ]
    assert [each is not None for each in found] == doubts
