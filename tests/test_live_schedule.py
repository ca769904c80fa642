"""Random walks of a live schedule: whatever happens to it, the record stays whole (9.11).

One schedule, declared by code that changes, is paused, edited, backfilled and expanded by two
expanders whose clock is set back and forward, while its jobs run, fail and are tried again, and
while some of those who write do so too late, and what is finished is pruned. After each step an
independent checker (record.py) holds jobs, also those that are gone, and skips against the rules.
LIVE_SCHEDULE_EXAMPLES=5000 walks for minutes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from scheduler import clock, lifecycle
from scheduler.declarations import declare
from scheduler.declarer import Declarer
from scheduler.errors import InvalidInput, InvalidScheduleMove
from scheduler.expander import Expander, made_of
from scheduler.expansion import NOTHING, expand
from scheduler.explanation import Verdict
from scheduler.model import (
    CatchUp,
    Completed,
    Failed,
    Job,
    JobStatus,
    Overlap,
    Schedule,
    ScheduleStatus,
    Settlement,
)
from scheduler.registry import Registry, define
from scheduler.retention import FINISHED
from scheduler.rules import rule_from_json
from scheduler.schedules import Schedules
from scheduler.storage import open_storage

from .record import Era, faults

BORN = datetime(2026, 3, 27, 12, tzinfo=UTC)  # two days before the clocks change in Berlin
BERLIN = "Europe/Berlin"
RULES: list[dict[str, Any]] = [
    {"every": 7, "unit": "minutes"},
    {"every": 45, "unit": "minutes", "start_date": "2026-03-27T13:00:00Z", "limit": 9},
    {"every": 1, "unit": "hours", "end_date": "2026-03-29T08:00:00Z"},
    {"cron": "*/15 * * * *", "timezone": BERLIN, "limit": 5},
    {"every": 10, "unit": "minutes", "limit": 2},
    {"cron": "30 2 * * *", "timezone": BERLIN},
    {"cron": "0 * * * *", "except": [{"cron": "0 */4 * * *"}, {"times": [["17:00", "20:00"]]}]},
    {"rrule": "FREQ=HOURLY;INTERVAL=5", "dtstart": "2026-03-27T00:30:00", "timezone": BERLIN},
    {"at": ["2026-03-27T15:00:00Z", "2026-03-30T01:00:00Z"]},
    {"any": [{"cron": "5 * * * *"}, {"every": 20, "unit": "minutes"}]},
]
NAME = "books"
MODULE = "shelf"
rules = st.sampled_from(RULES)
minutes = st.one_of(st.integers(0, 40), st.integers(0, 90), st.integers(0, 1500))


class LiveSchedule(RuleBasedStateMachine):
    """One schedule on the store at `url`, in frozen time."""

    url: ClassVar[str]
    frozen: ClassVar[FrozenDateTimeFactory]

    def __init__(self) -> None:
        super().__init__()
        self.frozen.move_to(BORN)
        self.storage = open_storage(self.url)
        self.storage.clear()
        self.events: list[Any] = []
        self.expanders = [Expander(self.storage, emit=self.events.append) for _ in range(2)]
        self.registry = Registry([define(lambda: None, name="work")])
        self.schedules = Schedules(self.storage, registry=self.registry)
        self.code: dict[str, Any] | None = dict(RULES[0])
        self.declarer = Declarer(
            self.storage, declared=self.declared, process="p", emit=self.events.append
        )
        self.declarer.declare([MODULE])
        schedule = self.schedule()
        self.eras = [self.era(schedule, schedule.cursor_at)]
        self.late: Schedule | None = None
        self.gone: list[Job] = []
        self.counted_before = 0

    def teardown(self) -> None:
        self.storage.close()

    @initialize(
        rule=rules,
        catch_up=st.sampled_from(CatchUp),
        overlap=st.sampled_from(Overlap),
        grace=st.sampled_from([0, 60, 7200]),
    )
    def it_begins(
        self, rule: dict[str, Any], catch_up: CatchUp, overlap: Overlap, grace: int
    ) -> None:
        self.schedules.edit(NAME, rule=rule, catch_up=catch_up, overlap=overlap, grace=grace)

    # --- what happens ----------------------------------------------------------------------

    @rule(minutes=minutes, seconds=st.integers(0, 70), expander=st.integers(0, 1))
    def time_passes(self, minutes: int, seconds: int, expander: int) -> None:
        self.move(timedelta(minutes=minutes, seconds=seconds))
        self.expand_as_previewed(self.expanders[expander])

    @rule(times=st.integers(1, 6), late=st.sampled_from([0, 0, 30, 61]), works=st.booleans())
    def it_falls_due(self, times: int, late: int, works: bool) -> None:
        for number in range(times):
            schedule = self.schedule()
            if schedule.next_at is None or schedule.next_at.year > 2026:
                return
            self.frozen.move_to(max(clock.now(), schedule.next_at + timedelta(seconds=late)))
            self.expanders[number % 2].tick(clock.now())
            if works:
                self.work(30, Completed(0))

    @rule(minutes=minutes)
    def nothing_expands(self, minutes: int) -> None:
        self.move(timedelta(minutes=minutes))

    @rule(minutes=minutes)
    def the_clock_is_set_back(self, minutes: int) -> None:
        self.move(-timedelta(minutes=minutes))
        self.expanders[0].tick(clock.now())

    @rule()
    def pause(self) -> None:
        self.try_to(lambda: self.schedules.pause(NAME, actor="alice"))

    @rule(catch_up=st.booleans())
    def resume(self, catch_up: bool) -> None:
        self.try_to(lambda: self.schedules.resume(NAME, catch_up=catch_up))

    @rule(rule=rules, reset_count=st.booleans())
    def edit_the_rule(self, rule: dict[str, Any], reset_count: bool) -> None:
        self.edit(rule=rule, reset_count=reset_count)

    @rule(limit=st.sampled_from([None, 1, 3, 20]))
    def edit_the_limit_alone(self, limit: int | None) -> None:
        rule = {key: value for key, value in self.schedule().rule.items() if key != "limit"}
        self.edit(rule=rule if limit is None else {**rule, "limit": limit})

    @rule(
        catch_up=st.sampled_from(CatchUp),
        catch_up_max=st.integers(1, 5),
        overlap=st.sampled_from(Overlap),
        grace=st.sampled_from([0, 60, 7200]),
        window=st.sampled_from([None, 3600, 40_000]),
        jitter=st.sampled_from([0, 90]),
    )
    def edit_the_policies(
        self,
        catch_up: CatchUp,
        catch_up_max: int,
        overlap: Overlap,
        grace: int,
        window: int | None,
        jitter: int,
    ) -> None:
        self.schedules.edit(
            NAME,
            catch_up=catch_up,
            catch_up_max=catch_up_max,
            overlap=overlap,
            grace=grace,
            catch_up_window=window,
            jitter=jitter,
        )

    @rule()
    def count_anew(self) -> None:
        self.edit(reset_count=True)

    @rule()
    def run_now(self) -> None:
        self.schedules.run_now(NAME)

    @rule(asleep=st.integers(1, 200), length=st.integers(1, 200), catch_up=st.booleans())
    def a_pause_is_backfilled(self, asleep: int, length: int, catch_up: bool) -> None:
        self.try_to(lambda: self.schedules.pause(NAME))
        self.move(timedelta(minutes=asleep))
        self.backfill(asleep // 3, length)
        self.try_to(lambda: self.schedules.resume(NAME, catch_up=catch_up))

    @rule()
    def it_is_retired_and_comes_back(self) -> None:
        code, self.code = self.code, None
        self.declarer.declare([MODULE])
        self.move(timedelta(minutes=50))
        self.code = code
        self.declarer.declare([MODULE])

    @rule(back=st.integers(0, 60))
    def somebody_asks_why(self, back: int) -> None:
        """Of an occurrence that is decided: what is on record of it is what is said."""
        pure = [at for era in self.eras for at in era.occurrences()]
        if not pure:
            return
        at = pure[-min(back + 1, len(pure))]
        found = self.schedules.explain(NAME, at)
        has_job = any(job.occurrence_at == at for job in self.stored_jobs())
        had_job = not has_job and any(job.occurrence == (job.schedule_id, at) for job in self.gone)
        assert (found.job is not None) is has_job, found.sentence
        assert (found.verdict is Verdict.REMOVED) is had_job, found.sentence
        assert (found.verdict is Verdict.SKIPPED) is not (has_job or had_job), found.sentence

    @rule(ago=minutes, length=st.integers(1, 600))
    def backfill(self, ago: int, length: int) -> None:
        end = clock.now() - timedelta(minutes=ago)
        start = end - timedelta(minutes=length)
        before = self.schedule()
        made = self.schedules.backfill(NAME, start, end)
        assert [job.occurrence_at for job in made] == sorted(
            job.occurrence_at for job in made if job.occurrence_at
        )
        assert self.schedules.backfill(NAME, start, end) == []
        if before.status in (ScheduleStatus.PAUSED, ScheduleStatus.RETIRED):
            assert self.schedule().cursor_at == before.cursor_at

    @rule(rule=st.sampled_from([None, *RULES]))
    def deploy(self, rule: dict[str, Any] | None) -> None:
        self.code = rule
        self.declarer.declare([MODULE])

    @rule(
        n=st.integers(1, 30),
        ends=st.sampled_from([Completed(1), Completed(2), Failed("no"), None]),
    )
    def jobs_run(self, n: int, ends: Completed | Failed | None) -> None:
        self.work(n, ends)

    @rule(ago=st.integers(0, 300))
    def finished_jobs_are_pruned(self, ago: int) -> None:
        until = clock.now() - timedelta(minutes=ago)
        before = self.stored_jobs()
        step = self.storage.prune_jobs(dict.fromkeys(FINISHED, until))
        left = {job.id for job in self.stored_jobs()}
        gone = [job for job in before if job.id not in left]
        assert len(gone) == step.removed
        assert all(job.completed_at and job.completed_at < until for job in gone)
        self.gone += gone

    @rule()
    def what_hung_ends(self) -> None:
        self.settle(self.storage.get_jobs_by_status(JobStatus.PROCESSING), Completed(2))

    @precondition(lambda self: self.late is None)
    @rule()
    def somebody_reads(self) -> None:
        self.late = self.storage.get_schedule(NAME)

    @precondition(lambda self: self.late is not None)
    @rule()
    def and_writes_late(self) -> None:
        late, self.late = self.late, None
        assert late is not None
        if late.status not in (ScheduleStatus.ACTIVE, ScheduleStatus.PAUSED):
            return
        stored = self.schedule()
        is_current = (stored.revision, stored.cursor_at) == (late.revision, late.cursor_at)
        expansion = expand(late, clock.now(), made_of(self.storage, [late]).get(late.id, NOTHING))
        assert self.storage.record_expansions([expansion]) == [is_current]

    # --- what holds ------------------------------------------------------------------------

    @invariant()
    def everything_is_on_record(self) -> None:
        schedule = self.schedule()
        self.follow(schedule)
        jobs = self.jobs()
        assert faults(self.eras, jobs, self.storage.list_skips(schedule.id)) == []

    @invariant()
    def the_count_is_that_of_the_series(self) -> None:
        assert self.schedule().materialised == self.series_jobs() - self.counted_before

    @invariant()
    def the_cursor_only_grows(self) -> None:
        cursors = [era.until for era in self.eras]
        assert cursors == sorted(cursors)
        schedule = self.schedule()
        if schedule.status is ScheduleStatus.ACTIVE:
            assert schedule.next_at is not None
            assert schedule.next_at > schedule.cursor_at

    @invariant()
    def a_limit_is_never_passed(self) -> None:
        schedule = self.schedule()
        limit = schedule.rule.get("limit")
        if limit is not None and schedule.status is ScheduleStatus.ACTIVE:
            assert schedule.materialised < limit

    def work(self, n: int, ends: Completed | Failed | None) -> None:
        """Jobs start, no serial one beside another, and end so; or hang, without an end."""
        taken = self.storage.acquire_next_jobs(n, ttl=timedelta(minutes=5))
        running = self.storage.get_jobs_by_status(JobStatus.PROCESSING)
        assert sum(job.serial for job in running) <= 1
        if ends is not None:
            self.settle(taken, ends)

    # --- how -------------------------------------------------------------------------------

    def schedule(self) -> Schedule:
        schedule = self.storage.get_schedule(NAME)
        assert schedule is not None
        return schedule

    def jobs(self) -> list[Job]:
        """Those that are stored, and those that were: no occurrence may have one of each."""
        return [*self.stored_jobs(), *self.gone]

    def stored_jobs(self) -> list[Job]:
        return [job for status in JobStatus for job in self.storage.get_jobs_by_status(status)]

    def series_jobs(self) -> int:
        return sum(job.sequence is not None for job in self.jobs())

    def edit(self, *, reset_count: bool = False, **changes: Any) -> None:
        def edited() -> None:
            self.schedules.edit(NAME, reset_count=reset_count, **changes)
            if reset_count:
                self.counted_before = self.series_jobs()

        self.try_to(edited)

    def expand_as_previewed(self, expander: Expander) -> None:
        """A tick makes the jobs that a preview said just before."""
        now, before = clock.now(), self.series_jobs()
        said = [
            each.occurrence_at
            for each in self.schedules.preview(NAME, 1000)
            if each.occurrence_at <= now
        ]
        expander.tick(now)
        made = [job for job in self.jobs() if job.sequence is not None]
        newest = sorted(made, key=lambda job: job.occurrence_at or now)[before:]
        assert [job.occurrence_at for job in newest] == said

    def declared(self, now: datetime) -> list[Schedule]:
        if self.code is None:
            return []
        made = declare(
            self.registry.get("work"),
            rule_from_json(self.code),
            name=NAME,
            timezone="UTC",
            queue="default",
            max_retries=1,
            module=MODULE,
            now=now,
        )
        return [made]

    @staticmethod
    def era(schedule: Schedule, after: datetime) -> Era:
        return Era(schedule.rule, schedule.timezone, schedule.anchor_at, after, schedule.cursor_at)

    def follow(self, schedule: Schedule) -> None:
        """The eras up to the schedule as it stands: a new one where its rule is new."""
        last = self.eras[-1]
        if last.is_of(schedule.rule, schedule.timezone):
            self.eras[-1] = self.era(schedule, last.after)
        else:
            since = schedule.rule_since
            self.eras[-1] = Era(last.rule, last.timezone, last.anchor_at, last.after, since)
            self.eras.append(self.era(schedule, since))

    def move(self, by: timedelta) -> None:
        self.frozen.move_to(max(BORN, clock.now() + by))

    def settle(self, jobs: list[Job], outcome: Completed | Failed) -> None:
        now = clock.now()
        self.storage.settle_jobs(
            [
                Settlement(lifecycle.settle(job, outcome, now=now), job.lease.token)
                for job in jobs
                if job.lease is not None
            ]
        )

    @staticmethod
    def try_to(operation: Callable[[], object]) -> None:
        """An operation that the schedule may refuse as it stands: then nothing has changed."""
        try:
            operation()
        except (InvalidScheduleMove, InvalidInput):
            return


EXAMPLES = int(os.environ.get("LIVE_SCHEDULE_EXAMPLES", "15"))
STEPS = int(os.environ.get("LIVE_SCHEDULE_STEPS", "30"))


@pytest.mark.timeout(0)
def test_9_11_whatever_happens_is_on_record(store_url: str) -> None:
    walk(store_url)


@pytest.mark.timeout(0)
def test_9_11_whatever_happens_is_on_record_in_memory() -> None:
    walk("memory://")


def walk(url: str) -> None:
    class Walk(LiveSchedule):
        pass

    Walk.url = url
    with freeze_time(BORN) as frozen:
        assert isinstance(frozen, FrozenDateTimeFactory)
        Walk.frozen = frozen
        run_state_machine_as_test(
            Walk,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
