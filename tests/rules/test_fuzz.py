"""Clause 8.1: a bad rule gets one kind of error, soon."""

from __future__ import annotations

import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.errors import InvalidRule
from scheduler.rules import rule_from_json

from .fuzz import candidate, run

json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
kinds = st.sampled_from(
    ["every", "cron", "rrule", "at", "any", "all", "timezone", "limit", "only_on", "except"]
)


def test_8_1_damaged_rules_are_refused_or_hold() -> None:
    slow: list[tuple[Any, int]] = []
    accepted = run(4_000, 7, lambda rule, took: slow.append((rule, took)))
    assert slow == []
    assert 200 < accepted < 2_000


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(kinds, json, max_size=3) | json)
def test_8_1_any_json_is_a_rule_or_refused(value: Any) -> None:
    try:
        rule = rule_from_json(value)
    except InvalidRule:
        return
    assert rule_from_json(rule.to_json()) == rule


def test_the_same_seed_gives_the_same_rules() -> None:
    assert repr(candidate(random.Random(3))) == repr(candidate(random.Random(3)))
