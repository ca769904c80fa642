"""Tools for tests: the `travel` fixture, and the contract that every storage keeps.

pytest finds the fixture by itself once this package is installed. Nothing of it is imported
before a test asks for it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.testing.contract import JobContract, StorageContract
    from scheduler.testing.runs import Attempt, Run, Skipped
    from scheduler.testing.travel import Travel

__all__ = ["Attempt", "JobContract", "Run", "Skipped", "StorageContract", "Travel"]

_HOMES = {
    "Attempt": "runs",
    "JobContract": "contract",
    "Run": "runs",
    "Skipped": "runs",
    "StorageContract": "contract",
    "Travel": "travel",
}
"""Which module of this package each name is from."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(name)
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
