"""When jobs run: the clauses of recurrence, in frozen time, through expander, executor and SQLite.

A World is one service on one database file whose clock only the test moves. It jumps from one
instant at which something is due to the next, as the service itself does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scheduler.expander import Expander
from scheduler.expansion import expand, series
from scheduler.model import CatchUp, Job, JobStatus, Outcome, Schedule, ScheduleStatus, Skip
from scheduler.queue import JobQueue
from scheduler.rules import rule_from_json
from scheduler.storage import open_storage
from scheduler.testing.values import SECOND, a_schedule, utc
from tests.steps import calls

Rule = Mapping[str, Any]


def short(moment: datetime) -> str:
    """2024-03-10T07:30Z; seconds and microseconds only where there are any."""
    wall = moment.astimezone(UTC).replace(tzinfo=None)
    return wall.isoformat(timespec="auto" if wall.second or wall.microsecond else "minutes") + "Z"


class RecordingQueue(JobQueue):
    """Remembers every job it starts, and fails those that are to fail."""

    def __init__(self, url: str, ran: list[Job], fails: Callable[[Job], bool]) -> None:
        super().__init__(url, max_retries=0)
        self._ran = ran
        self._fails = fails

    def process_job(self, job: Job) -> Future[Outcome]:
        self._ran.append(job)
        if self._fails(job):
            raise ValueError("the handler failed")
        return super().process_job(job)

    def end(self) -> None:
        """As at the end of a process."""
        self.stop()
        self.storage.close()


class World:
    """One service on one database, whose clock only moves when told to."""

    def __init__(self, url: str, clock: FrozenDateTimeFactory) -> None:
        self._url = url
        self._clock = clock
        self.ran: list[Job] = []
        """Every attempt, in order."""
        self.fails: Callable[[Job], bool] = lambda job: False
        self.options: dict[str, Any] = {}
        self.queue = self._queue()

    @property
    def now(self) -> datetime:
        return datetime.now(UTC)

    def _queue(self) -> RecordingQueue:
        return RecordingQueue(self._url, self.ran, lambda job: self.fails(job))

    def declare(self, rule: Rule, **options: Any) -> None:
        """Let a job recur by `rule`, as the code says from now on."""
        self.options = {"rule": rule_from_json(rule), **options}
        self.queue.register("books", books, **self.options)
        self.queue.declare()

    def restart(self, **changed: Any) -> None:
        """The process ends; another begins on the same file, its code as it was or `changed`."""
        self.queue.end()
        self.options |= changed
        self.queue = self._queue()
        self.queue.register("books", books, **self.options)
        self.queue.declare()

    def tick(self) -> None:
        """Do what is due now."""
        self.queue.expander.tick(self.now)
        self.queue.executor.run_until_idle(self.now)

    def until(self, text: str) -> list[str]:
        """Live through the time until `text`; the occurrences that ran meanwhile."""
        end, before = utc(text), len(self.ran)
        self.tick()
        while (due_at := self._due_at()) is not None and due_at <= end:
            self._clock.move_to(max(due_at, self.now))
            self.tick()
        self._clock.move_to(end)
        return self.occurrences(self.ran[before:])

    def jump(self, text: str) -> list[str]:
        """Be down, or have the clock set, until `text`; what runs then at once."""
        before = len(self.ran)
        self._clock.move_to(utc(text))
        self.tick()
        return self.occurrences(self.ran[before:])

    def _due_at(self) -> datetime | None:
        storage = self.queue.storage
        due = [at for at in (storage.next_schedule_at(), storage.next_job_at()) if at]
        return min(due, default=None)

    @staticmethod
    def occurrences(jobs: list[Job]) -> list[str]:
        return [short(job.occurrence_at) for job in jobs if job.occurrence_at]

    @property
    def schedule(self) -> Schedule:
        [schedule] = self.queue.storage.list_schedules()
        return schedule

    @property
    def skips(self) -> list[tuple[str, str, int]]:
        found = self.queue.storage.list_skips(self.schedule.id)
        return [(short(skip.first_at), short(skip.last_at), skip.count) for skip in found]


def books() -> None:
    """The handler of every test here."""


Enter = Callable[[str], World]


@pytest.fixture
def world(sqlite_url: str) -> Iterator[Enter]:
    """Enters a world at an instant."""
    frozen = freeze_time(real_asyncio=True, ignore=["_pytest.timing"])  # which times the test
    worlds = []

    def enter(text: str) -> World:
        frozen.time_to_freeze = utc(text).replace(tzinfo=None)
        worlds.append(World(sqlite_url, frozen.start()))  # type: ignore[arg-type]
        return worlds[-1]

    yield enter
    for each in worlds:
        each.queue.end()
        frozen.stop()


# --- which instants -------------------------------------------------------------------------

NY, BERLIN = "America/New_York", "Europe/Berlin"


def every(n: int, unit: str, start: str | None = None, **more: Any) -> dict[str, Any]:
    return {"every": n, "unit": unit} | ({"start_date": start} if start else {}) | more


SERIES: dict[str, tuple[Rule, str, str, list[str]]] = {
    "2.1 the 31st comes back after a leap February": (
        every(1, "months", "2024-01-31T00:00Z"),
        "2024-01-01T00:00Z",
        "2024-06-01T00:00Z",
        [f"2024-{day}T00:00Z" for day in ("01-31", "02-29", "03-31", "04-30", "05-31")],
    ),
    "2.1 the 31st comes back after a February of 28": (
        every(1, "months", "2025-01-31T09:00Z"),
        "2025-01-01T00:00Z",
        "2025-04-01T00:00Z",
        ["2025-01-31T09:00Z", "2025-02-28T09:00Z", "2025-03-31T09:00Z"],
    ),
    "2.2 without a start the first is at once, to the second": (
        every(1, "hours"),
        "2024-05-01T12:00:00.700000Z",
        "2024-05-01T14:30Z",
        ["2024-05-01T12:00Z", "2024-05-01T13:00Z", "2024-05-01T14:00Z"],
    ),
    "2.3 hours are elapsed time across a gap": (
        every(24, "hours", "2024-03-09T09:00", timezone=NY),
        "2024-03-01T00:00Z",
        "2024-03-12T00:00Z",
        ["2024-03-09T14:00Z", "2024-03-10T14:00Z", "2024-03-11T14:00Z"],
    ),
    "2.3 hours leave no hole and no double in an overlap": (
        every(1, "hours", "2024-11-03T05:00Z", timezone=NY),
        "2024-11-03T00:00Z",
        "2024-11-03T07:30Z",
        ["2024-11-03T05:00Z", "2024-11-03T06:00Z", "2024-11-03T07:00Z"],
    ),
    "2.4 a day keeps its time of day over a gap": (
        every(1, "days", "2024-03-09T02:30", timezone=NY),
        "2024-03-01T00:00Z",
        "2024-03-12T00:00Z",
        ["2024-03-09T07:30Z", "2024-03-10T07:30Z", "2024-03-11T06:30Z"],
    ),
    "2.4 and over an overlap, where the first reading counts": (
        every(1, "days", "2024-11-02T01:30", timezone=NY),
        "2024-11-01T00:00Z",
        "2024-11-05T00:00Z",
        ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-04T06:30Z"],
    ),
    "1.6 02:30 in Berlin in spring": (
        every(1, "days", "2026-03-28T02:30", timezone=BERLIN),
        "2026-03-27T12:00Z",
        "2026-03-31T00:00Z",
        ["2026-03-28T01:30Z", "2026-03-29T01:30Z", "2026-03-30T00:30Z"],
    ),
    "1.6 02:30 in Berlin in autumn": (
        every(1, "days", "2026-10-24T02:30", timezone=BERLIN),
        "2026-10-23T12:00Z",
        "2026-10-27T00:00Z",
        ["2026-10-24T00:30Z", "2026-10-25T00:30Z", "2026-10-26T01:30Z"],
    ),
    "1.7 gap skip": (
        every(1, "days", "2024-03-09T02:30", timezone=NY, gap="skip"),
        "2024-03-01T00:00Z",
        "2024-03-12T00:00Z",
        ["2024-03-09T07:30Z", "2024-03-11T06:30Z"],
    ),
    "1.7 fold both": (
        every(1, "days", "2024-11-02T01:30", timezone=NY, fold="both"),
        "2024-11-01T00:00Z",
        "2024-11-05T00:00Z",
        ["2024-11-02T05:30Z", "2024-11-03T05:30Z", "2024-11-03T06:30Z", "2024-11-04T06:30Z"],
    ),
    "2.5 a start in a gap keeps its reading": (
        every(1, "days", "2024-03-10T02:30", timezone=NY),
        "2024-03-01T00:00Z",
        "2024-03-12T00:00Z",
        ["2024-03-10T07:30Z", "2024-03-11T06:30Z"],
    ),
    "2.5 a start with an offset is that instant": (
        every(1, "days", "2024-11-03T01:30-05:00", timezone=NY),
        "2024-11-01T00:00Z",
        "2024-11-05T00:00Z",
        ["2024-11-03T06:30Z", "2024-11-04T06:30Z"],
    ),
    "2.6 months clip and come back": (
        every(3, "months", "2023-11-30T00:00Z"),
        "2023-12-01T00:00Z",
        "2024-12-01T00:00Z",
        ["2024-02-29T00:00Z", "2024-05-30T00:00Z", "2024-08-30T00:00Z", "2024-11-30T00:00Z"],
    ),
    "2.7 a leap day's years": (
        every(1, "years", "2024-02-29T00:00Z"),
        "2024-01-01T00:00Z",
        "2028-03-01T00:00Z",
        [
            "2024-02-29T00:00Z",
            *(f"{y}-02-28T00:00Z" for y in (2025, 2026, 2027)),
            "2028-02-29T00:00Z",
        ],
    ),
    "2.8 a week is seven days of wall clock": (
        every(1, "weeks", "2024-10-21T09:00", timezone="Europe/London"),
        "2024-10-20T00:00Z",
        "2024-10-30T00:00Z",
        ["2024-10-21T08:00Z", "2024-10-28T09:00Z"],
    ),
    "2.9 a day that never was": (
        every(1, "days", "2011-12-28T09:00", timezone="Pacific/Apia"),
        "2011-12-28T00:00Z",
        "2012-01-01T00:00Z",
        ["2011-12-28T19:00Z", "2011-12-29T19:00Z", "2011-12-30T19:00Z", "2011-12-31T19:00Z"],
    ),
    "1.9 microseconds are kept": (
        every(1, "days", "2024-01-01T09:00:00.123456Z"),
        "2024-01-01T00:00Z",
        "2024-01-03T00:00Z",
        ["2024-01-01T09:00:00.123456Z", "2024-01-02T09:00:00.123456Z"],
    ),
    "3.1 both bounds are inclusive": (
        every(1, "hours", "2024-01-01T00:00Z", end_date="2024-01-01T03:00Z"),
        "2023-12-31T00:00Z",
        "2024-01-02T00:00Z",
        ["2024-01-01T00:00Z", "2024-01-01T01:00Z", "2024-01-01T02:00Z", "2024-01-01T03:00Z"],
    ),
    "3.1 to the microsecond": (
        every(1, "hours", "2024-01-01T00:00Z", end_date="2024-01-01T02:59:59.999999Z"),
        "2023-12-31T00:00Z",
        "2024-01-02T00:00Z",
        ["2024-01-01T00:00Z", "2024-01-01T01:00Z", "2024-01-01T02:00Z"],
    ),
    "3.1 an end at the start is one occurrence": (
        every(1, "hours", "2024-01-01T00:00Z", end_date="2024-01-01T00:00Z"),
        "2023-12-31T00:00Z",
        "2024-01-02T00:00Z",
        ["2024-01-01T00:00Z"],
    ),
    "3.5 an earlier start only fixes the phase": (
        every(1, "days", "2024-01-01T09:00Z", limit=5),
        "2024-01-10T12:00Z",
        "2024-02-01T00:00Z",
        [f"2024-01-{day}T09:00Z" for day in (11, 12, 13, 14, 15)],
    ),
    "3.5 an occurrence at the creation is not earlier": (
        every(1, "days", "2024-01-01T09:00Z"),
        "2024-01-10T09:00Z",
        "2024-01-11T12:00Z",
        ["2024-01-10T09:00Z", "2024-01-11T09:00Z"],
    ),
    "4 cron reads the wall clock, in a gap when it ends": (
        {"cron": "30 2 * * *", "timezone": BERLIN},
        "2026-03-28T00:00Z",
        "2026-03-31T00:00Z",
        ["2026-03-28T01:30Z", "2026-03-29T01:00Z", "2026-03-30T00:30Z"],
    ),
}


@pytest.mark.parametrize(
    ("rule", "created", "until", "expected"), SERIES.values(), ids=SERIES.keys()
)
def test_a_rule_runs_when_its_clause_says(
    world: Enter, rule: Rule, created: str, until: str, expected: list[str]
) -> None:
    """The examples of the clauses, run and not only computed; each job starts on its instant."""
    here = world(created)
    here.declare(rule)
    assert here.until(until) == expected
    assert [job.sequence for job in here.ran] == list(range(1, len(expected) + 1))
    assert {job.status for job in here.queue.storage.list_jobs()} == {JobStatus.COMPLETED}
    assert here.skips == []


# --- what does not change the series --------------------------------------------------------


def test_a_failing_handler_does_not_end_the_series(world: Enter) -> None:
    """0.3: not even when every attempt fails; each occurrence is its own job."""
    here = world("2024-01-01T12:00Z")
    here.fails = lambda job: True
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"))
    assert here.until("2024-01-01T12:30Z") == [f"2024-01-01T12:{m}Z" for m in ("00", 10, 20, 30)]
    assert here.queue.storage.count_jobs()[JobStatus.FAILED] == 4


def test_retries_move_only_their_own_job(world: Enter) -> None:
    """0.3: the 12:00 job retries until it gives up; the next still is at 12:10."""
    here = world("2024-01-01T12:00Z")
    here.fails = lambda job: job.sequence == 1
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"), max_retries=3, backoff=[1, 2, 4])
    here.until("2024-01-01T12:10Z")
    assert here.occurrences(here.ran) == ["2024-01-01T12:00Z"] * 4 + ["2024-01-01T12:10Z"]
    starts = [short(job.started_at) for job in here.ran if job.started_at]
    assert starts == [
        "2024-01-01T12:00Z",
        "2024-01-01T12:00:01Z",
        "2024-01-01T12:00:03Z",
        "2024-01-01T12:00:07Z",
        "2024-01-01T12:10Z",
    ]


def test_a_restart_does_not_move_the_phase(world: Enter) -> None:
    """2.1: an interval without a start keeps the anchor of its creation."""
    here = world("2024-01-01T12:00:00.7Z")
    here.declare(every(7, "minutes"))
    assert here.until("2024-01-01T12:08Z") == ["2024-01-01T12:00Z", "2024-01-01T12:07Z"]
    here.restart()
    assert here.until("2024-01-01T12:15Z") == ["2024-01-01T12:14Z"]
    here.restart()
    here.restart()
    assert here.until("2024-01-01T12:22Z") == ["2024-01-01T12:21Z"]
    assert [job.sequence for job in here.ran] == [1, 2, 3, 4]


def test_an_edited_rule_goes_on_from_now(world: Enter) -> None:
    """10.2: the old anchor, nothing at or before the edit, and the count goes on."""
    here = world("2024-01-01T08:00Z")
    here.declare(every(1, "days", "2024-01-01T09:00Z", limit=5))
    here.until("2024-01-03T12:00Z")
    here.restart(rule=rule_from_json(every(2, "days", "2024-01-01T09:00Z", limit=5)))
    assert here.until("2024-02-01T00:00Z") == ["2024-01-05T09:00Z", "2024-01-07T09:00Z"]
    assert here.schedule.status is ScheduleStatus.COMPLETED


# --- limit ----------------------------------------------------------------------------------


def test_a_limit_counts_jobs_and_not_retries(world: Enter) -> None:
    """3.4: three jobs, whatever their outcome and however often they were tried."""
    here = world("2024-01-01T00:00Z")
    here.fails = lambda job: True
    here.declare(every(1, "hours", "2024-01-01T00:00Z", limit=3), max_retries=2)
    here.until("2024-01-02T00:00Z")
    expected = ["2024-01-01T00:00Z", "2024-01-01T01:00Z", "2024-01-01T02:00Z"]
    assert sorted(set(here.occurrences(here.ran))) == expected
    assert len(here.ran) == 9


def test_coalesced_occurrences_use_up_one_of_the_limit(world: Enter) -> None:
    """3.4: six missed in one job, then two remain."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:10Z", limit=3))
    assert here.jump("2024-01-01T13:05Z") == ["2024-01-01T13:00Z"]
    assert here.until("2024-01-02T00:00Z") == ["2024-01-01T13:10Z", "2024-01-01T13:20Z"]
    assert here.skips == [("2024-01-01T12:10Z", "2024-01-01T12:50Z", 5)]


