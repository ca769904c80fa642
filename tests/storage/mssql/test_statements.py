"""What would be sent to a SQL Server: as it was last read, in T-SQL, locked, within limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import sqlglot
from sqlalchemy import Select, Table, event
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql import visitors
from sqlglot import ErrorLevel, exp

from scheduler import lifecycle
from scheduler.errors import DuplicateJob, SchemaMismatch, StorageUnavailable
from scheduler.expansion import Expansion
from scheduler.model import Completed, JobStatus, Lease, Settlement
from scheduler.storage.batches import BatchStorage
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.dialects.sqlserver import SQLServer
from scheduler.storage.sql.rows import job_row
from scheduler.testing.values import NOON, a_job, a_schedule
from tests.storage.mssql.recorder import Recorder
from tests.storage.mssql.statements import (
    FILE,
    VERBS,
    WAITING,
    connected,
    everything,
    record,
    rendered,
    sent_by,
    stored,
)

MOST_PARAMETERS = 2098
"""Of 2,100, of which sp_executesql takes two."""

NOT_RECORDED = {
    "close",
    "listen",
    "next_instants",
    "prepare",
    "save_jobs_in",
    "settle_and_acquire",
    "settle_jobs_in",
    "transaction",
}
"""What sends nothing, or what others send."""

ELSEWHERE = re.compile(
    r"\b(LIMIT|OFFSET|RETURNING|CONFLICT|DUPLICATE|FOR UPDATE|SKIP LOCKED|MERGE|TRUE|FALSE)\b"
    r"|::|\|\||`|\(\w+(\.\w+)?, [^()]*\) IN"
)
"""What other databases understand and this one does not, or not so; sqlglot takes all of it."""


def texts() -> list[str]:
    return list(dict.fromkeys(each.text for _, sent in everything() for each in sent))


# --- as text --------------------------------------------------------------------------------


def test_the_statements_are_those_that_were_read() -> None:
    """python -m tests.storage.mssql.statements writes them anew, for a person to read."""
    assert rendered() == FILE.read_text()


def test_every_verb_is_recorded() -> None:
    """What SQLStorage learns to do is to be read too."""
    written = vars(SQLStorage) | vars(BatchStorage)
    verbs = {name for name, each in written.items() if callable(each) and name[0] != "_"}
    assert verbs - NOT_RECORDED == {verb.partition("(")[0] for verb in VERBS}


def test_every_statement_is_t_sql() -> None:
    """To the grammar of sqlglot, which keeps all hints; what it lacks itself is named here."""
    for text in texts():
        if text.startswith("SET "):  # several options at once; what it does lack is on the wire
            continue
        read = text.replace("PRIMARY KEY NONCLUSTERED", "PRIMARY KEY")
        for tree in sqlglot.parse(read, read="tsql", error_level=ErrorLevel.RAISE):
            assert tree is not None
            assert tree.find(exp.Command) is None, text
            assert ("UPDLOCK" in tree.sql("tsql")) == ("UPDLOCK" in text)


def test_no_statement_is_in_another_databases_sql() -> None:
    """Which sqlglot would not find out."""
    for text in texts():
        assert ELSEWHERE.search(text) is None, text


def test_no_parameter_is_of_a_type_that_is_not_sought_by() -> None:
    """Texts of up to 2,000 characters are NVARCHAR(4000), instants DATETIMEOFFSET(6)."""
    types = {kind for _, sent in everything() for each in sent for kind in each.types.values()}
    assert types == {"NVARCHAR(4000)", "DATETIMEOFFSET(6)", "INT", "FLOAT"}


def test_a_long_text_is_sent_whole() -> None:
    """Where an error, or data, is longer than a typed parameter takes."""

    def save(storage: SQLStorage, _recorder: Recorder) -> None:
        storage.save_job(a_job(error="🐎" * 2001, data={"a": "x" * 2000}))

    [sent] = sent_by(save)
    assert sent.types["@error"] == sent.types["@data"] == "NVARCHAR(MAX)"


# --- locks ----------------------------------------------------------------------------------


def test_every_locked_row_is_locked_by_hints(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many statements carry hints as were asked to lock; FOR UPDATE is in none of them."""
    asked: list[bool] = []
    locked = SQLServer.locked

    def noted(
        self: SQLServer, query: Select[Any], table: Table, *, skip: bool = False
    ) -> Select[Any]:
        asked.append(skip)
        return locked(self, query, table, skip=skip)

    monkeypatch.setattr(SQLServer, "locked", noted)
    for verb, act in VERBS.items():
        asked.clear()
        sent = [each.text for each in sent_by(act)]
        waiting = [text for text in sent if "WITH (UPDLOCK, ROWLOCK)" in text]
        skipping = [text for text in sent if "WITH (UPDLOCK, READPAST, ROWLOCK)" in text]
        assert (len(waiting), len(skipping)) == (asked.count(False), asked.count(True)), verb


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_is_locked_by_what_is_left_out(verb: str) -> None:
    """FOR UPDATE would not be compiled, and not be missed."""
    storage, recorder = connected()
    executed: list[Any] = []
    event.listen(storage._engine, "before_execute", lambda _c, clause, *_: executed.append(clause))
    VERBS[verb](storage, recorder)
    parts = [part for each in executed for part in visitors.iterate(each)]
    assert executed
    assert [part for part in parts if getattr(part, "_for_update_arg", None) is not None] == []


