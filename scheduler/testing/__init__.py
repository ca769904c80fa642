"""Schedules tested in frozen time: the `travel` fixture, and what is behind it.

pytest finds the fixture by itself once this package is installed. Nothing of it is imported
before a test asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scheduler.testing.runs import Attempt, Run, Skipped
    from scheduler.testing.travel import Travel

__all__ = ["Attempt", "Run", "Skipped", "Travel"]


def __getattr__(name: str) -> Any:
    if name == "Travel":
        from scheduler.testing.travel import Travel

        return Travel
    if name in __all__:
        from scheduler.testing import runs

        return getattr(runs, name)
    raise AttributeError(name)