def test_a_used_limit_completes_the_schedule_at_once(world: Enter) -> None:
    """3.6: when its last job is enqueued, not when that succeeds."""
    here = world("2024-01-01T00:00Z")
    here.declare(every(1, "hours", "2024-01-01T00:00Z", limit=1))
    here.queue.expander.tick(here.now)
    assert here.schedule.status is ScheduleStatus.COMPLETED
    assert here.schedule.next_at is None
    assert here.queue.storage.count_jobs()[JobStatus.PENDING] == 1


@pytest.mark.parametrize(
    "bound", [{"end_date": "2024-01-01T02:00Z"}, {"limit": 3}], ids=["end", "limit"]
)
def test_a_completed_schedule_stays_completed(world: Enter, bound: Rule) -> None:
    """3.6: over a restart and for good, with its history."""
    here = world("2024-01-01T00:00Z")
    here.declare(every(1, "hours", "2024-01-01T00:00Z", **bound))
    assert len(here.until("2024-01-05T00:00Z")) == 3
    assert here.schedule.status is ScheduleStatus.COMPLETED
    here.restart()
    assert here.until("2024-01-06T00:00Z") == []
    assert len(here.queue.storage.list_jobs()) == 3


# --- the clock ------------------------------------------------------------------------------


def test_nothing_is_enqueued_ahead_of_its_occurrence(world: Enter) -> None:
    """9.2: a microsecond early is early."""
    here = world("2024-01-01T00:00Z")
    here.declare(every(1, "hours", "2024-01-01T01:00Z"))
    assert here.jump("2024-01-01T00:59:59.999999Z") == []
    assert here.queue.storage.list_jobs() == []
    assert here.jump("2024-01-01T01:00Z") == ["2024-01-01T01:00Z"]


