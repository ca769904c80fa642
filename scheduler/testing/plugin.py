"""The pytest plugin: one fixture, imported when a test asks for it, and the contract's asserts.

def test_the_books_are_exported_at_night(travel):
    travel.to("2026-03-28T00:00", timezone="Europe/Berlin")
    travel.until("2026-03-30T00:00")
    assert travel.runs("export_books") == ["2026-03-28T02:30", "2026-03-29T03:00"]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scheduler.testing.travel import Travel

# By name, before anything imports it: a law that fails then shows both sides of its assert.
pytest.register_assert_rewrite("scheduler.testing.contract")

_MARKER = "travel(storage='sqlite://', timezone='UTC'): where a test travels, and by which clock"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("travel_storage", "URL of the store that `travel` uses.", default="sqlite://")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", _MARKER)


@pytest.fixture
def travel(request: pytest.FixtureRequest) -> Iterator[Travel]:
    """Simulated time in which schedules are expanded and jobs run, see scheduler.testing.Travel.

    It knows the jobs that the test's module declares or imports. The store, empty before the
    test, is emptied after it.
    """
    from scheduler.testing.travel import Travel

    marker = request.node.get_closest_marker("travel")
    given = dict(marker.kwargs) if marker else {}
    given.setdefault("storage", request.config.getini("travel_storage"))
    with Travel(**given) as travelling:
        module = getattr(request, "module", None)
        if module is not None:
            travelling.know(module)
        yield travelling
        travelling.clear()
