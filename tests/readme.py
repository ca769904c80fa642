"""The README's fenced blocks, which tests and CI take from it, so that it cannot go stale."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

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
    (text,) = blocks_of(section, language)
    return text


def blocks_of(section: str, language: str) -> list[str]:
    """The texts of the blocks of this language under this heading, in order."""
    return [each.text for each in blocks() if each[:2] == (section, language)]


def shown(name: str) -> Any:
    """The module of this file name, as a Python block shows it, executed."""
    (text,) = (each.text for each in blocks() if each.text.startswith(f"# {name}\n"))
    module = ModuleType(name.removesuffix(".py"))
    exec(compile(text, f"README.md: {name}", "exec"), vars(module))  # noqa: S102
    return module
