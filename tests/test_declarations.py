"""What the code declares against what the table holds: a table of cases."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.declarations import Change, ChangeKind, declare, reconcile
from scheduler.expansion import expand
from scheduler.model import CatchUp, Schedule, ScheduleStatus
from scheduler.registry import define
from scheduler.rules import Rule, every
from scheduler.testing.values import MINUTE, NOON

LATER = NOON + timedelta(hours=5, minutes=30)
HOURLY = every(hours=1, start_date="2026-01-01T00:00Z")
MODULE = __name__


def books(region: str = "eu") -> None: ...


def declared(
    rule: Rule = HOURLY, *, now: Any = LATER, module: str | None = MODULE, **options: Any
) -> Schedule:
    """The schedule the code says."""
    return declare(
        define(books, rule, name="books", **options),
        rule,
        name="books",
        timezone="UTC",
        queue="default",
        max_retries=3,
        module=module,
        now=now,
    )


def changes(said: list[Schedule], stored: list[Schedule], **given: Any) -> list[Change]:
    modules = given.get("modules", [MODULE])
    return reconcile(said, {each.name: each for each in stored}, modules=modules, now=LATER)


STORED = expand(declared(now=NOON), NOON).after
"""Declared at noon, and expanded once."""


def test_a_new_schedule_is_added() -> None:
    """Begun as if created now."""
    [change] = changes([declared()], [])
    assert (change.kind, change.before) == (ChangeKind.ADDED, None)
    assert change.after.created_at == change.after.anchor_at == LATER
    assert (change.after.revision, change.after.materialised) == (1, 0)
    assert change.after.next_at == NOON + timedelta(hours=6)


def test_the_same_code_changes_nothing() -> None:
    """Neither the phase nor the cursor nor the revision, however late it is declared again."""
    assert changes([declared()], [STORED]) == []


EDITS: dict[str, dict[str, Any]] = {
    "data": {"data": {"region": "us"}},
    "queue": {"queue": "q"},
    "priority": {"priority": 5},
    "max_retries": {"max_retries": 0},
    "timeout": {"timeout": 9},
    "catch_up": {"catch_up": "all"},
    "grace": {"grace": 0},
    "catch_up_max": {"catch_up_max": 1},
    "module": {"module": "elsewhere"},
}


@pytest.mark.parametrize("options", EDITS.values(), ids=EDITS.keys())
def test_an_edited_policy_is_written_and_the_series_goes_on(options: dict[str, Any]) -> None:
    """Cursor, count and what is due stay; what was missed is still missed."""
    [change] = changes([declared(**options)], [STORED])
    said = declared(**options)
    [field] = options
    assert change.kind is ChangeKind.CHANGED
    assert change.after == replace(
        STORED,
        **{field: getattr(said, field)},
        declared=said.declared,
        revision=2,
        updated_at=LATER,
    )


@pytest.mark.parametrize(
    ("rule", "next_at"),
    [
        (every(hours=2, start_date="2026-01-01T00:00Z"), NOON + timedelta(hours=6)),
        (every(hours=1, start_date="2026-01-01T00:45Z"), NOON + timedelta(hours=5, minutes=45)),
        (every(hours=2), NOON + timedelta(hours=6)),
        (
            every(days=1, start_date="2026-01-01T09:00", timezone="Asia/Tokyo"),
            NOON + 12 * 60 * MINUTE,
        ),
    ],
)
def test_an_edited_rule_goes_on_from_now(rule: Rule, next_at: Any) -> None:
    """10.2: the old anchor unless a start is given, nothing at or before now, the count goes on.

    What was due under the old rule is decided by it: here, 17:00 is caught up.
    """
    [change] = changes([declared(rule)], [STORED])
    after = change.after
    assert change.kind is ChangeKind.CHANGED
    assert (after.id, after.materialised) == (STORED.id, 2)
    assert (after.cursor_at, after.next_at, after.revision) == (LATER, next_at, 2)


@pytest.mark.parametrize(
    ("limit", "status"), [(2, ScheduleStatus.COMPLETED), (3, ScheduleStatus.ACTIVE)]
)
def test_a_new_limit_counts_what_was_made(limit: int, status: ScheduleStatus) -> None:
    """10.2: a limit at or below the count completes; one above it goes on."""
    rule = every(hours=1, start_date="2026-01-01T00:00Z", limit=limit)
    [change] = changes([declared(rule)], [STORED])
    assert change.after.status is status


def test_an_edit_that_yields_occurrences_wakes_a_completed_schedule() -> None:
    """10.2: such as a later end."""
    ended = every(hours=1, start_date="2026-01-01T00:00Z", end_date="2026-01-05T12:00Z")
    stored = expand(declared(ended, now=NOON), NOON).after
    assert stored.status is ScheduleStatus.COMPLETED
    assert changes([declared(ended)], [stored]) == []
    [change] = changes([declared()], [stored])
    assert change.after.status is ScheduleStatus.ACTIVE
    assert change.after.next_at == NOON + timedelta(hours=6)


def test_a_paused_schedule_stays_paused() -> None:
    """Somebody paused it; new code is no reason to go on."""
    paused = replace(STORED, status=ScheduleStatus.PAUSED, next_at=None)
    assert changes([declared()], [paused]) == []
    [change] = changes([declared(every(hours=2))], [paused])
    assert change.after.status is ScheduleStatus.PAUSED


def test_a_schedule_paused_by_its_error_goes_on_when_the_rule_is_mended() -> None:
    """Its error is gone with it."""
    broken = replace(
        STORED,
        rule={"every": 0, "unit": "hours"},
        status=ScheduleStatus.PAUSED,
        error="every: 0 …",
        next_at=None,
    )
    [change] = changes([declared()], [broken])
    assert (change.after.status, change.after.error) == (ScheduleStatus.ACTIVE, None)
    assert change.after.next_at == NOON + timedelta(hours=6)


RETIRABLE = [
    (MODULE, [MODULE], True),
    ("jobs.books", ["jobs"], True),
    ("jobs", ["jobs"], True),
    ("jobs_of_others", ["jobs"], False),
    ("other", ["jobs"], False),
    (None, ["jobs"], False),
    ("jobs.books", [], False),
    ("jobs.books", ["jobs.books.deep"], False),
]


@pytest.mark.parametrize(("module", "modules", "is_retired"), RETIRABLE)
def test_a_schedule_whose_code_is_gone_is_retired(
    module: str | None, modules: list[str], is_retired: bool
) -> None:
    """If the modules at hand declared it; others are left alone, and those made by hand."""
    stored = replace(STORED, module=module)
    found = changes([], [stored], modules=modules)
    assert bool(found) is is_retired
    for change in found:
        assert change.kind is ChangeKind.RETIRED
        assert change.after == replace(
            stored, status=ScheduleStatus.RETIRED, next_at=None, revision=2, updated_at=LATER
        )
        assert changes([], [change.after], modules=modules) == []


def test_a_retired_schedule_that_comes_back_goes_on_from_now() -> None:
    """Same id, phase and count; what fell in between is not missed."""
    [gone] = changes([], [STORED])
    [back] = changes([declared(catch_up="all")], [gone.after])
    assert back.kind is ChangeKind.REVIVED
    assert (back.after.id, back.after.anchor_at) == (STORED.id, STORED.anchor_at)
    assert (back.after.materialised, back.after.revision) == (1, 3)
    assert (back.after.cursor_at, back.after.status) == (LATER, ScheduleStatus.ACTIVE)
    assert back.after.catch_up is CatchUp.ALL
    assert back.after.error is None


def test_a_definitions_own_options_win_over_the_queues() -> None:
    """The queue's are for what it leaves open."""
    open_ = declared()
    settled = declared(queue="q", max_retries=0)
    assert (open_.queue, open_.max_retries) == ("default", 3)
    assert (settled.queue, settled.max_retries) == ("q", 0)


def test_a_rules_own_zone_wins_over_the_default() -> None:
    """1.2."""
    assert declared().timezone == "UTC"
    assert declared(every(days=1, timezone="Europe/Berlin")).timezone == "Europe/Berlin"
