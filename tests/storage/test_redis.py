"""What only Redis has: URLs, prefixes, versions, scripts, what it refuses, and what it looks at."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import chain
from pathlib import Path
from traceback import format_exception
from typing import Any
from urllib.parse import urlsplit

import pytest
from redis import Redis

from scheduler.errors import (
    DuplicateJob,
    InvalidMove,
    InvalidOption,
    SchemaMismatch,
    StorageError,
    StorageUnavailable,
)
from scheduler.expansion import expand
from scheduler.model import Completed, Failed, Job, JobStatus, Released
from scheduler.storage import open_storage
from scheduler.storage.base import JobStorage
from scheduler.storage.redis import RedisStorage, scripts
from scheduler.storage.redis.connection import read_url, unfit
from scheduler.storage.redis.storage import SCHEMA_VERSION
from scheduler.testing.contract.acts import at_once, ids, lease, settlement
from scheduler.testing.contract.processes import together
from scheduler.testing.values import MINUTE, NOON, SECOND, a_job, a_schedule
from tests.servers.redis import RedisServer, running_redis
from tests.servers.wire import wire_to
from tests.storage.audit import audit

HOUR = timedelta(hours=1)


@pytest.fixture
def storage(redis_url: str) -> Iterator[RedisStorage]:
    """An empty store of its own prefix."""
    with RedisStorage(redis_url) as storage:
        storage.prepare()
        yield storage


@pytest.fixture
def client(redis_server: str) -> Iterator[Redis]:
    """The session's server, past the store."""
    with Redis.from_url(redis_server, protocol=2) as client:
        yield client


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server that no other test talks to."""
    with running_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def in_series(n: int, **given: Any) -> Job:
    """The n-th serial job of one schedule."""
    place = {"schedule_id": "s", "occurrence_at": NOON + n * MINUTE, "sequence": n, "serial": True}
    return a_job(**{**place, **given})


# --- the URL --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://someone:hunter2@host:port", "cannot be read"),
        ("redis://someone:hun#ter2@host", "cannot be read"),
        ("redis://someone:6?hunter2@host", "cannot be read"),
        ("redis://someone:6/hunter2@host", "cannot be read"),
        ("redis://:hunter2@host/jobs", "cannot be read"),
        ("redis://:hunter2@host/0?decode_responses=true", "not known; use one of db"),
        ("redis://:hunter2@host/0?ssl_ca_certs=/ca.pem", "not known"),
        ("redis://:hunter2@host/0?socket_timeout=soon", "of the wrong kind"),
        ("redis://:hunter2@host/0?prefix=a&prefix=b", "has an option twice"),
        ("redis+unix://?password=hunter2", "names no socket"),
        ("redis://:hunter2@host/0?prefix=", "1 to 100 printable"),
        ("redis://:hunter2@host/0?prefix=a{b}", "1 to 100 printable"),
        ("redis://:hunter2@host/0?prefix=a%00b", "1 to 100 printable"),
        (f"redis://:hunter2@host/0?prefix={'x' * 101}", "1 to 100 printable"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused(url: str, said: str) -> None:
    """With what is allowed, and without the password it may hold."""
    with pytest.raises(InvalidOption, match=said) as caught:
        open_storage(url)
    assert "ter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host", "redis://host"),
        ("redis://ada:p%40ss@host:7000/3?prefix=a", "redis://ada:***@host:7000/3?prefix=a"),
        ("rediss://:p%40ss@[::1]/?ssl_password=q", "rediss://:***@[::1]/?ssl_password=***"),
        ("redis+unix:///run/a.sock?password=p%40ss", "redis+unix:///run/a.sock?password=***"),
        ("redis://host?username=ada&password=p%40ss", "redis://host?username=ada&password=***"),
    ],
)
def test_a_url_is_shown_without_its_passwords(url: str, shown: str) -> None:
    """Wherever in it they stand; nor does its value show them."""
    with RedisStorage(url) as storage:
        assert storage.url == shown
    assert "ss@" not in repr(read_url(url))
    assert "p%40ss" not in repr(read_url(url))


def test_special_characters_of_a_url_reach_the_server(tmp_path: Path) -> None:
    """A user, a password and a prefix of any characters, percent-encoded."""
    with running_redis(tmp_path, {"requirepass": '"p@ss/w?r#d:%"'}) as server:
        address = server.url.removeprefix("redis://").removesuffix("/0")
        password = "p%40ss%2Fw%3Fr%23d%3A%25"  # noqa: S105
        with open_storage(f"redis://default:{password}@{address}/1?prefix=%C3%BC%20%26") as storage:
            storage.save_job(a_job())
            with Redis.from_url(f"redis://:{password}@{address}/1") as client:
                assert "{ü &}:jobs".encode() in [*client.scan_iter()]


def test_a_wrong_password_is_told_without_it(tmp_path: Path) -> None:
    """Nor is the right one in the error's cause."""
    with running_redis(tmp_path, {"requirepass": "secret"}) as server:
        for user in (":hunter2@", "nobody:hunter2@", ""):
            url = server.url.replace("redis://", f"redis://{user}")
            with pytest.raises(StorageUnavailable, match=r"(?i)invalid|authentication") as caught:
                open_storage(url)
            assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"


