"""What every test may ask for: databases of each kind, and one server of each kind per session.

The session's servers are shared by all pytest-xdist workers; each starts when the first test asks.
They keep their files in memory; the faults and the benchmarks have one that keeps them on disk.
Where CI=true, nothing is skipped: a skip is a failure there.
"""

import logging
import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings

from scheduler.storage.open import storage_for

from .faults.summary import pytest_fault_verdicts
from .servers import (
    KINDS,
    MARIADB,
    POSTGRES,
    REDIS,
    Kind,
    fresh_database,
    fresh_prefix,
    mariadb,
    server_home,
    server_url,
)
from .storage.mssql.summary import pytest_terminal_summary

__all__ = ["pytest_fault_verdicts", "pytest_terminal_summary"]

CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
LASTING = "lasting"
SERVER_HOMES = pytest.StashKey[dict[str, Path]]()
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# `pytest --hypothesis-profile=…` overrules this.
# Neither of the two judges by the seconds of this machine, which may be busy.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", UNTIMED, derandomize=True, print_blob=True)
settings.register_profile("dev", UNTIMED)
settings.load_profile("ci" if CI else "dev")


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The URL of the maintenance database of the session's PostgreSQL server."""
    return session_server(pytestconfig, POSTGRES)


@pytest.fixture(scope="session")
def lasting_postgres_url(pytestconfig: pytest.Config) -> str:
    """As `postgres_url`, of a server whose files are on disk, as in production."""
    return server_url(POSTGRES, pytestconfig.stash[SERVER_HOMES][LASTING])


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, dropped after the test."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_url(pytestconfig: pytest.Config) -> str:
    """The URL of a database of the session's MariaDB server."""
    return session_server(pytestconfig, MARIADB)


@pytest.fixture
def mariadb_database(mariadb_url: str) -> Iterator[str]:
    """The URL of a new, empty MariaDB database, dropped after the test."""
    with mariadb.fresh_database(mariadb_url) as url:
        yield url


@pytest.fixture(scope="session")
def redis_server(pytestconfig: pytest.Config) -> str:
    """The URL of the session's Redis server, without a prefix."""
    return session_server(pytestconfig, REDIS)


@pytest.fixture
def redis_url(redis_server: str) -> Iterator[str]:
    """The URL of a new, empty store on the session's Redis server, removed after the test."""
    with fresh_prefix(redis_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


DATABASES = {
    "sqlite": "sqlite_url",
    "postgres": "postgres_database",
    "mariadb": "mariadb_database",
}


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, one of each kind in turn."""
    url: str = request.getfixturevalue(DATABASES[request.param])
    return url


@pytest.fixture(params=[kind for kind in DATABASES if kind != "sqlite"])
def server_database(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a server, one of each kind in turn."""
    url: str = request.getfixturevalue(DATABASES[request.param])
    return url


@pytest.fixture(params=[*DATABASES, "redis"])
def store_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty store, ready for use, one of each kind that processes share in turn."""
    url: str = request.getfixturevalue({**DATABASES, "redis": "redis_url"}[request.param])
    with storage_for(url) as storage:
        storage.upgrade()
    return url


@pytest.fixture(autouse=True)
def log_levels() -> Iterator[None]:
    """What a command sets the levels of logging to ends with its test."""
    loggers = [logging.getLogger(name) for name in (None, "scheduler", "apscheduler")]
    before = [each.level for each in loggers]
    yield
    for each, level in zip(loggers, before, strict=True):
        each.setLevel(level)


def session_server(config: pytest.Config, kind: Kind) -> str:
    """The URL of the session's server of this kind."""
    return server_url(kind, config.stash[SERVER_HOMES][kind.key])


def pytest_configure(config: pytest.Config) -> None:
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        homes = worker["server_homes"]
        config.stash[SERVER_HOMES] = {key: Path(home) for key, home in homes.items()}
        return
    # The process that outlives all others of the session holds the leases.
    leases = ExitStack()
    config.add_cleanup(leases.close)
    config.stash[SERVER_HOMES] = {
        LASTING: leases.enter_context(server_home(POSTGRES)),
        **{
            key: leases.enter_context(server_home(kind, is_lasting=False))
            for key, kind in KINDS.items()
        },
    }


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the controller, once for each worker."""
    homes = node.config.stash[SERVER_HOMES]
    node.workerinput["server_homes"] = {key: str(home) for key, home in homes.items()}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    return _refuse_skip(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _refuse_skip(report)


def _refuse_skip(report: Report) -> Report:
    """The report itself; where CI=true, a failure in place of a skip (an xfail is no skip)."""
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, where CI=true allows no skips: {why}"
    return report
