"""A directory with job modules, as a user has one, and the command line run in it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pydantic.main  # noqa: F401  # before any clock is frozen: it keeps the date classes it meets
import pytest

from scheduler.cli import run

MODULE = """
from datetime import date

from scheduler import every, job


@job(every(days=1, start_date="2024-01-31T09:00", timezone="Europe/Berlin"))
def report(): ...


@job
def send_mail(to: str, copies: int = 1, on: date | None = None): ...


@job
def note(text): ...
"""


class Answer(NamedTuple):
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Scheduler = Callable[..., Answer]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory, the working directory, with the job module `errands`."""
    (tmp_path / "errands.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("SCHEDULER_MODULES", "errands")
    monkeypatch.setenv("SCHEDULER_PORT", "0")
    sys.modules.pop("errands", None)
    return tmp_path


@pytest.fixture
def scheduler(workplace: Path, capsys: pytest.CaptureFixture[str]) -> Scheduler:
    """Runs one command in the workplace."""

    def command(*arguments: str) -> Answer:
        capsys.readouterr()
        code = run(arguments)
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    return command
