"""Jobs that run a program: `backup = command("pg_dump shop", cron("0 3 * * *"))`.

A command is a handler like any other, found in its module like a function with @job. It waits on
a thread for its program; a timeout or a cancellation ends the program with all that it started.
"""

from __future__ import annotations

import inspect
import os
import pwd
import re
import selectors
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any, Unpack

from scheduler import capture
from scheduler.context import JobContext
from scheduler.errors import CommandFailed, InvalidOption
from scheduler.handlers.groups import Group
from scheduler.options import JobOptions, RunnerKind, check_integer
from scheduler.registry import define, mark
from scheduler.rules import Rule, rule_from_json
from scheduler.signature import to_json

MAX_OUTPUT_BYTES = 64 * 1024

SILENCE = 0.5
"""Seconds after its end that a program's output may stay open, held by what it left running."""

LAST_WORDS = 3.0
"""Seconds after its end that output is read at all: what it left running may never fall silent."""

_PLACE = re.compile(r"\{\{(\w+)\}\}|(?<!\$)\{([A-Za-z_]\w*)\}")
"""A parameter in an argument, `{account}`; or, doubled, one that is meant as it stands."""

_CONTEXT = "_context"


def command(
    program: str | Sequence[str],
    rule: Rule | Mapping[str, Any] | None = None,
    /,
    *,
    shell: bool = False,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    user: str | int | None = None,
    max_output_bytes: int = MAX_OUTPUT_BYTES,
    **options: Unpack[JobOptions],
) -> Command:
    """Declare a job that runs a program; with a rule, a recurring one.

    At the top of a module: `backup = command(["pg_dump", "{database}"], cron("0 3 * * *"),
    data={"database": "shop"})`. `program` is a list of arguments, or a text that is split into
    them as a shell splits words; a shell runs it only with `shell=True`, as `sh -c`. The `options`
    are those of @job; `name` is the program's unless given.

    `{database}` is filled from the job's data, each argument on its own, so that a value is never
    more than one argument; what is no text is written as JSON. To a shell a value is a quoted
    parameter, never a part of the text that it reads: write no quotes around it. Other braces stay
    as they are, and `{{database}}` is written `{database}`.

    `env` is added to the environment; `user`, a name or a number, is whom it runs as, which takes
    root. It has no input. Its output, errors among it, is kept up to `max_output_bytes` of JSON,
    the end of it, and is the job's result: {"exit_code": 0, "output": "…"}. Any other exit code
    fails the job, with the last line as its error and the output on record as its log. Raises
    InvalidOption, InvalidRule or InvalidData.
    """
    words = _words(program, shell=shell)
    caller = sys._getframe(1).f_globals.get("__name__", "__main__")
    made = Command(
        words,
        shell=shell,
        env=dict(env or {}),
        cwd=cwd,
        user=user,
        max_output_bytes=check_integer("command: max_output_bytes", max_output_bytes, 1),
        module=caller,
    )
    kind = options.get("runner")
    if kind not in (None, RunnerKind.THREAD):
        raise InvalidOption("command: runner", kind, "is not for a command", "leave it out")
    parsed = rule_from_json(rule) if isinstance(rule, Mapping) else rule
    return mark(made, define(made, parsed, **options))


