"""Every verb of SQLStorage, and what it would send to a SQL Server.

    python -m tests.storage.mssql.statements

writes statements.sql anew; a test holds that file to what is sent. Read the difference before you
commit it: there is no server here that would say what it means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from scheduler import lifecycle
from scheduler.expansion import Expansion
from scheduler.flow import Limit, Rate
from scheduler.model import (
    Action,
    Attempt,
    Completed,
    Declaration,
    Ending,
    Expired,
    Failed,
    Job,
    JobStatus,
    Lease,
    Note,
    Origin,
    Settlement,
    Skip,
    SkipReason,
)
from scheduler.retention import Pruned
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.rows import job_row
from scheduler.storage.sql.tables import SCHEMA_REVISION, VERSION_TABLE
from scheduler.testing.values import MINUTE, NOON, SECOND, a_job, a_schedule
from tests.storage.mssql.recorder import Recorder, Sent

FILE = Path(__file__).with_name("statements.sql")
URL = "mssql://user:password@host/jobs"

Act = Callable[[SQLStorage, Recorder], object]

JOB = a_job(
    id="1", data={"a": 1}, status=JobStatus.PROCESSING, started_at=NOON, lease=Lease("t", NOON)
)
OTHER = replace(JOB, id="2")
WAITING = a_job(id="3", schedule_id="s", occurrence_at=NOON, origin=Origin.OCCURRENCE)
SCHEDULE = replace(a_schedule("books"), id="s")
GONE = replace(SCHEDULE, id="gone")
SKIP = Skip(
    schedule_id="s",
    reason=SkipReason.MISSED,
    first_at=NOON,
    last_at=NOON,
    count=1,
    recorded_at=NOON,
)
NOTE = Note(schedule_id="s", revision=2, at=NOON, action=Action.EDITED, actor="ada", detail={})
ATTEMPT = Attempt(
    job_id="1",
    number=1,
    started_at=NOON,
    ended_at=NOON + SECOND,
    worker="w",
    ending=Ending.FAILED,
    error="no",
    log=("a",),
)
DECLARATION = Declaration(process="p", code="c", since_at=NOON, seen_at=NOON, schedules={"s": "x"})


def stored(table: Table, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows of a table as the driver gives them back."""
    dialect = SQLStorage(URL)._engine.dialect
    processors = {
        each.name: each.type.dialect_impl(dialect).bind_processor(dialect) for each in table.columns
    }
    return [
        {name: process(row[name]) if process else row[name] for name, process in processors.items()}
        for row in rows
    ]


def _finding(recorder: Recorder, storage: SQLStorage, *jobs: Job) -> None:
    """Let the next that locks jobs find these."""
    rows = stored(storage._tables.jobs, [job_row(job) for job in jobs])
    recorder.answer("FROM jobs WITH", *rows)


