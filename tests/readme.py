"""The README's fenced blocks, which tests and CI take from it, so that it cannot go stale."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    """One fenced block, and the heading it stands under."""

    section: str
    language: str
    text: str


def blocks() -> list[Block]:
    """Every fenced block, in order."""
    sections = re.split(r"^## ", README.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [
        Block(section.partition("\n")[0], found["language"], found["text"])
        for section in sections
        for found in _FENCE.finditer(section)
    ]


def block(section: str, language: str) -> str:
    """The text of the one block of this language under this heading."""
    (text,) = (each.text for each in blocks() if each[:2] == (section, language))
    return text
