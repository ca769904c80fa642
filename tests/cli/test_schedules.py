"""`scheduler schedules …`, `explain` and `plan`, as a person types them."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from freezegun import freeze_time

from tests.cli.conftest import MODULE, Scheduler

ADD = ("schedules", "add", "nights", "send_mail", "30 2 * * *", "--data", '{"to": "ada"}')


@pytest.fixture
def nights(scheduler: Scheduler) -> None:
    assert scheduler(*ADD, "--timezone", "Europe/Berlin").code == 0


@pytest.mark.usefixtures("nights")
def test_a_schedule_lives_on_the_command_line(scheduler: Scheduler) -> None:
    assert "nights is paused, at revision 2" in scheduler("schedules", "pause", "nights").out
    [listed] = scheduler("schedules", "--json").json
    assert (listed["status"], listed["timezone"]) == ("paused", "Europe/Berlin")
    assert "paused" in scheduler("schedules").out
    assert "active" in scheduler("schedules", "resume", "nights", "--catch-up").out
    rule = '{"every": 1, "unit": "days", "start_date": "2026-01-01T04:00"}'
    edited = scheduler(
        *("schedules", "edit", "nights", "--rule", rule, "--overlap", "queue_one"),
        *("--grace", "5m", "--jitter", "30s", "--priority", "-1", "--by", "ada", "--json"),
    ).json
    assert (edited["overlap"], edited["grace"], edited["jitter"]) == ("queue_one", 300, 30)
    assert edited["revision"] == 4
    job = scheduler("schedules", "run", "nights", "--data", '{"to": "bob"}', "--json").json
    assert (job["origin"], job["data"]) == ("run_now", {"to": "bob"})
    window = ("--from", "2026-01-02", "--to", "2026-01-04")
    assert "2026-01-03 04:00:00 CET" in scheduler("schedules", "backfill", "nights", *window).out
    assert "Nothing to backfill" in scheduler("schedules", "backfill", "nights", *window).out
    shown = scheduler("schedules", "show", "nights", "--json").json
    assert [note["action"] for note in shown["notes"]] == [
        "created",
        "paused",
        "resumed",
        "edited",
        "backfilled",
    ]
    assert shown["notes"][3]["actor"] == "ada"
    assert "backfilled" in scheduler("schedules", "show", "nights").out
    assert "is deleted" in scheduler("schedules", "delete", "nights").out
    assert scheduler("schedules", "--json").json == []


@pytest.mark.usefixtures("nights")
def test_why_is_answered_in_a_sentence(scheduler: Scheduler) -> None:
    said = scheduler("explain", "nights", "--at", "2099-03-29T02:30")
    assert said.out.startswith("2099-03-29 02:30:00 did not exist in Europe/Berlin")
    why = scheduler("explain", "nights", "--at", "2099-01-01T02:31", "--json").json
    assert (why["verdict"], why["next_at"]) == ("no occurrence", "2099-01-02T01:30:00Z")


def test_a_broken_module_does_not_stand_between_an_operator_and_a_pause(
    scheduler: Scheduler, workplace: Path, nights: None
) -> None:
    (workplace / "errands.py").write_text("import nothing_of_that_name")
    for arguments in (
        ("schedules", "pause", "nights"),
        ("explain", "nights", "--at", "2026-01-01"),
        ("schedules", "resume", "nights"),
        ("schedules", "run", "nights"),
        ("schedules", "delete", "nights"),
    ):
        assert scheduler(*arguments).code == 0


def test_a_plan_shows_what_starting_would_change_and_changes_nothing(
    scheduler: Scheduler, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(code: str) -> None:
        (workplace / "errands.py").write_text(code)
        monkeypatch.delitem(sys.modules, "errands")  # a new process would read it

    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # nor trust a stamp of this second
    said = scheduler("plan", "--check")
    assert (said.code, said.out.splitlines()[0][:16]) == (1, "+ report (added)")
    assert not (workplace / "scheduler.db").exists()
    assert scheduler("run", "--for", "0.1s", "--no-web").code == 0
    assert "No changes" in scheduler("plan", "--check").out
    write(MODULE.replace("T09:00", "T10:00"))
    before = scheduler("schedules", "--json").json
    changed = scheduler("plan", "--json").json
    assert [(each["schedule"], each["change"]) for each in changed] == [("report", "changed")]
    assert changed[0]["fields"]["rule"]["to"]["start_date"] == "2024-01-31T10:00:00"
    runs = changed[0]["next_runs"]
    assert len(runs["before"]) == len(runs["after"]) == 10
    assert scheduler("plan", "--check").code == 1
    assert scheduler("schedules", "--json").json == before
    write("")
    assert "- report (retired)" in scheduler("plan").out


@pytest.mark.parametrize("blank", ["empty", "foreign"])
def test_a_plan_leaves_a_file_without_our_tables_as_it_is(
    scheduler: Scheduler, workplace: Path, blank: str
) -> None:
    path = workplace / "scheduler.db"
    path.touch()
    if blank == "foreign":
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE theirs (id INTEGER)")
    before = path.read_bytes()
    assert scheduler("plan").out.startswith("+ report (added)")
    assert path.read_bytes() == before
    assert [each.name for each in workplace.glob("scheduler.db*")] == ["scheduler.db"]


def test_a_plan_upgrades_no_older_tables(scheduler: Scheduler, workplace: Path) -> None:
    assert scheduler("db", "upgrade").code == 0
    with closing(sqlite3.connect(workplace / "scheduler.db")) as connection:
        connection.execute("UPDATE scheduler_schema SET version_num = '0001'")
        connection.commit()
    refused = scheduler("plan")
    assert (refused.code, refused.out) == (2, "")
    assert "0001 is older than this version's" in refused.err
    assert "run: scheduler db upgrade" in refused.err
    assert "0001" in scheduler("db", "current").out


@freeze_time("2026-03-28T12:00:00Z")
def test_a_plan_names_what_was_edited_by_hand(
    scheduler: Scheduler, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause is no edit, and a start that was kept when the code left it out is none either."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for code in (MODULE, MODULE.replace('start_date="2024-01-31T09:00", ', "")):
        (workplace / "errands.py").write_text(code)
        sys.modules.pop("errands", None)
        assert scheduler("run", "--for", "0.1s", "--no-web").code == 0
    [report] = scheduler("schedules", "--json").json
    assert report["rule"]["start_date"] == "2024-01-31T09:00:00"
    assert scheduler("schedules", "pause", "report").code == 0
    assert scheduler("plan").out == "No changes: the table holds what this code declares.\n"
    assert scheduler("schedules", "edit", "report", "--priority", "7").code == 0
    assert scheduler("plan").out == "Nothing to change; edited by hand: report.\n"


@freeze_time("2026-03-28T12:00:00Z")
def test_a_plan_moves_the_runs_that_will_be(
    scheduler: Scheduler, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what is overdue, those that are caught up."""
    assert scheduler("run", "--for", "0.1s", "--no-web").code == 0
    (workplace / "errands.py").write_text(MODULE.replace("T09:00", "T10:00"))
    monkeypatch.delitem(sys.modules, "errands")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    with freeze_time("2026-04-02T12:00:00Z"):
        runs = scheduler("plan", "--json").json[0]["next_runs"]
    assert runs["before"][:2] == ["2026-04-02T07:00:00Z", "2026-04-03T07:00:00Z"]
    assert runs["after"][:2] == ["2026-04-02T07:00:00Z", "2026-04-03T08:00:00Z"]


