import gzip
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest
from freezegun import freeze_time

from jobs import old_files
from jobs.old_files import rotate_old_files
from scheduler import InvalidData, JobContext, JobStatus

from .conftest import Service

TODAY = "2026-03-28T12:00:00+00:00"


@pytest.fixture
def logs(here: Path) -> Path:
    directory = here / "data" / "logs"
    directory.mkdir(parents=True)
    return directory


def write(path: Path, changed: str, text: str = "a line\n") -> Path:
    path.write_text(text)
    moment = datetime.fromisoformat(changed).replace(tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))
    return path


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


@freeze_time(TODAY)
def test_an_old_file_becomes_a_pack_with_its_text_mode_and_time(
    context: JobContext, logs: Path
) -> None:
    old = write(logs / "app.log", "2026-03-01T08:00:00", "what was said\n")
    old.chmod(0o640)
    assert rotate_old_files(context) == {"packed": 1, "deleted": 0}
    (pack,) = logs.iterdir()
    assert pack.name == "app.log.20260301T080000Z.gz"
    assert gzip.decompress(pack.read_bytes()) == b"what was said\n"
    assert pack.stat().st_mode & 0o777 == 0o640
    assert datetime.fromtimestamp(pack.stat().st_mtime, UTC).isoformat().startswith("2026-03-01T08")


@freeze_time(TODAY)
def test_fresh_other_linked_and_nested_files_are_left_alone(
    context: JobContext, logs: Path
) -> None:
    write(logs / "fresh.log", "2026-03-21T12:00:01")
    write(logs / "other.txt", "2025-01-01T00:00:00")
    (logs / "below").mkdir()
    write(logs / "below" / "nested.log", "2025-01-01T00:00:00")
    (logs / "linked.log").symlink_to(write(logs.parent / "elsewhere.log", "2025-01-01T00:00:00"))
    before = names(logs)
    assert rotate_old_files(context, delete_after_days=0) == {"packed": 0, "deleted": 0}
    assert names(logs) == before
    assert (logs / "below" / "nested.log").exists()


@freeze_time(TODAY)
def test_packs_are_kept_for_ever_unless_told_otherwise(context: JobContext, logs: Path) -> None:
    write(logs / "app.log.20200101T000000Z.gz", "2020-01-01T00:00:00")
    assert rotate_old_files(context)["deleted"] == 0
    assert rotate_old_files(context, delete_after_days=30)["deleted"] == 1
    assert names(logs) == []


@freeze_time(TODAY)
def test_only_packs_are_deleted_and_only_those_of_the_pattern(
    context: JobContext, logs: Path
) -> None:
    for name in ("by-hand.log.gz", "books.csv.20200101T000000Z.gz", "app.log.20260327T000000Z.gz"):
        write(logs / name, "2020-01-01T00:00:00" if "2026" not in name else "2026-03-27T00:00:00")
    before = names(logs)
    assert rotate_old_files(context, delete_after_days=30)["deleted"] == 0
    assert names(logs) == before


@freeze_time(TODAY)
def test_a_name_used_again_does_not_replace_the_earlier_pack(
    context: JobContext, logs: Path
) -> None:
    for changed in ("2026-03-01T00:00:00", "2026-03-02T00:00:00"):
        write(logs / "app.log", changed)
        rotate_old_files(context)
    assert names(logs) == ["app.log.20260301T000000Z.gz", "app.log.20260302T000000Z.gz"]


@freeze_time(TODAY)
def test_a_pack_that_cannot_be_written_leaves_the_original(
    context: JobContext, logs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: object) -> None:
        raise OSError(28, "No space left on device")

    write(logs / "app.log", "2026-03-01T00:00:00")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        rotate_old_files(context)
    assert names(logs) == ["app.log"]


def test_a_directory_that_is_not_there_is_nothing_to_do(context: JobContext, here: Path) -> None:
    assert rotate_old_files(context) == {"packed": 0, "deleted": 0}
    assert names(here) == []


def test_days_below_zero_are_refused_when_enqueued(
    service: Callable[[str, ModuleType], Service],
) -> None:
    started = service(TODAY, old_files)
    with pytest.raises(InvalidData, match="delete_after_days"):
        started.queue.add("rotate_old_files", {"delete_after_days": -1})


def test_it_runs_every_sunday_at_four(
    service: Callable[[str, ModuleType], Service], logs: Path
) -> None:
    started = service(TODAY, old_files)
    write(logs / "app.log", "2026-03-27T00:00:00")
    started.run_until("2026-04-06T00:00:00+00:00")
    first, second = started.runs("rotate_old_files")
    assert [f"{run.occurrence_at:%a %d %H:%M}" for run in (first, second)] == [
        "Sun 29 04:00",
        "Sun 05 04:00",
    ]
    assert (first.result, second.result) == (
        {"packed": 0, "deleted": 0},
        {"packed": 1, "deleted": 0},
    )
    assert second.status is JobStatus.COMPLETED
