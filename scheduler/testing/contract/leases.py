"""Laws of leases: who holds one writes, who lost it does not; and ends written by hand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from freezegun import freeze_time

from scheduler import lifecycle
from scheduler.errors import InvalidMove, UnknownJobId
from scheduler.model import Completed, Expired, Failed, Job, JobStatus, Lease, Outcome, Released
from scheduler.storage import JobStorage
from scheduler.testing.contract.acts import TTL, lease, settlement, stored, token
from scheduler.testing.values import NOON, SECOND, a_job


class LeaseLaws:
    """Only the holder of a lease settles or renews it."""

    @freeze_time(NOON + SECOND)
    def test_a_leased_job_is_settled_by_its_holder(self, storage: JobStorage) -> None:
        """Completed, retried, failed or released: what is handed in is what is stored."""
        storage.save_jobs([a_job(), a_job(max_retries=1), a_job(), a_job()])
        outcomes: list[Outcome] = [Completed({"n": 1}), Failed("boom"), Failed("boom"), Released()]
        leased = storage.acquire_next_jobs(4, now=NOON)
        settlements = [settlement(*pair) for pair in zip(leased, outcomes, strict=True)]
        assert storage.settle_jobs(settlements) == [True] * 4
        written = [stored(storage, job) for job in leased]
        assert written == [each.job for each in settlements]
        assert [job.status.value for job in written] == [
            "completed",
            "pending",
            "failed",
            "pending",
        ]

    def test_a_lost_lease_cannot_settle(self, storage: JobStorage) -> None:
        """Who was taken over writes nothing, not even when the job runs elsewhere by now."""
        storage.save_job(a_job())
        lost = lease(storage)
        storage.settle_jobs([settlement(lost, Released())])
        assert storage.settle_jobs([settlement(lost, Completed("late"))]) == [False]
        held = lease(storage)
        assert storage.settle_jobs([settlement(lost, Completed("late"))]) == [False]
        assert storage.get_job(lost.id) == held

    def test_a_settled_job_cannot_be_settled_again(self, storage: JobStorage) -> None:
        """The second outcome is dropped."""
        storage.save_job(a_job())
        job = lease(storage)
        assert storage.settle_jobs([settlement(job, Completed(1))]) == [True]
        assert storage.settle_jobs([settlement(job, Completed(2))]) == [False]
        assert stored(storage, job).result == 1

    def test_each_settlement_of_a_batch_stands_for_itself(self, storage: JobStorage) -> None:
        """One lost lease, or one job that is gone, does not keep the others from being written."""
        storage.save_jobs([a_job(), a_job(), a_job()])
        first, second, third = storage.acquire_next_jobs(3, now=NOON)
        storage.settle_jobs([settlement(second, Released())])
        ghost = settlement(replace(first, id="ghost"), Completed())
        batch = [settlement(each, Completed("x")) for each in (first, second, third)]
        assert storage.settle_jobs([ghost, *batch]) == [False, True, False, True]
        assert storage.count_jobs()[JobStatus.COMPLETED] == 2

    def test_an_expired_job_is_settled_only_if_its_lease_ran_out(self, storage: JobStorage) -> None:
        """A lease renewed in between stays with its holder."""
        storage.save_job(a_job())
        job = lease(storage)
        expired_at = NOON + TTL
        rescue = replace(settlement(job, Expired(), expired_at), expired_by=expired_at)
        assert storage.renew_leases({job.id: token(job)}, expires_at=expired_at + SECOND)
        assert storage.settle_jobs([rescue]) == [False]
        assert storage.get_expired_jobs(expired_at) == []
        assert storage.settle_jobs([replace(rescue, expired_by=expired_at + SECOND)]) == [True]

    def test_expired_jobs_are_those_whose_lease_ran_out(self, storage: JobStorage) -> None:
        """By then, the instant of expiry included; longest first; at most as many as asked."""
        storage.save_jobs([a_job() for _ in range(4)])
        later, last, first, _ = [
            lease(storage, ttl=timedelta(seconds=seconds)) for seconds in (20, 30, 10, 31)
        ]
        storage.save_job(a_job())
        now = NOON + timedelta(seconds=30)
        assert storage.get_expired_jobs(now) == [first, later, last]
        assert storage.get_expired_jobs(now, limit=1) == [first]
        assert [storage.get_expired_jobs(now, limit=limit) for limit in (0, -1)] == [[], []]
        assert storage.get_expired_jobs(NOON) == []

    def test_a_renewed_lease_lasts_longer(self, storage: JobStorage) -> None:
        """Those that still hold get the new expiry and are named; the others are left alone."""
        storage.save_jobs([a_job(), a_job(), a_job()])
        held, lost, ended = (lease(storage) for _ in range(3))
        storage.settle_jobs([settlement(lost, Released()), settlement(ended, Completed())])
        again = lease(storage)
        assert again.id == lost.id
        tokens = {job.id: token(job) for job in (held, lost, ended)}
        tokens["ghost"] = "none"
        expires_at = NOON + 10 * TTL
        assert storage.renew_leases(tokens, expires_at=expires_at) == {held.id}
        assert stored(storage, held).lease == Lease(tokens[held.id], expires_at)
        assert storage.get_job(lost.id) == again

    def test_a_renewal_is_fenced_by_each_jobs_own_token(self, storage: JobStorage) -> None:
        """Another job's token, though it is in the same call, renews nothing."""
        storage.save_jobs([a_job(), a_job()])
        one, other = lease(storage), lease(storage)
        swapped = {one.id: token(other), other.id: token(one)}
        assert storage.renew_leases(swapped, expires_at=NOON + 10 * TTL) == set()
        assert [storage.get_job(one.id), storage.get_job(other.id)] == [one, other]

    def test_held_leases_are_told_and_left_as_they_are(self, storage: JobStorage) -> None:
        """By each job's own token; those that are lost, ended or unknown are not among them."""
        storage.save_jobs([a_job() for _ in range(4)])
        one, other, lost, ended = (lease(storage) for _ in range(4))
        two = lease_again(storage, lost)
        storage.settle_jobs([settlement(ended, Completed())])
        tokens = {job.id: token(job) for job in (one, other, lost, ended)} | {"ghost": "none"}
        assert storage.held_leases(tokens) == {one.id, other.id}
        assert storage.held_leases({one.id: token(other), two.id: token(two)}) == {two.id}
        assert storage.held_leases({f"ghost-{number}": "none" for number in range(1500)}) == set()
        assert storage.held_leases({}) == set()
        assert [storage.get_job(job.id) for job in (one, other, two)] == [one, other, two]

    def test_a_job_is_moved_by_whom_it_concerns(self, storage: JobStorage) -> None:
        """What the move makes of the stored job is stored and comes back, fenced by nothing."""
        storage.save_job(a_job())
        job = lease(storage)
        moved = storage.move_job(job.id, lambda found: lifecycle.cancel(found, now=NOON))
        assert moved == stored(storage, job) == lifecycle.cancel(job, now=NOON)
        revived = storage.move_job(job.id, lambda found: lifecycle.revive(found, now=NOON))
        assert revived == stored(storage, job) == lifecycle.revive(moved, now=NOON)
        assert storage.acquire_next_jobs(9, now=NOON)

    def test_a_move_that_raises_writes_nothing(self, storage: JobStorage) -> None:
        """Whatever it raises is raised; what is not there cannot be moved."""
        job = a_job()
        storage.save_job(job)

        def refuse(found: Job) -> Job:
            raise ZeroDivisionError(found.id)

        with pytest.raises(ZeroDivisionError, match=job.id):
            storage.move_job(job.id, refuse)
        with pytest.raises(InvalidMove, match=job.id):
            storage.move_job(job.id, lambda found: lifecycle.revive(found, now=NOON))
        assert storage.get_job(job.id) == job
        with pytest.raises(UnknownJobId, match="ghost"):
            storage.move_job("ghost", refuse)

    @freeze_time(NOON)
    def test_complete_job_completes_a_processing_job(self, storage: JobStorage) -> None:
        """As the life cycle says, at the clock's now."""
        storage.save_job(a_job())
        job = lease(storage)
        storage.complete_job(job.id, {"n": 1})
        assert storage.get_job(job.id) == lifecycle.complete(job, {"n": 1}, now=NOON)

    @freeze_time(NOON)
    @pytest.mark.parametrize("max_retries", [0, 1])
    def test_fail_job_retries_while_retries_are_left(
        self, storage: JobStorage, max_retries: int
    ) -> None:
        """Pending again with a backoff, or failed for good."""
        storage.save_job(a_job(max_retries=max_retries))
        job = lease(storage)
        storage.fail_job(job.id, "boom")
        assert storage.get_job(job.id) == lifecycle.fail(job, "boom", now=NOON)

    @pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PROCESSING])
    def test_only_a_processing_job_can_be_ended(
        self, storage: JobStorage, status: JobStatus
    ) -> None:
        """Any other move is refused, and the job stays as it was."""
        job = a_job(status=status)
        storage.save_job(job)
        with pytest.raises(InvalidMove, match=job.id):
            storage.complete_job(job.id)
        with pytest.raises(InvalidMove, match=f"fail while {status}|retry while {status}"):
            storage.fail_job(job.id, "boom")
        assert storage.get_job(job.id) == job

    def test_an_empty_batch_is_nothing(self, storage: JobStorage) -> None:
        """No jobs, no settlements, no leases: no error and no effect."""
        storage.save_jobs([])
        assert storage.settle_jobs([]) == []
        assert storage.renew_leases({}, expires_at=NOON) == set()
        assert storage.acquire_next_jobs(5, now=NOON) == []


def lease_again(storage: JobStorage, job: Job) -> Job:
    """The one job that is due once `job` is given back: itself, under another lease."""
    storage.settle_jobs([settlement(job, Released())])
    return lease(storage)
