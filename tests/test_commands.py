"""Commands: jobs that run a program."""

from __future__ import annotations

import os
import pwd
import select
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from scheduler import InvalidData, InvalidOption, command, every
from scheduler.commands import Command
from scheduler.handlers import HandlerRunner
from scheduler.model import Completed, Failed, Outcome
from scheduler.registry import Registry, discover, marks
from scheduler.testing.values import a_job

WAIT = 60
SHOW = [sys.executable, "-c", "import sys; print(sys.argv[1:])"]


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def runner(registry: Registry) -> Iterator[HandlerRunner]:
    runner = HandlerRunner(registry)
    yield runner
    runner.close()


Run = Callable[..., Outcome]


@pytest.fixture
def run(runner: HandlerRunner, registry: Registry) -> Run:
    """The outcome of one run of a command."""

    def run(made: Command, **data: Any) -> Outcome:
        return started(runner, registry, made, **data).result(WAIT)

    return run


def started(
    runner: HandlerRunner, registry: Registry, made: Command, **data: Any
) -> Future[Outcome]:
    [definition] = marks(made)
    registry.add(definition)
    future: Future[Outcome] = Future()
    runner.call(a_job(id="the-job", name=definition.name, data=data), future.set_result)
    return future


def output(outcome: Outcome) -> str:
    assert isinstance(outcome, Completed), outcome
    text: str = outcome.result["output"]
    return text


def failure(outcome: Outcome) -> Failed:
    assert isinstance(outcome, Failed)
    return outcome


# --- what is run ----------------------------------------------------------------------------


def test_the_result_is_the_exit_code_and_the_output(run: Run) -> None:
    """Errors among it, in the order written."""
    made = command("echo one; echo two >&2; echo three", shell=True, name="work")
    assert run(made) == Completed({"exit_code": 0, "output": "one\ntwo\nthree\n"})


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("echo a; echo; echo no room; echo; exit 3", "ended with exit code 3: no room"),
        ("exit 255", "ended with exit code 255"),
        ("echo a; kill -9 $$", "was ended by SIGKILL: a"),
    ],
)
def test_another_exit_code_fails_the_job(run: Run, code: str, error: str) -> None:
    """With the last line that says something; the output is on record."""
    failed = failure(run(command(code, shell=True, name="work")))
    assert failed.error == f"CommandFailed: {error}"
    assert failed.traceback is None
    assert failed.log[:1] == (("a",) if "echo a" in code else ())


def test_a_program_that_is_not_there_fails_the_job(run: Run) -> None:
    """With its name."""
    assert "no-such-program" in failure(run(command("no-such-program x"))).error


def test_of_long_output_the_end_is_kept(run: Run) -> None:
    """As JSON it takes no more than was said, whatever it is made of."""
    code = "import sys; sys.stdout.buffer.write(b'\\xff' * 300_000 + b'end')"
    text = output(run(command([sys.executable, "-c", code], name="binary", max_output_bytes=1000)))
    first, _, rest = text.partition("\n")
    assert first == "… the start is left out"
    assert rest.endswith("\ufffdend")
    assert 500 < len(rest.encode("ascii", "backslashreplace")) <= 1000


def test_it_has_no_input_and_a_group_of_its_own(run: Run) -> None:
    """To read is to be at the end."""
    code = "import os, sys; print(sys.stdin.read() == '', os.getpgid(0) == os.getpid())"
    assert output(run(command([sys.executable, "-c", code], name="work"))) == "True True\n"


