"""Lists of keys, in parts that one statement can take.

Each key of an IN is a parameter, and every server has a most it takes: SQL Server 2,100, SQLite
32,766, PostgreSQL 65,535. One size of part does for all of them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

LONGEST = 1000


def parts(keys: Collection[str]) -> Iterator[list[str]]:
    """The keys in ascending order, at most LONGEST at a time; nothing of none.

    In order, so that two who lock the same rows in parts lock them in the same order.
    """
    ordered = sorted(keys)
    for start in range(0, len(ordered), LONGEST):
        yield ordered[start : start + LONGEST]


def slices(records: Sequence[T], size: int = LONGEST // 2) -> Iterator[Sequence[T]]:
    """The records, `size` at a time: half of LONGEST, where each brings more keys than one."""
    for start in range(0, len(records), size):
        yield records[start : start + size]