def test_acquisition_is_guarded() -> None:
    """Ordered, pending and not held by others inside; pending once more in the UPDATE."""
    [sent] = sent_by(VERBS["acquire_next_jobs() for a queue"])
    inside, outside = sent.text.split("UPDATE jobs SET", 1)
    assert "SELECT TOP 3 " in inside
    assert "FROM jobs WITH (UPDLOCK, READPAST, ROWLOCK)" in inside
    assert "jobs.status = 'pending'" in inside
    assert "ORDER BY jobs.priority, jobs.scheduled_at, jobs.id" in inside
    assert "OUTPUT inserted.id," in outside
    assert outside.rstrip().endswith("jobs.status = 'pending'")


# --- limits ---------------------------------------------------------------------------------


def test_a_batch_of_any_size_fits_the_server() -> None:
    """However many rows, no statement has more parameters than it takes."""
    many = [f"{number:05}" for number in range(2500)]
    jobs = [a_job(id=each, status=JobStatus.PROCESSING, lease=Lease("t", NOON)) for each in many]
    schedules = [replace(a_schedule(each), id=each) for each in many]
    storage, recorder = connected()
    rows = stored(storage._tables.jobs, map(job_row, jobs))
    states = [
        {"id": each.id, "revision": each.revision, "cursor_at": each.cursor_at}
        for each in schedules
    ]

    def found(kind: str, rows: list[dict[str, Any]]) -> None:
        for start in range(0, len(rows), 1000):
            recorder.answer(f"FROM {kind} WITH", *rows[start : start + 1000])

    storage.save_jobs(jobs)
    found("jobs", rows)
    assert storage.renew_leases(dict.fromkeys(many, "t"), expires_at=NOON) == set(many)
    found("jobs", rows)
    settled = [Settlement(lifecycle.settle(job, Completed(), now=NOON), "t") for job in jobs]
    assert storage.settle_jobs(settled) == [True] * len(jobs)
    assert storage.get_unfinished_jobs(many) == []
    found("schedules", states)
    gone = [Expansion(each, each, removes=True) for each in schedules]
    assert storage.record_expansions(gone) == [True] * len(schedules)
    found("schedules", states)
    closely = [replace(job, schedule_id=job.id, occurrence_at=NOON) for job in jobs]
    recorder.answer("INSERT INTO jobs", error=2627)
    assert storage.restore(jobs=closely, schedules=schedules) == 2 * len(many)
    assert 1000 < max(len(each.types) for each in recorder.sent) <= MOST_PARAMETERS


# --- what comes back ------------------------------------------------------------------------


def test_what_is_taken_already_is_left_alone() -> None:
    """By the unique indexes alone: of an expansion's rows, those that are there are left out."""
    storage, recorder = connected()
    recorder.answer("INSERT INTO jobs", error=2601)
    recorder.answer("INSERT INTO notes", error=2627)
    record(storage, recorder)


@pytest.mark.parametrize("number", [515, 547])
def test_what_is_refused_for_another_reason_is_an_error(number: int) -> None:
    """A NULL where none may be, say."""
    storage, recorder = connected()
    recorder.answer("INSERT INTO notes", error=number)
    with pytest.raises(IntegrityError):
        record(storage, recorder)


def test_what_is_not_there_to_be_replaced_is_inserted() -> None:
    """Its place is held from the one statement to the other."""
    sent = [each.text.split(" SET")[0].split(" (")[0] for each in sent_by(record)]
    skips = [text for text in sent if "skips" in text and "DELETE" not in text]
    assert skips == ["UPDATE skips WITH", "INSERT INTO skips", "UPDATE skips WITH"]


def test_a_twin_is_refused() -> None:
    """What a caller saves is not left out in silence."""
    storage, recorder = connected()
    recorder.answer("INSERT INTO jobs", error=2627)
    with pytest.raises(DuplicateJob, match="error 2627"):
        storage.save_job(a_job())


@pytest.mark.parametrize("number", [1205, 1222])
def test_what_was_undone_for_another_is_done_again(number: int) -> None:
    """As a deadlock's victim, or after too long a wait."""
    storage, recorder = connected()
    recorder.answer("UPDATE declarations", error=number)
    assert storage.renew_declaration("p", seen_at=NOON)


@pytest.mark.parametrize("number", [207, 208])
def test_what_the_tables_lack_is_a_mismatch(number: int) -> None:
    """A column or a table: the error says what to run."""
    storage, recorder = connected()
    recorder.answer("FROM jobs", error=number)
    with pytest.raises(SchemaMismatch, match=rf"error {number}; run: scheduler db upgrade"):
        storage.get_job("1")


def test_an_upgrade_waits_for_others_and_says_so() -> None:
    """Nobody changes tables beside another."""
    storage, recorder = connected()
    recorder.answer("sp_getapplock", {"": -1})
    with pytest.raises(
        StorageUnavailable, match="another process has been changing the tables for 60 s"
    ):
        storage.upgrade()
    assert not any("CREATE" in each.text for each in recorder.sent)


def test_tables_that_are_half_made_are_completed() -> None:
    """What is there is not made again."""
    storage, recorder = connected()
    recorder.tables |= {"jobs", "schedules"}
    recorder.indexes["jobs_pending"] = "jobs"
    recorder.answer("sp_getapplock", {"": 1})
    storage.upgrade()
    sent = "\n".join(each.text for each in recorder.sent)
    made = set(re.findall(r"CREATE (?:UNIQUE )?(?:TABLE|INDEX) (\w+)", sent))
    assert made & {"jobs", "schedules", "jobs_pending"} == set()
    assert {"skips", "notes", "jobs_occurrence", "jobs_leased", "schedules_due"} <= made


def test_a_callers_transaction_takes_the_same_insert() -> None:
    """One row or many, and without announcing it."""
    storage, recorder = connected()
    with storage._engine.begin() as connection:
        storage.save_jobs_in(connection, [WAITING])
    [expected] = sent_by(VERBS["save_job()"])
    assert recorder.sent[-1] == expected
