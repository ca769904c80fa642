"""Values are frozen: a change is a copy."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from datetime import UTC, datetime

import pytest

from scheduler.model import Job, JobStatus, Lease, Schedule, copies, replace

NOW = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = (
    Job(id="1", name="note", data={"a": 1}, created_at=NOW, scheduled_at=NOW),
    Lease("token", NOW),
    Schedule(
        id="1",
        name="note",
        job_name="note",
        rule={},
        timezone="UTC",
        anchor_at=NOW,
        rule_since=NOW,
        cursor_at=NOW,
        created_at=NOW,
        updated_at=NOW,
    ),
)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_copy_is_the_value_it_would_be_if_it_had_been_made_anew(value: Job) -> None:
    for field in dataclasses.fields(value):
        changed = replace(value, **{field.name: "other"})
        made = dataclasses.replace(value, **{field.name: "other"})  # type: ignore[arg-type]
        assert changed == made != value
        assert (repr(changed), pickle.dumps(changed)) == (repr(made), pickle.dumps(made))
        assert copy.deepcopy(changed) == changed


def test_the_value_itself_stays_and_its_copy_is_frozen() -> None:
    job, _, _ = VALUES
    failed = replace(job, status=JobStatus.FAILED, error="boom")
    assert (job.status, job.error) == (JobStatus.PENDING, None)
    assert (failed.status, failed.error) == (JobStatus.FAILED, "boom")
    assert failed.data is job.data
    with pytest.raises(dataclasses.FrozenInstanceError):
        failed.status = JobStatus.PENDING  # type: ignore[misc]


def test_a_name_that_is_not_a_field_is_refused() -> None:
    with pytest.raises(TypeError, match="Job has no field 'stauts'"):
        replace(VALUES[0], stauts=JobStatus.FAILED)


def test_copies_differ_in_the_columns_they_are_given() -> None:
    """Each is what `replace` makes; of no rows there are none."""
    job, _, _ = VALUES
    made = copies(job, id=["a", "b"], name=["c", "d"])
    assert made == [replace(job, id="a", name="c"), replace(job, id="b", name="d")]
    assert copies(job, id=[]) == []
    with pytest.raises(ValueError, match="zip"):
        copies(job, id=["a", "b"], name=["c"])
