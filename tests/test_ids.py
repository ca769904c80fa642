"""Ids sort by time; an occurrence's id is the same for every caller."""

from __future__ import annotations

import os
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.ids import first_id, new_id, new_ids, occurrence_id
from scheduler.testing.values import NOON, SECOND, utc

MILLISECOND = timedelta(milliseconds=1)


def test_an_id_is_a_uuid_of_version_7() -> None:
    """RFC 9562: the millisecond, then random bits."""
    parsed = uuid.UUID(new_id(NOON))
    assert (parsed.version, parsed.variant) == (7, uuid.RFC_4122)


def test_later_ids_are_greater() -> None:
    """Within a millisecond, over the next, and if the clock is set back."""
    moments = [NOON + 10 * SECOND] * 500 + [NOON + 11 * SECOND, NOON, NOON + 12 * SECOND]
    ids = [new_id(moment) for moment in moments]
    assert ids == sorted(set(ids))


def test_many_ids_are_ascending_and_no_others() -> None:
    """Those drawn at once, and what is drawn before and after; none are drawn for nothing."""
    ids = [new_id(NOON), *new_ids(NOON, 1000), *new_ids(NOON, 0), new_id(NOON)]
    assert ids == sorted(set(ids))
    assert len(ids) == 1002


def test_threads_never_get_the_same_id() -> None:
    """However many, in one millisecond."""
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id(NOON), range(2000)))
    assert len(set(ids)) == 2000


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_child_does_not_go_on_where_its_parent_does() -> None:
    """Else the two would draw from one stretch of ids."""
    reader, writer = os.pipe()
    mine = new_id(NOON)
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, new_id(NOON).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    theirs = os.read(reader, 36).decode()
    os.close(reader)
    os.close(writer)
    assert abs(tail_of(theirs) - tail_of(mine)) > 2**40


def tail_of(made: str) -> int:
    """The random bits of an id: 12 before the variant, 62 after it."""
    number = uuid.UUID(made).int
    return (number >> 64 & 0xFFF) << 62 | number & (1 << 62) - 1


def test_jobs_of_schedules_that_were_made_in_a_row_stand_in_a_row() -> None:
    """Nearly: of those of one instant, each is within a few places of where its schedule is."""
    schedules = [each for n in range(40) for each in new_ids(NOON + n * MILLISECOND, 25)]
    made = [occurrence_id(each, NOON) for each in schedules]
    places = {each: place for place, each in enumerate(sorted(made))}
    assert max(abs(places[each] - place) for place, each in enumerate(made)) < 30


def test_schedules_made_by_different_hands_have_different_jobs() -> None:
    """Even if where they stand among others is the same."""
    schedules = [f"{n:08x}-0000-7000-8000-000000000000" for n in range(5000)]
    assert len({occurrence_id(each, NOON) for each in schedules}) == 5000


def test_an_occurrence_has_one_id() -> None:
    """The same for every caller and zone; another for another schedule or microsecond."""
    there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert occurrence_id("s", NOON) == occurrence_id("s", there)
    others = {
        occurrence_id("s", NOON),
        occurrence_id("t", NOON),
        occurrence_id("s", NOON + timedelta(microseconds=1)),
    }
    assert len(others) == 3
    assert uuid.UUID(occurrence_id("s", NOON)).version == 8


def test_an_occurrence_keeps_its_id_for_ever() -> None:
    """It is in tables: a new release must not change it."""
    assert (
        occurrence_id("s", utc("2026-03-29T01:30:00+00:00"))
        == "019d3736-51c0-8210-87bd-410ef44966d8"
    )
    made_here = "019ac0de-0123-7456-89ab-cdef01234567"
    assert occurrence_id(made_here, NOON) == "019b8e07-4600-826a-bcde-f1ce6e82d695"


instants = st.datetimes(
    min_value=datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(9999, 12, 31),  # noqa: DTZ001
    timezones=st.just(timezone.utc),  # noqa: UP017
)


@given(instants, instants)
def test_ids_of_occurrences_sort_by_their_millisecond(one: datetime, other: datetime) -> None:
    """So that newest rows stand together."""
    if abs(one - other) > MILLISECOND:
        assert (one < other) == (occurrence_id("s", one) < occurrence_id("s", other))


def test_an_occurrence_before_1970_has_an_id() -> None:
    """It sorts first."""
    early = occurrence_id("s", utc("1900-01-01T00:00:00+00:00"))
    assert early < occurrence_id("s", NOON)
    assert early != occurrence_id("s", utc("1900-01-01T00:00:01+00:00"))


def test_an_instant_divides_the_ids_of_before_from_those_of_since() -> None:
    """Of both kinds, to the millisecond."""
    before = NOON - MILLISECOND
    assert occurrence_id("s", before) < first_id(NOON) <= occurrence_id("s", NOON)
    made = new_id(NOON)
    at = utc("1970-01-01T00:00Z") + (uuid.UUID(made).int >> 80) * MILLISECOND
    assert first_id(at) <= made < first_id(at + MILLISECOND)
