"""What people type: options shared by the commands, durations, instants, JSON."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, overload
from zoneinfo import ZoneInfo

import typer

from scheduler.errors import InvalidOption

Database = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="The store.", show_default=False)
]
Modules = Annotated[
    str | None,
    typer.Option(
        "--modules",
        metavar="A,B",
        help="Packages or modules that declare jobs.",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

_DURATION = re.compile(
    r"(?:(\d+(?:\.\d+)?)d)?(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m)?(?:(\d+(?:\.\d+)?)s)?"
)
_DATE_LENGTH = 10


def duration(text: str, option: str) -> timedelta:
    """`90s`, `5m`, `1h30m`, `2d`, or a plain number of seconds. Raises InvalidOption."""
    number = re.fullmatch(r"\d+(?:\.\d+)?", text, re.ASCII)
    parts = _DURATION.fullmatch(text)
    if len(text) > 32 or not text or (number is None and parts is None):
        raise InvalidOption(option, text, "is not a duration", "write 90s, 5m, 1h30m or 2d")
    try:
        if number is not None:
            return timedelta(seconds=float(text))
        days, hours, minutes, seconds = (float(part or 0) for part in parts.groups())  # type: ignore[union-attr]
        return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError:
        raise InvalidOption(option, text, "is too long a duration") from None


def moment(text: str, place: ZoneInfo, option: str) -> datetime:
    """An instant, in UTC: RFC 3339, a wall clock in `place`, or a date (its midnight there).

    Raises InvalidRule, as everything that reads a date-time.
    """
    from scheduler.rules.zones import parse_moment

    return parse_moment(midnight(text), place, option)


@overload
def midnight(text: str) -> str: ...
@overload
def midnight(text: str | None) -> str | None: ...
def midnight(text: str | None) -> str | None:
    """`text`, of a bare date its midnight."""
    return f"{text}T00:00:00" if text is not None and len(text) == _DATE_LENGTH else text


def json_object(text: str, what: str) -> dict[str, Any]:
    """The JSON object that `text` writes. Raises InvalidOption naming the place of the fault."""
    try:
        value = json.loads(text, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise InvalidOption(
            what, text, f"is not JSON ({error})", "quote it for the shell"
        ) from None
    if not isinstance(value, dict):
        raise InvalidOption(what, text, "is not a JSON object", 'write {"key": value}')
    return value


def rule_object(text: str) -> dict[str, Any]:
    """The JSON object of a rule, or that of the cron line that `text` writes instead."""
    is_json = text.lstrip().startswith(("{", "[", '"'))
    return json_object(text, "rule") if is_json else {"cron": text}


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")
