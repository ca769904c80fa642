"""Rows as COPY reads them: every value comes back as it was, whatever stands in it."""

from __future__ import annotations

from enum import Enum
from typing import Any

import pytest

from scheduler.storage.sql.copying import blocks


class Name(str, Enum):  # noqa: UP042 - a StrEnum would show its value
    ONE = "one"


class Number(int, Enum):
    ONE = 1


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ([[1], ["a"]], "1\ta\n"),
        ([["a", "b"], [True, False]], "a\tTrue\nb\tFalse\n"),
        ([["same", "same"], [0.5, 2]], "same\t0.5\nsame\t2\n"),
        ([[None, None], ["a", "b"]], "\\N\ta\n\\N\tb\n"),
        ([[None, "None", "\\N"]], "\\N\nNone\n\\\\N\n"),
        ([["100 %", "100 %"], ["%s", "%%"]], "100 %\t%s\n100 %\t%%\n"),
        ([["a\tb\nc\rd\\", "ž"]], "a\\tb\\nc\\rd\\\\\nž\n"),
        ([["\\.", "\\."]], "\\\\.\n\\\\.\n"),
        ([[Name.ONE, "two"], [Number.ONE, Number.ONE]], "one\t1\ntwo\t1\n"),
    ],
    ids=[
        "one",
        "varying",
        "same",
        "null",
        "like null",
        "percent",
        "escaped",
        "end of data",
        "enum",
    ],
)
def test_rows_are_lines(columns: list[list[Any]], text: str) -> None:
    """Tabs part the values, what they hold of the format is escaped, NULL is \\\\N."""
    assert b"".join(blocks(columns)).decode() == text


def test_many_rows_are_several_blocks() -> None:
    """In order, none left out; so that the text of all is never held at once."""
    numbers = list(range(2500))
    found = list(blocks([numbers, ["x"] * 2500]))
    assert len(found) == 3
    assert b"".join(found).decode().splitlines() == [f"{number}\tx" for number in numbers]
