"""One store with work of every kind on it, and the crew that does it under a fault.

There is work from the first moment on, so that whoever dies early dies with his hands full: a burst
of missed occurrences, jobs that fail at first, jobs added by hand, and jobs whose executor is gone.
What work.py declares goes on every second until the scene is brought to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from scheduler import Job, JobQueue, JobStatus, clock
from scheduler.model import CatchUp, Overlap, Schedule, ScheduleStatus
from scheduler.schedules import Schedules
from scheduler.storage import JobStorage
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import a_schedule
from tests.faults import audit
from tests.faults.checker import Bounds, Verdict, Why, check, read_lines
from tests.faults.crew import Crew, crew
from tests.faults.nursery import Starter
from tests.faults.tasks import RETRIES

DECLARED = ("by_cron", "each_second", "slowly")
SECONDS = 3
"""How long what is declared goes on for, at least."""

LATE = timedelta(seconds=20)
"""How late a first call may be, once all processes have started: leases run out one after another,
and each time there is a wait before the retry, on a machine that has other things to do.
"""

_UNFINISHED = (JobStatus.PENDING, JobStatus.PROCESSING)


@dataclass
class Scene:
    """A store, its crew, and what is expected of them.

    `stopped` are the process ids of those that stood still for longer than a lease.
    """

    url: str
    storage: JobStorage
    crew: Crew
    begun_at: datetime
    added: list[str] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)

    @property
    def store(self) -> str:
        """The kind of store, for the table."""
        return make_url(self.url).get_backend_name()

    def schedules(self) -> Schedules:
        """What a person may do to the schedules of the store."""
        return JobQueue(self.storage).schedules

    def add(
        self, name: str, number: int, *, at: datetime | None = None, **given: object
    ) -> list[Job]:
        """So many jobs that no rule made, due at once, or `at`."""
        now = at or clock.now()
        first = len(self.added)
        jobs = [
            Job(
                id=f"added-{first + each:06}",
                name=name,
                created_at=now,
                scheduled_at=now,
                **{"max_retries": RETRIES, **given},  # type: ignore[arg-type]  # fields of a job
            )
            for each in range(number)
        ]
        self.storage.save_jobs(jobs)
        self.added += [job.id for job in jobs]
        return jobs

    def backlog(self, name: str, job_name: str, number: int) -> Schedule:
        """A schedule of which so many occurrences, one a second, were missed; no more follow."""
        start = clock.now().replace(microsecond=0) - timedelta(seconds=number + 1)
        schedule = a_schedule(
            name,
            job_name=job_name,
            rule={
                "every": 1,
                "unit": "seconds",
                "start_date": start.isoformat(),
                "limit": number,
            },
            overlap=Overlap.ALLOW,
            catch_up=CatchUp.ALL,
            catch_up_max=number,
            max_retries=RETRIES,
            created_at=start - timedelta(seconds=1),
        )
        self.storage.save_schedule(schedule)
        return schedule

    def strand(self, number: int) -> None:
        """Jobs whose lease has run out, and whose executor never comes back."""
        self.add("plain", number, priority=-1)
        past = clock.now() + timedelta(seconds=1)
        taken = self.storage.acquire_next_jobs(
            number, ttl=timedelta(microseconds=1), worker="gone:0:0", now=past
        )
        assert len(taken) == number

    def unfinished(self) -> int:
        """How many jobs are still to be done."""
        counted = self.storage.count_jobs()
        return sum(counted[each] for each in _UNFINISHED)

    def has_worked(self) -> bool:
        """Whether all there was is done, and what is declared went on for a while."""
        schedules = {each.name: each for each in self.storage.list_schedules()}
        ran = timedelta(seconds=SECONDS)
        return (
            self.unfinished() < len(DECLARED) * 3
            and schedules.keys() >= set(DECLARED)
            and all(
                each.cursor_at - each.created_at >= ran
                if name in DECLARED
                else each.status is ScheduleStatus.COMPLETED
                for name, each in schedules.items()
            )
        )

    def finish(
        self,
        fault: str,
        *again: Why,
        late: timedelta = LATE,
        since: datetime | None = None,
    ) -> Verdict:
        """The verdict, once everything is done: what is declared is paused and the crew stopped.

        `again` are the reasons for which a handler may have been called once more.
        """
        self.crew.until(self.has_worked)
        schedules = self.schedules()
        for name in DECLARED:
            schedules.pause(name)
        self.crew.until(lambda: not self.unfinished())
        since = since or self.crew.ready_at
        self.crew.stop()
        return self.verdict(fault, *again, late=late, since=since)

    def verdict(
        self,
        fault: str,
        *again: Why,
        late: timedelta = LATE,
        since: datetime | None = None,
        turned_at: datetime | None = None,
    ) -> Verdict:
        """The verdict on what was done so far, which is everything there is to do.

        `turned_at` is the new time when the clock was set back and all had noticed.
        """
        return check(
            fault,
            self.store,
            storage=self.storage,
            added=self.added,
            lines=read_lines(self.crew.lines),
            changes=audit.changes(self.url),
            bounds=Bounds(
                since=since or self.begun_at,
                late=late,
                again={Why.FAILED, *again},
                gone=self.crew.killed | self.stopped,
                turned_at=turned_at,
            ),
        )


@contextmanager
def scene(
    nursery: Starter,
    place: Path,
    url: str,
    *,
    reached: str | None = None,
    settings: Mapping[str, str] | None = None,
) -> Iterator[Scene]:
    """A new scene on the empty store at `url`, its crew not yet there.

    The crew reaches the store as `reached`, if that is another way than `url`.
    """
    with (
        SQLStorage(url) as storage,
        crew(nursery, place, reached or url, **(settings or {})) as members,
    ):
        storage.upgrade()
        audit.install(url)
        yield Scene(url, storage, members, clock.now())


@contextmanager
def busy_scene(nursery: Starter, place: Path, url: str, **given: Any) -> Iterator[Scene]:
    """A new scene, as `scene`, with its work laid out."""
    with scene(nursery, place, url, **given) as made:
        made.strand(3)
        made.add("plain", 6)
        made.add("flaky", 3)
        made.backlog("burst", "plain", 30)
        yield made
