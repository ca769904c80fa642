"""python-tds over the wire, as far as the server of bridge.py goes."""

from __future__ import annotations

import datetime as dt
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL.crypto import X509
from pysqlbridge.certificate import Certificate
from pytds.connection import NonMarsConnection
from pytds.tds_base import (
    TDS_DONE_COUNT,
    TDS_DONE_MORE_RESULTS,
    TDS_DONEINPROC_TOKEN,
    TDS_DONEPROC_TOKEN,
    TDS_RETURNSTATUS_TOKEN,
    PacketType,
    _TdsLogin,
)
from pytds.tds_socket import _TdsSocket
from pytds.tds_types import DateTimeOffsetSerializer, DateTimeOffsetType

from scheduler.errors import SchemaMismatch, StorageUnavailable
from scheduler.model import JobStatus
from scheduler.storage import open_storage
from scheduler.storage.sql import SQLStorage
from scheduler.storage.sql.dialects.tds import Dialect, is_of_host
from scheduler.storage.sql.rows import job_row, schedule_row
from scheduler.storage.sql.tables import SCHEMA_REVISION
from scheduler.testing.values import MINUTE, NOON, SECOND, a_job, a_schedule, utc
from tests.storage.mssql.bridge import Bridge, DateTimeOffset
from tests.storage.mssql.statements import stored

JOBS = [
    a_job(id="a"),
    a_job(
        id="b",
        name="žluťoučký 🐎 ",
        queue="q'q",
        data={"value": "🐎 \x00"},
        error="x" * 9000,
        priority=-7,
        timeout=SECOND * 1.5,
        created_at=utc("0001-01-01T00:00:00+00:00"),
        scheduled_at=utc("9999-12-31T23:59:59.999999+00:00"),
    ),
    a_job(id="c", status=JobStatus.COMPLETED, result={"n": 1}, completed_at=NOON + SECOND),
    a_job(id="d", schedule_id="s", occurrence_at=NOON, sequence=1),
    a_job(id="e", schedule_id="s", occurrence_at=NOON + MINUTE, sequence=2, serial=True),
]
BOOKS = a_schedule("books")


