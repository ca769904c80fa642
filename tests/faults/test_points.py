"""Every named point × every store: the process dies there, and nothing is lost or done twice.

SCHEDULER_FAULTS_HITS=1,2,5 says at which hits of a point the processes die.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from scheduler import JobStatus, faults
from tests.faults import feed
from tests.faults.checker import Verdict, Why
from tests.faults.crew import MODULES, Member
from tests.faults.nursery import Nursery
from tests.faults.scene import Scene, busy_scene

HITS = [int(hit) for hit in os.environ.get("SCHEDULER_FAULTS_HITS", "1,3").split(",")]
BATCHES = 2 * (3 + max(HITS))

DRAINING = {"executor.drain.before", "executor.drain.release"}
RARE = {*DRAINING, "executor.rescue.before", "executor.rescue.after"}
"""Points that a scene may come to once: whoever comes to one dies."""
ADDING = {"sql.save.written", "sql.save.committed"}
LEASING = {"sql.acquire.written", "sql.acquire.committed"}
"""Points on the way of jobs with limits, to which those of one statement do not all come."""

DUTIES = defaultdict[str, list[str]](list)
"""The points of each duty: those of `executor.settle` are before and after it."""
for each in faults.POINTS:
    DUTIES[".".join(each.split(".")[:2])].append(each)

pytestmark = pytest.mark.timeout(300)


@pytest.mark.parametrize("duty", DUTIES)
def test_a_process_may_die_at_any_point(
    duty: str, nursery: Nursery, hold_everywhere: Callable[..., None]
) -> None:
    """Each of several services dies at another hit of the point; others go on in their place."""
    hold_everywhere(*(partial(die_at, point, nursery) for point in DUTIES[duty]))


def die_at(point: str, nursery: Nursery, url: str, place: Path) -> Verdict:
    settings = (
        {"SCHEDULER_MODULES": MODULES + ",tests.faults.jobs_with_limits"}
        if point in LEASING
        else {}
    )
    with busy_scene(nursery, place / "crew", url, settings=settings) as acted:
        if point in LEASING:
            acted.add("limited", 12)
        if point in ADDING:
            add_and_die(acted, point)
        else:
            for hit in HITS:
                acted.crew.start(fault=f"{point}:{1 if point in RARE else hit}")
        if point in DRAINING:
            drain_and_die(acted, place / "enough")
        if point not in ADDING:
            acted.crew.until(lambda: acted.crew.dead)
        verdict = acted.finish(point, Why.KILLED)
        assert {each.popen.poll() for each in acted.crew.dead} <= {faults.EXIT_CODE}
        return verdict


def drain_and_die(acted: Scene, enough: Path) -> None:
    """All are told to end with their hands full; what they hold ends when they have heard."""
    acted.add("held", 40, data={"until": str(enough)}, priority=-2)
    victims = list(acted.crew.members)
    for victim in victims:
        acted.crew.until(partial(works, acted, victim))
    for victim in victims:
        victim.popen.terminate()
    for victim in victims:
        acted.crew.until(partial(has_heard, victim))
    enough.touch()
    acted.crew.until(lambda: all(victim in acted.crew.dead for victim in victims))


def has_heard(victim: Member) -> bool:
    return victim.popen.poll() is not None or bool(victim.logged("stopping"))


def works(acted: Scene, member: Member) -> bool:
    """Whether it has a job under way."""
    return any(
        job.worker is not None and f":{member.pid}:" in job.worker
        for job in acted.storage.get_jobs_by_status(JobStatus.PROCESSING)
    )


def add_and_die(acted: Scene, point: str) -> None:
    """A client dies at each hit in turn and is started again, beside services that run."""
    command = ("tests.faults.feed", acted.url, str(BATCHES))
    for _ in HITS:
        acted.crew.start()
    for hit in HITS:
        assert acted.crew.run(command, fault=f"{point}:{hit}") == faults.EXIT_CODE
    assert acted.crew.run(command) == 0
    acted.added += feed.ids(BATCHES)
