"""Rows as the text that PostgreSQL's COPY reads: a line for each, its values separated by tabs.

What all rows have in common is made text once. Pure: the text, and not how it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from itertools import islice, repeat
from typing import Any

_NULL = "\\N"
_ESCAPES = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ROWS = 1000


def blocks(columns: Sequence[Sequence[Any]]) -> Iterator[bytes]:
    """The lines of the rows of which these are the columns, in UTF-8, many at a time.

    There are some rows. Values are texts, numbers, booleans and None, which is NULL.
    """
    count = len(columns[0])
    parts: list[str] = []
    varying: list[Sequence[str]] = []
    for values in columns:
        if values.count(values[0]) == count:
            [text] = _texts(values[:1])
            parts.append(text.replace("%", "%%"))
        else:
            parts.append("%s")
            varying.append(_texts(values))
    line = "\t".join(parts) + "\n"
    rows = zip(*varying, strict=True) if varying else repeat((), count)
    lines = (line % row for row in rows)
    while block := "".join(islice(lines, _ROWS)):
        yield block.encode()


def _texts(values: Sequence[Any]) -> Sequence[str]:
    """The values of a column, each as it stands in a line."""
    if any(issubclass(kind, Enum) for kind in set(map(type, values))):  # they show their names
        values = [each.value if isinstance(each, Enum) else each for each in values]
    texts = [str(each) for each in values]
    all_of_them = "".join(texts)
    if any(mark in all_of_them for mark in _ESCAPES):
        texts = [_escaped(each) for each in texts]
    if None not in values:
        return texts
    return [_NULL if each is None else text for each, text in zip(values, texts, strict=True)]


def _escaped(text: str) -> str:
    for mark, escape in _ESCAPES.items():  # the backslash first
        text = text.replace(mark, escape)
    return text