def certificate_of(*hosts: str) -> Certificate:
    """A certificate that its owner signed, of these hosts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([])
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=9999))
        .not_valid_after(now + dt.timedelta(days=9999))
        .add_extension(x509.SubjectAlternativeName(map(x509.DNSName, hosts)), critical=True)
        .sign(key, hashes.SHA256())
    )
    return Certificate(
        made.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


@contextmanager
def stocked(bridge: Bridge) -> Iterator[SQLStorage]:
    """A storage on a server with JOBS and BOOKS."""
    with SQLStorage(bridge.url()) as storage:
        tables = storage._tables
        bridge.serve(tables.version, [{"version_num": SCHEMA_REVISION}])
        bridge.serve(tables.jobs, stored(tables.jobs, [job_row(job) for job in JOBS]))
        bridge.serve(tables.schedules, stored(tables.schedules, [schedule_row(BOOKS)]))
        for table in (tables.skips, tables.notes, tables.declarations):
            bridge.serve(table)
        yield storage


@pytest.fixture
def bridge(tmp_path: Path) -> Iterator[Bridge]:
    with Bridge(tmp_path, certificate_of("localhost")) as bridge:
        yield bridge


@pytest.fixture
def storage(bridge: Bridge) -> Iterator[SQLStorage]:
    with stocked(bridge) as storage:
        yield storage


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SQLStorage]:
    """One for all tests that only read."""
    directory = tmp_path_factory.mktemp("bridge")
    with Bridge(directory, certificate_of("localhost")) as bridge, stocked(bridge) as storage:
        yield storage


# --- what is read ---------------------------------------------------------------------------


READS: dict[str, tuple[Callable[[SQLStorage], Any], Any]] = {
    "check": (lambda storage: storage.check(), None),
    "current_revision": (lambda storage: storage.current_revision(), SCHEMA_REVISION),
    "get_job": (lambda storage: storage.get_job("b"), JOBS[1]),
    "get_job of nobody": (lambda storage: storage.get_job("' OR 1=1 --"), None),
    "list_jobs": (lambda storage: storage.list_jobs(), JOBS[::-1]),
    "list_jobs of a page": (
        lambda storage: storage.list_jobs(limit=2, before_id="d"),
        JOBS[2:0:-1],
    ),
    "list_jobs of a name": (lambda storage: storage.list_jobs(name="žluťoučký 🐎 "), JOBS[1:2]),
    "list_jobs of a name with no blank": (
        lambda storage: storage.list_jobs(name="žluťoučký 🐎"),
        [],
    ),
    "list_jobs of a status": (
        lambda storage: storage.list_jobs(status=JobStatus.COMPLETED, schedule_id=None),
        JOBS[2:3],
    ),
    "get_jobs_by_status": (
        lambda storage: storage.get_jobs_by_status(JobStatus.PENDING),
        [JOBS[1], JOBS[0], *JOBS[3:]],
    ),
    "get_jobs_by_priority": (lambda storage: storage.get_jobs_by_priority(-7), JOBS[1:2]),
    "count_jobs": (
        lambda storage: {status: n for status, n in storage.count_jobs().items() if n},
        {JobStatus.PENDING: 4, JobStatus.COMPLETED: 1},
    ),
    "next_job_at": (lambda storage: storage.next_job_at(), NOON),
    "next_job_at of a queue": (
        lambda storage: storage.next_job_at(handler_names=[JOBS[1].name, "more"], queue="q'q"),
        JOBS[1].scheduled_at,
    ),
    "next_job_at without handlers": (lambda storage: storage.next_job_at(handler_names=[]), None),
    "get_unfinished_jobs": (lambda storage: storage.get_unfinished_jobs(["s", "t"]), JOBS[3:]),
    "get_schedule": (lambda storage: storage.get_schedule("books"), BOOKS),
    "list_schedules": (lambda storage: storage.list_schedules(), [BOOKS]),
    "next_schedule_at": (lambda storage: storage.next_schedule_at(), BOOKS.next_at),
    "list_skips": (lambda storage: storage.list_skips("s"), []),
    "list_notes": (lambda storage: storage.list_notes("s"), []),
}


@pytest.mark.parametrize("verb", READS)
def test_what_is_stored_is_read(reader: SQLStorage, verb: str) -> None:
    """By the statements that SQL Server would get, texts and instants to the last digit."""
    read, expected = READS[verb]
    assert read(reader) == expected


def test_a_session_is_prepared_before_its_first_statement(
    bridge: Bridge, storage: SQLStorage
) -> None:
    """With what filtered indexes ask for, as a batch: inside a procedure it would not last."""
    storage.get_job("a")
    texts = [text for text, _ in bridge.asked]
    [prepared] = [place for place, text in enumerate(texts) if text.startswith("SET ANSI_NULLS,")]
    [read] = [place for place, text in enumerate(texts) if "FROM jobs" in text]
    assert prepared < read
    assert bridge.asked[prepared][1] == {}
    assert bridge.asked[read][1] == {"@P1": "a"}


@pytest.mark.parametrize(
    "moment",
    [
        "0001-01-01T00:00:00+00:00",
        "1969-12-31T23:59:59.999999+00:00",
        "2026-01-05T12:00:00.000001+00:00",
        "9999-12-31T23:59:59.999999+00:00",
    ],
)
def test_an_instant_is_written_as_it_is_read(moment: str) -> None:
    """By the driver, to the microsecond; the server of these tests cannot read it."""
    written = Written()
    kind = DateTimeOffsetSerializer(DateTimeOffsetType(precision=6))
    kind.write(written, utc(moment))
    assert bytes(written) == DateTimeOffset().encode(utc(moment))


class Written(bytearray):
    """What a serializer of the driver wrote."""

    def put_byte(self, value: int) -> None:
        self.append(value)

    def put_smallint(self, value: int) -> None:
        self.extend(value.to_bytes(2, "little", signed=True))

    def write(self, value: bytes) -> None:
        self.extend(value)


# --- errors ---------------------------------------------------------------------------------


def test_a_table_that_is_not_there_is_a_mismatch(bridge: Bridge) -> None:
    """The server's 208 says what to run, and the URL in it no password."""
    with SQLStorage(bridge.url()) as storage:
        with pytest.raises(
            SchemaMismatch, match=r"invalid object name 'jobs'.*db upgrade"
        ) as caught:
            storage.get_job("a")
        with pytest.raises(SchemaMismatch, match="no tables yet"):
            storage.check()
    assert ":***@" in str(caught.value)