def test_a_server_that_repeats_what_it_was_told_shows_no_password(tmp_path: Path) -> None:
    """As one does that knows no AUTH; nor is its own error shown as the cause."""
    with running_redis(tmp_path, {"rename-command": 'AUTH ""'}) as server:
        with pytest.raises(StorageError, match=r"unknown command 'AUTH'.*\*\*\*") as caught:
            open_storage(server.url.replace("redis://", "redis://ada:hunt%20er2@"))
        assert "hunt er2" not in "".join(format_exception(caught.value))


def test_a_server_is_reached_through_its_socket(tmp_path: Path) -> None:
    """By either scheme."""
    path = tmp_path / "s.sock"
    with running_redis(tmp_path, {"unixsocket": str(path)}):
        for scheme in ("unix", "redis+unix"):
            with open_storage(f"{scheme}://{path}?prefix={scheme}&db=1") as storage:
                storage.save_job(a_job())
                assert len(storage.list_jobs()) == 1


@pytest.mark.parametrize(
    "url", ["redis://someone:hunter2@127.0.0.1:1", "redis+unix:///no/such.sock?password=hunter2"]
)
def test_an_unreachable_server_is_unavailable(url: str) -> None:
    """The error names the server and not the password."""
    with pytest.raises(StorageUnavailable, match=r"database .*\*\*\*.*[Cc]onnect") as caught:
        open_storage(url)
    assert "hunter2" not in str(caught.value)


def test_a_missing_driver_is_named_with_its_extra() -> None:
    """Only who opens such a URL needs it."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from scheduler import InvalidOption, open_storage\n"
        "open_storage('memory://')\n"
        "try: open_storage('redis://:hunter2@host')\n"
        "except InvalidOption as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == (
        "database: redis needs the driver redis, which is not installed; "
        "pip install 'scheduler-service[redis]'\n"
    )


# --- versions and prefixes ------------------------------------------------------------------


def test_opening_claims_the_prefix_and_checking_does_not(redis_url: str) -> None:
    """Of several that open it at once, all find it as they need it."""
    with RedisStorage(redis_url) as storage:
        with pytest.raises(SchemaMismatch, match="nothing is prepared there yet; open it once"):
            storage.check()
        at_once([storage.prepare] * 4)
        storage.check()


def test_keys_of_another_version_are_refused(redis_url: str, client: Redis) -> None:
    """By opening and by checking: with both versions and the mend."""
    read = read_url(redis_url)
    with RedisStorage(redis_url) as storage:
        storage.prepare()
        client.set(scripts.key(read.prefix, "schema"), "9999")
        for act in (storage.check, storage.prepare):
            with pytest.raises(
                SchemaMismatch, match=f"schema is 9999, and this version's is {SCHEMA_VERSION};"
            ):
                act()


def test_a_key_of_somebody_else_is_refused(storage: RedisStorage, client: Redis) -> None:
    """Before anything is half written over it; a verb that meets it says so."""
    key = storage._connection.key("names")
    client.set(key, "mine")
    with pytest.raises(StorageError, match=r":names is a string and not ours; remove it"):
        storage.prepare()
    with pytest.raises(StorageError, match="WRONGTYPE"):
        storage.list_jobs(name="x")


def test_prefixes_are_apart(storage: RedisStorage, client: Redis, redis_server: str) -> None:
    """What is cleared is one's own, and of that the version stays."""
    prefix = read_url(storage.url).prefix
    with open_storage(f"{redis_server}?prefix={prefix}_other") as other:
        schedule = a_schedule()
        for each in (storage, other):
            each.save_job(a_job(id="same"))
            each.save_schedule(schedule)
        client.set(f"{{{prefix}}}:mine", "x")
        storage.clear()
        storage.check()
        assert (storage.list_jobs(), storage.list_schedules()) == ([], [])
        assert (ids(other.list_jobs()), other.list_schedules()) == (["same"], [schedule])
        assert set(client.scan_iter(f"{{{prefix}}}*")) == {
            f"{{{prefix}}}:{name}".encode() for name in ("mine", "schema")
        }
        other.clear()
        client.delete(f"{{{prefix}_other}}:schema")


