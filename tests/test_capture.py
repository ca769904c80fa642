"""What a handler logs is on record, and is shown as it would be without us."""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from freezegun import freeze_time

from scheduler import capture
from scheduler.context import JobContext
from scheduler.handlers import perform, perform_async, prepare
from scheduler.model import Cancelled, Completed, Failed, Outcome
from scheduler.registry import Registry, define
from scheduler.retries import Cancel
from scheduler.testing.values import a_job

NAME = "books.tests"


@pytest.fixture
def books() -> Iterator[logging.Logger]:
    """A logger that is enabled for INFO, and that nothing shows."""
    capture.install()
    logger = logging.getLogger(NAME)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


def called(handler: Callable[..., Any]) -> Outcome:
    """The outcome of one call of `handler`."""
    definition = define(handler, name="work")
    call = prepare(Registry([definition]), a_job())
    return asyncio.run(perform_async(call)) if definition.is_async else perform(call)


def log_of(outcome: Outcome) -> tuple[str, ...]:
    """What is on record of a call, each line from its level on."""
    assert isinstance(outcome, (Completed, Failed, Cancelled))
    return tuple(line.partition("Z ")[2] or line for line in outcome.log)


def test_a_line_says_when_how_grave_who_and_what(books: logging.Logger) -> None:
    """In UTC, to the millisecond; fields behind it, as key=value."""

    def work(ctx: JobContext) -> None:
        books.info("moved %d rows", 3, extra={"region": "eu"})
        ctx.log.warning("slow", seconds=2.5)
        ctx.progress(0.5, "half way")

    with freeze_time("2026-03-29T02:30:00.123456"):
        outcome = called(work)
    assert isinstance(outcome, Completed)
    assert outcome.log == (
        "2026-03-29T02:30:00.123Z info books.tests: moved 3 rows region=eu",
        "2026-03-29T02:30:00.123Z warning work: slow seconds=2.5",
        "2026-03-29T02:30:00.123Z info work: progress fraction=0.5 note=half way",
    )


def raises(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (lambda: 7, Completed),
        (lambda: raises(ValueError()), Failed),
        (lambda: raises(Cancel()), Cancelled),
        (lambda: {1}, Failed),
    ],
    ids=["returned", "failed", "cancelled", "no JSON"],
)
def test_however_it_ends_its_lines_are_kept(
    books: logging.Logger, end: Callable[[], Any], kind: type
) -> None:
    """With the outcome; our own line about a failure is not among them."""

    def work() -> Any:
        books.info("begun")
        return end()

    async def work_async() -> Any:
        return work()

    for handler in (work, work_async):
        outcome = called(handler)
        assert isinstance(outcome, kind)
        assert log_of(outcome) == ("info books.tests: begun",)


def test_lines_below_info_are_not_kept(books: logging.Logger) -> None:
    """Even where they are enabled."""
    books.setLevel(logging.DEBUG)

    def work(ctx: JobContext) -> None:
        books.debug("detail")
        ctx.log.debug("detail")

    assert log_of(called(work)) == ()


def test_a_logger_that_is_not_enabled_says_nothing(books: logging.Logger) -> None:
    """Its lines are not made. Those of the context always are."""
    books.setLevel(logging.ERROR)

    def work(ctx: JobContext) -> None:
        books.warning("quiet")
        ctx.log.info("loud")

    logging.getLogger(capture.JOB_LOGGER).setLevel(logging.CRITICAL)
    try:
        assert log_of(called(work)) == ("info work: loud",)
    finally:
        logging.getLogger(capture.JOB_LOGGER).setLevel(logging.NOTSET)


def test_an_exception_is_kept_with_its_traceback(books: logging.Logger) -> None:
    """Of a standard logger and of the context alike."""

    def work(ctx: JobContext) -> None:
        for tell in (books.exception, ctx.log.exception):
            try:
                raise ValueError("no room")
            except ValueError:
                tell("went on")

    for line in log_of(called(work)):
        assert ": went on\nTraceback (most recent call last):\n" in line
        assert line.endswith("\nValueError: no room")


def test_a_line_that_cannot_be_shown_ends_no_handler(books: logging.Logger) -> None:
    """It is kept as far as it goes."""

    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("cannot say")

    def work(ctx: JobContext) -> None:
        books.info("value", extra={"it": Mute()})
        ctx.log.info("value", it=Mute())

    said = "it=RuntimeError: cannot say"
    logging.raiseExceptions = False
    try:
        lines = log_of(called(work))
    finally:
        logging.raiseExceptions = True
    assert lines == (f"info books.tests: value {said}", f"info work: value {said}")


def test_the_last_lines_are_kept(books: logging.Logger) -> None:
    """200 of them, after one that says how many were left out."""

    def work() -> None:
        for number in range(1000):
            books.info("%d", number)

    first, *others = log_of(called(work))
    assert first == "… 800 earlier lines left out"
    assert others == [f"info books.tests: {number}" for number in range(800, 1000)]


