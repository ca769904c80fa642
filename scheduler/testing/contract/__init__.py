"""The contract of a storage: every verb's law, as test classes to inherit from.

    class TestMine(StorageContract):
        @pytest.fixture
        def storage(self):
            with MyStorage(...) as storage:
                yield storage

`storage` is empty and ready for use. A store that several processes share also gives the fixture
`reopen`, a dotted function and its argument, with which another process opens the same store:

        @pytest.fixture
        def reopen(self, tmp_path):
            return "mine.storage:MyStorage", str(tmp_path)

and one that lives in one process says so: `class TestMine(StorageContract, processes=False)`.

`JobContract` holds the seven verbs, and what the base class makes of them, to their laws;
`StorageContract` all verbs, schedules included. Ids have up to 64 characters, names up to 255,
numbers 32 bits, JSON any; instants are passed in, so that no law waits.
"""

from __future__ import annotations

from scheduler.testing.contract.acquisition import AcquisitionLaws
from scheduler.testing.contract.attempts import AttemptLaws
from scheduler.testing.contract.batches import BatchLaws
from scheduler.testing.contract.expansion import ExpansionLaws
from scheduler.testing.contract.leases import LeaseLaws
from scheduler.testing.contract.limits import LimitLaws
from scheduler.testing.contract.lists import ListLaws
from scheduler.testing.contract.names import NameLaws
from scheduler.testing.contract.processes import JobProcessLaws, StorageProcessLaws
from scheduler.testing.contract.pruning import PruningLaws
from scheduler.testing.contract.restoring import JobRestoringLaws, RestoringLaws
from scheduler.testing.contract.saving import SavingLaws
from scheduler.testing.contract.schedules import ScheduleLaws

__all__ = ["JobContract", "StorageContract"]


class JobContract(
    SavingLaws,
    NameLaws,
    ListLaws,
    AcquisitionLaws,
    LeaseLaws,
    JobRestoringLaws,
    JobProcessLaws,
):
    """The laws of the seven verbs, and of what JobStorage makes of them by default."""


class StorageContract(
    JobContract,
    BatchLaws,
    AttemptLaws,
    LimitLaws,
    ScheduleLaws,
    ExpansionLaws,
    RestoringLaws,
    PruningLaws,
    StorageProcessLaws,
):
    """The laws of all verbs: batches exact among many, attempts, limits, pruning, schedules."""
