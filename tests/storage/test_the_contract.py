"""The contract finds out what breaks it: who makes one mistake fails its laws, and no other.

Each runs the whole contract in a pytest of its own, as the test suite of its author would.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scheduler.storage import JobStorage
from tests.readme import ROOT
from tests.storage import broken

IN_MEMORY = """
import pytest
from scheduler.testing import StorageContract
from tests.storage.broken import {name}


class TestBroken(StorageContract, processes=False):
    @pytest.fixture
    def storage(self):
        return {name}()
"""

ON_DISK = """
import pytest
from scheduler.testing import StorageContract
from tests.storage.broken import {name}


class TestBroken(StorageContract):
    test_a_batch_may_have_thousands = None  # takes seconds in files, which keep it

    @pytest.fixture
    def storage(self, tmp_path):
        return {name}(tmp_path)

    @pytest.fixture
    def reopen(self, tmp_path):
        return "tests.storage.broken:{name}", str(tmp_path)
"""

FAILED = re.compile(r"^FAILED \S+::(?P<law>test_\w+)(?:\[.*?\])? - (?P<why>.*)$", re.MULTILINE)
REFUTED = re.compile(r"(AssertionError: )?assert .+|Failed: DID NOT RAISE")
"""How pytest sums up a law that does not hold: with both sides of its assert. Whatever else a
test ends with says that the suite broke, not the storage."""


def verdict(suite: str, directory: Path, *options: str) -> str:
    """What pytest says at the end of a run of `suite`."""
    (directory / "test_broken.py").write_text(suite)
    unused = ["-p", "no:cacheprovider", "-p", "no:hypothesispytest"]
    command = [sys.executable, "-m", "pytest", "-q", "-rsfE", "--tb=no", *unused]
    done = subprocess.run(
        [*command, *options, "test_broken.py"],
        cwd=directory,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "500"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=100,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize(
    ("storage", "suite", "laws"),
    [
        (
            broken.Racy,
            IN_MEMORY,
            {
                "test_a_job_is_acquired_by_one_of_many_threads",
                "test_many_threads_together_run_no_more_than_the_limit",
                "test_many_threads_together_start_no_more_than_the_rate",
                "test_the_first_job_is_acquired_by_one_of_many_threads",
            },
        ),
        (
            broken.Uncounted,
            IN_MEMORY,
            {
                "test_many_threads_together_run_no_more_than_the_limit",
                "test_many_threads_together_start_no_more_than_the_rate",
            },
        ),
        (
            broken.Unfenced,
            IN_MEMORY,
            {
                "test_a_cancelled_job_has_lost_its_lease",
                "test_a_lost_lease_cannot_settle",
                "test_a_settled_job_cannot_be_settled_again",
                "test_an_expired_job_is_settled_only_if_its_lease_ran_out",
                "test_each_settlement_of_a_batch_stands_for_itself",
                "test_either_the_holder_or_who_rescues_it_settles_a_job",
                "test_one_of_many_threads_settles",
                "test_what_ended_is_settled_and_what_is_due_is_leased",
                "test_who_lost_the_lease_records_no_attempt",
            },
        ),
        (
            broken.Rounding,
            IN_MEMORY,
            {
                "test_a_job_comes_back_as_it_was_saved",
                "test_a_leased_job_is_settled_by_its_holder",
                "test_every_instant_of_the_calendar_survives",
                "test_fail_job_retries_while_retries_are_left",
                "test_jobs_are_written_as_they_were_decided",
                "test_when_a_job_ended_is_compared_to_the_microsecond",
            },
        ),
        (
            broken.Forgiving,
            IN_MEMORY,
            {
                "test_a_batch_is_saved_whole_or_not_at_all",
                "test_an_id_is_taken_by_one_of_many_threads",
                "test_an_id_is_taken_once",
                "test_an_occurrence_has_at_most_one_job",
                "test_an_occurrence_is_taken_once_within_a_batch",
                "test_an_update_takes_no_occurrence_of_another",
                "test_jobs_run_by_hand_take_no_occurrence",
            },
        ),
        (
            broken.Torn,
            IN_MEMORY,
            {
                "test_a_failed_expansion_leaves_nothing",
                "test_who_sees_a_cursor_sees_its_jobs",
            },
        ),
        (
            broken.Littering,
            IN_MEMORY,
            {
                "test_a_step_may_be_of_thousands",
                "test_attempts_go_with_their_job",
                "test_jobs_are_taken_and_settled_all_the_while",
            },
        ),
        (
            broken.Partial,
            IN_MEMORY,
            {"test_new_schedules_are_saved_all_or_none"},
        ),
        (
            broken.Hoarding,
            ON_DISK,
            {"test_a_job_is_acquired_by_one_of_many_processes"},
        ),
    ],
)
def test_a_mistake_breaks_its_laws_and_no_other(
    storage: type[JobStorage], suite: str, laws: set[str], tmp_path: Path
) -> None:
    """What is refuted is what the mistake is about, and it is refuted every time."""
    said = verdict(suite.format(name=storage.__name__), tmp_path)
    found = list(FAILED.finditer(said))
    assert {each["law"] for each in found} == laws, said
    assert [each["why"] for each in found if not REFUTED.match(each["why"])] == []
    assert re.search(rf"^{len(found)} failed, \d+ passed in ", said, re.MULTILINE), said


def test_a_store_that_says_nothing_of_other_processes_is_told_how_to(tmp_path: Path) -> None:
    """It is not held to be safe among them: those laws are skipped, and the reason is shown."""
    said = verdict(
        IN_MEMORY.format(name="MemoryStorage").replace(", processes=False", ""),
        tmp_path,
        *("-k", "many_processes or was_killed"),
    )
    assert re.search(r"^7 skipped, \d+ deselected in ", said, re.MULTILINE), said
    assert "TestBroken does not say how another process opens its store: give the fixture" in said
