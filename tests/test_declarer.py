"""Two versions of the code beside each other: the newer decides, and nothing flaps."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from scheduler import clock
from scheduler.declarations import Change, declare
from scheduler.declarer import GRACE, HEARTBEAT, Declarer
from scheduler.model import Schedule, ScheduleStatus
from scheduler.registry import Registry, define
from scheduler.rules import every
from scheduler.schedules import Schedules
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.values import NOON

WORK = define(lambda: None, name="work")


class Process:
    """One process whose code declares these schedules: {name: minutes}."""

    def __init__(self, storage: MemoryStorage, process: str, code: dict[str, int]) -> None:
        self.code = code
        self.declarer = Declarer(
            storage, declared=self.declared, process=process, emit=lambda event: None
        )

    def declared(self, now: datetime) -> list[Schedule]:
        return [
            declare(
                WORK,
                every(minutes=minutes, start_date="2026-01-01T00:00Z"),
                name=name,
                timezone="UTC",
                queue="default",
                max_retries=0,
                module="shelf",
                now=now,
            )
            for name, minutes in self.code.items()
        ]

    def start(self) -> list[str]:
        return [f"{each.after.name} {each.kind}" for each in self.changes()]

    def changes(self) -> list[Change]:
        return self.declarer.declare(("shelf",))


@pytest.fixture
def frozen() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(NOON) as factory:
        assert isinstance(factory, FrozenDateTimeFactory)
        yield factory


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


def pass_time(frozen: FrozenDateTimeFactory, duration: timedelta, *alive: Process) -> None:
    """Let time pass; the heart of each process that is alive beats meanwhile."""
    end = clock.now() + duration
    while clock.now() < end:
        frozen.move_to(min(end, clock.now() + HEARTBEAT))
        for process in alive:
            process.declarer.tick(clock.now())


def table(storage: MemoryStorage) -> dict[str, str]:
    """What the table holds: {name: its interval, or its status if it is not active}."""
    return {
        each.name: str(each.rule["every"])
        if each.status is ScheduleStatus.ACTIVE
        else each.status.value
        for each in storage.list_schedules()
    }


def test_the_newer_version_decides_however_often_the_older_restarts(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    old, new = Process(storage, "a", {"s": 5}), Process(storage, "b", {"s": 7})
    assert old.start() == ["s added"]
    pass_time(frozen, 2 * HEARTBEAT, old)
    assert new.start() == ["s changed"]
    for number in range(5):
        pass_time(frozen, HEARTBEAT, old, new)
        old = Process(storage, f"a{number}", {"s": 5})
        assert old.start() == []
        pass_time(frozen, 2 * HEARTBEAT, old, new)
        assert table(storage) == {"s": "7"}
    schedule = storage.get_schedule("s")
    assert schedule is not None
    assert schedule.revision == 2


def test_what_another_declares_is_retired_when_it_stops(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    old, new = Process(storage, "a", {"s": 5, "gone": 5}), Process(storage, "b", {"s": 5})
    old.start()
    pass_time(frozen, HEARTBEAT, old)
    assert new.start() == []
    pass_time(frozen, 10 * GRACE, old, new)
    assert table(storage) == {"s": "5", "gone": "5"}
    old.declarer.stop()
    pass_time(frozen, HEARTBEAT, new)
    assert table(storage) == {"s": "5", "gone": "retired"}


def test_what_a_killed_process_declared_is_retired_after_a_grace(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    Process(storage, "a", {"s": 5, "gone": 5}).start()
    new = Process(storage, "b", {"s": 5})
    new.start()
    pass_time(frozen, GRACE, new)
    assert table(storage)["gone"] == "5"
    pass_time(frozen, 2 * HEARTBEAT, new)
    assert table(storage)["gone"] == "retired"


def test_a_process_alone_applies_everything_at_once(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    old = Process(storage, "a", {"s": 5, "gone": 5})
    old.start()
    old.declarer.stop()
    assert Process(storage, "b", {"s": 7}).start() == ["s changed", "gone retired"]


def test_a_rollback_takes_effect_when_the_newer_has_stopped(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    old, new = Process(storage, "a", {"s": 5}), Process(storage, "b", {"s": 7})
    old.start()
    pass_time(frozen, HEARTBEAT, old)
    new.start()
    pass_time(frozen, HEARTBEAT, old, new)
    new.declarer.stop()
    pass_time(frozen, HEARTBEAT, old)
    assert table(storage) == {"s": "5"}


def test_a_hand_edit_stays_until_the_code_says_something_new(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    process = Process(storage, "a", {"s": 5})
    process.start()
    Schedules(storage, registry=Registry([WORK])).edit("s", rule=every(minutes=9))
    process.declarer.stop()
    assert Process(storage, "b", {"s": 5}).start() == []
    assert table(storage) == {"s": "9"}
    assert Process(storage, "c", {"s": 6}).start() == ["s changed"]
    assert table(storage) == {"s": "6"}


def test_who_declared_a_schedule_is_on_record(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    process = Process(storage, "a", {"s": 5, "t": 7})
    process.start()
    process.start()
    for schedule in storage.list_schedules():
        [note] = storage.list_notes(schedule.id)
        assert (note.action, note.actor, note.revision) == ("created", "deploy", 1)


def test_a_plan_writes_nothing(storage: MemoryStorage, frozen: FrozenDateTimeFactory) -> None:
    process = Process(storage, "a", {"s": 5})
    [change] = process.declarer.plan(("shelf",))
    assert (change.kind, change.before) == ("added", None)
    assert storage.list_schedules() == []
    assert storage.list_declarations(seen_since=NOON) == []


def test_what_somebody_paused_stays_paused_when_it_comes_back(
    storage: MemoryStorage, frozen: FrozenDateTimeFactory
) -> None:
    Process(storage, "a", {"s": 5}).start()
    Schedules(storage, registry=Registry([WORK])).pause("s")
    gone = Process(storage, "a", {})
    gone.start()
    assert table(storage) == {"s": "retired"}
    assert Process(storage, "a", {"s": 5}).start() == ["s revived"]
    assert table(storage) == {"s": "paused"}