class Command:
    """The handler of a job that runs a program."""

    def __init__(
        self,
        words: list[str],
        *,
        shell: bool,
        env: dict[str, str],
        cwd: str | os.PathLike[str] | None,
        user: str | int | None,
        max_output_bytes: int,
        module: str,
    ) -> None:
        self._words = words
        self._shell = shell
        self._env = env
        self._cwd = cwd
        self._user = user
        self._max_output_bytes = max_output_bytes
        self._names = list(dict.fromkeys(_names(words)))
        first = (words[0].split() or [""])[0] if shell else words[0]
        self.__name__ = self.__qualname__ = os.path.basename(first)
        self.__module__ = module
        self.__signature__ = _signature(self._names)

    def __call__(self, **given: Any) -> dict[str, Any]:
        """Run the program with these data. Raises CommandFailed, or OSError if it cannot be run."""
        context: JobContext = given.pop(_CONTEXT)
        group = Group(
            self.arguments(given),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._cwd,
            **self._as_user(),
        )
        with context.on_cancel(group.end):
            output = self._output(group)
            exit_code = group.process.wait()
        if exit_code:
            for line in output.splitlines():
                capture.note(line)
            raise CommandFailed(group.fate(), exit_code, output)
        return {"exit_code": exit_code, "output": output}

    def arguments(self, data: Mapping[str, Any]) -> list[str]:
        """The arguments of the program, filled from `data`."""
        values = {name: _text(name, data[name]) for name in self._names}
        if not self._shell:
            return [_filled(word, values) for word in self._words]
        numbers = {name: f'"${{{number}}}"' for number, name in enumerate(self._names, 1)}
        return ["/bin/sh", "-c", _filled(self._words[0], numbers), "sh", *values.values()]

    def _output(self, group: Group) -> str:
        """What the program writes until it ends, the end of it."""
        kept, is_cut = bytearray(), False
        stdout = group.process.stdout
        assert stdout is not None  # noqa: S101 - it was asked for
        with stdout:
            for chunk in _chunks(group.process, stdout):
                kept += chunk
                is_cut = is_cut or len(kept) > self._max_output_bytes
                del kept[: -self._max_output_bytes]
        return _within(kept.decode(errors="replace"), self._max_output_bytes, is_cut=is_cut)

    def _as_user(self) -> dict[str, Any]:
        """The options of Popen by which the program runs as its user, with its environment."""
        if self._user is None:
            return {"env": os.environ | self._env}
        find = pwd.getpwuid if isinstance(self._user, int) else pwd.getpwnam
        try:
            found = find(self._user)  # type: ignore[arg-type]  # the one that takes it
        except KeyError:
            raise InvalidOption("command: user", self._user, "is not known on this host") from None
        name = found.pw_name
        home = {"HOME": found.pw_dir, "USER": name, "LOGNAME": name}
        return {
            "env": os.environ | home | self._env,
            "user": found.pw_uid,
            "group": found.pw_gid,
            "extra_groups": os.getgrouplist(name, found.pw_gid),
        }


def _words(program: object, *, shell: bool) -> list[str]:
    """The arguments of `program`, or the one text that a shell reads."""
    words: list[Any]
    match program:
        case str() if shell:
            words = [program]
        case str():
            try:
                words = shlex.split(program)
            except ValueError as error:
                raise InvalidOption("command", program, f"cannot be split: {error}") from None
        case Sequence() if not shell and not isinstance(program, bytes):
            words = list(program)
        case _:
            hint = "give a text to a shell, and else a text or a list of texts"
            raise InvalidOption("command", program, "is no program", hint)
    if not words or not all(isinstance(word, str) and "\0" not in word for word in words):
        raise InvalidOption("command", program, "is no program", "give a list of texts without NUL")
    if not words[0].strip() or (not shell and _PLACE.search(words[0])):
        raise InvalidOption("command", words[0], "names no program")
    return words


def _names(words: Sequence[str]) -> Iterator[str]:
    """The parameters in `words`, as they come."""
    for word in words:
        for found in _PLACE.finditer(word):
            if found[2] is not None:
                yield found[2]


def _signature(names: Sequence[str]) -> inspect.Signature:
    """The parameters of a command as job data see them: its names, and the context."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    if _CONTEXT in names:
        raise InvalidOption("command: parameter", _CONTEXT, "is taken", "use another name")
    parameters = [inspect.Parameter(name, keyword) for name in names]
    return inspect.Signature(
        [*parameters, inspect.Parameter(_CONTEXT, keyword, annotation=JobContext)]
    )


def _filled(word: str, values: Mapping[str, str]) -> str:
    """`word` with each parameter replaced, in one pass: a value is not looked into."""
    return _PLACE.sub(
        lambda found: f"{{{found[1]}}}" if found[2] is None else values[found[2]], word
    )


def _text(name: str, value: Any) -> str:
    return value if isinstance(value, str) else to_json(value, f"data: {name}")


def _chunks(process: subprocess.Popen[bytes], stdout: IO[bytes]) -> Iterator[bytes]:
    """What is written to `stdout`, until it is closed, or soon after the process's end."""
    until = None
    with selectors.DefaultSelector() as readable:
        readable.register(stdout, selectors.EVENT_READ)
        while until is None or time.monotonic() < until:
            if readable.select(SILENCE):
                chunk = os.read(stdout.fileno(), 1 << 16)
                if not chunk:
                    return
                yield chunk
            elif until is not None:
                return
            if until is None and process.poll() is not None:
                until = time.monotonic() + LAST_WORDS


def _within(text: str, most: int, *, is_cut: bool) -> str:
    """The end of `text` that takes at most `most` bytes of JSON, after a line that says so."""
    while len(to_json(text, "output")) > most + len('""'):
        text, is_cut = text[len(text) // 8 + 1 :], True
    return f"… the start is left out\n{text}" if is_cut else text
