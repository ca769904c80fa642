"""What every test may ask for: databases of each kind, and one PostgreSQL server per session.

The session's server is shared by all pytest-xdist workers and starts when the first test asks.
Where CI=true, nothing is skipped: a skip is a failure there.
"""

import os
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings

from .servers import fresh_database, server_home, server_url

CI = os.environ.get("CI", "").lower() not in {"", "0", "false"}
SERVER_HOME = pytest.StashKey[Path]()
Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

# `pytest --hypothesis-profile=…` overrules this.
settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if CI else "dev")


@pytest.fixture(scope="session")
def postgres_url(pytestconfig: pytest.Config) -> str:
    """The URL of the maintenance database of the session's PostgreSQL server."""
    return server_url(pytestconfig.stash[SERVER_HOME])


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of a new, empty PostgreSQL database, dropped after the test."""
    with fresh_database(postgres_url) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'jobs.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, one of each kind in turn."""
    fixture = {"sqlite": "sqlite_url", "postgres": "postgres_database"}[request.param]
    url: str = request.getfixturevalue(fixture)
    return url


def pytest_configure(config: pytest.Config) -> None:
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[SERVER_HOME] = Path(worker["server_home"])
        return
    # The process that outlives all others of the session holds the lease.
    lease = ExitStack()
    config.add_cleanup(lease.close)
    config.stash[SERVER_HOME] = lease.enter_context(server_home())


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Called by pytest-xdist in the controller, once for each worker."""
    node.workerinput["server_home"] = str(node.config.stash[SERVER_HOME])


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