def test_every_key_is_declared_and_of_one_hash_tag(storage: RedisStorage, client: Redis) -> None:
    """However many jobs there are."""
    storage.save_jobs([in_series(n) for n in range(50)])
    storage.acquire_next_jobs(9, now=NOON)
    prefix = read_url(storage.url).prefix
    found = {each.decode() for each in client.scan_iter(f"*{prefix}*")}
    assert found <= {*scripts.keys(prefix), f"{{{prefix}}}:schema"}


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        ({"redis_version": "6.2.14"}, "it is Redis 6.2.14; use one of version 7.0 or later"),
        ({}, "it is Redis of no version; use one of version 7.0 or later"),
        ({"redis_version": "7.0.0", "maxmemory_policy": "noeviction", "maxmemory": 1}, None),
        ({"redis_version": "10.1.0", "maxmemory_policy": "allkeys-lru", "maxmemory": 0}, None),
        ({"redis_version": "8.0.0", "maxmemory_policy": "volatile-lru", "maxmemory": 1}, None),
    ],
)
def test_a_server_is_fit_if_it_is_new_enough_and_evicts_no_key_of_ours(
    info: dict[str, Any], reason: str | None
) -> None:
    """Without a limit it evicts nothing; volatile policies take only keys that expire."""
    assert unfit(info) == reason


def test_a_server_that_evicts_keys_is_refused(tmp_path: Path) -> None:
    """By opening and by checking, with the mend: one key holds all the jobs."""
    settings = {"maxmemory": "100mb", "maxmemory-policy": "noeviction"}
    with running_redis(tmp_path, settings) as server, RedisStorage(server.url) as storage:
        storage.prepare()
        with Redis.from_url(server.url) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        for act in (storage.prepare, storage.check):
            with pytest.raises(
                StorageError, match=r"\(maxmemory-policy allkeys-lru\).* noeviction"
            ):
                act()


# --- what is sent ---------------------------------------------------------------------------


def test_scripts_that_the_server_forgot_are_sent_again(own: RedisServer) -> None:
    """In the middle of whatever is done."""
    with open_storage(f"{own.url}?prefix=flushed") as storage, Redis.from_url(own.url) as client:
        storage.save_job(a_job())
        client.script_flush()
        job = lease(storage)
        client.script_flush()
        assert storage.settle_jobs([settlement(job, Completed())]) == [True]


def calls(client: Redis, *commands: str) -> dict[str, int]:
    """How often each command has been carried out since the statistics were reset."""
    stats: Any = client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in commands}


