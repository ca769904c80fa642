"""Bad input gets one line that names field, value, reason and mend, and exit code 2."""

from __future__ import annotations

import json
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.cli.conftest import Scheduler


def daily(**more: str) -> str:
    """A daily rule as JSON, with `more` keys."""
    return json.dumps({"every": 1, "unit": "days", **more})


BAD_INPUT = [
    (["preview", '{"every": 0, "unit": "days"}'], "every: 0 is less than 1"),
    (["preview", '{"every": 1.5, "unit": "days"}'], "every: 1.5 is not an integer"),
    (["preview", '{"every": 1, "unit": "dayz"}'], "unit: dayz is not one of seconds"),
    (["preview", "{'every': 1}"], "rule: {'every': 1} is not JSON"),
    (["preview", "[1]"], "rule: [1] is not a JSON object"),
    (["preview", '{"every": NaN, "unit": "days"}'], "NaN is no JSON number"),
    (
        ["preview", daily(start_date="2024-02-30T00:00")],
        "start_date: 2024-02-30T00:00 does not exist",
    ),
    (
        ["preview", daily(start_date="2024-01-02T00:00", end_date="2024-01-01T00:00")],
        "end_date: 2024-01-01T00:00:00 is before start_date",
    ),
    (
        ["preview", daily(timezone="europe/berlin")],
        "timezone: europe/berlin is not a time zone; did you mean Europe/Berlin?",
    ),
    (["preview", daily(), "--timezone", "Mars/Olympus"], "--timezone: Mars/Olympus"),
    (
        ["preview", daily(), "--from", "2026-02-02", "--to", "2026-02-01"],
        "to: 2026-02-01T00:00:00+00:00 is not after 2026-02-02",
    ),
    (
        ["preview", daily(timezone="Europe/Berlin"), "--timezone", "UTC"],
        "timezone: UTC is not the rule's Europe/Berlin",
    ),
    (["preview", daily(), "--from", "yesterday"], "from: yesterday"),
    (["enqueue", "send_mial"], "did you mean 'send_mail'?"),
    (["enqueue", "send_mail"], "data: to: is missing, and job send_mail needs it"),
    (["enqueue", "send_mail", '{"to": 5}'], "data: to: 5 does not fit job send_mail"),
    (["enqueue", "send_mail", '{"to": "a", "cc": "b"}'], "data: cc is not a parameter"),
    (["enqueue", "send_mail", '{"to": "a", "on": "2024-02-30"}'], "data: on:"),
    (["enqueue", "send_mail", '{"to": "a"}', "--in", "soon"], "--in: soon is not a duration"),
    (["enqueue", "send_mail", '{"to": "a"}', "--in", "1m", "--at", "x"], "cannot go with --in"),
    (["enqueue", "send_mail", '{"to": "a"}', "--at", "2024-01-01T25:00"], "--at: 2024-01-01T25:00"),
    (["run", "--for", "abc"], "--for: abc is not a duration"),
    (["run", "--only", "nothing"], "'nothing' is not one of"),
    (["run", "--port", "99999"], "--port: 99999"),
    (["run", "--modules", "nowhere"], "module nowhere: not found in"),
    (["run", "--modules", "not a module"], "not a module name"),
    (["run", "--database", "mongodb://root:secret@localhost/x"], "mongodb is not a kind of store"),
    (["run", "--database", "secret nonsense"], "database:"),
    (
        ["run", "--database", "postgresql://me:secret@127.0.0.1:1/x"],
        "database postgresql+psycopg://me:***@127.0.0.1:1/x: connection failed",
    ),
    (["jobs", "--status", "lost"], "status: lost is not known; known: cancelled"),
    (["jobs", "--limit", "0"], "--limit"),
    (["jobs", "prune"], "Missing option '--older-than'"),
    (["jobs", "prune", "--older-than", "old"], "--older-than: old is not a duration; write 90s"),
    (["jobs", "prune", "--older-than", "999999d"], "--older-than: "),
    (
        ["jobs", "prune", "--older-than", "30d", "--status", "pending"],
        "--status: pending is not one of completed, failed, cancelled",
    ),
    (["next", "nothing"], "schedule: nothing is not known; known: report"),
    (["no-such-command"], "No such command"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_INPUT)
def test_bad_input_is_refused_in_one_line(
    scheduler: Scheduler, arguments: list[str], message: str
) -> None:
    answer = scheduler(*arguments)

    assert answer.code == 2
    assert answer.out == ""
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    assert "secret" not in answer.err.replace("secret nonsense", "")


@pytest.mark.parametrize("arguments", [each for each, _ in BAD_INPUT if each[0] == "enqueue"])
def test_a_refused_job_leaves_nothing_behind(
    scheduler: Scheduler, workplace: Path, arguments: list[str]
) -> None:
    scheduler(*arguments)

    assert scheduler("jobs", "--json").json == []


BROKEN_MODULES = [
    ("x = y\n", "broken.py:1: NameError: name 'y' is not defined"),
    ("\ndef (\n", "broken.py:2: SyntaxError"),
    ("import nowhere_to_be_found\n", "broken.py:1: ModuleNotFoundError"),
    (
        "from scheduler import every, job\n\n@job(every(minutes=0))\ndef f(): ...\n",
        "broken.py:3: InvalidRule: every: 0 is less than 1",
    ),
    (
        "from scheduler import job\n\n@job(timeout=-1)\ndef f(): ...\n",
        "broken.py:3: InvalidOption: job f: timeout: -1 is not a number of seconds above 0",
    ),
    ("raise SystemExit(3)\n", "broken.py:1: SystemExit: 3"),
]


@pytest.mark.parametrize(("source", "message"), BROKEN_MODULES)
def test_a_broken_module_is_named_with_file_and_line(
    scheduler: Scheduler, workplace: Path, source: str, message: str
) -> None:
    (workplace / "broken.py").write_text(source)

    answer = scheduler("run", "--modules", "broken", "--for", "1s")

    assert answer.code == 2
    assert message in answer.err
    assert answer.err.count("\n") == 1
    assert not (workplace / "scheduler.db").exists()


def test_tables_of_a_newer_version_are_refused_and_left_alone(
    scheduler: Scheduler, workplace: Path
) -> None:
    with sqlite3.connect(workplace / "scheduler.db") as newer:
        newer.execute("CREATE TABLE scheduler_schema (version_num TEXT)")
        newer.execute("INSERT INTO scheduler_schema VALUES ('9999')")

    answer = scheduler("run", "--for", "1s")

    assert answer.code == 2
    assert "its schema 9999 is newer than this version's" in answer.err
    tables = sqlite3.connect(workplace / "scheduler.db").execute("SELECT name FROM sqlite_master")
    assert tables.fetchall() == [("scheduler_schema",)]


def test_a_taken_port_is_named(scheduler: Scheduler) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        answer = scheduler("run", "--port", port, "--for", "1s")

    assert answer.code == 2
    assert f"web: 127.0.0.1:{port} cannot be served: Address already in use" in answer.err
