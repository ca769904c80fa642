"""What a run of the benchmarks says: where it was measured, one table, and the same as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from tests.benchmarks.bench import Bench, Row

FEWEST_RUNS = 5


def conditions(bench: Bench) -> dict[str, Any]:
    """What the figures depend on, as far as it can be asked."""
    return {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "load": os.getloadavg()[0],
        "size": bench.size.value,
        "runs": bench.runs,
        **bench.stores.settings(),
    }


def document(conditions: Mapping[str, Any], rows: Iterable[Row]) -> dict[str, Any]:
    """The report as a JSON object."""
    return {"conditions": dict(conditions), "rows": [row.as_json() for row in rows]}


def table(conditions: Mapping[str, Any], rows: Iterable[Row]) -> Table:
    """The report as one table; its title says what it was measured on."""
    shown = Table(
        title="\n".join(_lines(conditions)),
        title_justify="left",
        caption="ratio: ours to the floor, the median of the runs; the floor: the same by hand",
        caption_justify="left",
    )
    shown.add_column("what", overflow="fold")
    for heading in ("floor", "ours", "unit", "ratio", "target", "met"):
        shown.add_column(heading, justify="left" if heading == "unit" else "right", no_wrap=True)
    for row in rows:
        shown.add_row(
            row.what,
            _number(row.floor),
            _number(row.ours),
            row.unit,
            _number(row.ratio),
            row.target or "",
            "" if row.is_met is None else "yes" if row.is_met else "no",
        )
    return shown


def _lines(conditions: Mapping[str, Any]) -> list[str]:
    """One line of title for what is said of a database, one for all the rest."""
    alone = {name: said for name, said in conditions.items() if not isinstance(said, Mapping)}
    groups = {name: said for name, said in conditions.items() if isinstance(said, Mapping)}
    lines = [_spoken(alone), *(f"{name}: {_spoken(said)}" for name, said in groups.items())]
    if conditions["runs"] < FEWEST_RUNS:
        lines.append(f"Fewer than {FEWEST_RUNS} runs: this shows that it works, and no more.")
    return lines


def _spoken(said: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.1f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in said.items()
    )


def _number(value: float) -> str:
    """Three digits that say something; more where they stand before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if value >= 1 else f"{value:.3g}"