def test_a_clock_set_back_repeats_nothing(world: Enter) -> None:
    """9.3: cursor 12:10, clock back to 11:40, next job 12:20."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"))
    assert here.until("2024-01-01T12:10Z") == ["2024-01-01T12:00Z", "2024-01-01T12:10Z"]
    assert here.jump("2024-01-01T11:40Z") == []
    here.restart()
    assert here.until("2024-01-01T12:20Z") == ["2024-01-01T12:20Z"]
    assert [job.sequence for job in here.ran] == [1, 2, 3]


# --- catch-up -------------------------------------------------------------------------------

CATCH_UP: dict[str, tuple[dict[str, Any], list[str], tuple[str, str, int] | None]] = {
    "skip": ({"catch_up": "skip"}, [], ("12:10", "13:00", 6)),
    "latest": ({"catch_up": "latest"}, ["13:00"], ("12:10", "12:50", 5)),
    "all": ({"catch_up": "all"}, ["12:10", "12:20", "12:30", "12:40", "12:50", "13:00"], None),
    "all, at most 3": (
        {"catch_up": "all", "catch_up_max": 3},
        ["12:40", "12:50", "13:00"],
        ("12:10", "12:30", 3),
    ),
    "latest, one on time": (
        {"catch_up": "latest", "grace": 120},
        ["13:00"],
        ("12:10", "12:50", 5),
    ),
    "skip, one on time at the very edge": (
        {"catch_up": "skip", "grace": 120},
        ["13:00"],
        ("12:10", "12:50", 5),
    ),
    "skip, none on time just past it": (
        {"catch_up": "skip", "grace": 119.999999},
        [],
        ("12:10", "13:00", 6),
    ),
    "all, the on-time one beside the newest 2": (
        {"catch_up": "all", "catch_up_max": 2, "grace": 120},
        ["12:40", "12:50", "13:00"],
        ("12:10", "12:30", 3),
    ),
    "all on time": (
        {"catch_up": "skip", "grace": 3600},
        ["12:10", "12:20", "12:30", "12:40", "12:50", "13:00"],
        None,
    ),
}


@pytest.mark.parametrize(("options", "runs", "skip"), CATCH_UP.values(), ids=CATCH_UP.keys())
def test_missed_occurrences_are_caught_up_by_policy(
    world: Enter, options: dict[str, Any], runs: list[str], skip: tuple[str, str, int] | None
) -> None:
    """9.5: every 10 min, cursor 12:00, back at 13:02; the rest is on record, as one run."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"), **options)
    here.tick()
    assert here.jump("2024-01-01T13:02Z") == [f"2024-01-01T{time}Z" for time in runs]
    expected = [(f"2024-01-01T{skip[0]}Z", f"2024-01-01T{skip[1]}Z", skip[2])] if skip else []
    assert here.skips == expected
    assert here.until("2024-01-01T13:15Z") == ["2024-01-01T13:10Z"]


