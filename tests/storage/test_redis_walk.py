"""Redis keeps what memory keeps, to the last byte of its order, whatever is done in any order."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test

from scheduler.storage import open_storage
from scheduler.storage.memory import MemoryStorage
from tests.storage.audit import audit
from tests.storage.walk import Walk


def test_whatever_is_done_redis_answers_as_memory_does(redis_url: str) -> None:
    with open_storage(redis_url) as storage:

        class OverRedis(Walk):
            def __init__(self) -> None:
                super().__init__(MemoryStorage(), storage)

            @invariant()
            def is_of_one_piece(self) -> None:
                audit(redis_url)

        run_state_machine_as_test(
            OverRedis,
            # Not shrunk: each step of a walk takes two dozen calls of the server.
            settings=settings(max_examples=60, stateful_step_count=40, phases=[Phase.generate]),
        )
