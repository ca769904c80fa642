"""The fixture as a project that installs the package has it, on a store that outlives the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scheduler import JobStatus, open_storage
from scheduler.errors import InvalidOption
from scheduler.testing import Travel

from .test_travel import tens

TESTS = """
import pytest
from scheduler import every, job


@job(every(hours=1, start_date="2026-01-01T00:00"))
def hourly(): ...


@pytest.mark.parametrize("time", [1, 2])
def test_each_begins_anew(travel, time):
    travel.until("2026-01-01T01:00")
    assert travel.runs("hourly") == ["2026-01-01T00:00", "2026-01-01T01:00"]
"""


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/travelled.db"


def test_tests_on_one_store_do_not_see_each_other(tmp_path: Path, url: str) -> None:
    (tmp_path / "pytest.ini").write_text(f"[pytest]\ntravel_storage = {url}\n")
    (tmp_path / "test_hourly.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "2 passed" in done.stdout, done.stdout
    with open_storage(url) as storage:
        assert storage.list_schedules() == []
        assert not any(storage.count_jobs().values())


def test_what_was_lived_through_stays_where_it_was_written(url: str) -> None:
    with Travel(storage=url) as travel:
        travel.know(tens).until("2026-01-01T00:10")
    with open_storage(url) as storage:
        assert storage.count_jobs()[JobStatus.COMPLETED] == 2


def test_a_store_that_holds_something_is_refused_and_left_alone(url: str) -> None:
    with Travel(storage=url) as travel:
        travel.know(tens).until("2026-01-01T00:10")
    with Travel(storage=url) as travel:
        with pytest.raises(InvalidOption, match="holds schedules or jobs"):
            travel.know(tens).until("2026-01-01T00:10")
        travel.clear()
    with open_storage(url) as storage:
        assert [each.name for each in storage.list_schedules()] == ["tens"]


def test_a_storage_that_is_handed_over_is_neither_refused_nor_closed() -> None:
    with open_storage("sqlite://") as storage:
        for start, number in (("2026-01-01T00:00Z", 2), ("2026-01-01T00:15Z", 3)):
            with Travel(storage=storage, start=start) as travel:
                travel.know(tens).forward(minutes=10).clear()
            assert storage.count_jobs()[JobStatus.COMPLETED] == number
