"""A Redis server that dies in the middle of writes, one that comes back, one that is a cluster."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from redis import Redis
from redis.backoff import ConstantBackoff
from redis.exceptions import ClusterDownError
from redis.retry import Retry

from scheduler.errors import StorageUnavailable
from scheduler.expansion import expand
from scheduler.model import Completed, JobStatus
from scheduler.storage import JobStorage, open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.testing.contract.acts import settlement
from scheduler.testing.values import NOON, a_job, a_schedule
from tests.servers.redis import DURABLE, IN_MEMORY, RedisServer, running_redis
from tests.storage.audit import audit
from tests.storage.walk import Walk

BATCH = 5
"""How many jobs one writer saves, and another takes, at a time."""


class Acknowledged:
    """What the server has said that it wrote."""

    def __init__(self) -> None:
        self.saved: set[str] = set()
        self.taken: set[str] = set()
        self.completed: set[str] = set()
        self.expanded: dict[str, object] = {}
        self.numbers = count()
        self.each = threading.Semaphore(0)


def writers(storage: JobStorage, heard: Acknowledged) -> list[Callable[[], None]]:
    """One round each of those who save, of those who take and settle, and of those who expand."""

    def save() -> None:
        jobs = [a_job(data={"text": "x" * 500}) for _ in range(BATCH)]
        storage.save_jobs(jobs)
        heard.saved |= {job.id for job in jobs}

    def work() -> None:
        jobs = storage.acquire_next_jobs(BATCH, now=NOON)
        heard.taken |= {job.id for job in jobs}
        assert all(storage.settle_jobs([settlement(job, Completed(job.id)) for job in jobs]))
        heard.completed |= {job.id for job in jobs}

    def add_schedule() -> None:
        schedule = a_schedule(f"s{next(heard.numbers)}")
        storage.save_schedule(schedule)
        expansion = expand(schedule, NOON)
        assert storage.record_expansions([expansion]) == [True]
        heard.expanded[schedule.name] = expansion.after
        heard.saved |= {job.id for job in expansion.jobs}

    return [save, save, work, work, add_schedule]


def until_it_dies(write: Callable[[], None], heard: Acknowledged) -> None:
    """Round after round, each of them counted."""
    try:
        while True:
            write()
            heard.each.release()
    except StorageUnavailable:
        return


def write_the_log_anew(url: str) -> None:
    """As after every crash of a server that has an AOF.

    Of a transaction whose end is cut off by it, the server leaves the beginning in the log, to
    which it then appends: the next start would find half of it (valkey#4342).
    """
    with Redis.from_url(url) as client:
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            threading.Event().wait(0.005)


def test_a_server_killed_in_the_middle_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    """With an AOF that is synced before each answer: not a job, an outcome or a cursor.

    What it had not answered is there whole or not at all.
    """
    heard = Acknowledged()
    with running_redis(tmp_path, DURABLE) as server:
        for round_ in range(4):
            with open_storage(server.url) as storage, ThreadPoolExecutor() as pool:
                ends = [
                    pool.submit(until_it_dies, write, heard) for write in writers(storage, heard)
                ]
                for _ in range(60 + 7 * round_):
                    heard.each.acquire()
                server.kill()
                for end in ends:
                    end.result(timeout=30)
            server.start()
            write_the_log_anew(server.url)
            with open_storage(server.url) as storage:
                jobs = {job.id: job for job in storage.list_jobs(limit=100_000)}
                assert heard.saved <= set(jobs)
                assert heard.taken <= {
                    job.id for job in jobs.values() if job.status is not JobStatus.PENDING
                }
                assert heard.completed <= {job.id for job in jobs.values() if job.result == job.id}
                hand_made = [job for job in jobs.values() if job.schedule_id is None]
                assert len(hand_made) % BATCH == 0
                for name, schedule in heard.expanded.items():
                    assert storage.get_schedule(name) == schedule
            audit(server.url)


def test_verbs_fail_while_the_server_is_down_and_work_when_it_is_back(tmp_path: Path) -> None:
    """On the same storage, without being opened again."""
    with running_redis(tmp_path, DURABLE) as server, open_storage(server.url) as storage:
        storage.save_job(a_job(id="kept"))
        server.kill()
        acts: list[Callable[[], Any]] = [
            storage.check,
            storage.list_jobs,
            storage.acquire_next_job,
            lambda: storage.save_job(a_job()),
            lambda: storage.complete_job("kept"),
        ]
        for act in acts:
            with pytest.raises(StorageUnavailable, match=server.url):
                act()
        server.start()
        storage.check()
        assert [job.id for job in storage.acquire_next_jobs(9, now=NOON)] == ["kept"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A cluster of one server, which has all the slots."""
    settings = {**IN_MEMORY, "cluster-enabled": "yes"}
    with running_redis(tmp_path_factory.mktemp("cluster"), settings) as server:
        with Redis.from_url(server.url, protocol=2) as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            patience = Retry(ConstantBackoff(0.05), 200, supported_errors=(ClusterDownError,))
            patience.call_with_retry(lambda: client.set("x", "y"), lambda error: None)
        yield server


def test_every_verb_keeps_to_one_slot_of_a_cluster(cluster: RedisServer) -> None:
    """A key that is not declared, or of another slot, would be refused."""
    with open_storage(cluster.url) as storage:

        class OverCluster(Walk):
            def __init__(self) -> None:
                super().__init__(MemoryStorage(), storage)

        run_state_machine_as_test(
            OverCluster,
            settings=settings(max_examples=15, stateful_step_count=40, phases=[Phase.generate]),
        )
