"""The benchmarks measure what they say: each row has a ratio, and both sides did the same work.

At a size that shows no more than that; nothing here is judged by how long it takes.
"""

from __future__ import annotations

import json
import math
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tests.benchmarks import __main__ as command
from tests.benchmarks import report
from tests.benchmarks.bench import (
    Bench,
    Figure,
    Ran,
    Row,
    Size,
    Target,
    UnequalWorkError,
    at_least,
    at_most,
    ratio_at_least,
    ratio_at_most,
)
from tests.benchmarks.stores import POSTGRESQL, SQLITE, Stores
from tests.benchmarks.suite import BENCHMARKS


@pytest.fixture
def bench(lasting_postgres_url: str, tmp_path: Path) -> Bench:
    return Bench(Stores(lasting_postgres_url, tmp_path), Size.TINY, runs=1)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_every_row_has_a_ratio_of_equal_work(bench: Bench, name: str) -> None:
    """A benchmark yields rows, each the ratio of two sides that did as much."""
    rows = list(BENCHMARKS[name](bench))

    assert rows
    for row in rows:
        assert row.benchmark == name
        assert row.count == row.floor_count
        assert math.isfinite(row.ratio)
        assert row.ratio > 0
        assert len(row.all_floor) == len(row.all_ours) == row.runs == 1


def compared(bench: Bench, *pairs: tuple[float, float], counts: tuple[int, int] = (1, 1)) -> Row:
    """The row of sides that come to these values, one pair a run."""
    floor = iter([Ran(counts[0], (each,)) for each, _ in pairs])
    ours = iter([Ran(counts[1], (each,)) for _, each in pairs])
    figure = Figure("speed", "jobs/s", ratio_at_least(0.5))
    [row] = bench.compare("speed", [figure], floor=lambda: next(floor), ours=lambda: next(ours))
    return row


def a_bench(runs: int) -> Bench:
    return Bench(Stores("no server", Path()), Size.TINY, runs)


def test_the_ratio_is_the_median_of_the_ratios_of_the_runs() -> None:
    """A machine that slows down between runs changes both sides of a run, and no ratio."""
    row = compared(a_bench(3), (100, 50), (10, 5), (1000, 900))

    assert (row.floor, row.ours, row.ratio) == (100, 50, 0.5)
    assert row.is_met


def test_the_sides_change_places_every_run() -> None:
    """What either leaves behind, the other meets as often."""
    order: list[str] = []

    def side(name: str) -> Ran:
        order.append(name)
        return Ran(1, (1.0,))

    figure = Figure("speed", "jobs/s")
    list(
        a_bench(3).compare(
            "speed", [figure], floor=lambda: side("floor"), ours=lambda: side("ours")
        )
    )

    assert order == ["floor", "ours", "ours", "floor", "floor", "ours"]


def test_a_comparison_of_unequal_work_is_refused() -> None:
    """A ratio of sides that did not do the same says nothing."""
    with pytest.raises(UnequalWorkError, match="the floor did 3, ours 2"):
        compared(a_bench(1), (1, 1), counts=(3, 2))


@pytest.mark.parametrize(
    ("target", "ratio", "value", "is_met"),
    [
        (ratio_at_least(0.5), 0.5, 0, True),
        (ratio_at_least(0.5), 0.49, 99, False),
        (ratio_at_most(1.3), 1.3, 99, True),
        (ratio_at_most(1.3), 1.31, 0, False),
        (at_least(20), 0, 20, True),
        (at_least(20), 99, 19, False),
        (at_most(2), 99, 2, True),
        (at_most(2), 0, 2.1, False),
    ],
)
def test_a_target_bounds_the_ratio_or_the_value(
    target: Target, ratio: float, value: float, is_met: bool
) -> None:
    """A target says which of the two it is about, and on which side it is met."""
    assert target.is_met(ratio=ratio, value=value) is is_met


def test_the_databases_say_that_they_write_durably(bench: Bench) -> None:
    """What the report's title says of the settings is what the databases answered."""
    settings = report.conditions(bench)

    assert settings[POSTGRESQL]["fsync"] == settings[POSTGRESQL]["synchronous_commit"] == "on"
    assert settings[SQLITE]["journal_mode"] == "wal"


def test_the_command_prints_one_document_with_a_row_for_each_figure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With --json stdout is JSON and nothing else."""
    command.main(["imports", "--json", "--runs", "1", "--size", "tiny"])

    printed = json.loads(capsys.readouterr().out)
    assert printed["conditions"][POSTGRESQL]["fsync"] == "on"
    assert [row["what"] for row in printed["rows"]] == [
        "import scheduler",
        "import scheduler, every public name",
        "scheduler --help",
    ]


def test_the_table_shows_target_and_measured_value_of_each_row() -> None:
    """A row says what was wanted, what came, and whether that is enough."""
    row = compared(a_bench(1), (80_000, 2_000))
    printed = StringIO()
    Console(width=120, file=printed).print(report.table({"runs": 1, "size": "tiny"}, [row]))

    shown = printed.getvalue()
    [line] = [each for each in shown.splitlines() if "speed" in each]
    assert [cell.strip() for cell in line.strip("│").split("│")] == [
        "speed",
        "80,000",
        "2,000",
        "jobs/s",
        "0.025",
        "≥ 0.5 of the floor",
        "no",
    ]
    assert "Fewer than 5 runs" in shown


def test_an_unknown_name_is_refused_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A mistyped benchmark is named, before any server starts."""
    with pytest.raises(SystemExit, match="2"):
        command.main(["drian"])

    assert "'drian' is not one of drain, enqueue" in capsys.readouterr().err
