"""Everything that the README shows is done here: its modules, its tests, its commands."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
import yaml
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError

from scheduler import JobQueue
from scheduler.settings import described, read_settings
from scheduler.storage.sql import SQLStorage

from .readme import README, ROOT, block, blocks, blocks_of, shown

ENDLESS = re.compile(r"^scheduler run$", re.MULTILINE)


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    """A directory with the README's modules, each in the file that its first line names."""
    for each in blocks():
        if each.language == "python":
            comment, name = each.text.splitlines()[0].split()
            assert comment == "#"
            path = tmp_path / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(each.text)
    return tmp_path


@pytest.fixture
def environment() -> dict[str, str]:
    """Ours, with the installed `scheduler` found first, and no settings but the defaults."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SCHEDULER_")}
    scripts = sysconfig.get_path("scripts")
    return kept | {"PATH": f"{scripts}{os.pathsep}{kept['PATH']}", "SCHEDULER_PORT": "0"}


def run(script: str, directory: Path, environment: dict[str, str]) -> str:
    """What a script of the shell printed; it ends at the first command that fails."""
    done = subprocess.run(
        ["sh", "-euc", script],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def running(directory: Path, environment: dict[str, str]) -> Iterator[str]:
    """The address at which `scheduler run` serves HTTP, until the end of the block."""
    service = subprocess.Popen(
        ["scheduler", "run"],
        executable=Path(sysconfig.get_path("scripts"), "scheduler"),
        cwd=directory,
        env=environment | {"SCHEDULER_LOG_FORMAT": "json"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert service.stderr is not None
    try:
        records = (json.loads(line) for line in service.stderr)
        yield next(record["web"] for record in records if record["event"] == "running")
    finally:
        service.send_signal(signal.SIGTERM)
        service.communicate(timeout=30)
    assert service.returncode == 0


def requested(command: list[str], address: str) -> tuple[int, Any]:
    """The status and the JSON that a curl command gets. Of curl's options, only --json."""
    curl, *arguments = command
    assert curl == "curl"
    body = None
    if arguments[0] == "--json":
        body = arguments[1].encode()
        json.loads(body)
        arguments = arguments[2:]
    (url,) = arguments
    headers = {"Content-Type": "application/json", "Accept": "application/json"} if body else {}
    assert url.startswith("localhost:8080/")
    path = url.removeprefix("localhost:8080")
    request = Request(f"{address}{path}", body, headers)  # noqa: S310
    with urlopen(request, timeout=10) as answer:  # noqa: S310
        return answer.status, json.load(answer)


def test_every_block_is_one_that_a_test_here_executes() -> None:
    assert [each[:2] for each in blocks()] == [
        ("Set up", "sh"),
        ("Set up", "sh"),
        ("Define a job", "python"),
        ("When a job fails, hangs or has to wait", "python"),
        ("When a job fails, hangs or has to wait", "sh"),
        ("Test a year in a second", "python"),
        ("The command line", "sh"),
        ("The command line", "sh"),
        ("HTTP", "sh"),
        ("Where jobs are kept", "sh"),
        ("Where jobs are kept", "sh"),
        ("Where jobs are kept", "sh"),
        ("Where jobs are kept", "python"),
        ("As a container", "sh"),
        ("As a container", "sh"),
        ("Extend it", "python"),
        ("Extend it", "python"),
    ]


def test_two_commands_set_up_and_ci_runs_the_one_with_the_tests() -> None:
    start, check = (each.text for each in blocks() if each.section == "Set up")
    install = "python3 -m venv .venv && .venv/bin/pip install -c .ci/constraints.txt "
    assert start == f"{install}. && .venv/bin/scheduler run\n"
    assert check == f"{install}-e '.[test]' && .venv/bin/pytest -n 2\n"
    printed = subprocess.run(
        [ROOT / ".ci" / "run", "--print"], capture_output=True, text=True, check=True
    )
    assert printed.stdout == check


