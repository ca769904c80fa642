"""What each command answers, for eyes and as JSON."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from scheduler.cli.arguments import duration
from scheduler.errors import InvalidOption
from scheduler.storage import open_storage
from scheduler.storage.sql.tables import SCHEMA_REVISION
from tests.cli.conftest import Scheduler

MONTHLY = '{"every": 1, "unit": "months", "start_date": "2024-01-31T09:00"}'


def test_preview_shows_a_rule_in_its_zone_and_in_utc(scheduler: Scheduler) -> None:
    answer = scheduler(
        "preview", MONTHLY, "--from", "2024-03-01", "--to", "2024-05-01",
        "--timezone", "Europe/Berlin",
    )  # fmt: skip

    assert answer.code == 0
    assert "2024-03-31 07:00:00 UTC" in answer.out
    assert "2024-03-31 09:00:00 CEST" in answer.out
    assert "2024-04-30 09:00:00 CEST" in answer.out


def test_preview_as_json_is_one_document(scheduler: Scheduler) -> None:
    answer = scheduler("preview", MONTHLY, "--from", "2024-01-01", "-n", "3", "--json")

    assert [each["occurrence_at"] for each in answer.json] == [
        "2024-01-31T09:00:00Z",
        "2024-02-29T09:00:00Z",
        "2024-03-31T09:00:00Z",
    ]


def test_a_previewed_window_says_what_is_dropped(scheduler: Scheduler) -> None:
    rule = '{"cron": "0 9 * * *", "except": [{"dates": ["2020-01-02"]}]}'
    window = ("--from", "2020-01-01", "--to", "2020-01-04")

    answer = scheduler("preview", rule, *window)
    views = scheduler("preview", rule, *window, "--json").json

    assert "2020-01-02 09:00:00 UTC   excluded" in answer.out
    assert [each["dropped"] for each in views] == [None, "excluded", None]
    assert views[0]["scheduled_at"] == "2020-01-01T09:00:00Z"


def test_a_preview_without_end_or_number_is_bounded(scheduler: Scheduler) -> None:
    window = ("--from", "2024-01-01", "--to", "2025-01-01")

    assert len(scheduler("preview", "* * * * *", *window, "--json").json) == 1000
    assert len(scheduler("preview", "* * * * *", *window, "-n", "3", "--json").json) == 3
    assert len(scheduler("preview", "* * * * *", "--json").json) == 10


@freeze_time("2026-03-28T12:00:00Z")
def test_next_shows_a_window_of_a_stored_schedule(scheduler: Scheduler) -> None:
    add = ("schedules", "add", "hourly", "note", "0 * * * *", "--jitter", "60", "--data")
    assert scheduler(*add, '{"text": "x"}').code == 0
    window = ("next", "hourly", "--from", "2026-03-28", "--to", "2026-03-28T15:00")

    assert [each["local"] for each in scheduler(*window, "--json").json] == [
        "2026-03-28 12:00:00 UTC",
        "2026-03-28 13:00:00 UTC",
        "2026-03-28 14:00:00 UTC",
    ]
    assert "starts" in scheduler(*window).out
    assert scheduler("schedules", "pause", "hourly").code == 0
    assert "paused" in scheduler(*window).out
    assert scheduler("next", "hourly").out == "hourly is paused: no run follows.\n"


def test_preview_touches_no_database(scheduler: Scheduler) -> None:
    answer = scheduler("preview", '{"every": 1, "unit": "hours"}', "-n", "1", "--json")

    assert len(answer.json) == 1


@freeze_time("2026-03-28T12:00:00Z")
def test_next_answers_for_a_schedule_that_was_never_run(scheduler: Scheduler) -> None:
    answer = scheduler("next", "report", "-n", "2", "--json")

    assert [each["occurrence_at"] for each in answer.json] == [
        "2026-03-29T07:00:00Z",
        "2026-03-30T07:00:00Z",
    ]


@freeze_time("2026-03-28T12:00:00Z")
@pytest.mark.parametrize(
    ("options", "scheduled_at"),
    [
        ([], "2026-03-28T12:00:00Z"),
        (["--in", "1h30m"], "2026-03-28T13:30:00Z"),
        (["--at", "2026-03-29T09:00:00+02:00"], "2026-03-29T07:00:00Z"),
        (["--at", "2026-03-29T09:00"], "2026-03-29T09:00:00Z"),
    ],
)
def test_enqueue_stores_a_job_for_its_time(
    scheduler: Scheduler, options: list[str], scheduled_at: str
) -> None:
    enqueued = scheduler("enqueue", "send_mail", '{"to": "ann@example.org"}', "--json", *options)

    assert enqueued.code == 0, enqueued.err
    [listed] = scheduler("jobs", "--json").json
    assert enqueued.json == listed
    assert listed["scheduled_at"] == scheduled_at
    assert listed["data"] == {"to": "ann@example.org"}
    assert listed["status"] == "pending"


def test_jobs_filters_by_status_and_name(scheduler: Scheduler) -> None:
    scheduler("enqueue", "send_mail", '{"to": "ann"}')

    assert len(scheduler("jobs", "--status", "pending", "--json").json) == 1
    assert scheduler("jobs", "--status", "failed", "--json").json == []
    assert scheduler("jobs", "--name", "report", "--json").json == []
    assert "send_mail" in scheduler("jobs").out


def test_a_job_is_shown_called_off_and_tried_again(scheduler: Scheduler) -> None:
    """By its id; what cannot be done is said in one line."""
    job_id = scheduler("enqueue", "note", '{"text": "a"}', "--json").json["id"]
    assert scheduler("jobs", "cancel", job_id, "--reason", "no need").out == (
        f"{job_id}  note is cancelled\n"
    )
    refused = scheduler("jobs", "cancel", job_id)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "cannot cancel while cancelled" in refused.err
    shown = scheduler("jobs", "show", job_id)
    assert "no need" in shown.out
    retried = scheduler("jobs", "retry", job_id)
    assert retried.out == f"{job_id}  note is due again, for attempt 1 of 4\n"
    assert scheduler("jobs", "show", job_id, "--json").json["status"] == "pending"
    assert "job nothing: not in the store" in scheduler("jobs", "show", "nothing").err


def test_what_an_attempt_said_is_shown(scheduler: Scheduler, workplace: Path) -> None:
    """Its error, and where it came from."""
    (workplace / "errands.py").write_text(
        "from scheduler import job\n\n@job(max_retries=0)\ndef fail(): return 1 / 0\n"
    )
    job_id = scheduler("enqueue", "fail", "--json").json["id"]
    assert scheduler("run", "--for", "1s", "--no-web").code == 0
    shown = scheduler("jobs", "show", job_id).out
    assert "attempt 1 failed after" in shown
    assert "ZeroDivisionError: division by zero" in shown
    [attempt] = scheduler("jobs", "show", job_id, "--json").json["attempts"]
    assert attempt["ending"] == "failed"


def test_jobs_shows_data_and_results_that_no_terminal_can_encode(scheduler: Scheduler) -> None:
    enqueued = scheduler("enqueue", "note", r'{"text": "Zoë \udcff"}', "--json")
    [listed] = scheduler("jobs", "--json").json
    assert listed == enqueued.json
    assert listed["data"] == {"text": "Zoë \udcff"}

    with open_storage("sqlite:///scheduler.db") as storage:
        storage.acquire_next_job()
        storage.complete_job(listed["id"], ["\udcff"])
    shown = scheduler("jobs")
    assert (shown.code, shown.err) == (0, "")
    assert r'["\udcff"]' in shown.out


def test_schedules_says_what_to_do_when_there_are_none(scheduler: Scheduler) -> None:
    assert "scheduler run" in scheduler("schedules").out
    assert scheduler("schedules", "--json").json == []


def test_config_hides_the_password(scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCHEDULER_DATABASE", "postgresql://me:hunter2@db/jobs?password=hunter2")

    for answer in (scheduler("config"), scheduler("config", "--json")):
        assert answer.code == 0
        assert "hunter2" not in answer.out
        assert "***" in answer.out


def test_the_environment_is_read_and_options_win(
    scheduler: Scheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SCHEDULER_CONCURRENCY", "none")

    answer = scheduler("config")

    assert answer.code == 2
    assert "SCHEDULER_CONCURRENCY: none" in answer.err


def test_db_upgrade_is_idempotent_and_db_current_tells(scheduler: Scheduler) -> None:
    assert scheduler("db", "current", "--json").json["current"] is None
    assert scheduler("db", "upgrade").out == f"sqlite:///scheduler.db is at {SCHEMA_REVISION}\n"
    again = f"sqlite:///scheduler.db is at {SCHEMA_REVISION}, as it was\n"
    assert scheduler("db", "upgrade").out == again
    current = scheduler("db", "current", "--json").json
    assert current["current"] == current["needed"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10", timedelta(seconds=10)),
        ("0.5s", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("1h30m", timedelta(minutes=90)),
        ("2d", timedelta(days=2)),
    ],
)
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(text, "--for") == expected


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_duration_or_refused(text: str) -> None:
    with suppress(InvalidOption):
        assert duration(text, "--for") >= timedelta(0)


def test_json_answers_are_the_only_thing_on_stdout(scheduler: Scheduler) -> None:
    for command in (["schedules"], ["jobs"], ["config"], ["db", "current"]):
        json.loads(scheduler(*command, "--json").out)
