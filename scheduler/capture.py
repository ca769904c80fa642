"""What a handler logs, kept with the record of its attempt.

Lines count from INFO up, from JobContext.log and from every logger of the standard library that
is enabled for them; whether any logging.Handler shows them does not matter. A context variable says
whose lines they are: those of the handler, of the asyncio tasks it starts, and of threads that it
starts in a copy of its context.

Records are caught where they are made, by a record factory. A handler on the root logger would
miss loggers that do not propagate, and would change what is shown elsewhere: with one there,
logging.basicConfig does nothing, and warnings are no longer printed where nothing is configured.
"""

from __future__ import annotations

import logging
import sys
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import UTC, datetime
from typing import Any

from scheduler import clock
from scheduler.errors import described

MOST_LINES = 200
MOST_CHARACTERS = 16 * 1024
LONGEST_LINE = 4 * 1024

JOB_LOGGER = "scheduler.job"
"""The logger under JobContext.log, whose lines are caught before its level is asked."""

_OF_EVERY_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Lines:
    """What one call of a handler has logged: the last lines, and how many there were."""

    __slots__ = ("_count", "_last")

    def __init__(self) -> None:
        self._last: deque[tuple[str, logging.LogRecord | None]] | None = None
        self._count = 0

    def add(self, text: str, record: logging.LogRecord | None = None) -> None:
        """Keep a line; the fields of its `record`, which it does not have yet, are added later."""
        if self._last is None:
            self._last = deque(maxlen=MOST_LINES)
        self._last.append((_cut(text), record))
        self._count += 1

    def text(self) -> tuple[str, ...]:
        """The lines to keep, oldest first, after one that says how many were left out."""
        if self._last is None:
            return ()
        kept: deque[str] = deque()
        room = MOST_CHARACTERS
        for text, record in reversed(list(self._last)):
            line = _cut(text if record is None else text + _fields(_extra(record)))
            room -= len(line)
            if room < 0:
                break
            kept.appendleft(line)
        left_out = self._count - len(kept)
        if left_out:
            kept.appendleft(f"… {left_out} earlier lines left out")
        return tuple(kept)


_lines: ContextVar[Lines | None] = ContextVar("lines", default=None)


def begin() -> tuple[Lines, Token[Lines | None]]:
    """The lines logged from here on in this context, and what ends that."""
    lines = Lines()
    return lines, _lines.set(lines)


def end(token: Token[Lines | None]) -> None:
    """Catch no more lines in this context."""
    _lines.reset(token)


def note(text: str) -> None:
    """Keep a line that is for the record only."""
    lines = _lines.get()
    if lines is not None:
        lines.add(text)


def install() -> None:
    """Catch the records of the standard library's logging too. Does nothing the second time."""
    global _is_installed
    if not _is_installed:
        _is_installed = True
        logging.setLogRecordFactory(_catching(logging.getLogRecordFactory()))


_is_installed = False


def _catching(make: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    """A record factory that makes records as `make` does, and catches those of handlers."""

    def factory(name: str | None, level: int | None, *args: Any, **kw: Any) -> logging.LogRecord:
        record = make(name, level, *args, **kw)
        lines = _lines.get()
        if lines is None or name is None or level is None:  # None: makeLogRecord copies another
            return record
        if level >= logging.INFO and name != JOB_LOGGER:
            at = datetime.fromtimestamp(record.created, UTC)
            lines.add(_line(at, record.levelname, name, _message(record)), record)
        return record

    return factory


def catch_event(_: Any, method: str, event: Mapping[str, Any]) -> Mapping[str, Any]:
    """A structlog processor that catches the lines of JobContext.log and lets them pass."""
    lines = _lines.get()
    if lines is not None and _level(method) >= logging.INFO:
        said = {name: value for name, value in event.items() if name not in _OF_EVERY_LINE}
        text = _line(clock.now(), method, str(event["job"]), str(event["event"])) + _fields(said)
        lines.add(text + _raised(event.get("exc_info")))
    return event


_OF_EVERY_LINE = frozenset({"event", "job", "id", "attempt", "exc_info", "stack_info"})


def _level(method: str) -> int:
    name = {"exception": "ERROR", "warn": "WARNING", "fatal": "CRITICAL"}.get(method)
    return logging.getLevelNamesMapping().get(name or method.upper(), logging.INFO)


def _line(at: datetime, level: str, source: str, message: str) -> str:
    moment = at.replace(tzinfo=None).isoformat(timespec="milliseconds")
    return f"{moment}Z {level.lower()} {source}: {message}"


def _message(record: logging.LogRecord) -> str:
    try:
        message = record.getMessage()
    except Exception as error:  # noqa: BLE001 - as logging itself: a wrong %s ends no handler
        message = f"{record.msg} ({described(error)})"
    return message + _raised(record.exc_info)


def _raised(exc_info: Any) -> str:
    """The traceback of what a line tells of, on lines of its own; nothing if it is none."""
    match exc_info:
        case True:
            error = sys.exc_info()[1]
        case BaseException() as error:
            pass
        case (_, BaseException() as error, _):
            pass
        case _:
            error = None
    if error is None:
        return ""
    return "\n" + "".join(traceback.format_exception(error)).rstrip()


def _extra(record: logging.LogRecord) -> Mapping[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _OF_EVERY_RECORD}


def _fields(fields: Mapping[str, Any]) -> str:
    return "".join(f" {name}={_shown(value)}" for name, value in fields.items())


def _shown(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a broken __str__ ends no handler
        return described(error)


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 1] + "…"
