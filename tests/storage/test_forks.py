"""A process that forks, as web servers do: parent and children have connections of their own."""

from __future__ import annotations

import os
import warnings

import pytest

from scheduler import JobQueue
from scheduler.storage import open_storage
from scheduler.storage.sql import SQLStorage

CHILDREN, JOBS = 3, 30


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_what_forked_children_add_is_there(store_url: str) -> None:
    """All of it, though the parent had connections before."""
    with open_storage(store_url) as storage:
        queue = JobQueue(storage)
        queue.register("work", lambda: None)
        queue.add("work")
        children = []
        for _ in range(CHILDREN):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    for _ in range(JOBS):
                        queue.add("work")
                    code = 0
                finally:
                    os._exit(code)
            children.append(child)
        for _ in range(JOBS):
            queue.add("work")
        assert [os.waitpid(child, 0)[1] for child in children] == [0] * CHILDREN
        assert len(storage.list_jobs(limit=10_000)) == 1 + (CHILDREN + 1) * JOBS


def test_a_forked_child_leaves_its_parents_listener_alone(postgres_database: str) -> None:
    """It has no such thread, and stops none."""
    with SQLStorage(postgres_database) as storage:
        storage.upgrade()
        stop = storage.listen(lambda: None)
        assert stop is not None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
            child = os.fork()
        if child == 0:
            stop()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        listener = stop.__self__  # type: ignore[attr-defined]
        assert listener._thread.is_alive()
        stop()
        assert not listener._thread.is_alive()
