"""The table of verdicts that a session of tests prints at its end."""

from __future__ import annotations

import json
from typing import Any

import pytest

VERDICT = "verdict"
"""The property of a test that came to a verdict."""

_COLUMNS = (
    "fault",
    "store",
    "expected",
    "executed",
    "again",
    "lost",
    "twice",
    "unexplained",
    "stale",
    "late",
    "early",
)


@pytest.hookimpl(specname="pytest_terminal_summary")
def pytest_fault_verdicts(terminalreporter: pytest.TerminalReporter) -> None:
    """Print a line for every fault that was done to a store."""
    rows = [
        json.loads(value)
        for outcome in ("passed", "failed")
        for report in terminalreporter.getreports(outcome)
        for name, value in report.user_properties
        if name == VERDICT
    ]
    if rows:
        terminalreporter.section("faults")
        for line in table(rows):
            terminalreporter.write_line(line)


def table(rows: list[dict[str, Any]]) -> list[str]:
    """The lines of a table of `rows`, in columns, ordered by fault and store."""
    ordered = sorted(rows, key=lambda row: (row["fault"], row["store"]))
    cells = [_COLUMNS, *([_shown(row[name]) for name in _COLUMNS] for row in ordered)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    ]


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{count} {why}" for why, count in sorted(value.items())) or "-"
    return str(value)