def batches(storage: JobStorage) -> Iterator[Callable[[], object]]:
    """Every verb that takes or brings many, with something to do."""
    schedules = [a_schedule(f"s{n}") for n in range(5)]
    for schedule in schedules:
        storage.save_schedule(schedule)
    jobs = [a_job() for _ in range(30)]
    leased: list[Job] = []
    yield lambda: storage.save_jobs(jobs)
    yield lambda: leased.extend(storage.acquire_next_jobs(30, now=NOON))
    tokens = {job.id: job.lease.token for job in leased if job.lease}
    assert len(tokens) == 30
    yield lambda: storage.renew_leases(tokens, expires_at=NOON + MINUTE)
    yield lambda: storage.get_expired_jobs(NOON + HOUR)
    yield lambda: storage.settle_jobs([settlement(job, Completed()) for job in leased])
    expansions = [expand(schedule, NOON + HOUR) for schedule in schedules]
    yield lambda: storage.record_expansions(expansions)
    yield lambda: storage.due_schedules(NOON + 2 * HOUR)
    yield lambda: storage.get_unfinished_jobs([schedule.id for schedule in schedules])
    yield storage.list_jobs
    yield storage.next_job_at


def test_a_batch_is_one_call(own: RedisServer) -> None:
    """However many it is of, once the server knows the script."""
    with Redis.from_url(own.url) as client:
        with open_storage(f"{own.url}?prefix=known") as storage:
            for act in batches(storage):
                act()
        with open_storage(f"{own.url}?prefix=calls") as storage:
            for act in batches(storage):
                client.config_resetstat()
                act()
                assert calls(client, "evalsha", "eval", "exec") == {
                    "evalsha": 1,
                    "eval": 0,
                    "exec": 0,
                }


@pytest.mark.parametrize(
    "waiting",
    [
        lambda n: a_job(priority=-5, scheduled_at=NOON + SECOND),
        lambda n: a_job(name="other", priority=-5),
        lambda n: a_job(queue="other", priority=-5),
        lambda n: in_series(n + 1, priority=-5),
    ],
    ids=["future", "other name", "other queue", "blocked"],
)
def test_acquisition_does_not_walk_what_it_may_not_take(
    own: RedisServer, waiting: Callable[[int], Job]
) -> None:
    """Thousands of them cost no more look-ups than one does."""
    with open_storage(f"{own.url}?prefix=walk") as storage, Redis.from_url(own.url) as client:
        storage.clear()
        storage.save_job(in_series(0, status=JobStatus.PROCESSING))
        storage.save_jobs([waiting(n) for n in range(3000)])
        storage.save_job(a_job(id="due", priority=5))
        client.config_resetstat()
        taken = storage.acquire_next_jobs(
            3, handler_names=["work", "more"], queue="default", now=NOON
        )
        assert ids(taken) == ["due"]
        assert calls(client, "zrange")["zrange"] <= 8
        assert calls(client, "hget")["hget"] <= 1


# --- what a server may do -------------------------------------------------------------------


def test_an_outage_ends(own: RedisServer) -> None:
    """Connections that the server cut are replaced before anything is sent on them."""
    with open_storage(f"{own.url}?prefix=cut") as storage, Redis.from_url(own.url) as client:
        for _ in range(3):
            client.client_kill_filter(_type="normal", skipme=True)
            storage.save_job(a_job())
        client.client_kill_filter(_type="normal", skipme=True)
        assert len(storage.list_jobs()) == 3


def test_a_call_whose_answer_is_lost_is_repeated_only_if_that_is_harmless(
    own: RedisServer,
) -> None:
    """A verb that reads, or that would leave the same behind, is; one that takes jobs is not."""
    port = urlsplit(own.url).port or 0
    with (
        wire_to("127.0.0.1", port) as wire,
        open_storage(f"redis://127.0.0.1:{wire.port}/0?prefix=lost") as storage,
    ):
        storage.save_jobs([a_job(), a_job()])
        [job] = storage.acquire_next_jobs(1, now=NOON)
        assert job.lease is not None
        wire.lose_next_answer()
        assert len(storage.list_jobs()) == 2
        wire.lose_next_answer()
        assert storage.renew_leases({job.id: job.lease.token}, expires_at=NOON) == {job.id}
        wire.lose_next_answer()
        with pytest.raises(StorageUnavailable, match=r"[Cc]onnection"):
            storage.acquire_next_jobs(1, now=NOON)
        assert storage.count_jobs()[JobStatus.PROCESSING] == 2


