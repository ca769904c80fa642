"""Whether a Redis store is of one piece: every index holds what the jobs and schedules say.

Read with plain commands and worked out anew, so that a member which a script forgot to remove, or
to add, shows here before anybody misses a job.
"""

from __future__ import annotations

from redis import Redis

from scheduler.model import Job, JobStatus
from scheduler.storage.base import blocked
from scheduler.storage.redis import values
from scheduler.storage.redis.connection import read_url
from scheduler.storage.redis.scripts import KINDS, key
from scheduler.storage.redis.values import END, instant, optional, priority, text

UNFINISHED = (JobStatus.PENDING, JobStatus.PROCESSING)


def audit(url: str) -> None:
    """Nothing if the store behind `url` is of one piece; else an AssertionError."""
    read = read_url(url)
    with Redis.from_url(read.driver, protocol=2) as client, client.pipeline() as pipeline:
        for name, kind in KINDS.items():
            if kind == "hash":
                pipeline.hgetall(key(read.prefix, name))
            else:
                pipeline.zrange(key(read.prefix, name), 0, -1)
        found = dict(zip(KINDS, pipeline.execute(), strict=True))
    states, records = found["states"], found["jobs"]
    assert set(states) == set(records)
    jobs = [values.job_of(job_id, states[job_id], records[job_id]) for job_id in states]
    assert {text(job.id): values.job_texts(job)[1:] for job in jobs} == {
        job_id: (states[job_id], records[job_id]) for job_id in states
    }
    for name, members in expected(jobs).items():
        assert (name, set(found[name])) == (name, members)
    schedules = [values.schedule_of(each) for each in found["schedules"].values()]
    assert found["schedule_names"] == {text(each.id): text(each.name) for each in schedules}
    assert set(found["turns"]) == {
        instant(each.next_at) + text(each.id)
        for each in schedules
        if each.next_at and each.status in ("active", "paused")
    }
    assert {member[values.INSTANT :] for member in found["stale"]} >= set(found["starts"])
    for member in found["attempts"]:
        assert member == b"".join(values.attempt_texts(values.attempt_of(member)))
    for name in ("skips", "notes"):
        assert {member.partition(END)[0] for member in found[name]} <= {
            text(each.id) for each in schedules
        }


def expected(jobs: list[Job]) -> dict[str, set[bytes]]:
    """The members of every index of these jobs."""
    unfinished = [job for job in jobs if job.status in UNFINISHED]
    waiting = blocked(unfinished)
    pending = {job.id: job for job in jobs if job.status is JobStatus.PENDING}
    ready = [job for job_id, job in pending.items() if job_id not in waiting]
    keyed = [job for job in ready if job.concurrency_key is not None]
    return {
        "ids": {text(job.id) for job in jobs},
        "statuses": {text(job.status) + END + text(job.id) for job in jobs},
        "names": {text(job.name) + END + text(job.id) for job in jobs},
        "owned": {
            optional(job.schedule_id) + END + text(job.id)
            for job in jobs
            if job.schedule_id is not None
        },
        "occurrences": {
            optional(job.schedule_id)
            + END
            + instant(job.occurrence_at)
            + (b"0" if job.occurrence else b"1")
            + text(job.id)
            for job in jobs
            if job.schedule_id is not None and job.occurrence_at is not None
        },
        "unfinished": {
            optional(job.schedule_id)
            + END
            + (b"1" if job.sequence is None or not job.schedule_id else b"0")
            + instant(job.occurrence_at or job.created_at)
            + text(job.id)
            for job in unfinished
            if job.schedule_id is not None
        },
        "leases": {
            instant(job.lease.expires_at) + text(job.id)
            for job in jobs
            if job.status is JobStatus.PROCESSING and job.lease
        },
        "pending": {turn(job) for job in ready if job.concurrency_key is None},
        "keyed": {turn(job) for job in keyed},
        "by_key": {
            partition(job) + optional(job.concurrency_key) + END + rank(job) + text(job.id)
            for job in keyed
        },
        "heads": {turn(job) + END + optional(job.concurrency_key) for job in firsts(keyed)},
        "blocked": {turn(job) for job_id, job in pending.items() if job_id in waiting},
        "running": {
            text(job.name) + END + optional(job.concurrency_key) + END + text(job.id)
            for job in jobs
            if job.status is JobStatus.PROCESSING
        },
    }


def firsts(jobs: list[Job]) -> list[Job]:
    """The first of each name, queue, key and priority."""
    last_first = sorted(jobs, key=lambda job: rank(job) + text(job.id), reverse=True)
    return [
        *{
            (job.name, job.queue, job.concurrency_key, job.priority): job for job in last_first
        }.values()
    ]


def turn(job: Job) -> bytes:
    return partition(job) + rank(job) + text(job.id)


def partition(job: Job) -> bytes:
    return text(job.name) + END + text(job.queue) + END


def rank(job: Job) -> bytes:
    return priority(job.priority) + instant(job.scheduled_at)
