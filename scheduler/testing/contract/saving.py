"""Laws of saving and reading one job: what goes in comes out, and keys are keys."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from scheduler import clock
from scheduler.errors import DuplicateJob, NaiveTime, UnknownJobId
from scheduler.model import Completed, Failed, Job, JobStatus, Lease, Origin
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import (
    LARGEST,
    SMALLEST,
    TTL,
    lease,
    series,
    settlement,
    stored,
)
from scheduler.testing.values import NOON, SECOND, a_job, utc

JSON_VALUES = [
    None,
    True,
    0,
    1.0,
    2**53 + 1,
    -(2**63),
    2**63 - 1,
    2**70,
    0.1,
    1e-300,
    1.7976931348623157e308,
    "",
    'O\'Hara "said" \\ %s %(x)s :x ? {}',
    "'; DROP TABLE jobs; --",
    "NUL \x00 in the middle",
    "lone surrogate \udcff",
    "žluťoučký kůň 🐎 \u202e \u2028",
    [],
    {},
    [1, [2, [3, {"a": None}]]],
    {"": 1, "with space": 2, "$.path": 3, "ключ": 4, "\x00": 5},
]


class SavingLaws:
    """A job is stored as it is, once."""

    def test_a_job_comes_back_as_it_was_saved(self, storage: JobStorage) -> None:
        """Every field survives, to the microsecond, whatever the zone it was given in."""
        job = a_job(
            data={"region": "eu"},
            created_at=utc("2026-01-05T11:59:59.999999+00:00"),
            scheduled_at=utc("2026-01-05T13:00:00.000001+01:00"),
            queue="reports",
            priority=-7,
            max_retries=5,
            retry_count=2,
            timeout=timedelta(seconds=90, microseconds=1),
            error="ValueError: earlier",
            result={"rows": 3},
            repeat={"every": 1, "unit": "days"},
            schedule_id="s1",
            occurrence_at=utc("2026-01-05T12:00:00.000001+00:00"),
            sequence=4,
            concurrency_key="account 7",
            worker="host:1:ab",
        )
        storage.save_job(job)
        assert stored(storage, job) == job
        assert stored(storage, job).scheduled_at.utcoffset() == timedelta(0)

    @pytest.mark.parametrize("number", [SMALLEST, LARGEST])
    def test_a_priority_is_any_integer_of_32_bits(self, storage: JobStorage, number: int) -> None:
        """From the first there can be to the last, and found by it."""
        job = a_job(priority=number)
        storage.save_job(job)
        assert storage.get_job(job.id) == job
        assert storage.get_jobs_by_priority(number) == [job]

    def test_counts_go_to_the_largest_integer_of_32_bits(self, storage: JobStorage) -> None:
        """Retries, the place in a series, and what was missed before."""
        job = a_job(
            max_retries=LARGEST, retry_count=LARGEST, sequence=LARGEST, missed_before=LARGEST
        )
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize(
        "timeout", [timedelta(microseconds=1), timedelta(days=36500, microseconds=-1)], ids=str
    )
    def test_a_timeout_is_kept_to_the_microsecond(
        self, storage: JobStorage, timeout: timedelta
    ) -> None:
        """However short, and as long as a century."""
        job = a_job(timeout=timeout)
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    def test_the_place_of_a_job_in_its_series_comes_back(self, storage: JobStorage) -> None:
        """With what was skipped before it."""
        [job] = series(
            storage, 1, serial=True, missed_before=3, previous_occurrence_at=NOON - SECOND
        )
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize("origin", list(Origin))
    def test_how_a_job_came_to_be_comes_back(self, storage: JobStorage, origin: Origin) -> None:
        """Whatever made it."""
        job = a_job(origin=origin)
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize(
        "key", [None, "", "a ", "\u017elu\u0165ou\u010dk\xfd 🐎", "\u017e" * 255], ids=ascii
    )
    def test_a_concurrency_key_comes_back(self, storage: JobStorage, key: str | None) -> None:
        """Whole, and none is not the empty one."""
        job = a_job(concurrency_key=key)
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    def test_a_leased_job_comes_back_with_its_lease(self, storage: JobStorage) -> None:
        """The token and the expiry are part of what is stored."""
        job = a_job(status=JobStatus.PROCESSING, lease=Lease("t" * 16, NOON + TTL), started_at=NOON)
        storage.save_job(job)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize("value", JSON_VALUES, ids=ascii)
    def test_any_json_survives_as_data_and_as_result(self, storage: JobStorage, value: Any) -> None:
        """JSON goes in and the same JSON comes out, hostile text included."""
        job = a_job(data={"value": value})
        storage.save_job(job)
        storage.settle_jobs([settlement(lease(storage), Completed(value))])
        ended = stored(storage, job)
        assert (ended.data, ended.result) == ({"value": value}, value)
        # As a text too: to Python, 1, 1.0 and True are equal.
        assert json.dumps(ended.data, sort_keys=True) == json.dumps(job.data, sort_keys=True)

    @pytest.mark.parametrize("number", [0, -0.0, 1.0, 1e15, 2**53 + 1, -(2**63), 2**63, 2**70 + 1])
    def test_a_number_is_a_result(self, storage: JobStorage, number: float) -> None:
        """Of any size, to the last digit, and no integer becomes a float or the other way."""
        job = a_job(result=number)
        storage.save_job(job)
        assert repr(stored(storage, job).result) == repr(number)

    @pytest.mark.parametrize("error", ["", "line 1\nline 2", "'\"\\ 🐎", "x " * 2_000])
    def test_any_error_text_survives(self, storage: JobStorage, error: str) -> None:
        """As much of it as `lifecycle` keeps."""
        storage.save_job(a_job())
        job = lease(storage)
        storage.settle_jobs([settlement(job, Failed(error))])
        assert stored(storage, job).error == error

    def test_an_error_that_no_text_column_holds_is_escaped(self, storage: JobStorage) -> None:
        """NUL and lone surrogates, as in undecodable file names, cannot stop a settlement."""
        storage.save_job(a_job())
        job = lease(storage)
        assert storage.settle_jobs([settlement(job, Failed("a\x00b\udcffc"))]) == [True]
        assert stored(storage, job).error == r"a\x00b\udcffc"

    @pytest.mark.parametrize(
        "field", ["created_at", "scheduled_at", "started_at", "completed_at", "occurrence_at"]
    )
    def test_a_naive_instant_is_refused(self, storage: JobStorage, field: str) -> None:
        """An instant without a zone is never guessed at, and nothing is written."""
        job = a_job()
        given: dict[str, Any] = {field: datetime(2026, 1, 5, 12)}  # noqa: DTZ001
        naive = replace(job, **given)
        with pytest.raises(NaiveTime):
            storage.save_job(naive)
        assert storage.get_job(job.id) is None
        storage.save_job(job)
        with pytest.raises(NaiveTime):
            storage.update_job(naive)
        assert storage.get_job(job.id) == job

    @pytest.mark.parametrize(
        "moment",
        [
            "0001-01-01T00:00:00+00:00",
            "1969-12-31T23:59:59.999999+00:00",
            "2038-01-19T03:14:08+00:00",
            "9999-12-31T23:59:59.999999+00:00",
        ],
    )
    def test_every_instant_of_the_calendar_survives(self, storage: JobStorage, moment: str) -> None:
        """From year 1 to 9999, to the microsecond, and it sorts where it belongs."""
        job = a_job(scheduled_at=utc(moment))
        storage.save_job(job)
        assert storage.get_scheduled_jobs(utc(moment)) == [job]

    def test_an_unknown_id_is_none(self, storage: JobStorage) -> None:
        """Reading what is not there is no error."""
        assert storage.get_job("nobody") is None

    def test_an_id_is_taken_once(self, storage: JobStorage) -> None:
        """A second job of the same id is refused, and the first stays."""
        first = a_job()
        storage.save_job(first)
        with pytest.raises(DuplicateJob, match=first.id):
            storage.save_job(replace(first, name="other"))
        assert storage.get_job(first.id) == first

    def test_an_occurrence_has_at_most_one_job(self, storage: JobStorage) -> None:
        """(schedule_id, occurrence_at) is a key, compared as an instant, not as text."""
        storage.save_job(a_job(schedule_id="s1", occurrence_at=NOON))
        elsewhere = NOON.astimezone(timezone(timedelta(hours=5)))
        with pytest.raises(DuplicateJob):
            storage.save_job(a_job(schedule_id="s1", occurrence_at=elsewhere))
        storage.save_job(a_job(schedule_id="s2", occurrence_at=NOON))
        storage.save_job(a_job(schedule_id="s1", occurrence_at=NOON + timedelta(microseconds=1)))
        assert len(storage.list_jobs()) == 3

    def test_jobs_without_an_occurrence_do_not_collide(self, storage: JobStorage) -> None:
        """Run by hand, a schedule's job stands for no occurrence: any number may."""
        storage.save_job(a_job(schedule_id="s1"))
        storage.save_job(a_job(schedule_id="s1"))
        storage.save_job(a_job(occurrence_at=NOON))
        storage.save_job(a_job(occurrence_at=NOON))
        assert len(storage.list_jobs()) == 4

    def test_update_overwrites_every_field(self, storage: JobStorage) -> None:
        """The stored job is the one given, whole."""
        job = a_job()
        storage.save_job(job)
        edited = replace(job, name="other", priority=3, data={"a": 1}, error="e", queue="q")
        storage.update_job(edited)
        assert storage.get_job(job.id) == edited

    def test_what_is_not_there_cannot_be_updated_or_ended(self, storage: JobStorage) -> None:
        """UnknownJobId names the id."""
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.update_job(a_job(id="ghost"))
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.complete_job("ghost")
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.fail_job("ghost", "boom")

    def test_jobs_run_by_hand_take_no_occurrence(self, storage: JobStorage) -> None:
        """Two of them and an occurrence may be of one instant, a second occurrence may not."""
        [job] = series(storage, 1)
        for _ in range(2):
            storage.save_job(replace(a_job(), **_place(job), origin=Origin.RUN_NOW))
        with pytest.raises(DuplicateJob):
            storage.save_job(replace(a_job(), **_place(job), origin=Origin.BACKFILL))
        assert len(storage.get_occurrences("of-books", NOON, NOON + SECOND)) == 3

    def test_the_clock_of_a_store_is_about_ours(self, storage: JobStorage) -> None:
        """In UTC, if it has one of its own; here both are on one machine."""
        now = storage.read_clock()
        assert now is None or abs(now - clock.now()) < timedelta(seconds=5)
        assert now is None or now.utcoffset() == timedelta(0)

    def test_a_store_that_is_ready_stays_as_it_is(self, storage: JobStorage) -> None:
        """Checking it, and making it ready once more, changes nothing."""
        storage.save_job(job := a_job())
        storage.check()
        storage.prepare()
        assert storage.list_jobs() == [job]


def _place(job: Job) -> dict[str, Any]:
    """Where `job` stands: its schedule and its occurrence."""
    return {"schedule_id": job.schedule_id, "occurrence_at": job.occurrence_at}
