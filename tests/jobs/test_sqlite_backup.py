import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from types import ModuleType

import pytest
from freezegun import freeze_time

from jobs import sqlite_backup
from jobs.sqlite_backup import DamagedBackupError, back_up_sqlite
from scheduler import JobContext, JobStatus

from .conftest import Service


@pytest.fixture
def books(here: Path) -> Path:
    """A database in WAL mode, as busy applications have it."""
    path = here / "books.sqlite3"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE books (title TEXT)")
        connection.execute("INSERT INTO books VALUES ('Middlemarch')")
    return path


def titles(path: str | Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [title for (title,) in connection.execute("SELECT title FROM books")]


@freeze_time("2026-03-28T02:30:00+00:00")
def test_a_backup_is_one_private_file_with_what_was_committed(
    context: JobContext, books: Path, here: Path
) -> None:
    with closing(sqlite3.connect(books)) as writer:
        writer.execute("INSERT INTO books VALUES ('not committed')")
        made = back_up_sqlite(context, books)
    backup = here / "data" / "backups" / "books-20260328T023000Z.db"
    assert made == {
        "backup": "data/backups/books-20260328T023000Z.db",
        "bytes": backup.stat().st_size,
        "deleted": [],
    }
    assert list(backup.parent.iterdir()) == [backup]
    assert backup.stat().st_mode & 0o777 == 0o600
    assert titles(backup) == ["Middlemarch"]


def test_the_newest_backups_stay_and_other_files_too(context: JobContext, books: Path) -> None:
    directory = books.parent / "backups"
    directory.mkdir()
    others = ["books-by-hand.db", "ledger-20200101T000000Z.db", "old-books-20200101T000000Z.db"]
    for name in others:
        (directory / name).touch()
    for day in range(1, 6):
        with freeze_time(f"2026-03-{day:02}T02:30:00+00:00"):
            made = back_up_sqlite(context, books, directory, keep=2)
    assert made["deleted"] == ["books-20260303T023000Z.db"]
    kept = ["books-20260304T023000Z.db", "books-20260305T023000Z.db"]
    assert sorted(path.name for path in directory.iterdir()) == sorted(others + kept)


def test_a_damaged_database_is_an_error_and_leaves_the_good_backups(
    context: JobContext, books: Path
) -> None:
    directory = books.parent / "backups"
    with freeze_time("2026-03-01T02:30:00+00:00"):
        back_up_sqlite(context, books, directory, keep=1)
    with closing(sqlite3.connect(books)) as connection, connection:
        connection.execute("CREATE INDEX by_title ON books (title)")
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("DELETE FROM sqlite_schema WHERE name = 'by_title'")
    with (
        freeze_time("2026-03-02T02:30:00+00:00"),
        pytest.raises(DamagedBackupError, match="never used"),
    ):
        back_up_sqlite(context, books, directory, keep=1)
    assert [path.name for path in directory.iterdir()] == ["books-20260301T023000Z.db"]


def test_a_database_that_is_not_there_is_an_error_and_is_not_created(
    context: JobContext, here: Path
) -> None:
    with pytest.raises(FileNotFoundError, match="no such database"):
        back_up_sqlite(context, Path("books.sqlite3"))
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("url", ["postgresql://scheduler@localhost/scheduler", "memory://"])
def test_there_is_nothing_to_back_up_where_the_service_keeps_no_file(
    context: JobContext, here: Path, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("SCHEDULER_DATABASE", url)
    assert back_up_sqlite(context) == {"backup": None}
    assert list(here.iterdir()) == []


def test_the_services_own_store_is_backed_up_every_night_at_half_past_two(
    service: Callable[[str, ModuleType], Service],
) -> None:
    started = service("2026-03-27T12:00:00+00:00", sqlite_backup)
    started.run_until("2026-03-30T00:00:00+00:00")
    runs = started.runs("back_up_sqlite")
    assert [(run.status, f"{run.occurrence_at:%d %H:%M}") for run in runs] == [
        (JobStatus.COMPLETED, "28 02:30"),
        (JobStatus.COMPLETED, "29 02:30"),
    ]
    with closing(sqlite3.connect(runs[-1].result["backup"])) as connection:
        (count,) = connection.execute("SELECT count(*) FROM jobs").fetchone()
    assert count == 2
