"""Many schedules, a year and its outages: the record is the pure set less what policy skips."""

from __future__ import annotations

import pytest

from scheduler.testing import Travel
from tests.fleet import START, lived, wrong


@pytest.mark.parametrize(("storage", "number"), [("memory://", 120), ("sqlite://", 25)])
def test_a_fleet_does_what_its_rules_and_policies_say(storage: str, number: int) -> None:
    with Travel(storage=storage, start=START) as travel:
        assert wrong(lived(travel, number, 365), number) == []
