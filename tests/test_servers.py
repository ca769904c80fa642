"""The servers that other tests rely on: they answer, keep tests apart and leave nothing behind."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, inspect, make_url
from sqlalchemy.exc import OperationalError

from . import servers

ROOT = Path(__file__).parents[1]


def query(url: str, statement: str) -> object:
    with create_engine(url, poolclass=NullPool).begin() as connection:
        result = connection.exec_driver_sql(statement)
        return result.scalar() if result.returns_rows else None


def tables(url: str) -> list[str]:
    return inspect(create_engine(url, poolclass=NullPool)).get_table_names()


@pytest.fixture(scope="module")
def throwaway() -> Iterator[str]:
    with servers.server_home() as home:
        yield servers.throwaway_server(home)


def test_the_server_answers(postgres_url: str) -> None:
    assert str(query(postgres_url, "SELECT version()")).startswith("PostgreSQL ")


def test_the_server_named_by_the_environment_is_used(
    throwaway: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(servers.VARIABLE, throwaway.replace("postgresql+psycopg:", "postgresql:"))
    assert servers.server_url(tmp_path) == throwaway
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("nonsense", "not a database URL"),
        ("sqlite:///jobs.db", "not a PostgreSQL URL"),
        ("postgresql://someone:secret@127.0.0.1:1/postgres", "does not answer"),
    ],
)
def test_a_named_server_that_cannot_be_used_is_an_error(
    url: str, reason: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(servers.VARIABLE, url)
    with pytest.raises(servers.ServerError, match=reason) as caught:
        servers.server_url(tmp_path)
    assert servers.VARIABLE in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_missing_wheel_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(servers.VARIABLE, raising=False)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(servers.ServerError, match=r"pip install '\.\[test\]'"):
        servers.server_url(tmp_path)


def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with (
        servers.server_home() as home,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(servers, "__file__", str(tmp_path / "absent.py"))
        with pytest.raises(servers.ServerError, match=r"absent\.py"):
            servers.throwaway_server(home)


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
    with servers.fresh_database(postgres_url) as one, servers.fresh_database(postgres_url) as two:
        query(one, "CREATE TABLE seen (id integer)")
        assert tables(one) == ["seen"]
        assert tables(two) == []
        name = make_url(one).database
        assert query(postgres_url, exists.format(name)) == 1
        left_open = create_engine(one, poolclass=NullPool).connect()
    assert query(postgres_url, exists.format(name)) == 0
    left_open.invalidate()
    left_open.close()


def test_the_server_ends_with_its_block() -> None:
    with servers.server_home() as home:
        url = servers.throwaway_server(home)
        assert servers.throwaway_server(home) == url
        assert query(url, "SELECT 1") == 1
    assert_gone(url, home)


def test_the_server_ends_with_its_holder_however_that_dies() -> None:
    script = (
        "from tests.servers import *\n"
        "with server_home() as home:\n"
        "    print(throwaway_server(home), home, flush=True)\n"
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
        assert query(url, "SELECT 1") == 1
        holder.kill()
    servers.await_keepers(Path(home))
    assert_gone(url, Path(home))


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


def assert_gone(url: str, home: Path) -> None:
    with pytest.raises(OperationalError, match="refused"):
        query(url, "SELECT 1")
    assert not home.exists()