def test_it_runs_where_and_with_what_it_is_told(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`env` is added to the environment."""
    monkeypatch.setenv("KEPT", "1")
    made = command("pwd; echo $KEPT $ADDED", shell=True, cwd=tmp_path, env={"ADDED": "2"}, name="w")
    assert output(run(made)) == f"{tmp_path}\n1 2\n"


def test_it_runs_as_its_user(run: Run) -> None:
    """With that user's groups and home, as from cron."""
    me = pwd.getpwuid(os.getuid())
    user = pwd.getpwnam("nobody") if os.getuid() == 0 else me
    made = command("id -u; id -g; id -G; echo $HOME", shell=True, user=user.pw_name, name="work")
    if os.getuid() != 0:
        assert "PermissionError" in failure(run(made)).error
        return
    groups = " ".join(map(str, os.getgrouplist(user.pw_name, user.pw_gid)))
    assert output(run(made)) == f"{user.pw_uid}\n{user.pw_gid}\n{groups}\n{user.pw_dir}\n"


def test_an_unknown_user_fails_the_job(run: Run) -> None:
    """By name."""
    failed = failure(run(command("true", user="no-such-user")))
    assert failed.error == "InvalidOption: command: user: no-such-user is not known on this host"


def test_what_it_leaves_running_does_not_hold_the_job(run: Run, tmp_path: Path) -> None:
    """Though it holds the output open."""
    made = command(f"echo begun; sleep 3600 & echo $! > {tmp_path}/pid", shell=True, name="work")
    assert output(run(made)) == "begun\n"
    os.kill(int((tmp_path / "pid").read_text()), 9)


def test_what_it_leaves_running_may_say_what_it_likes(run: Run, tmp_path: Path) -> None:
    """The output is read for a short while after the end, not until silence falls."""
    flood = f"(echo $$ > {tmp_path}/pid; exec yes)"
    made = command(f"setsid sh -c '{flood}' & exit 0", shell=True, name="work")
    assert isinstance(run(made), Completed)


# --- with what ------------------------------------------------------------------------------

NASTY = "a b'\"; $(touch x) `id` {other} {{other}} \\ * \n -rf"


@pytest.mark.parametrize("shell", [False, True])
def test_a_value_is_one_argument_and_nothing_more(run: Run, shell: bool, tmp_path: Path) -> None:
    """Whatever stands in it."""
    made = (
        command("printf '<%s>' {account} x{account}", shell=True, cwd=tmp_path, name="work")
        if shell
        else command(["printf", "<%s>", "{account}", "x{account}"], cwd=tmp_path, name="work")
    )
    assert output(run(made, account=NASTY)) == f"<{NASTY}><x{NASTY}>"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["echo '{account}'", 'echo "{account}"', "echo `echo {account}`", "cat <<E\n{account}\nE"],
)
def test_no_value_is_ever_read_by_the_shell(run: Run, text: str, tmp_path: Path) -> None:
    """Not where the text quotes it once more, either."""
    made = command(text, shell=True, cwd=tmp_path, name="work")
    run(made, account="'; touch a; $(touch b) `touch c` \"; touch d")
    assert list(tmp_path.iterdir()) == []


def test_values_that_are_no_text_are_json(run: Run) -> None:
    """Numbers, booleans, lists."""
    made = command([*SHOW, "{n}", "{on}", "{rows}"], name="show")
    assert output(run(made, n=7, on=True, rows=[1, "a"])) == "['7', 'true', '[1, \"a\"]']\n"


def test_other_braces_stay_as_they_are(run: Run) -> None:
    """What is doubled is meant as it stands."""
    made = command(
        [*SHOW, "{print $1}", "{{n}}", "{}", "${n}", '{"a":{"b":1}}', "{n}"], name="show"
    )
    assert output(run(made, n=7)) == (
        "['{print $1}', '{n}', '{}', '${n}', '{\"a\":{\"b\":1}}', '7']\n"
    )


def test_a_shells_own_variables_stay_its_own(run: Run) -> None:
    """`${X}` is none of the job's data."""
    made = command("X=1; echo ${X} {n}", shell=True, name="work")
    assert output(run(made, n=2)) == "1 2\n"


