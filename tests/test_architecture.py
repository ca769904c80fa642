"""The house keeps its floors: a file imports only from the floors below it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import scheduler

ROOT = Path(scheduler.__file__).parent

FLOORS = [
    {"errors", "clock", "logs"},
    {"beside", "capture", "faults", "ids", "rules", "polling", "retries", "store_clock"},
    {"model"},
    {"context", "flow", "lifecycle", "events", "views"},
    {"expansion", "history", "options"},
    {"retention"},
    {"signature", "storage", "operations", "explanation", "previews"},
    {"registry", "settling", "jobs"},
    {"transactions"},
    {"declarations", "handlers", "expander", "metronome", "pruner"},
    {"slots"},
    {"declarer", "executor", "schedules"},
    {"commands", "queue", "settings"},
    {"web", "testing"},
    {"service"},
    {"cli"},
    {"__main__"},
]
"""Lowest first; files of one floor do not know each other, but a package is one room."""

PURE = {
    "rules",
    "model",
    "lifecycle",
    "flow",
    "options",
    "expansion",
    "history",
    "retention",
    "operations",
    "explanation",
    "previews",
    "polling",
    "declarations",
}
"""Rooms that read no clock and do no I/O."""


def rooms() -> list[str]:
    return sorted(
        path.stem if path.is_file() else path.name
        for path in ROOT.iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    )


def floor(room: str) -> int:
    return next(height for height, names in enumerate(FLOORS) if room in names)


def sources(room: str) -> list[Path]:
    path = ROOT / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path.with_suffix(".py")]


def imported(room: str) -> Iterator[tuple[Path, str]]:
    """Every room that `room` imports at run time, and where."""
    for path in sources(room):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
                node.body = []
        for node in ast.walk(tree):
            if not isinstance(node, ast.ImportFrom) or node.module is None:
                continue
            if node.module == "scheduler":
                for name in node.names:
                    yield path, name.name
            elif node.module.startswith("scheduler."):
                yield path, node.module.split(".")[1]


@pytest.mark.parametrize("room", rooms())
def test_a_room_imports_only_from_the_floors_below(room: str) -> None:
    upwards = [
        f"{path.relative_to(ROOT)} imports {other}"
        for path, other in imported(room)
        if other != room and other in rooms() and floor(other) >= floor(room)
    ]

    assert upwards == []


@pytest.mark.parametrize("room", sorted(PURE))
def test_a_pure_room_reads_no_clock(room: str) -> None:
    assert "clock" not in {other for _, other in imported(room)}


def test_only_the_clock_reads_the_wall_clock() -> None:
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in ROOT.rglob("*.py")
        if any(
            call in path.read_text()
            for call in (".now(datetime", "now(UTC", "utcnow(", "time.time(")
        )
    ]

    assert readers == ["clock.py"]


def test_importing_the_package_loads_no_driver_web_migration_or_test_tool() -> None:
    code = (
        "import sys, scheduler, scheduler.cli.app, scheduler.testing;"
        "heavy = {'alembic', 'fastapi', 'uvicorn', 'psycopg', 'redis', 'sqlalchemy', 'pydantic',"
        "  'rich', 'pytest', 'freezegun'};"
        "print(sorted(heavy & set(sys.modules)))"
    )

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert loaded.stdout.strip() == "[]"