def test_a_server_that_does_not_answer_in_time_is_unavailable(own: RedisServer) -> None:
    """And is not asked again."""
    with (
        open_storage(f"{own.url}?prefix=slow&socket_timeout=0.5") as storage,
        Redis.from_url(own.url) as client,
    ):
        client.client_pause(60_000, all=False)
        try:
            with pytest.raises(StorageUnavailable, match=r"[Tt]imeout"):
                storage.save_job(a_job())
        finally:
            client.client_unpause()


def test_a_replica_is_unavailable_for_writing(tmp_path: Path) -> None:
    """As after a failover: until it is a master again."""
    with running_redis(tmp_path) as server, open_storage(server.url) as storage:
        storage.save_job(a_job())
        with Redis.from_url(server.url) as client:
            client.replicaof("127.0.0.1", "1")
            for act in (lambda: storage.save_job(a_job()), lambda: lease(storage)):
                with pytest.raises(StorageUnavailable, match=r"(?i)read ?only"):
                    act()
            assert len(storage.list_jobs()) == 1
            client.replicaof("NO", "ONE")
        lease(storage)


def test_a_full_server_refuses_new_jobs_and_lets_the_old_ones_end(tmp_path: Path) -> None:
    """Nothing is half written, and what waits may be run and settled."""
    with running_redis(tmp_path) as server, open_storage(server.url) as storage:
        schedule = a_schedule()
        storage.save_schedule(schedule)
        storage.save_jobs([a_job(max_retries=1) for _ in range(20)])
        with Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1mb")
            refused: list[Callable[[], object]] = [
                lambda: storage.save_jobs([a_job() for _ in range(50)]),
                lambda: storage.save_schedule(a_schedule("other")),
                lambda: storage.record_expansions([expand(schedule, NOON)]),
            ]
            for act in refused:
                with pytest.raises(StorageUnavailable, match="used memory > 'maxmemory'"):
                    act()
            leased = storage.acquire_next_jobs(10, now=NOON)
            settled = [settlement(job, Completed("done")) for job in leased[:5]]
            settled += [settlement(job, Failed("no")) for job in leased[5:]]
            assert storage.settle_jobs(settled) == [True] * 10
            client.config_set("maxmemory", 0)
        assert storage.list_schedules() == [schedule]
        assert storage.count_jobs()[JobStatus.PENDING] == 15
        audit(server.url)


# --- jobs -----------------------------------------------------------------------------------


def test_batches_of_20_000(storage: RedisStorage, redis_url: str) -> None:
    """Saved, leased, renewed and settled whole, whatever a script's stack holds."""
    n = 20_000
    jobs = [a_job(priority=number % 7 - 3) for number in range(n)]
    storage.save_jobs(jobs)
    assert storage.count_jobs()[JobStatus.PENDING] == n
    with pytest.raises(DuplicateJob):
        storage.save_jobs([a_job(), *jobs])
    leased = storage.acquire_next_jobs(n, now=NOON)
    assert ids(leased) == ids(sorted(jobs, key=lambda job: (job.priority, job.id)))
    tokens = {job.id: job.lease.token for job in leased if job.lease}
    assert storage.renew_leases(tokens, expires_at=NOON + HOUR) == {job.id for job in jobs}
    assert len(storage.get_expired_jobs(NOON + HOUR, limit=n)) == n
    outcomes = [Completed(number) if number % 2 else Released() for number in range(n)]
    settlements = [settlement(*pair) for pair in zip(leased, outcomes, strict=True)]
    assert storage.settle_jobs(settlements) == [True] * n
    assert len(storage.get_jobs_by_status(JobStatus.PENDING)) == n // 2
    assert len(storage.list_jobs(status=JobStatus.COMPLETED, limit=n)) == n // 2
    audit(redis_url)


def test_a_series_of_thousands_runs_one_by_one(storage: RedisStorage, redis_url: str) -> None:
    """However it came in: a job that is made earlier than the first goes before it."""
    made = [in_series(n) for n in range(1, 3001)]
    storage.save_jobs(made[1:])
    assert storage.next_job_at() == NOON
    storage.save_job(made[0])
    for job in made[:20]:
        assert ids(storage.acquire_next_jobs(9, now=NOON)) == [job.id]
        storage.complete_job(job.id)
    audit(redis_url)