@pytest.mark.parametrize("number", [1205, 1222])
def test_what_was_undone_for_another_is_done_again(
    bridge: Bridge, storage: SQLStorage, number: int
) -> None:
    """A deadlock's victim, and who waited too long for a lock."""
    bridge.fail("FROM schedules", number)
    assert storage._write(lambda connection: storage._schedules.get(connection, "books")) == BOOKS
    assert sum("FROM schedules" in text for text, _ in bridge.asked) == 2


@pytest.mark.parametrize("number", [2601, 2627])
def test_a_row_that_is_taken_leaves_the_transaction_as_it_is(
    bridge: Bridge, storage: SQLStorage, number: int
) -> None:
    """The driver goes on with the same connection, and the other rows are inserted."""
    bridge.fail("INSERT", number)
    rows = [{"version_num": "taken"}, {"version_num": "free"}]
    with storage._engine.begin() as connection:
        storage._database.insert_new(connection, storage._tables.version, rows)
    taken, free, commit = bridge.asked[-3:]
    assert [taken[1]["@P1"], free[1]["@P1"], commit[0]] == ["taken", "free", "COMMIT"]
    assert taken[0] == free[0] == "INSERT INTO scheduler_schema (version_num) VALUES (@P1)"


def test_a_broken_connection_is_unavailable_and_then_replaced(
    bridge: Bridge, storage: SQLStorage
) -> None:
    """What was under way fails; what comes after finds another connection."""
    assert storage.get_job("a") == JOBS[0]
    bridge.hang_up("FROM jobs")
    with pytest.raises(StorageUnavailable):  # in words that depend on who noticed first
        storage.get_job("a")
    assert storage.get_job("a") == JOBS[0]


def test_a_connection_that_broke_while_idle_is_not_noticed(
    bridge: Bridge, storage: SQLStorage
) -> None:
    """It is tried before it is used."""
    assert storage.get_job("a") == JOBS[0]
    bridge.break_connections()
    assert storage.get_job("a") == JOBS[0]


def test_an_error_that_ends_the_session_ends_the_connection(
    bridge: Bridge, storage: SQLStorage
) -> None:
    """Of a severity of 20 or more; as when an administrator kills it."""
    bridge.fail("FROM jobs", 596, severity=21)
    with pytest.raises(StorageUnavailable, match="as told: 596"):
        storage.get_job("a")
    assert storage.get_job("a") == JOBS[0]
    assert sum(text.startswith("SET ANSI_NULLS,") for text, _ in bridge.asked) == 2


def test_an_answer_is_waited_for_as_long_as_the_url_says(
    bridge: Bridge, storage: SQLStorage
) -> None:
    """Then the connection is given up, and another one works."""
    with SQLStorage(bridge.url("timeout=1")) as impatient:
        bridge.say_nothing("FROM jobs")
        with pytest.raises(StorageUnavailable, match="timed out"):
            impatient.get_job("a")
        assert impatient.get_job("a") == JOBS[0]


