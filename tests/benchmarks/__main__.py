"""The benchmarks: `python -m tests.benchmarks [names…] [--json] [--runs 5] [--size small|full]`.

It starts servers of its own. The report goes to stdout, progress to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scheduler import logs
from tests.benchmarks import report
from tests.benchmarks.bench import Bench, Row, Size
from tests.benchmarks.stores import Stores
from tests.benchmarks.suite import BENCHMARKS
from tests.servers import POSTGRES, server_home, throwaway_server

NARROWEST = 110


def main(arguments: Sequence[str]) -> None:
    given = _parsed(arguments)
    logs.configure("error", "console")
    with (
        server_home(POSTGRES) as home,
        tempfile.TemporaryDirectory() as directory,
        _progress() as progress,
    ):
        stores = Stores(throwaway_server(POSTGRES, home), Path(directory))
        whole = progress.add_task("", total=len(given.names))
        part = progress.add_task("", total=None)
        bench = Bench(
            stores,
            given.size,
            given.runs,
            began=lambda what, steps: progress.reset(part, total=steps, description=what),
            stepped=lambda: progress.advance(part),
        )
        conditions = report.conditions(bench)
        rows: list[Row] = []
        for name in given.names:
            progress.update(whole, description=name)
            rows += BENCHMARKS[name](bench)
            progress.advance(whole)
    if given.json:
        print(json.dumps(report.document(conditions, rows), indent=2))
    else:
        console = Console()
        console.width = max(console.width, NARROWEST)
        console.print(report.table(conditions, rows))


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(BENCHMARKS)}; none: all")
    parser.add_argument("--json", action="store_true", help="one document in place of the table")
    parser.add_argument("--runs", type=int, default=report.FEWEST_RUNS, help="of each side")
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.SMALL)
    given = parser.parse_args(arguments)
    if unknown := sorted({*given.names} - {*BENCHMARKS}):
        parser.error(f"{unknown[0]!r} is not one of {', '.join(BENCHMARKS)}")
    if given.runs < 1:
        parser.error(f"--runs: {given.runs} is below 1")
    given.names = given.names or list(BENCHMARKS)
    return given


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )


if __name__ == "__main__":
    main(sys.argv[1:])
