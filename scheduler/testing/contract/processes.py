"""Laws that hold between processes, which share nothing but the store.

A test class gives the fixture `reopen`: a dotted function of one text, and the text, with which
another process opens the same store: `("scheduler:open_storage", "sqlite:////tmp/jobs.db")`. A
store that lives in one process says so, and has no such laws:
`class TestMine(StorageContract, processes=False)`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain, islice
from multiprocessing import get_context
from typing import Any

import pytest

from scheduler.flow import FlowKey
from scheduler.model import JobStatus
from scheduler.storage import JobStorage
from scheduler.testing import process
from scheduler.testing.contract.acts import ids
from scheduler.testing.values import NOON, a_job, a_schedule

Reopen = tuple[str, str]
"""A function, as module:name, that returns a storage, and its one argument."""

PROCESSES = 4
PATIENCE = 60
"""How many seconds a process may take."""

CONTEXT = get_context("forkserver")
PRELOADED = ("pytest", process.__name__)
CONTEXT.set_forkserver_preload([*PRELOADED])
"""A process begins in a fork of one that did nothing but import these: it shares nothing with
another, and starts in a tenth of the time.
"""


class Processes:
    """What a test class says of other processes; the laws themselves are in its subclasses."""

    def __init_subclass__(cls, *, processes: bool = True, **rest: Any) -> None:
        super().__init_subclass__(**rest)
        if not processes:
            for law in chain(vars(JobProcessLaws), vars(StorageProcessLaws)):
                if law.startswith("test_"):
                    setattr(cls, law, None)

    @pytest.fixture
    def reopen(self) -> Reopen | None:
        """How another process opens the store of `storage`."""
        return None

    @pytest.fixture
    def elsewhere(self, reopen: Reopen | None) -> Reopen:
        """`reopen`, which must be given."""
        if reopen is None:
            name = type(self).__name__
            pytest.skip(
                f"{name} does not say how another process opens its store: give the fixture "
                f"`reopen`, or write class {name}(..., processes=False) if none can"
            )
        return reopen


class JobProcessLaws(Processes):
    """What one process takes, no other gets."""

    def test_a_job_is_acquired_by_one_of_many_processes(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """However they race, each job is handed out once, and all of them are."""
        saved = [a_job() for _ in range(60)]
        storage.save_jobs(saved)
        taken = chain.from_iterable(together("acquire", elsewhere))
        assert sorted(chain.from_iterable(taken)) == ids(saved)


class StorageProcessLaws(Processes):
    """What one process writes is written once and whole, even if it is killed."""

    def test_many_processes_together_take_no_more_than_the_limits(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """Nor fewer: of each name and key so many, at a time or within a time."""
        keys: list[FlowKey] = [("few", None), ("few", "a"), ("slow", None), ("free", None)]
        waiting = [a_job(name=name, concurrency_key=key) for _ in range(12) for name, key in keys]
        storage.save_jobs(waiting)
        taken = chain.from_iterable(together("acquire_limited", elsewhere))
        found = Counter((name, key) for name, key in chain.from_iterable(taken))
        assert found == dict(zip(keys, (3, 3, 5, 12), strict=True))

    def test_never_do_more_run_than_the_limit_in_many_processes(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """As one ends another begins, until all are done."""
        storage.save_jobs([a_job(name="few") for _ in range(30)])
        running = list(chain.from_iterable(together("take_turns", elsewhere)))
        assert 1 <= max(running) <= 3
        assert storage.count_jobs()[JobStatus.COMPLETED] == 30

    def test_an_outcome_is_written_by_one_of_many_processes(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """However many hold the same tokens."""
        storage.save_jobs([a_job() for _ in range(60)])
        storage.acquire_next_jobs(60, now=NOON)
        written = chain.from_iterable(together("settle", elsewhere))
        assert [sum(each) for each in zip(*written, strict=True)] == [1] * 60
        assert storage.count_jobs()[JobStatus.COMPLETED] == 60

    def test_an_occurrence_is_recorded_by_one_of_many_processes(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """However they race, each schedule moves once, and each occurrence has one job."""
        schedules = [a_schedule(f"s{number:02}") for number in range(40)]
        for schedule in schedules:
            storage.save_schedule(schedule)
        won = chain.from_iterable(together("expand_due", elsewhere))
        assert sum(won) == len(schedules)
        made = [(job.schedule_id, job.occurrence_at) for job in storage.list_jobs(limit=1000)]
        assert Counter(made) == Counter((schedule.id, NOON) for schedule in schedules)

    def test_a_batch_of_a_process_that_was_killed_is_whole(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """What it had saved is there, what it was saving is all there or not at all."""
        saved = killed_after(3, "save_endlessly", elsewhere)
        there = len(storage.get_jobs_by_status(JobStatus.PENDING))
        assert there >= sum(saved)
        assert there % process.BATCH == 0
        assert storage.acquire_next_job(now=NOON) is not None

    def test_an_expansion_of_a_process_that_was_killed_is_whole(
        self, storage: JobStorage, elsewhere: Reopen
    ) -> None:
        """The cursor stands where the jobs end."""
        made = killed_after(3, "expand_endlessly", elsewhere)
        [schedule] = storage.list_schedules()
        jobs = storage.get_jobs_by_status(JobStatus.PENDING)
        assert len(jobs) == schedule.materialised >= sum(made)
        assert max(job.occurrence_at for job in jobs if job.occurrence_at) == schedule.cursor_at


class Started:
    """Another process, which is about to open the store."""

    def __init__(self, act: str, reopen: Reopen) -> None:
        self._end, laws = CONTEXT.Pipe()
        given = (act, *reopen, NOON, laws)
        self._process = CONTEXT.Process(target=process.take_part, args=given)
        self._process.start()
        laws.close()

    def said(self) -> Iterator[Any]:
        """What it says, as it comes, until it ends."""
        while self._end.poll(PATIENCE):
            try:
                yield self._end.recv()
            except EOFError:
                return
        raise TimeoutError(f"{self._process.name} said nothing for {PATIENCE} s")

    def go_on(self) -> None:
        self._end.send(None)

    @property
    def code(self) -> int | None:
        """What it exited with; None if it does not."""
        self._process.join(PATIENCE)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()
        self._end.close()


def together(act: str, reopen: Reopen) -> list[list[Any]]:
    """What each of several processes did, all having opened the store and begun at one moment."""
    with ExitStack() as stack:
        started = [stack.enter_context(_started(act, reopen)) for _ in range(PROCESSES)]
        _let_go(started)
        _let_go(started)
        done = [list(each.said()) for each in started]
        assert [each.code for each in started] == [0] * PROCESSES
    return done


def killed_after(n: int, act: str, reopen: Reopen) -> list[Any]:
    """The first `n` things that a process did; it is killed while it does the next."""
    with _started(act, reopen) as started:
        _let_go([started])
        _let_go([started])
        return list(islice(started.said(), n))


@contextmanager
def _started(act: str, reopen: Reopen) -> Iterator[Started]:
    """A process that is about to open the store; killed when the block ends."""
    started = Started(act, reopen)
    try:
        yield started
    finally:
        started.kill()


def _let_go(started: Sequence[Started]) -> None:
    """Wait until all have come to where they wait, then let all go on."""
    for each in started:
        assert next(each.said()) == process.READY
    for each in started:
        each.go_on()