def test_a_serial_job_that_is_retried_is_the_next_again(storage: RedisStorage) -> None:
    """It is pending again, and still the first of its series."""
    first, second = in_series(1, max_retries=1), in_series(2)
    storage.save_jobs([second, first])
    job = lease(storage)
    failed = settlement(job, Failed("no"), now=NOON)
    storage.settle_jobs([failed])
    later = failed.job.scheduled_at
    assert storage.next_job_at() == later
    assert ids(storage.acquire_next_jobs(9, now=later)) == [first.id]
    assert storage.acquire_next_jobs(9, now=later) == []


def test_a_job_that_is_moved_within_its_series_waits_anew(
    storage: RedisStorage, redis_url: str
) -> None:
    """Behind whatever precedes it now; and whoever it preceded waits for it no longer."""
    first, second = in_series(1), in_series(2)
    storage.save_jobs([first, second])
    storage.update_job(replace(first, occurrence_at=NOON + 3 * MINUTE))
    audit(redis_url)
    assert ids(storage.acquire_next_jobs(9, now=NOON)) == [second.id]
    storage.update_job(replace(first, schedule_id="t"))
    audit(redis_url)
    assert ids(storage.acquire_next_jobs(9, now=NOON)) == [first.id]


def test_an_update_does_not_take_an_occurrence(storage: RedisStorage) -> None:
    """It belongs to another job, which keeps it."""
    one, other = (a_job(schedule_id="s", occurrence_at=NOON + n * HOUR) for n in range(2))
    storage.save_jobs([one, other])
    with pytest.raises(DuplicateJob, match=one.id):
        storage.update_job(replace(one, occurrence_at=other.occurrence_at))
    assert storage.get_job(one.id) == one
    storage.update_job(replace(one, priority=3))
    storage.update_job(replace(one, occurrence_at=None))
    storage.save_job(a_job(schedule_id="s", occurrence_at=one.occurrence_at))


@pytest.mark.parametrize("priority", [-(2**31) - 1, 2**31])
def test_a_priority_is_of_32_bits(storage: RedisStorage, priority: int) -> None:
    """Another is refused before anything is sent."""
    with pytest.raises(InvalidOption, match="priority"):
        storage.save_jobs([a_job(), a_job(priority=priority)])
    assert storage.list_jobs() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, NOON, b"bytes"], ids=repr)
def test_what_is_no_json_is_refused(storage: RedisStorage, value: Any) -> None:
    """As data and as a result, before anything is sent."""
    with pytest.raises((ValueError, TypeError)):
        storage.save_jobs([a_job(), a_job(data={"value": value})])
    storage.save_job(a_job())
    job = lease(storage)
    with pytest.raises((ValueError, TypeError)):
        storage.complete_job(job.id, value)
    assert storage.list_jobs() == [job]


def test_one_of_many_threads_ends_a_job(storage: RedisStorage) -> None:
    """What is computed from a job is written over that job and nothing else."""

    def ended(act: Callable[[], None]) -> bool:
        try:
            act()
        except InvalidMove:
            return False
        return True

    for _ in range(10):
        storage.save_job(a_job())
        job_id = lease(storage).id
        acts = [lambda: storage.complete_job(job_id), lambda: storage.fail_job(job_id, "no")]  # noqa: B023
        assert sum(at_once([lambda act=act: ended(act) for act in acts * 2])) == 1  # type: ignore[misc]


# --- processes ------------------------------------------------------------------------------


class Greedy(RedisStorage):
    """A store whose every acquisition is of fifty."""

    def acquire_next_jobs(self, n: int, **given: Any) -> list[Job]:
        return super().acquire_next_jobs(50, **given)


def test_20_000_jobs_are_acquired_once_by_many_processes(
    storage: RedisStorage, redis_url: str
) -> None:
    """However they race, each job is handed out once, and all of them are."""
    saved = [a_job() for _ in range(20_000)]
    storage.save_jobs(saved)
    taken = together("acquire", (f"{__name__}:{Greedy.__name__}", redis_url))
    assert all(taken)
    assert sorted(chain.from_iterable(chain.from_iterable(taken))) == ids(saved)
    audit(redis_url)