def test_a_wrong_password_is_not_repeated(bridge: Bridge) -> None:
    """The server refuses; the error names the user and not the password."""
    with pytest.raises(StorageUnavailable, match="Login failed") as caught:
        open_storage(bridge.url(word="hunter2"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_server_that_is_not_there_is_unavailable(host: str) -> None:
    """With the reason that the last try met."""
    reason = "refused" if host == "127.0.0.1" else "."
    with pytest.raises(StorageUnavailable, match=reason) as caught:
        open_storage(f"mssql://someone:hunter2@{host}:1/jobs?login_timeout=1")
    assert "someone:***@" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_server_that_says_nothing_is_unavailable() -> None:
    """After login_timeout seconds, whatever it is that listens there."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(StorageUnavailable, match="timed out"):
            open_storage(f"mssql://127.0.0.1:{port}/jobs?login_timeout=1")


# --- answers as SQL Server's are -------------------------------------------------------------


class Socket:
    """As much of one as the driver uses: what it sent, each time answered with `answer`."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._left = b""
        self.sent: list[int] = []
        """The kind of each packet."""

    def sendall(self, packet: bytes) -> None:
        self.sent.append(packet[0])
        self._left += self._answer

    def recv_into(self, buffer: memoryview, size: int) -> int:
        read, self._left = self._left[:size], self._left[size:]
        buffer[: len(read)] = read
        return len(read)


def done(token: int, status: int, rows: int) -> bytes:
    return struct.pack("<BHHq", token, status, 0, rows)


def test_a_batch_is_one_round_trip_for_each_row() -> None:
    """Without a message that cancels what is left of the answer before."""
    written = done(TDS_DONEINPROC_TOKEN, TDS_DONE_MORE_RESULTS | TDS_DONE_COUNT, 1)
    ended = bytes([TDS_RETURNSTATUS_TOKEN, 0, 0, 0, 0]) + done(TDS_DONEPROC_TOKEN, 0, 0)
    length = 8 + len(written + ended)
    header = struct.pack(">BBHHBx", PacketType.REPLY, 1, length, 0, 1)
    network = Socket(header + written + ended)
    login = _TdsLogin()
    driver = _TdsSocket(sock=network, login=login, autocommit=True)
    cursor = NonMarsConnection(pooling=False, key=(), tds_socket=driver).cursor()
    rows: list[dict[str, str | None]] = [{"a": "x"}, {"a": "y"}, {"a": None}]
    Dialect().do_executemany(cursor, "UPDATE t SET a = %(a)s", rows)
    assert network.sent == [PacketType.RPC] * 3


# --- encryption -----------------------------------------------------------------------------


def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    """Before the password is sent; unless the URL says that any host's will do."""
    with Bridge(tmp_path, certificate_of("db.example")) as bridge:
        with pytest.raises(StorageUnavailable, match="does not match host name 'localhost'"):
            open_storage(bridge.url())
        assert bridge.asked == []
        with pytest.raises(SchemaMismatch, match="no tables"):
            open_storage(bridge.url("validate_host=off"))


def test_a_certificate_that_nobody_trusts_is_refused(tmp_path: Path, bridge: Bridge) -> None:
    """By the one file of those that are trusted."""
    other = tmp_path / "other.pem"
    other.write_bytes(certificate_of("localhost").cert_pem)
    with pytest.raises(StorageUnavailable, match="TLS: certificate verify failed"):
        open_storage(bridge.url().replace("trusted.pem", other.name))


@pytest.mark.parametrize(
    ("host", "hosts", "is_its_own"),
    [
        ("db.example", ["db.example"], True),
        ("DB.example", ["db.EXAMPLE"], True),
        ("db.example", ["other.example", "db.example"], True),
        ("db.example", ["*.example"], False),
        ("db.corp.example", ["*.corp.example"], True),
        ("a.b.corp.example", ["*.corp.example"], False),
        ("corp.example", ["*.corp.example"], False),
        ("NSD.example", ["example"], False),
        ("127.0.0.1", ["127.0.0.1"], False),
    ],
)
def test_a_certificate_is_of_the_hosts_it_names(
    host: str, hosts: list[str], is_its_own: bool
) -> None:
    """A wildcard stands for one label; an address is no name."""
    made = x509.load_pem_x509_certificate(certificate_of(*hosts).cert_pem)
    assert is_of_host(X509.from_cryptography(made), host.encode()) is is_its_own
