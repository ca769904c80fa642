"""PostgreSQL fails under the services: backends end, the server crashes, the wire is cut or stalls.

SCHEDULER_FAULTS_STRIKES says how often each of it happens.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.faults import audit
from tests.faults.checker import Verdict, Why
from tests.faults.crew import TTL, Crew
from tests.faults.nursery import Nursery
from tests.faults.scene import busy_scene
from tests.servers import POSTGRES, fresh_database, server_home
from tests.servers.postgres import Cluster
from tests.servers.wire import Wire, wire_to

STRIKES = int(os.environ.get("SCHEDULER_FAULTS_STRIKES", "10"))
BETWEEN_STRIKES = (0.05, 0.6)
"""Seconds."""

pytestmark = pytest.mark.timeout(300)

_TERMINATE = (
    "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE application_name = 'crew') AS ended"
)


def strike(crew: Crew, act: Callable[[], int]) -> int:
    """Act at random moments, so often; the sum of what each time was hit."""
    moments, hit = random.Random(), 0
    for _ in range(STRIKES):
        crew.pass_time(moments.uniform(*BETWEEN_STRIKES))
        hit += act()
    return hit


def named(url: str) -> str:
    """`url` for the services, whose connections can be told from the test's."""
    with_name = make_url(url).update_query_dict({"application_name": "crew"})
    return with_name.render_as_string(hide_password=False)


def test_their_backends_are_terminated_again_and_again(
    postgres_database: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    url, place = postgres_database, tmp_path / "crew"
    with busy_scene(nursery, place, url, reached=named(url)) as acted:
        acted.crew.start_all()

        def terminate() -> int:
            with audit.connected(url) as connection:
                return int(connection.exec_driver_sql(_TERMINATE).scalar_one())

        assert strike(acted.crew, terminate) >= STRIKES
        hold(acted.finish(f"pg_terminate_backend x {STRIKES}", Why.CUT_OFF))


@pytest.fixture
def cluster() -> Iterator[tuple[Cluster, str]]:
    """A server of this test's own, and its URL."""
    with server_home(POSTGRES) as home:
        directory = home / "server"
        directory.mkdir()
        made = POSTGRES.create(directory)
        url = made.start()
        try:
            yield made, url
        finally:
            made.stop()


def test_the_server_crashes_and_comes_back(
    cluster: tuple[Cluster, str], nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    server, url = cluster
    with fresh_database(url) as database, busy_scene(nursery, tmp_path / "crew", database) as acted:
        acted.crew.start_all()
        for _ in range(2):
            before = acted.storage.count_jobs()
            server.restart("immediate")
            acted.crew.until(partial(have_gone_on, acted.storage.count_jobs, before))
        hold(acted.finish("pg_ctl restart -m immediate x 2", Why.CUT_OFF))


def have_gone_on(look: Callable[[], object], before: object) -> bool:
    return look() != before


@contextmanager
def wired(url: str) -> Iterator[tuple[Wire, str]]:
    """A wire to the server of this database, and the database's URL on it."""
    there = make_url(url)
    with wire_to(there.host or "", there.port or 5432) as wire:
        here = there.set(host="127.0.0.1", port=wire.port)
        yield wire, here.render_as_string(hide_password=False)


def test_the_wire_is_cut_again_and_again(
    postgres_database: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    url, place = postgres_database, tmp_path / "crew"
    with wired(url) as (wire, reached), busy_scene(nursery, place, url, reached=reached) as acted:
        acted.crew.start_all()
        assert strike(acted.crew, wire.cut) >= STRIKES
        hold(acted.finish(f"connections cut x {STRIKES}", Why.CUT_OFF))


def test_the_wire_stands_still_for_longer_than_a_lease(
    postgres_database: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """Nothing is answered and nothing is refused; then all of it arrives late."""
    url, place = postgres_database, tmp_path / "crew"
    with wired(url) as (wire, reached), busy_scene(nursery, place, url, reached=reached) as acted:
        acted.crew.start_all()
        wire.stall()
        acted.crew.pass_time(TTL + 1)
        wire.flow()
        hold(acted.finish("connections stall past the lease", Why.CUT_OFF))


def test_nobody_learns_whether_a_commit_was_made(
    postgres_database: str, nursery: Nursery, tmp_path: Path, hold: Callable[[Verdict], None]
) -> None:
    """The COMMIT arrives and is done; its answer is lost with the connection."""
    url, place = postgres_database, tmp_path / "crew"
    with wired(url) as (wire, reached), busy_scene(nursery, place, url, reached=reached) as acted:
        acted.crew.start_all()
        for _ in range(STRIKES):
            wire.lose_answer_to(b"COMMIT")
            acted.crew.until(lambda: wire.has_lost)
        hold(acted.finish(f"COMMIT in doubt x {STRIKES}", Why.CUT_OFF))