def test_long_lines_leave_room_for_fewer(books: logging.Logger) -> None:
    """16 KiB in all, and of a single line 4 KiB."""

    def work() -> None:
        for number in range(10):
            books.info("%d%s", number, "x" * 100_000)

    outcome = called(work)
    assert isinstance(outcome, Completed)
    assert outcome.log[0] == "… 6 earlier lines left out"
    assert [len(line) for line in outcome.log[1:]] == [4096] * 4
    assert "books.tests: 9x" in outcome.log[-1]


def test_a_copy_of_a_record_is_no_line(books: logging.Logger) -> None:
    """Formatters and queues make them."""

    def work() -> None:
        books.info("once")
        logging.makeLogRecord({"name": NAME, "levelno": logging.ERROR, "msg": "copy"})

    assert log_of(called(work)) == ("info books.tests: once",)


SERVICE = """
import logging, sys
from queue import SimpleQueue
from scheduler import logs
from scheduler.context import JobContext
from scheduler.handlers import HandlerRunner
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job
logs.configure(sys.argv[1], "json")
def work(ctx: JobContext):
    logging.getLogger("books").info("from a library")
    logging.getLogger("books").warning("grave")
    ctx.log.info("ours")
runner = HandlerRunner(Registry([define(work, name="work")]))
told = SimpleQueue()
runner.call(a_job(), told.put)
print(*(line.partition("Z ")[2] for line in told.get(timeout=30).log), sep="\\n")
"""


@pytest.mark.parametrize(
    ("level", "shown"), [("info", ["grave", "ours"]), ("error", ["grave"])], ids=str
)
def test_the_service_keeps_more_than_it_shows(level: str, shown: list[str]) -> None:
    """On record is what any logger says from INFO up; shown is ours at its level, and warnings."""
    done = subprocess.run(
        [sys.executable, "-c", SERVICE, level], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "info books: from a library",
        "warning books: grave",
        "info work: ours",
    ]
    assert [json.loads(line)["event"] for line in done.stderr.splitlines()] == shown


def test_lines_of_one_job_are_not_those_of_another(books: logging.Logger) -> None:
    """Nor is anything kept after its end."""

    def work(ctx: JobContext) -> None:
        books.info("in")

    assert [log_of(called(work)) for _ in range(2)] == [("info books.tests: in",)] * 2
    books.info("between")


def test_tasks_and_threads_in_its_context_count(books: logging.Logger) -> None:
    """An asyncio task is; a thread is if it is started in a copy of the context."""

    async def child() -> None:
        books.info("task")

    async def work() -> None:
        await asyncio.gather(child(), asyncio.to_thread(books.info, "to_thread"))
        context = contextvars.copy_context()
        inside = threading.Thread(target=context.run, args=(books.info, "copied"))
        outside = threading.Thread(target=books.info, args=("bare",))
        for thread in (inside, outside):
            thread.start()
            thread.join()

    told = [line.partition(": ")[2] for line in log_of(called(work))]
    assert sorted(told) == ["copied", "task", "to_thread"]


PROGRAM = """
import logging, sys
from queue import SimpleQueue
{configure}
{prepare}
log = logging.getLogger("books")
def work():
    log.info("an info")
    log.warning("a warning")
    logging.getLogger("other").error("an error", extra={{"n": 1}})
    return 7
{call}
logging.basicConfig(format="later %(message)s")
log.warning("after")
"""

OURS = {
    "prepare": """
from scheduler.handlers import perform, HandlerRunner
from scheduler.registry import Registry, define
from scheduler.testing.values import a_job
registry = Registry([define(work := lambda: None, name="unused")])
runner = HandlerRunner(registry)
""",
    "call": """
registry.add(define(work, name="work"))
told = SimpleQueue()
runner.call(a_job(), told.put)
print(len(told.get(timeout=30).log))
""",
}


@pytest.mark.parametrize(
    ("configure", "lines"),
    [
        ("", 2),
        ("logging.basicConfig(level=logging.INFO)", 3),
        ("logging.getLogger('books').setLevel(logging.INFO)", 3),
        ("logging.getLogger('books').addHandler(logging.NullHandler())", 2),
    ],
    ids=["nothing", "everything", "a level", "a handler"],
)
def test_what_a_program_shows_is_what_it_would_show_without_us(configure: str, lines: int) -> None:
    """Whatever it configured, before or later; and what is enabled is on record."""

    def run(**parts: str) -> tuple[str, str]:
        code = PROGRAM.format(configure=configure, **parts)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        return done.stdout, done.stderr

    without = run(prepare="", call="work()")
    said, shown = run(**OURS)
    assert "an error" in shown
    assert shown == without[1]
    assert said == f"{lines}\n"
