"""Import: how long until Python has the package, and the command its help. The floor is Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from time import perf_counter

from tests.benchmarks.bench import Bench, Figure, Ran, Row, at_most
from tests.benchmarks.pickup import MILLISECONDS

NOTHING = ("-c", "pass")
COMMANDS = (
    ("import scheduler", ("-c", "import scheduler"), 150),
    ("import scheduler, every public name", ("-c", "from scheduler import *"), None),
    ("scheduler --help", ("-m", "scheduler", "--help"), 300),
)


def rows(bench: Bench) -> Iterator[Row]:
    times = bench.sized(tiny=1, small=1, full=5)
    for what, arguments, most in COMMANDS:
        yield from bench.compare(
            "imports",
            [Figure(what, "ms", None if most is None else at_most(most))],
            floor=partial(started, NOTHING, times),
            ours=partial(started, arguments, times),
            note="the floor is `python -c pass`",
        )


def started(arguments: Sequence[str], times: int) -> Ran:
    """Milliseconds of one such process, from its start to its end."""
    began = perf_counter()
    for _ in range(times):
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    return Ran(times, ((perf_counter() - began) / times * MILLISECONDS,))
