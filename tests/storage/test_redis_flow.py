"""What only Redis has of limits and attempts: its indexes of keys, and keys of an older version."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from scheduler import lifecycle
from scheduler.errors import SchemaMismatch
from scheduler.flow import Limit, Rate
from scheduler.model import (
    Completed,
    Declaration,
    Failed,
    Job,
    JobStatus,
    Lease,
    Origin,
    Outcome,
    Released,
    Settlement,
)
from scheduler.storage import open_storage
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.redis import RedisStorage, scripts
from scheduler.storage.redis.connection import read_url
from scheduler.storage.redis.storage import SCHEMA_VERSION
from scheduler.testing.contract.acts import a_note, a_skip, at_once, ids, token
from scheduler.testing.values import HOUR, MINUTE, NOON, SECOND, a_job, a_schedule
from tests.servers.redis import RedisServer, running_redis
from tests.storage.audit import audit

OLD = Path(__file__).with_name("redis_version_1.json")
"""The keys of a store as version 1 left them, their bytes as Latin-1."""

ONE = {"work": Limit(concurrency=1)}
TWO_A_MINUTE = {"work": Limit(rate=Rate(2, MINUTE))}


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


def ended(job: Job, outcome: Outcome, now: datetime = NOON + SECOND) -> Settlement:
    """What the holder of `job` writes, with the attempt."""
    attempt = lifecycle.attempt(job, outcome, started_at=NOON, now=now)
    return Settlement(lifecycle.settle(job, outcome, now=now), token(job), attempt=attempt)


# --- the cost of limits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "waiting",
    [
        lambda n: a_job(concurrency_key="full"),
        lambda n: a_job(concurrency_key="full", priority=-n % 3),
        lambda n: a_job(),
    ],
    ids=["one key", "in several priorities", "no key"],
)
@pytest.mark.parametrize("aged_before", [None, NOON + SECOND], ids=["", "aged"])
def test_what_waits_for_a_full_key_is_stepped_over(
    own: RedisServer, waiting: Callable[[int], Job], aged_before: datetime | None
) -> None:
    """Thousands of them cost no more look-ups than one does, and hide no other key and no name."""
    with open_storage(f"{own.url}?prefix=full") as storage, Redis.from_url(own.url) as client:
        storage.clear()
        storage.save_jobs([waiting(n) for n in range(3000)])
        storage.save_job(a_job(id="of another key", priority=5, concurrency_key="free"))
        storage.save_job(a_job(id="of another name", priority=6, name="more"))
        [first] = storage.acquire_next_jobs(1, now=NOON)
        assert first.concurrency_key != "free"
        client.config_resetstat()
        taken = storage.acquire_next_jobs(
            9, limits={**ONE, "more": ONE["work"]}, now=NOON, aged_before=aged_before
        )
        assert ids(taken) == ["of another key", "of another name"]
        stats: Any = client.info("commandstats")
        assert stats["cmdstat_zrange"]["calls"] <= 40
        assert stats["cmdstat_zlexcount"]["calls"] <= 3
        assert stats["cmdstat_hget"]["calls"] <= 2


def test_many_keys_share_a_batch_in_order(storage: RedisStorage, redis_url: str) -> None:
    """One of each key, by priority; then, as they end, the next of each."""
    jobs = [a_job(priority=-number, concurrency_key=f"k{number % 500}") for number in range(2000)]
    storage.save_jobs(jobs)
    last_first = jobs[::-1]
    for round_ in range(4):
        taken = storage.acquire_next_jobs(2000, limits=ONE, now=NOON)
        assert ids(taken) == ids(last_first[round_ * 500 : (round_ + 1) * 500])
        assert storage.acquire_next_jobs(2000, limits=ONE, now=NOON) == []
        assert all(storage.settle_jobs([ended(job, Completed()) for job in taken]))
    audit(redis_url)


def test_a_key_that_is_filled_from_one_queue_hides_nobody_in_another(
    storage: RedisStorage,
) -> None:
    """Its first job there was next, and is stepped over when its turn comes."""
    storage.save_jobs(
        [
            a_job(id="1 taken", queue="a", concurrency_key="k"),
            a_job(id="2 full by then", queue="b", concurrency_key="k"),
            a_job(id="3 behind it", queue="b", concurrency_key="other"),
        ]
    )
    assert ids(storage.acquire_next_jobs(9, limits=ONE, now=NOON)) == ["1 taken", "3 behind it"]


@pytest.mark.parametrize("aged_before", [None, NOON - 3 * SECOND], ids=["", "aged"])
def test_many_names_queues_and_keys_are_merged_in_order(
    storage: RedisStorage, aged_before: datetime | None
) -> None:
    """As one list, whatever is read of each at a time."""
    jobs = [
        a_job(
            name=f"n{n % 5}",
            queue=f"q{n % 3}",
            priority=n * 7 % 4,
            scheduled_at=NOON - n * 11 % 13 * SECOND,
            concurrency_key=[None, "k", "kk"][n * 5 % 7 % 3],
        )
        for n in range(400)
    ]
    model = MemoryStorage()
    limits = {"n1": Limit(concurrency=9), "n3": Limit(rate=Rate(11, MINUTE))}
    for each in (model, storage):
        each.save_jobs(jobs)
    for n in (1, 2, 50, 7, 400):
        taken = [
            ids(each.acquire_next_jobs(n, limits=limits, now=NOON, aged_before=aged_before))
            for each in (model, storage)
        ]
        assert taken[0] == taken[1]
    assert len(taken[0]) < n


# --- how many run ---------------------------------------------------------------------------


def test_those_who_race_stay_within_a_limit(redis_url: str, storage: RedisStorage) -> None:
    """All of them together, in each round."""
    storage.save_jobs([a_job(concurrency_key="k") for _ in range(40)])
    limits = {"work": Limit(concurrency=3)}

    def take() -> list[Job]:
        with RedisStorage(redis_url) as other:
            return other.acquire_next_jobs(2, limits=limits, now=NOON)

    for _ in range(5):
        taken = [*chain.from_iterable(at_once([take] * 4))]
        assert len({job.id for job in taken}) == len(taken) == 3
        assert all(storage.settle_jobs([ended(job, Completed()) for job in taken]))


def test_a_job_whose_key_is_changed_counts_under_the_new_one(
    storage: RedisStorage, redis_url: str
) -> None:
    """While it runs, and while it waits."""
    runs, waits = a_job(concurrency_key="a"), a_job(concurrency_key="b")
    storage.save_jobs([runs, waits])
    [taken] = storage.acquire_next_jobs(1, now=NOON)
    storage.update_job(replace(taken, concurrency_key="b"))
    assert storage.acquire_next_jobs(9, limits=ONE, now=NOON) == []
    storage.update_job(replace(waits, concurrency_key=None))
    audit(redis_url)
    assert ids(storage.acquire_next_jobs(9, limits=ONE, now=NOON)) == [waits.id]


def test_a_move_is_made_of_what_is_there(storage: RedisStorage) -> None:
    """However many make theirs at once, none is lost."""
    job = a_job()
    storage.save_job(job)

    def add() -> Job:
        return storage.move_job(
            job.id, lambda found: replace(found, retry_count=found.retry_count + 1)
        )

    moved = at_once([add] * 8)
    assert sorted(each.retry_count for each in moved) == [*range(1, 9)]
    assert storage.get_job(job.id) == replace(job, retry_count=8)


# --- how many start -------------------------------------------------------------------------


def test_the_starts_of_keys_that_never_come_again_are_forgotten(
    storage: RedisStorage, client: Redis
) -> None:
    """Once no executor whose clock is an hour behind would count them."""
    storage.save_jobs([a_job(concurrency_key=f"k{number}") for number in range(50)])
    assert len(storage.acquire_next_jobs(50, limits=TWO_A_MINUTE, now=NOON)) == 50
    starts, stale = (storage._connection.key(name) for name in ("starts", "stale"))
    assert (client.zcard(starts), client.zcard(stale)) == (50, 50)

    def start_another(at: datetime) -> None:
        storage.save_job(a_job())
        assert len(storage.acquire_next_jobs(9, limits=TWO_A_MINUTE, now=at)) == 1

    start_another(NOON + MINUTE + HOUR - SECOND)
    assert client.zcard(starts) == 51
    start_another(NOON + MINUTE + HOUR)
    assert (client.zcard(starts), client.zcard(stale)) == (2, 2)


def test_a_rate_reaches_past_the_ends_of_the_calendar(storage: RedisStorage) -> None:
    """Where no instant is so much earlier, or later, all starts count."""
    limits = {"work": Limit(rate=Rate(1, timedelta(days=366)))}
    for at in (datetime(1, 1, 1, 12, tzinfo=UTC), datetime(9999, 12, 31, 12, tzinfo=UTC)):
        storage.save_jobs([a_job(scheduled_at=at) for _ in range(2)])
        assert len(storage.acquire_next_jobs(9, limits=limits, now=at)) == 1


def test_an_attempt_is_on_record_once(storage: RedisStorage) -> None:
    """One that was released leaves its number to the next, which may begin at the same instant."""
    storage.save_job(a_job(id="tried"))
    for outcome in (Released(), Failed("no")):
        [job] = storage.acquire_next_jobs(1, now=NOON)
        assert storage.settle_jobs([ended(job, outcome)]) == [True]
    assert [each.error for each in storage.list_attempts(["tried"])] == ["no"]


# --- what is sent, and to a full server -----------------------------------------------------


def test_limits_and_attempts_take_one_call(own: RedisServer) -> None:
    """However many they are of, once the server knows the script."""
    with open_storage(f"{own.url}?prefix=one") as storage, Redis.from_url(own.url) as client:
        for _ in range(2):
            storage.clear()
            storage.save_jobs([a_job(concurrency_key=f"k{n % 5}") for n in range(20)])
            leased: list[Job] = []
            acts: list[Callable[[], object]] = [
                lambda: leased.extend(  # noqa: B023
                    storage.acquire_next_jobs(9, limits=TWO_A_MINUTE, now=NOON, aged_before=NOON)
                ),
                lambda: storage.held_leases({job.id: token(job) for job in leased}),  # noqa: B023
                lambda: storage.settle_jobs([ended(job, Failed("no")) for job in leased]),  # noqa: B023
                lambda: storage.list_attempts([job.id for job in leased]),  # noqa: B023
                lambda: storage.next_job_at(after=NOON),
            ]
            sent = []
            for act in acts:
                client.config_resetstat()
                act()
                stats: Any = client.info("commandstats")
                sent.append(stats["cmdstat_evalsha"]["calls"])
            assert len(storage.list_attempts([job.id for job in leased])) == 9
        assert sent == [1] * len(acts)


def test_a_full_server_still_lets_limited_jobs_run_and_end(tmp_path: Path) -> None:
    """With their starts and attempts: nothing of them is half written."""
    with running_redis(tmp_path) as server, open_storage(server.url) as storage:
        storage.save_jobs([a_job(concurrency_key="k", max_retries=1) for _ in range(20)])
        with Redis.from_url(server.url) as client:
            client.config_set("maxmemory", "1mb")
            leased = storage.acquire_next_jobs(10, limits=TWO_A_MINUTE, now=NOON)
            assert len(leased) == 2
            assert storage.acquire_next_jobs(10, limits=TWO_A_MINUTE, now=NOON) == []
            assert storage.settle_jobs([ended(job, Failed("no")) for job in leased]) == [True] * 2
            client.config_set("maxmemory", 0)
        assert len(storage.list_attempts(ids(leased))) == 2
        audit(server.url)


def test_every_key_of_limits_and_attempts_is_declared(storage: RedisStorage, client: Redis) -> None:
    """And all of them are gone once the store is cleared."""
    storage.save_jobs([a_job(concurrency_key="k") for _ in range(5)])
    for job in storage.acquire_next_jobs(2, limits=TWO_A_MINUTE, now=NOON):
        storage.settle_jobs([ended(job, Failed("no"))])
    [_] = storage.acquire_next_jobs(1, now=NOON)
    prefix = read_url(storage.url).prefix
    found = {each.decode() for each in client.scan_iter(f"*{prefix}*")}
    new = ("attempts", "by_key", "heads", "keyed", "running", "stale", "starts")
    assert {scripts.key(prefix, name) for name in new} <= found <= {*scripts.keys(prefix)}
    storage.clear()
    assert {*client.scan_iter(f"*{prefix}*")} == {scripts.key(prefix, "schema").encode()}


def test_the_clock_is_that_of_the_server(storage: RedisStorage, client: Redis) -> None:
    """In UTC, to the microsecond."""

    def server_time() -> datetime:
        seconds, microseconds = client.time()
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=microseconds)

    before, read, after = server_time(), storage.read_clock(), server_time()
    assert before <= read <= after
    assert read.tzinfo is UTC


# --- keys of version 1 ----------------------------------------------------------------------


@pytest.fixture
def old(redis_url: str, client: Redis) -> str:
    """The URL of a store as version 1 left it."""
    prefix = read_url(redis_url).prefix
    for name, stored in json.loads(OLD.read_text("utf-8")).items():
        key = scripts.key(prefix, name)
        if isinstance(stored, dict):
            pairs = {each.encode("latin-1"): stored[each].encode("latin-1") for each in stored}
            client.hset(key, mapping=pairs)
        else:
            client.zadd(key, {member.encode("latin-1"): 0 for member in stored})
    client.set(scripts.key(prefix, "schema"), "1")
    return redis_url


def test_keys_of_version_1_are_taken_over_whole(old: str) -> None:
    """By opening them: nothing is lost, and several who do it at once do it once."""
    with RedisStorage(old) as storage:
        at_once([storage.prepare] * 4)
        audit(old)
        made: dict[str, Any] = {"schedule_id": "s", "serial": True, "origin": Origin.OCCURRENCE}
        lease = Lease("1b4f303e4c66c807", NOON + MINUTE)
        running: dict[str, Any] = {"status": JobStatus.PROCESSING, "lease": lease}
        expected = [
            a_job(id="waits", name="é", priority=-3, data={"n": [1, None, "é"]}),
            a_job(
                id="second",
                occurrence_at=NOON + MINUTE,
                sequence=2,
                scheduled_at=NOON + MINUTE,
                **made,
            ),
            a_job(id="runs", worker="w", started_at=NOON, **running),
            a_job(id="first", occurrence_at=NOON, sequence=1, worker="w", **made),
            a_job(
                id="ended",
                timeout=MINUTE,
                status=JobStatus.COMPLETED,
                result={"n": 1},
                started_at=NOON,
                completed_at=NOON + SECOND,
                worker="w",
            ),
        ]
        assert storage.list_jobs() == expected
        schedule = a_schedule(id="s")
        assert storage.list_schedules() == [schedule]
        assert storage.list_skips("s") == [a_skip(schedule)]
        assert storage.list_notes("s") == [a_note(schedule)]
        assert storage.list_declarations(seen_since=NOON) == [
            Declaration(
                process="p", code="c", since_at=NOON, seen_at=NOON, schedules={"books": "d"}
            )
        ]


def test_what_ran_under_version_1_counts(old: str) -> None:
    """Until it ends; and what waited goes on."""
    with open_storage(old) as storage:
        assert storage.acquire_next_jobs(9, limits=ONE, handler_names=["work"], now=NOON) == []
        storage.complete_job("runs")
        [first] = storage.acquire_next_jobs(9, limits=ONE, handler_names=["work"], now=NOON)
        assert first.id == "first"
        assert storage.settle_jobs([ended(first, Failed("no"))]) == [True]
        assert [each.error for each in storage.list_attempts(["first"])] == ["no"]
        audit(old)


def test_keys_of_version_1_are_refused_unprepared(old: str) -> None:
    """With the mend; and nothing is changed by looking."""
    with RedisStorage(old) as storage:
        for _ in range(2):
            with pytest.raises(
                SchemaMismatch, match=f"is 1, .* is {SCHEMA_VERSION}; run: scheduler db upgrade"
            ):
                storage.check()
        storage.upgrade()
        storage.check()