def test_data_are_checked_when_the_job_is_enqueued() -> None:
    """By the parameters that its arguments name."""
    [definition] = marks(command("pg_dump {database}"))
    definition.signature.check({"database": "shop"})
    with pytest.raises(InvalidData, match=r"database: is missing"):
        definition.signature.check({})
    with pytest.raises(InvalidData, match=r"other is not a parameter .*allowed: database"):
        definition.signature.check({"database": "shop", "other": 1})


# --- how it is declared ---------------------------------------------------------------------


def test_a_command_at_the_top_of_a_module_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Like a function with @job; its name is the program's unless given."""
    source = """
        from scheduler import command, every
        from scheduler.registry import marks
        command("never kept")
        dump = command("/usr/bin/pg_dump shop", every(days=1), timeout=60)
        copy = command(["cp", "a", "b"], name="copy-books")
    """
    (tmp_path / "commands_found.py").write_text(textwrap.dedent(source))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    try:
        registry = discover(["commands_found"])
    finally:
        sys.modules.pop("commands_found", None)
    assert registry.names == {"pg_dump", "copy-books"}
    dump = registry.get("pg_dump")
    assert dump.rule == every(days=1)
    assert dump.place == "commands_found.pg_dump"


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: command(""), "names no program|is no program"),
    (lambda: command([]), "is no program"),
    (lambda: command(["a", 7]), "is no program"),  # type: ignore[list-item]
    (lambda: command(["a\0b"]), "is no program"),
    (lambda: command(["a"], shell=True), "give a text to a shell"),
    (lambda: command(b"a"), "is no program"),  # type: ignore[arg-type]
    (lambda: command("a 'b"), "cannot be split: No closing quotation"),
    (lambda: command("{program} x"), "names no program"),
    (lambda: command("a {_context}"), "_context is taken"),
    (lambda: command("a", runner="process"), "is not for a command"),
    (lambda: command("a", max_output_bytes=0), "max_output_bytes: 0"),
    (lambda: command("a", memory_limit=1), "memory_limit"),
]


@pytest.mark.parametrize(("declare", "said"), REFUSED, ids=[said for _, said in REFUSED])
def test_a_wrong_command_is_refused_where_it_is_written(
    declare: Callable[[], object], said: str
) -> None:
    """At import."""
    with pytest.raises(InvalidOption, match=said):
        declare()


# --- how it is ended ------------------------------------------------------------------------


@pytest.mark.parametrize("trap", ["", "trap '' TERM;"], ids=["obedient", "stubborn"])
def test_a_cancelled_command_ends_with_all_that_it_started(
    runner: HandlerRunner, registry: Registry, tmp_path: Path, trap: str
) -> None:
    """Also where it ignores SIGTERM."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    text = f"{trap} sleep 3600 & echo $$ $! > {pipe}; while :; do sleep 3600; done"
    future = started(runner, registry, command(text, shell=True, name="work"))
    pids = [int(pid) for pid in pipe.read_text().split()]
    runner.cancel("the-job")
    signal_name = "SIGKILL" if trap else "SIGTERM"
    assert failure(future.result(WAIT)).error == f"CommandFailed: was ended by {signal_name}"
    assert all(ended(pid) for pid in pids)


def test_a_command_may_clean_up(runner: HandlerRunner, registry: Registry, tmp_path: Path) -> None:
    """Between SIGTERM and SIGKILL, also where its first process is gone before."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    inner = f"trap 'sleep 0.3; echo clean > {tmp_path}/end; exit' TERM; echo on > {pipe}; "
    text = f"({inner} while :; do sleep 0.1; done) & wait"
    future = started(runner, registry, command(text, shell=True, name="work"))
    pipe.read_text()
    runner.cancel("the-job")
    failure(future.result(WAIT))
    assert (tmp_path / "end").read_text() == "clean\n"


def ended(pid: int) -> bool:
    """Whether a process that is not ours ends in time."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], WAIT)[0])
    finally:
        os.close(descriptor)