def test_an_end_that_passed_while_down_does_not_void_what_was_due(world: Enter) -> None:
    """9.7: end 12:30, back next day, `latest`: 12:30 runs."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:00Z", end_date="2024-01-01T12:30Z"))
    here.tick()
    assert here.jump("2024-01-02T12:00Z") == ["2024-01-01T12:30Z"]
    assert here.schedule.status is ScheduleStatus.COMPLETED


def test_the_rest_of_a_limit_goes_to_the_oldest(world: Enter) -> None:
    """9.7: of what catch-up chose."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:10Z", limit=2), catch_up="all")
    assert here.jump("2024-01-01T13:02Z") == ["2024-01-01T12:10Z", "2024-01-01T12:20Z"]
    assert here.schedule.status is ScheduleStatus.COMPLETED


def test_a_job_taken_in_while_down_runs_when_back(world: Enter) -> None:
    """Catch-up is about occurrences; a job in the table simply is late."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"), catch_up="skip")
    here.queue.expander.tick(here.now)
    here.restart()
    assert here.jump("2024-01-01T12:09Z") == ["2024-01-01T12:00Z"]


def test_a_retired_schedule_comes_back_from_now_on(world: Enter) -> None:
    """What fell while its code was gone is not missed."""
    here = world("2024-01-01T12:00Z")
    here.declare(every(10, "minutes", "2024-01-01T12:00Z"), catch_up="all")
    here.until("2024-01-01T12:10Z")
    without_the_job = JobQueue(here.queue.storage)
    without_the_job.declare((books.__module__,))
    assert here.schedule.status is ScheduleStatus.RETIRED
    assert here.jump("2024-01-01T13:02Z") == []
    here.restart()
    assert here.until("2024-01-01T13:10Z") == ["2024-01-01T13:10Z"]


# --- the property ---------------------------------------------------------------------------

BORN = utc("2024-03-08T00:00:00+00:00")

rules = st.builds(
    lambda n_unit, start, more: every(n_unit[0], n_unit[1], start) | more,
    st.sampled_from(
        [
            (7, "seconds"),
            (1, "minutes"),
            (11, "minutes"),
            (5, "hours"),
            (1, "days"),
            (3, "days"),
            (1, "weeks"),
            (1, "months"),
        ]
    ),
    st.sampled_from(
        [
            None,
            "2024-03-08T00:00Z",
            "2024-01-31T02:30",
            "2024-03-10T02:30",
            "2024-03-09T15:00+01:00",
        ]
    ),
    st.fixed_dictionaries(
        {},
        optional={
            "end_date": st.sampled_from(["2024-03-10T09:00Z", "2024-11-03T06:30Z"]),
            "timezone": st.sampled_from([NY, BERLIN, "UTC", "Pacific/Apia"]),
            "limit": st.integers(1, 30),
        },
    ),
)
steps = st.lists(
    st.tuples(
        st.sampled_from([1, 5, 59, 61, 600, 3600, 7200, 86_400, 40 * 86_400]),
        st.integers(0, 999_999),
        st.sampled_from(["tick", "tick", "restart", "twice", "back"]),
    ),
    max_size=14,
)


@given(
    rule=rules,
    steps=steps,
    catch_up=st.sampled_from(CatchUp),
    catch_up_max=st.integers(1, 20),
    grace=st.sampled_from([0, 1, 60, 7200]),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_jobs_and_skips_are_the_pure_set_up_to_the_cursor(
    tmp_path: Path,
    rule: Rule,
    steps: list[tuple[int, int, str]],
    catch_up: CatchUp,
    catch_up_max: int,
    grace: int,
) -> None:
    """9.11: whenever it ticks, however often it restarts, and if the clock is set back."""
    url = f"sqlite:///{tmp_path / 'jobs.db'}"
    storage = open_storage(url)
    storage.clear()
    born = a_schedule(
        rule=rule,
        created_at=BORN,
        catch_up=catch_up,
        catch_up_max=catch_up_max,
        grace=timedelta(seconds=grace),
    )
    storage.save_schedule(born)
    now = BORN
    for seconds, micros, act in steps:
        now += timedelta(seconds=seconds if act != "back" else -seconds, microseconds=micros)
        if act == "restart":
            storage.close()
            storage = open_storage(url)
        for _ in range(2 if act == "twice" else 1):
            Expander(storage, emit=lambda event: None).tick(now)
    schedule = storage.get_schedule(born.name)
    assert schedule is not None
    jobs = storage.list_jobs(limit=100_000)
    skips = storage.list_skips(schedule.id)
    storage.close()
    assert_on_record(born, schedule, jobs, skips)


def assert_on_record(
    born: Schedule, schedule: Schedule, jobs: list[Job], skips: list[Skip]
) -> None:
    """Every occurrence up to the cursor is one job or one of a recorded run of skips."""
    tick = timedelta(microseconds=1)
    made = sorted(job.occurrence_at for job in jobs if job.occurrence_at)
    assert len(made) == len(set(made)) == len(jobs) == schedule.materialised
    by_sequence = sorted(jobs, key=lambda job: job.sequence or 0)
    assert [job.sequence for job in by_sequence] == list(range(1, len(jobs) + 1))
    assert [job.occurrence_at for job in by_sequence] == made
    end = schedule.cursor_at + tick
    pure = list(series(born).between(born.cursor_at + tick, end))
    skipped = []
    for skip in skips:
        run = [at for at in pure if skip.first_at <= at <= skip.last_at]
        assert skip.count == len(run)
        assert (skip.first_at, skip.last_at) == (run[0], run[-1])
        skipped += run
    assert sorted(made + skipped) == pure
    assert schedule.next_at is None or schedule.next_at > schedule.cursor_at


@pytest.mark.parametrize("policy", CatchUp)
def test_ten_missed_years_of_seconds_are_planned_arithmetically(policy: CatchUp) -> None:
    """9.6: in a few thousand calls, and skipped as one run."""
    born, now = utc("2014-01-01T00:00Z"), utc("2024-01-01T00:00Z")
    rule = every(1, "seconds", "2014-01-01T00:00Z")
    schedule = a_schedule(rule=rule, created_at=born, catch_up=policy)
    with calls() as made:
        expansion = expand(schedule, now)
    assert made[0] < 20_000
    [skip] = expansion.skips
    assert skip.count + len(expansion.jobs) == (now - born) // SECOND + 1
