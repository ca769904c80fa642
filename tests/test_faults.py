"""Fault points: off unless asked for, and every one of them is where its name says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import scheduler
from scheduler import faults
from scheduler.errors import InvalidOption, UnknownName

SOURCES = Path(scheduler.__file__).parent
USED = re.compile(r'faults\.point\("([^"]*)"\)')


def test_every_point_is_in_the_code_and_every_point_in_the_code_is_declared() -> None:
    used = {
        name
        for path in SOURCES.rglob("*.py")
        if path.name != "faults.py"
        for name in USED.findall(path.read_text())
    }
    assert used == set(faults.POINTS)


def test_a_point_does_nothing_unless_the_environment_asks() -> None:
    assert faults.armed({}) is faults.armed({faults.VARIABLE: ""}) is faults.nothing


def test_the_process_ends_at_that_hit_of_that_point_alone() -> None:
    ended: list[int] = []
    point = faults.death("executor.landed:3", ended.append)
    for _ in range(2):
        point("executor.landed")
        point("executor.settle.before")
    assert ended == []
    point("executor.landed")
    assert ended == [faults.EXIT_CODE]


@pytest.mark.parametrize("given", ["executor.settled:1", "settle:1", ":1"])
def test_a_point_that_is_none_is_refused(given: str) -> None:
    with pytest.raises(UnknownName, match="SCHEDULER_FAULT"):
        faults.death(given)


@pytest.mark.parametrize("hit", ["", ":", ":0", ":-1", ":x", ":1.0"])
def test_a_hit_that_is_no_number_from_one_is_refused(hit: str) -> None:
    with pytest.raises(InvalidOption, match="POINT:HIT"):
        faults.death(f"executor.landed{hit}")


def test_a_process_with_a_wrong_fault_does_not_start() -> None:
    """A misspelt fault would otherwise prove anything."""
    done = subprocess.run(
        [sys.executable, "-c", "import scheduler.faults"],
        env={faults.VARIABLE: "executor.settle.befor:1"},
        cwd=SOURCES.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "did you mean 'executor.settle.before'?" in done.stderr
