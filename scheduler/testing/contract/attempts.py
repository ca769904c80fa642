"""Laws of attempts: what is on record of each, and that only the holder of a lease writes it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

from scheduler.model import Attempt, Completed, Ending, Failed, Released
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import lease, settlement, stored
from scheduler.testing.values import AHEAD, NOON, SECOND, a_job, utc


def an_attempt(job_id: str, **given: Any) -> Attempt:
    """A first attempt that failed, from NOON on for a second."""
    return Attempt(
        **{
            "job_id": job_id,
            "number": 1,
            "started_at": NOON,
            "ended_at": NOON + SECOND,
            "ending": Ending.FAILED,
            **given,
        }
    )


class AttemptLaws:
    """An attempt is put on record with its outcome, or not at all."""

    def test_an_attempt_comes_back_as_it_was_settled(self, storage: JobStorage) -> None:
        """Every field, to the microsecond and in any script, in UTC; the log in its order."""
        storage.save_job(a_job())
        job = lease(storage)
        attempt = an_attempt(
            job.id,
            number=3,
            started_at=utc("2026-01-05T12:00:00.000001+00:00"),
            ended_at=utc("2026-01-05T12:00:00.999999+00:00").astimezone(AHEAD),
            worker="ž:1 🐎",
            error=r"ValueError: 'žluťoučký' \x00 🐎",
            traceback="Traceback:\n" + "  line žluť\n" * 20_000,
            log=("b", "a", "", "žluť \x07 🐎", "x" * 5000, *["again"] * 500),
        )
        ended = replace(settlement(job, Failed("no")), attempt=attempt)
        assert storage.settle_jobs([ended]) == [True]
        [found] = storage.list_attempts([job.id])
        assert found == attempt
        assert found.ended_at.utcoffset() == timedelta(0)
        assert stored(storage, job) == ended.job

    def test_an_attempt_may_say_little(self, storage: JobStorage) -> None:
        """How it ended, and that there is neither error nor log, comes back too."""
        endings = list(Ending)
        storage.save_jobs([a_job() for _ in endings])
        leased = storage.acquire_next_jobs(len(endings), now=NOON)
        attempts = [
            an_attempt(job.id, ending=ending) for job, ending in zip(leased, endings, strict=True)
        ]
        storage.settle_jobs(
            [
                replace(settlement(job, Completed()), attempt=attempt)
                for job, attempt in zip(leased, attempts, strict=True)
            ]
        )
        assert storage.list_attempts([job.id for job in leased]) == attempts

    def test_who_lost_the_lease_records_no_attempt(self, storage: JobStorage) -> None:
        """In a batch, each for itself: those that held are written, with their attempts."""
        storage.save_jobs([a_job(), a_job()])
        lost, held = storage.acquire_next_jobs(2, now=NOON)
        storage.settle_jobs([settlement(lost, Released())])
        batch = [
            replace(settlement(job, Failed("no")), attempt=an_attempt(job.id))
            for job in (lost, held)
        ]
        assert storage.settle_jobs(batch) == [False, True]
        assert storage.list_attempts([lost.id, held.id]) == [an_attempt(held.id)]

    def test_attempts_are_listed_by_job_start_and_number(self, storage: JobStorage) -> None:
        """Those of the jobs that were asked for, however many; none of what is unknown."""
        given = [
            an_attempt(job_id, number=number, started_at=started_at)
            for job_id in ("a", "ab", "b", "ž")
            for started_at in (NOON - SECOND, NOON, NOON + SECOND)
            for number in (2, 10)
        ]
        assert storage.restore(attempts=given[::-1]) == len(given)
        assert storage.list_attempts(["ž", "b", "ab", "a"]) == given
        many = ["b", "a", *(f"unknown-{number}" for number in range(1500))]
        assert storage.list_attempts(many) == [a for a in given if a.job_id in ("a", "b")]
        assert storage.list_attempts(["c"]) == storage.list_attempts([]) == []

    def test_what_is_cleared_has_no_attempts(self, storage: JobStorage) -> None:
        """They go with the jobs."""
        storage.restore(attempts=[an_attempt("a")])
        storage.clear()
        assert storage.list_attempts(["a"]) == []
