"""Settings: where they come from, which win, and what a wrong one is told."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.errors import InvalidOption
from scheduler.retention import Retention
from scheduler.settings import read_settings

DAY = 24 * 60 * 60


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No SCHEDULER_* of this machine, and no .env but the test's."""
    for name in list(os.environ):
        if name.startswith("SCHEDULER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_without_anything_set_there_are_defaults() -> None:
    """Those that the README tells."""
    settings = read_settings()
    assert settings.database == "sqlite:///scheduler.db"
    assert settings.modules == ("jobs",)
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.default_timezone == "UTC"
    assert settings.queue is None
    assert settings.lease_ttl == timedelta(seconds=60)


def test_given_wins_over_environment_over_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """An option that is not given (None) leaves the others to decide."""
    Path(".env").write_text("SCHEDULER_CONCURRENCY=1\nSCHEDULER_TTL=1\nSCHEDULER_PORT=1\nOTHER=x\n")
    monkeypatch.setenv("SCHEDULER_TTL", "2")
    monkeypatch.setenv("SCHEDULER_PORT", "2")
    settings = read_settings(port=3, ttl=None)
    assert (settings.concurrency, settings.ttl, settings.port) == (1, 2, 3)


@pytest.mark.parametrize(
    ("text", "modules"),
    [("jobs", ("jobs",)), ("jobs, billing.jobs ,,", ("jobs", "billing.jobs")), ("", ())],
)
def test_modules_are_separated_by_commas(
    monkeypatch: pytest.MonkeyPatch, text: str, modules: tuple[str, ...]
) -> None:
    """Blanks do not count."""
    monkeypatch.setenv("SCHEDULER_MODULES", text)
    assert read_settings().modules == modules


def test_what_is_finished_stays_for_weeks_or_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """In seconds; zero is no time at all."""
    assert read_settings().retention == Retention(
        completed=30 * DAY, failed=90 * DAY, cancelled=30 * DAY
    )
    assert read_settings().retention.periods == Retention().periods
    monkeypatch.setenv("SCHEDULER_RETENTION_COMPLETED", "0")
    monkeypatch.setenv("SCHEDULER_RETENTION_FAILED", "forever")
    monkeypatch.setenv("SCHEDULER_RETENTION_CANCELLED", "90.5")
    assert read_settings().retention == Retention(completed=0, failed=None, cancelled=90.5)


REFUSED = [
    ("retention_failed", "-1", "greater than or equal to 0"),
    ("retention_failed", "never", "valid number"),
    ("retention_completed", "9999999999", "less than or equal to"),
    ("concurrency", "0", "greater than or equal to 1"),
    ("concurrency", "ten", "valid integer"),
    ("max_retries", "-1", "greater than or equal to 0"),
    ("ttl", "0", "greater than 0"),
    ("port", "65536", "less than or equal to 65535"),
    ("default_timezone", "Mars/Olympus", "Mars/Olympus"),
    ("log_level", "loud", "is not one of debug, info, warning, error"),
    ("log_format", "xml", "is not one of auto, console, json"),
    ("web", "perhaps", "boolean"),
]


@pytest.mark.parametrize(("name", "value", "said"), REFUSED)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """With its value and what is allowed."""
    monkeypatch.setenv(f"SCHEDULER_{name.upper()}", value)
    with pytest.raises(InvalidOption, match=said) as caught:
        read_settings()
    assert caught.value.field == f"SCHEDULER_{name.upper()}"
    assert value in str(caught.value)


@pytest.mark.parametrize(
    ("given", "option"),
    [({"concurrency": 0}, "--concurrency"), ({"log_level": "loud"}, "--log-level")],
)
def test_a_wrong_option_is_named(given: dict[str, Any], option: str) -> None:
    """As it is written on the command line."""
    with pytest.raises(InvalidOption) as caught:
        read_settings(**given)
    assert caught.value.field == option
