"""Answers: a table for eyes, or one JSON document for machines, on stdout; refusals on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def print_json(value: Any) -> None:
    """`value` as one JSON document."""
    sys.stdout.write(_json(value, indent=2) + "\n")


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str) -> None:
    """Rows under their columns; the sentence `empty` if there are none.

    On a terminal as wide as it is; into a pipe as wide as the rows, so that nothing is cut.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    listed = [list(row) for row in rows]
    if not listed:
        print(empty)
        return
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for row in listed:
        table.add_row(*(Text(cell) for cell in row))
    console = Console() if sys.stdout.isatty() else Console(width=10_000, color_system=None)
    console.print(table)


def short(value: Any, width: int = 60) -> str:
    """`value` in one line of at most `width` characters."""
    line = " ".join((_encodable(value) if isinstance(value, str) else _json(value)).split())
    return line if len(line) <= width else line[: width - 1] + "…"


def rule_text(rule: Mapping[str, Any]) -> str:
    """A stored rule as a sentence; its JSON if this version cannot read it."""
    from scheduler.errors import InvalidRule
    from scheduler.rules import explain, rule_from_json

    try:
        return explain(rule_from_json(rule))
    except InvalidRule:
        return short(dict(rule))


def _json(value: Any, indent: int | None = None) -> str:
    return _encodable(json.dumps(value, indent=indent, ensure_ascii=False))


def _encodable(text: str) -> str:
    """`text` with lone surrogates escaped, as file names may bring them, in JSON's own way."""
    return text.encode(errors="backslashreplace").decode()


def refuse(message: str) -> int:
    """Say on stderr, in one line, what is wrong; the exit code."""
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return 2
