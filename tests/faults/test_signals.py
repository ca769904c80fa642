"""What signals do to a service: killed at any moment, standing still past its leases, told to end.

SCHEDULER_FAULTS_KILLS says how many are killed; SCHEDULER_FAULTS_SEED, when.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url

from scheduler import Job, JobStatus, clock
from tests.faults import audit
from tests.faults.checker import Verdict, Why, read_lines
from tests.faults.crew import SERVICE, Crew, Member
from tests.faults.nursery import Nursery
from tests.faults.scene import Scene, busy_scene, scene

KILLS = int(os.environ.get("SCHEDULER_FAULTS_KILLS", "6"))
SEED = int(os.environ.get("SCHEDULER_FAULTS_SEED", random.SystemRandom().randrange(10**6)))
BETWEEN_KILLS = (0.0, 1.5)
"""Seconds."""

GRACE = 5.0
HALF = 50

pytestmark = pytest.mark.timeout(300)


def test_services_are_killed_at_random_moments(
    nursery: Nursery, hold_everywhere: Callable[..., None]
) -> None:
    hold_everywhere(partial(kill_at_random, nursery))


def kill_at_random(nursery: Nursery, url: str, place: Path) -> Verdict:
    moments = random.Random(SEED)
    with busy_scene(nursery, place / "crew", url) as acted:
        for _ in range(2):
            acted.crew.start()
        for _ in range(KILLS):
            acted.crew.pass_time(moments.uniform(*BETWEEN_KILLS))
            acted.crew.kill(moments.choice(acted.crew.members))
        return acted.finish(f"SIGKILL x {KILLS}, seed {SEED}", Why.KILLED)


def test_a_service_that_stood_still_past_its_leases_writes_nothing(
    nursery: Nursery, hold_everywhere: Callable[..., None]
) -> None:
    """Stopped with jobs under way; others take them over; its own late outcomes are refused."""
    hold_everywhere(partial(come_back_late, nursery))


def come_back_late(nursery: Nursery, url: str, place: Path) -> Verdict:
    with busy_scene(nursery, place / "crew", url) as acted:
        zombie = acted.crew.start()
        acted.crew.until(partial(stands_still_amid, acted, zombie, "slowly"))
        acted.stopped.add(zombie.pid)
        mine = held_by(acted, zombie)
        acted.crew.start()
        acted.crew.until(lambda: not held_by(acted, zombie))
        acted.crew.until(partial(all_over, acted, mine))
        zombie.popen.send_signal(signal.SIGCONT)
        acted.crew.until(partial(has_learnt, zombie, "slowly"))
        return acted.finish("SIGSTOP past the lease, SIGCONT", Why.KILLED)


def stands_still_amid(acted: Scene, member: Member, name: str) -> bool:
    """Stop a process while a handler of this name is under way; if it has ended, it goes on."""
    if not under_way(acted, member, name):
        return False
    stand_still(acted, member)
    if under_way(acted, member, name):
        return True
    member.popen.send_signal(signal.SIGCONT)
    return False


def under_way(acted: Scene, member: Member, name: str) -> bool:
    """Whether it has called a handler of this name, and not written how that ended."""
    called = {line.lease for line in read_lines(acted.crew.lines)}
    return any(
        job.lease is not None and (job.id, job.lease.token) in called
        for job in held(acted, member)
        if job.name == name
    )


def has_learnt(member: Member, name: str) -> bool:
    """Whether it knows that it has lost the lease of a job of this name.

    From the renewal that comes before the end of the handler, or from the outcome that comes late:
    after SIGCONT, either may be first.
    """
    events = ("lease lost", "outcome dropped: the lease was lost")
    return any(record["job"] == name for event in events for record in member.logged(event))


def held_by(acted: Scene, member: Member) -> list[str]:
    """The ids of the jobs that it holds."""
    return [job.id for job in held(acted, member)]


def held(acted: Scene, member: Member) -> list[Job]:
    """The jobs that it holds."""
    processing = acted.storage.get_jobs_by_status(JobStatus.PROCESSING)
    return [job for job in processing if f":{member.pid}:" in (job.worker or "")]


def all_over(acted: Scene, ids: list[str]) -> bool:
    jobs = [acted.storage.get_job(job_id) for job_id in ids]
    return all(job is not None and job.status is JobStatus.COMPLETED for job in jobs)


def stand_still(acted: Scene, member: Member) -> None:
    """Stop a process that holds jobs, and no lock that everybody else would wait for."""
    while True:
        member.popen.send_signal(signal.SIGSTOP)
        acted.crew.until(partial(stands_still, member))
        if not is_locked(acted.url):
            return
        member.popen.send_signal(signal.SIGCONT)


def stands_still(member: Member) -> bool:
    said = Path(f"/proc/{member.pid}/stat").read_text()
    return said.rpartition(")")[2].split()[0] == "T"


def is_locked(url: str) -> bool:
    """Whether a SQLite file is in the middle of a write. Others lock row by row."""
    if make_url(url).get_backend_name() != "sqlite":
        return False
    try:
        with closing(sqlite3.connect(make_url(url).database or "", timeout=0)) as connection:
            connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return True
    return False


def test_a_service_told_to_end_gives_its_jobs_their_grace_and_the_rest_to_others(
    store: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """SIGTERM with 100 under way: half end in time, half are run elsewhere within a second."""
    is_told = not store.startswith("sqlite")  # of what is given back; others have to look
    settings = {
        "SCHEDULER_CONCURRENCY": str(2 * HALF),
        "SCHEDULER_SHUTDOWN_GRACE": str(GRACE),
        "SCHEDULER_PROCESSING_INTERVAL": "30" if is_told else "0.5",
    }
    executor = (*SERVICE, "--only", "executor")
    with scene(nursery, tmp_path / "crew", store, settings=settings) as acted:
        crew, soon, later = acted.crew, tmp_path / "soon", tmp_path / "later"
        acted.add("held", HALF, data={"until": str(soon)})
        acted.add("held", HALF, data={"until": str(later)})
        leaving = crew.start(executor)
        crew.until(lambda: len(read_lines(crew.lines)) == 2 * HALF)
        staying = crew.start(executor)
        crew.until(lambda: staying.logged("running"))
        stand_still(acted, staying)

        told_at = clock.now()
        end(crew, leaving)
        acted.add("plain", HALF)
        soon.touch()
        crew.until(lambda: acted.storage.count_jobs()[JobStatus.COMPLETED] == HALF)
        assert acted.storage.count_jobs()[JobStatus.PENDING] == HALF  # there were slots for it
        staying.popen.send_signal(signal.SIGCONT)
        assert leaving.popen.wait(60) == 0, leaving.tail()
        later_calls = 3 * HALF + HALF
        crew.until(lambda: len(read_lines(crew.lines)) == later_calls)
        later.touch()
        crew.until(lambda: not acted.unfinished())
        crew.stop()

        hold(acted.verdict("SIGTERM with 100 running", Why.RELEASED))
        released, waits = given_back(acted.url, leaving.pid)
        assert len(waits) == HALF
        assert max(waits) <= timedelta(seconds=1)
        grace = timedelta(seconds=GRACE)
        assert grace <= min(released) - told_at
        assert max(released) - told_at < grace + timedelta(seconds=2)


def end(crew: Crew, member: Member) -> None:
    """SIGTERM; returns once it is heeded."""
    crew.members.remove(member)  # nobody is to take its place
    member.popen.terminate()
    crew.until(lambda: member.logged("stopping"))


def given_back(url: str, pid: int) -> tuple[list[datetime], list[timedelta]]:
    """When the process gave back each job, and how long it was until another took it."""
    released: dict[str, datetime] = {}
    waits = []
    for each in audit.changes(url):
        if each.after == JobStatus.PENDING and f":{pid}:" in (each.worker or ""):
            assert each.retries == 0  # it is no attempt
            released[each.job] = each.at
        elif each.taken and each.job in released:
            assert f":{pid}:" not in (each.worker or "")
            waits.append(each.at - released[each.job])
    return list(released.values()), waits
