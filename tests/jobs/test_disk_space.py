import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from jobs import disk_space
from jobs.disk_space import DiskSpaceError, watch_disk_space
from scheduler import JobStatus

from .conftest import Service


def test_enough_space_is_reported(here: Path) -> None:
    found = watch_disk_space(here, least_free_percent=0)
    assert found["free_bytes"] > 0
    assert 0 < found["free_percent"] <= 100


def test_too_little_space_is_an_error_that_names_the_directory(here: Path) -> None:
    with pytest.raises(DiskSpaceError, match=rf"{here}: .* % is free .* less than 100 %"):
        watch_disk_space(here, least_free_percent=100)


def test_it_is_watched_from_the_start_every_five_minutes(
    service: Callable[[str, ModuleType], Service],
) -> None:
    started = service("2026-03-28T12:00:30+00:00", disk_space)
    started.run_until("2026-03-28T12:12:00+00:00")
    runs = started.runs("watch_disk_space")
    assert [f"{run.occurrence_at:%H:%M:%S}" for run in runs] == ["12:00:30", "12:05:30", "12:10:30"]


def test_too_little_space_fails_the_run_at_once_and_not_the_series(
    service: Callable[[str, ModuleType], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=0))
    started = service("2026-03-28T12:00:00+00:00", disk_space)
    started.run_until("2026-03-28T12:04:00+00:00")
    monkeypatch.undo()
    started.run_until("2026-03-28T12:05:00+00:00")
    first, second = started.runs("watch_disk_space")
    assert (first.status, first.retry_count) == (JobStatus.FAILED, 0)
    assert first.error is not None
    assert first.error.startswith("DiskSpaceError: ")
    assert second.status is JobStatus.COMPLETED