def _upgrade(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.answer("sp_getapplock", {"": 0})
    storage.upgrade()


def _upgrade_from_0003(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.tables |= {VERSION_TABLE, "jobs", "schedules"}
    recorder.answer("sp_getapplock", {"": 0})
    for _ in range(2):  # once for us, and once for Alembic
        recorder.answer("version_num", {"version_num": "0003"})
    storage.upgrade()


def _check(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.tables.add(VERSION_TABLE)
    recorder.answer("version_num", {"version_num": SCHEMA_REVISION})
    storage.check()


def _settle(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB, OTHER)
    ended = [lifecycle.settle(job, Completed({"n": 1}), now=NOON + SECOND) for job in (JOB, OTHER)]
    assert storage.settle_jobs([Settlement(job, "t") for job in ended]) == [True, True]


def _settle_with_attempts(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB)
    recorder.answer("UPDATE attempts", written=0)
    failed = lifecycle.settle(JOB, Failed("no"), now=NOON + SECOND)
    assert storage.settle_jobs([Settlement(failed, "t", attempt=ATTEMPT)]) == [True]


LIMITS = {"work": Limit(concurrency=2, rate=Rate(5, MINUTE))}


def _acquire_limited(storage: SQLStorage, recorder: Recorder) -> None:
    """Of a key that is full and of another, which nobody has held before."""
    recorder.answer("count(*)", {"name": "work", "concurrency_key": "full", "count_1": 2})
    due = stored(storage._tables.jobs, [job_row(replace(WAITING, concurrency_key="a"))])
    for _ in range(2):  # once to see whose they are, and once when they are held
        recorder.answer("SELECT TOP 3", *due)
    # What was started lately; who is held; who is there; and who is held then.
    for answer in ([], [], [], [{"name": "work", "concurrency_key": ":a", "starts": "[]"}]):
        recorder.answer("FROM flows", *answer)
    recorder.answer("OUTPUT inserted", *due)
    taken = storage.acquire_next_jobs(3, now=NOON, limits=LIMITS)
    assert [job.id for job in taken] == ["3"]


def _acquire_beside_another(storage: SQLStorage, recorder: Recorder) -> None:
    """Its key is passed over."""
    due = stored(storage._tables.jobs, [job_row(WAITING)])
    recorder.answer("SELECT TOP 3", *due)
    for answer in ([], [], [{"name": "work", "concurrency_key": "", "starts": "[]"}]):
        recorder.answer("FROM flows", *answer)
    assert storage.acquire_next_jobs(3, now=NOON, limits=LIMITS) == []


def _rescue(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB)
    expired = lifecycle.settle(JOB, Expired(), now=NOON)
    assert storage.settle_jobs([Settlement(expired, "t", expired_by=NOON)]) == [True]


def _restore(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.answer("INSERT INTO jobs", error=2627)
    storage.restore(
        jobs=[WAITING], schedules=[SCHEDULE], skips=[SKIP], notes=[NOTE], attempts=[ATTEMPT]
    )


def _renew(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB, OTHER)
    assert storage.renew_leases({"1": "t", "2": "t"}, expires_at=NOON) == {"1", "2"}


def _move(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB)
    storage.move_job("1", lambda job: lifecycle.cancel(job, now=NOON))


def _prune(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.answer("FROM (SELECT TOP", {"looked_at": 5, "going": 2, "last_id": "9"})
    recorder.answer("DELETE FROM jobs", written=2)
    ended_before = {JobStatus.COMPLETED: NOON, JobStatus.FAILED: NOON - SECOND}
    step = storage.prune_jobs(ended_before, limit=5, after_id="1", before_id="99")
    assert step == Pruned(5, 2, "9")


def _complete(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB)
    storage.complete_job("1", {"n": 1})


def _fail(storage: SQLStorage, recorder: Recorder) -> None:
    _finding(recorder, storage, JOB)
    storage.fail_job("1", "no")


def _save_new_schedule(storage: SQLStorage, _recorder: Recorder) -> None:
    storage.save_schedule(SCHEDULE)


def _save_schedule_again(storage: SQLStorage, _recorder: Recorder) -> None:
    storage.save_schedule(replace(SCHEDULE, revision=2))


def _delete_schedule(storage: SQLStorage, recorder: Recorder) -> None:
    recorder.answer("FROM schedules WITH", {"id": "s"})
    assert storage.delete_schedule("books")


def record(storage: SQLStorage, recorder: Recorder, *, wait: bool = True) -> None:
    """An edit with a bit of everything, an expansion, and one that removes its schedule."""
    moved, edited, gone = replace(SCHEDULE, id="r"), SCHEDULE, GONE
    recorder.answer(
        "FROM schedules WITH",
        *(
            {"id": each.id, "revision": 1, "cursor_at": each.cursor_at}
            for each in (gone, moved, edited)
        ),
    )
    recorder.answer("UPDATE skips", written=0)
    new_skip = replace(SKIP, first_at=NOON + SECOND)
    expansions = [
        Expansion(moved, replace(moved, cursor_at=NOON + SECOND), skips=(new_skip, SKIP)),
        Expansion(
            edited,
            replace(edited, revision=2),
            jobs=(WAITING,),
            cancelled=((WAITING, lifecycle.cancel(WAITING, now=NOON)),),
            note=NOTE,
        ),
        Expansion(gone, replace(gone, materialised=1), removes=True),
    ]
    assert storage.record_expansions(expansions, wait=wait) == [True] * 3


VERBS: dict[str, Act] = {
    "upgrade()": _upgrade,
    "upgrade() from 0003": _upgrade_from_0003,
    "check()": _check,
    "current_revision()": lambda storage, _: storage.current_revision(),
    "save_job()": lambda storage, _: storage.save_job(WAITING),
    "save_jobs() of two": lambda storage, _: storage.save_jobs([JOB, WAITING]),
    "get_job()": lambda storage, _: storage.get_job("1"),
    "update_job()": lambda storage, _: storage.update_job(JOB),
    "complete_job()": _complete,
    "fail_job()": _fail,
    "get_jobs_by_status()": lambda storage, _: storage.get_jobs_by_status(JobStatus.PENDING),
    "get_jobs_by_priority()": lambda storage, _: storage.get_jobs_by_priority(1),
    "get_scheduled_jobs() from": lambda storage, _: storage.get_scheduled_jobs(NOON),
    "get_scheduled_jobs() from and to": (
        lambda storage, _: storage.get_scheduled_jobs(NOON, NOON + SECOND)
    ),
    "list_jobs()": lambda storage, _: storage.list_jobs(),
    "list_jobs() of all that may be said": lambda storage, _: storage.list_jobs(
        status=JobStatus.FAILED, name="work", schedule_id="s", limit=5, before_id="9"
    ),
    "count_jobs()": lambda storage, _: storage.count_jobs(),
    "next_job_at()": lambda storage, _: storage.next_job_at(),
    "next_job_at() after another": lambda storage, _: storage.next_job_at(after=NOON),
    "next_job_at() for a queue": (
        lambda storage, _: storage.next_job_at(handler_names=["a", "b"], queue="q")
    ),
    "get_occurrences()": lambda storage, _: storage.get_occurrences("s", NOON, NOON + SECOND),
    "get_unfinished_jobs()": lambda storage, _: storage.get_unfinished_jobs(["s", "t"]),
    "get_expired_jobs()": lambda storage, _: storage.get_expired_jobs(NOON, limit=7),
    "acquire_next_job()": lambda storage, _: storage.acquire_next_job(now=NOON),
    "acquire_next_jobs() for a queue": lambda storage, _: storage.acquire_next_jobs(
        3, handler_names=["a", "b"], queue="q", worker="w", now=NOON
    ),
    "acquire_next_jobs() without handlers": (
        lambda storage, _: storage.acquire_next_jobs(3, handler_names=[], now=NOON)
    ),
    "acquire_next_jobs() with limits": _acquire_limited,
    "acquire_next_jobs() where another is busy": _acquire_beside_another,
    "acquire_next_jobs() of what has waited too long": lambda storage, _: storage.acquire_next_jobs(
        3, now=NOON, aged_before=NOON - SECOND
    ),
    "settle_jobs() of two": _settle,
    "settle_jobs() with attempts": _settle_with_attempts,
    "settle_jobs() whose leases ran out": _rescue,
    "renew_leases() of two": _renew,
    "held_leases() of two": lambda storage, _: storage.held_leases({"1": "t", "2": "t"}),
    "move_job()": _move,
    "prune_jobs()": _prune,
    "list_attempts()": lambda storage, _: storage.list_attempts(["1", "2"]),
    "save_schedule() of a new one": _save_new_schedule,
    "save_schedule() of one that is there": _save_schedule_again,
    "save_schedules() of two": lambda storage, _: storage.save_schedules(
        [SCHEDULE, replace(SCHEDULE, id="t", name="tales")], notes=[NOTE]
    ),
    "get_schedules() of two": lambda storage, _: storage.get_schedules(["books", "tales"]),
    "get_schedules() that are declared": (
        lambda storage, _: storage.get_schedules(["books"], declared=True)
    ),
    "get_schedule()": lambda storage, _: storage.get_schedule("books"),
    "list_schedules()": lambda storage, _: storage.list_schedules(),
    "delete_schedule()": _delete_schedule,
    "due_schedules()": lambda storage, _: storage.due_schedules(NOON),
    "next_schedule_at()": lambda storage, _: storage.next_schedule_at(),
    "record_expansions()": record,
    "record_expansions() without waiting": lambda storage, recorder: record(
        storage, recorder, wait=False
    ),
    "list_skips()": lambda storage, _: storage.list_skips("s"),
    "list_skips() of a window": lambda storage, _: storage.list_skips("s", NOON, NOON + SECOND),
    "list_skips(), the last": lambda storage, _: storage.list_skips("s", limit=5),
    "list_notes()": lambda storage, _: storage.list_notes("s"),
    "save_declaration()": lambda storage, _: storage.save_declaration(DECLARATION),
    "renew_declaration()": lambda storage, _: storage.renew_declaration("p", seen_at=NOON),
    "list_declarations()": lambda storage, _: storage.list_declarations(seen_since=NOON),
    "restore() where another was first": _restore,
    "read_clock()": lambda storage, _: storage.read_clock(),
    "clear()": lambda storage, _: storage.clear(),
}


def connected(url: str = URL) -> tuple[SQLStorage, Recorder]:
    """A storage on a recorder, which has sent what goes before the first verb."""
    storage, recorder = SQLStorage(url), Recorder()
    recorder.record(storage)
    with storage._engine.connect():
        pass
    return storage, recorder


def sent_by(act: Act, url: str = URL) -> list[Sent]:
    """What `act` sends on a connection that stands."""
    storage, recorder = connected(url)
    recorder.sent.clear()
    act(storage, recorder)
    ping, *sent = recorder.sent
    assert ping.text == "SELECT 1"
    return sent


def everything() -> Iterator[tuple[str, list[Sent]]]:
    """What is sent to connect, by each verb, and by one with a schema and a prefix."""
    yield "connecting", connected()[1].sent
    for verb, act in VERBS.items():
        yield verb, sent_by(act)
    yield (
        "upgrade() with a schema and a prefix",
        sent_by(_upgrade, f"{URL}?schema=Batch&table_prefix=x_"),
    )
    yield (
        "acquire_next_jobs() with a schema and a prefix",
        sent_by(VERBS["acquire_next_job()"], f"{URL}?schema=Batch&table_prefix=x_"),
    )


def rendered() -> str:
    """The text of statements.sql."""
    head = (
        "-- What each verb sends to SQL Server. Made by python -m tests.storage.mssql.statements,\n"
        "-- from the statements that SQLAlchemy compiles; none of it was run on a SQL Server.\n"
    )
    return head + "".join(f"\n\n-- {verb}\n{_listed(sent)}" for verb, sent in everything())


def _listed(sent: list[Sent]) -> str:
    """Each statement where it is first sent. The indexes of a table are made in no order."""
    texts = [_text(each) for each in sent]
    groups = groupby(texts, lambda text: text.startswith("CREATE") and "INDEX" in text)
    ordered = [text for indexes, group in groups for text in (sorted(group) if indexes else group)]
    return "".join(
        f"\n{text}" + (f"-- {times} times\n" if times > 1 else "")
        for text, times in Counter(ordered).items()
    )


def _text(sent: Sent) -> str:
    lines = [line.strip().replace("\t", "") for line in sent.text.strip().splitlines()]
    types = ", ".join(f"{name} {kind}" for name, kind in sorted(sent.types.items()))
    return "\n".join(lines) + ";\n" + (f"-- {types}\n" if types else "")


if __name__ == "__main__":
    FILE.write_text(rendered())