def test_the_example_jobs_run_in_an_empty_directory_and_leave_only_the_store(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    environment |= {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    run("scheduler run --for 2s", tmp_path, environment)
    assert {path.name.partition("-")[0] for path in tmp_path.iterdir()} == {"scheduler.db"}
    jobs = json.loads(run("scheduler jobs --json", tmp_path, environment))
    assert {(job["name"], job["status"]) for job in jobs} == {("watch_disk_space", "completed")}
    schedules = json.loads(run("scheduler schedules --json", tmp_path, environment))
    assert {schedule["name"] for schedule in schedules} == {
        "back_up_sqlite",
        "report_runs",
        "rotate_old_files",
        "watch_disk_space",
    }


def test_the_test_it_shows_passes_in_an_empty_directory(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    text = block("Test a year in a second", "python")
    assert len(text.splitlines()) < 15
    (tmp_path / "test_rent.py").write_text(text)
    command = shlex.join([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"])
    assert "1 passed" in run(command, tmp_path, environment)


def test_the_storage_and_the_queue_it_shows_keep_their_contract(
    workplace: Path, environment: dict[str, str]
) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mine.py"]
    assert " passed in " in run(shlex.join(command), workplace, environment)


def test_the_commands_it_shows_work(workplace: Path, environment: dict[str, str]) -> None:
    first, second = (each.text for each in blocks() if each.section == "The command line")
    said = run(first + second, workplace, environment)
    for word in (
        "every 15 minutes",
        "02:30:00 CE",
        "2026-",
        "is due",
        "completed",
        "SCHEDULER_TTL",
        "runs from 2026-03-28",
        "No changes",
        "export_books is paused",
        "did not exist in Europe/Berlin",
        "mondays is deleted",
    ):
        assert word in said
    moved = run(block("When a job fails, hangs or has to wait", "sh"), workplace, environment)
    for word in ("is cancelled", "is due again", "wrong address"):
        assert word in moved
    pending = json.loads(run("scheduler jobs --status pending --json", workplace, environment))
    assert sorted(job["name"] for job in pending) == ["export_books"] * 4 + ["send_mail"] * 2


def test_the_handlers_it_shows_do_what_it_says(database_url: str, tmp_path: Path) -> None:
    """Retry, cancel, write exactly once, run in a process, run a program."""
    feeds = shown("feeds.py")
    archived = tmp_path / "data.tgz"
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        with storage.transaction() as connection:
            connection.execute(text("CREATE TABLE payments (invoice INTEGER)"))
        queue = JobQueue(storage)
        queue.register_marked(feeds.fetch, feeds.sync, feeds.pay, feeds.train, feeds.archive)
        jobs = {
            "busy": queue.add("fetch", {"feed": "busy"}),
            "closed": queue.add("fetch", {"feed": "closed"}),
            "sync": queue.add("sync", {"account": "acme"}),
            "pay": queue.add("pay", {"invoice": 7}),
            "tar": queue.add("tar", {"to": str(archived)}),
        }
        queue.executor.run_until_idle(queue.clock.now())
        ended = {name: queue.jobs.get(job.id) for name, job in jobs.items()}
        with storage.transaction() as connection:
            assert list(connection.scalars(text("SELECT invoice FROM payments"))) == [7]
    statuses = {name: job.status.value for name, job in ended.items()}
    assert statuses == {
        "busy": "pending",
        "closed": "cancelled",
        "sync": "completed",
        "pay": "completed",
        "tar": "pending",  # there is no folder of that name
    }
    assert ended["busy"].error == "Retry: asked to come back"
    assert ended["closed"].error == "the feed is closed"
    assert ended["sync"].concurrency_key == "acme"
    assert "exit code 2" in (ended["tar"].error or "")


def test_the_requests_it_shows_are_answered(workplace: Path, environment: dict[str, str]) -> None:
    with running(workplace, environment) as address:
        answers = [
            requested(shlex.split(line), address) for line in block("HTTP", "sh").splitlines()
        ]
    assert [status for status, _ in answers] == [201, 200, 200, 200, 200]
    job, _, schedules, why, ready = (answer for _, answer in answers)
    assert why["verdict"] == "later"
    assert job["name"] == "send_mail"
    assert [schedule["name"] for schedule in schedules] == ["export_books", "sync_accounts"]
    assert ready == {"status": "ok", "clock_behind": 0.0}


def test_postgres_needs_only_the_address_and_the_tables(
    workplace: Path, environment: dict[str, str], postgres_database: str
) -> None:
    script = blocks_of("Where jobs are kept", "sh")[0].replace(
        "postgresql://scheduler@localhost/scheduler", postgres_database
    )
    assert postgres_database in script
    assert ENDLESS.search(script)
    run(ENDLESS.sub("scheduler run --for 2s", script), workplace, environment)
    environment["SCHEDULER_DATABASE"] = postgres_database
    (job,) = json.loads(run("scheduler jobs --json", workplace, environment))
    assert (job["name"], job["status"]) == ("sync_accounts", "completed")


def test_what_is_finished_is_counted_by_the_command_it_shows(
    workplace: Path, environment: dict[str, str]
) -> None:
    said = run(blocks_of("Where jobs are kept", "sh")[1], workplace, environment)
    assert said.startswith("0 jobs would be removed")


def test_a_store_is_moved_by_the_command_it_shows(
    workplace: Path, environment: dict[str, str]
) -> None:
    run("scheduler run --for 2s", workplace, environment)
    said = run(blocks_of("Where jobs are kept", "sh")[2], workplace, environment)
    assert "schedules" in said
    environment["SCHEDULER_DATABASE"] = "sqlite:///moved.db"
    (job,) = json.loads(run("scheduler jobs --json", workplace, environment))
    assert (job["name"], job["status"]) == ("sync_accounts", "completed")


def test_the_order_it_shows_is_placed_with_its_job_or_not_at_all(database_url: str) -> None:
    place_order = shown("orders.py").place_order
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        queue = JobQueue(storage)
        queue.register("send_mail", lambda to: to)
        engine = create_engine(storage._database.url, poolclass=NullPool)
        with pytest.raises(DBAPIError, match="orders"):
            place_order(engine, queue, "ada")
        assert storage.list_jobs() == []
        with engine.begin() as connection:
            connection.execute(text("CREATE TABLE orders (customer VARCHAR(20))"))
        place_order(engine, queue, "ada")
        assert [job.data for job in storage.list_jobs()] == [{"to": "ada"}]


def test_the_container_commands_name_what_is_there() -> None:
    compose = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
    image = compose["services"]["executor"]["image"]
    build, start, _, up = [
        shlex.split(line)
        for each in blocks()
        if each.section == "As a container"
        for line in each.text.splitlines()
    ]
    assert build[:2] == ["docker", "build"]
    assert build[-3:] == ["-t", image, "."]
    assert (ROOT / build[build.index("-f") + 1]).is_file()
    assert start[:2] == ["docker", "run"]
    assert start[-1] == image
    assert up[:2] == ["docker", "compose"]
    assert (ROOT / up[up.index("-f") + 1]).is_file()
    assert up[up.index("--profile") + 1] in compose["services"]["web"]["profiles"]


def test_the_table_of_settings_is_that_of_the_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("SCHEDULER_"):
            monkeypatch.delenv(name)
    rows = [
        f"| `{each.variable}` | {_cell(each.value)} | {each.meaning} |"
        for each in described(read_settings())
    ]
    shown = [line for line in README.read_text().splitlines() if line.startswith("| `SCHEDULER_")]
    assert shown == rows


def _cell(value: object) -> str:
    """A default, as one writes it in the environment."""
    match value:
        case None:
            return ""
        case bool():
            return f"`{str(value).lower()}`"
        case list():
            return f"`{','.join(value)}`"
        case float():
            return f"`{value:.10g}`"
        case _:
            return f"`{value}`"