REFUSALS = [
    (("schedules", "add", "x", "nope", "* * * * *"), "job: nope is not known"),
    (("schedules", "add", "x", "report", "61 * * * *"), "61 is not in 0–59"),
    (("schedules", "add", "x", "send_mail", "* * * * *"), "is missing, and job send_mail needs"),
    (("schedules", "add", "x", "note", "{", "--data", "{}"), "is not JSON"),
    ((*ADD, "--overlap", "maybe"), "is not one of skip, allow, queue_one, cancel_previous"),
    ((*ADD, "--catch-up", "maybe"), "is not one of skip, latest, all"),
    ((*ADD, "--grace", "soon"), "--grace: soon is not a duration"),
    ((*ADD, "--timezone", "Mars"), "timezone: Mars is not a time zone"),
    ((*ADD, "--catch-up-max", "0"), "catch_up_max: 0 is not an integer from 1"),
    (("schedules", "edit", "nope", "--priority", "1"), "schedule: nope is not known"),
    (("schedules", "pause", "nope"), "schedule: nope is not known"),
    (("schedules", "run", "nope"), "schedule: nope is not known"),
    (("schedules", "delete", "nope"), "schedule: nope is not known"),
    (("schedules", "backfill", "nope", "--from", "2026-01-01", "--to", "2026-01-02"), "nope"),
    (("explain", "nope", "--at", "2026-01-01"), "schedule: nope is not known"),
    (("plan", "--modules", "no_such_module"), "no_such_module"),
]


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_bad_input_is_refused_in_one_line(
    scheduler: Scheduler, arguments: tuple[str, ...], message: str
) -> None:
    answer = scheduler(*arguments)
    assert answer.code == 2
    assert (answer.out, len(answer.err.splitlines())) == ("", 1)
    assert message in answer.err
    assert scheduler("schedules", "--json").json == []


@pytest.mark.usefixtures("nights")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("schedules", "edit", "nights", "--revision", "7"), "at revision 1, not 7"),
        (("schedules", "backfill", "nights", "--from", "2026-01-02", "--to", "2026-01-01"), "not"),
        (
            (
                "schedules",
                "backfill",
                "nights",
                "--from=2020-01-01",
                "--to=2020-01-02",
                "--revision=7",
            ),
            "at revision 1, not 7",
        ),
        (("explain", "nights", "--at", "yesterday"), "is not a date-time"),
        (("explain", "nights", "--at", "0001-01-01"), "is outside the years 1 to 9999"),
        (("schedules", "edit", "nights", "--timeout", "0"), "timeout: 0 is not a number"),
        (("schedules", "pause", "nights", "--by", "a" * 256), "actor: "),
        (("schedules", "run", "nights", "--data", '{"nope": 1}'), "is not a parameter"),
    ],
)
def test_what_a_schedule_cannot_do_is_refused(
    scheduler: Scheduler, arguments: tuple[str, ...], message: str
) -> None:
    before = scheduler("schedules", "--json").json
    answer = scheduler(*arguments)
    assert (answer.code, len(answer.err.splitlines())) == (2, 1)
    assert message in answer.err
    assert scheduler("schedules", "--json").json == before
