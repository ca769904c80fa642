"""The HTTP API over a real queue and store: what it takes, what it gives, what it refuses."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import datetime
from typing import Any

import pytest
from fastapi import FastAPI
from freezegun import freeze_time
from httpx import ASGITransport, AsyncClient, Response

from scheduler import Job, JobQueue, clock, every, open_storage
from scheduler.errors import StorageUnavailable
from scheduler.storage.memory import MemoryStorage
from scheduler.storage.sql import SQLStorage
from scheduler.testing.values import NOON
from scheduler.web.app import create_app
from scheduler.web.refusals import MAX_BODY

JSON = {"content-type": "application/json"}


def as_json(body: Any) -> dict[str, Any]:
    """`body` as httpx sends it; httpx's own encoding stops at lone surrogates."""
    return {"content": json.dumps(body), "headers": JSON}


class Client:
    """Asks the app as a server would, one request at a time; its own errors become a 500."""

    def __init__(self, app: FastAPI) -> None:
        self._transport = ASGITransport(app, raise_app_exceptions=False)

    def get(self, path: str, **given: Any) -> Response:
        return self.ask("GET", path, **given)

    def post(self, path: str, **given: Any) -> Response:
        return self.ask("POST", path, **given)

    def ask(self, method: str, path: str, **given: Any) -> Response:
        return asyncio.run(self._send(method, path, **given))

    async def _send(self, method: str, path: str, **given: Any) -> Response:
        async with AsyncClient(transport=self._transport, base_url="http://test") as client:
            return await client.request(method, path, **given)


def send_mail(to: str, copies: int = 1) -> None: ...


def note(text) -> None: ...  # type: ignore[no-untyped-def]


@pytest.fixture
def queue(database_url: str) -> Iterator[JobQueue]:
    with SQLStorage(database_url) as storage:
        storage.upgrade()
        queue = JobQueue(open_storage(database_url))
        queue.register("send_mail", send_mail, priority=5)
        queue.register("note", note)
        yield queue
        queue.stop()
        queue.storage.close()


@pytest.fixture
def client(queue: JobQueue) -> Client:
    return Client(create_app(queue))


def refusal(response: Any, status: int) -> dict[str, str]:
    """The first detail of a refusal, whose shape is always the same."""
    assert response.status_code == status, response.text
    details = response.json()["detail"]
    for detail in details:
        assert set(detail) == {"field", "value", "reason", "hint", "message"}
        assert detail["message"].startswith(detail["field"])
        assert len(detail["value"]) <= 80
    first: dict[str, str] = details[0]
    return first


# --- taking jobs in -------------------------------------------------------------------------


def test_a_job_is_taken_in(client: Client, queue: JobQueue) -> None:
    """201, with the job as stored."""
    body = {
        "name": "send_mail",
        "data": {"to": "ž@example.org", "copies": 2},
        "priority": -1,
        "scheduled_at": "2030-03-29T02:30:00+02:00",
    }
    response = client.post("/api/v1/jobs", json=body)
    assert response.status_code == 201
    job = response.json()
    assert (job["name"], job["data"], job["priority"]) == ("send_mail", body["data"], -1)
    assert (job["status"], job["scheduled_at"]) == ("pending", "2030-03-29T00:30:00Z")
    stored = queue.get_job(job["id"])
    assert stored is not None
    assert stored.data == body["data"]
    assert client.get(f"/api/v1/jobs/{job['id']}").json() == job


def test_what_is_left_open_is_the_handlers_own(client: Client) -> None:
    """Its priority; and the job is for now."""
    before = clock.now()
    job = client.post("/api/v1/jobs", json={"name": "send_mail", "data": {"to": "a"}}).json()
    assert job["priority"] == 5
    assert job["scheduled_at"] == job["created_at"]
    assert job["created_at"] >= before.isoformat().replace("+00:00", "Z")


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({"name": "send_male"}, "job", "did you mean 'send_mail'?"),
    ({"name": "send_mail"}, "data: to", "is missing"),
    ({"name": "send_mail", "data": {"to": 1}}, "data: to", "does not fit"),
    ({"name": "send_mail", "data": {"to": "a", "copies": "2"}}, "data: copies", "valid integer"),
    ({"name": "send_mail", "data": {"to": "a", "cc": "b"}}, "data", "allowed: to, copies"),
    ({"name": "send_mail", "data": ["to"]}, "body: data", "dictionary"),
    ({"name": "send_mail", "data": None}, "body: data", "dictionary"),
    ({"data": {}}, "body: name", "required"),
    ({"name": 7}, "body: name", "string"),
    ({"name": "send_mail", "data": {"to": "a"}, "priority": "1"}, "body: priority", "integer"),
    ({"name": "send_mail", "data": {"to": "a"}, "priority": 1.0}, "body: priority", "integer"),
    ({"name": "send_mail", "data": {"to": "a"}, "priority": 2**31}, "priority", "integer from"),
    ({"name": "send_mail", "data": {"to": "a"}, "later": True}, "body: later", "not permitted"),
    (
        {"name": "send_mail", "data": {"to": "a"}, "scheduled_at": 1_700_000_000},
        "body: scheduled_at",
        "string",
    ),
    (
        {"name": "send_mail", "data": {"to": "a"}, "scheduled_at": "tomorrow"},
        "scheduled_at",
        "tomorrow",
    ),
    (
        {"name": "send_mail", "data": {"to": "a"}, "scheduled_at": "2026-02-30T00:00Z"},
        "scheduled_at",
        "2026-02-30",
    ),
]


@pytest.mark.parametrize(("body", "field", "said"), REFUSED)
def test_a_job_that_does_not_fit_is_refused(
    client: Client, queue: JobQueue, body: dict[str, Any], field: str, said: str
) -> None:
    """422, with the field and the reason; and nothing is stored."""
    detail = refusal(client.post("/api/v1/jobs", json=body), 422)
    assert detail["field"] == field
    assert said in detail["message"]
    assert queue.storage.list_jobs() == []


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"name": NaN}'])
def test_a_body_that_is_no_object_is_refused(client: Client, body: bytes) -> None:
    """422, and never a 500."""
    refusal(client.post("/api/v1/jobs", content=body, headers=JSON), 422)


def test_a_body_beyond_the_bound_is_refused_unread(client: Client) -> None:
    """By its announced length; and without one, it is not read at all."""
    large = refusal(client.post("/api/v1/jobs", content=b"x" * (MAX_BODY + 1)), 413)
    assert str(MAX_BODY) in large["reason"]

    async def endless() -> AsyncIterator[bytes]:
        yield b"{"

    refusal(client.post("/api/v1/jobs", content=endless()), 411)


ODD_TEXTS = ["NUL \x00", "half a pair \ud800", "\u2028 \u202e", "🐎", "</script>"]


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
def test_any_text_goes_in_and_comes_out(client: Client, text: str) -> None:
    """What JSON can say, a job can carry, as a key too; and every answer is ASCII."""
    data = {"text": {text: [text]}}
    added = client.post("/api/v1/jobs", **as_json({"name": "note", "data": data}))
    assert added.status_code == 201
    job = added.json()
    assert job["data"] == data
    found, listed = client.get(f"/api/v1/jobs/{job['id']}"), client.get("/api/v1/jobs")
    assert (found.json(), listed.json()) == (job, [job])
    assert all(answer.content.isascii() for answer in (added, found, listed))


@pytest.mark.parametrize("text", ODD_TEXTS, ids=ascii)
@pytest.mark.parametrize(
    "body",
    [
        lambda text: {"name": text},
        lambda text: {"name": "note", "data": {text: 1}},
        lambda text: {"name": "note", "data": text},
        lambda text: {"name": "note", "data": {"text": 1}, text: 1},
        lambda text: {"name": "note", "data": {"text": 1}, "scheduled_at": text},
        lambda text: {"name": "send_mail", "data": {"to": {text: text}}},
    ],
)
def test_any_text_that_is_refused_is_refused_with_its_reason(
    client: Client, queue: JobQueue, body: Callable[[str], dict[str, Any]], text: str
) -> None:
    """422 wherever it stands, in ASCII; and nothing is stored."""
    response = client.post("/api/v1/jobs", **as_json(body(text)))
    refusal(response, 422)
    assert response.content.isascii()
    assert queue.storage.list_jobs() == []


def test_a_handler_that_asks_for_text_gets_no_half_of_a_pair(
    client: Client, queue: JobQueue
) -> None:
    """An annotation is a promise that it is text, which a lone surrogate is not."""
    body = {"name": "send_mail", "data": {"to": "\ud800"}}
    assert refusal(client.post("/api/v1/jobs", **as_json(body)), 422)["field"] == "data: to"
    assert queue.storage.list_jobs() == []


@pytest.mark.parametrize("depth", [101, 480, 900])
def test_data_that_nest_too_deep_are_refused(client: Client, queue: JobQueue, depth: int) -> None:
    """Rather than stored where a later reader gives up."""
    body = b'{"name": "note", "data": {"text": ' + b"[" * depth + b"]" * depth + b"}}"
    response = client.post("/api/v1/jobs", content=body, headers=JSON)
    assert "nests deeper than" in refusal(response, 422)["message"]
    assert queue.storage.list_jobs() == []


@pytest.mark.parametrize("inner", [b"[" * 9000 + b"]" * 9000, b"9" * 5000], ids=["deep", "long"])
def test_a_body_that_cannot_be_parsed_is_refused(
    client: Client, queue: JobQueue, inner: bytes
) -> None:
    """In the one shape, though it is the framework that gives up."""
    body = b'{"name": "note", "data": {"text": ' + inner + b"}}"
    response = client.post("/api/v1/jobs", content=body, headers=JSON)
    assert 400 <= response.status_code < 500
    refusal(response, response.status_code)
    assert queue.storage.list_jobs() == []


# --- looking --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nowhere/%ED%A0%80", 404), ("DELETE", "/api/v1/jobs", 405)],
)
def test_what_is_not_served_is_refused_in_the_same_shape(
    client: Client, method: str, path: str, status: int
) -> None:
    """Naming what was asked for; a method that is not allowed, with those that are."""
    response = client.ask(method, path)
    assert path.split("/%")[0] in refusal(response, status)["value"]
    assert response.content.isascii()
    assert ("allow" in response.headers) == (status == 405)


@pytest.mark.parametrize("job_id", ["ghost", "%00", "%27%20OR%201=1", "%ED%B3%BF", "x" * 5000])
def test_an_unknown_job_is_not_found(client: Client, job_id: str) -> None:
    """404, whatever was asked for."""
    assert refusal(client.get(f"/api/v1/jobs/{job_id}"), 404)["field"] == "id"


def test_a_job_is_called_off_and_tried_again(client: Client, queue: JobQueue) -> None:
    """With the reason where an error would stand; what cannot be done is a conflict."""
    path = f"/api/v1/jobs/{queue.add('send_mail', {'to': 'a'}).id}"
    cancelled = client.post(f"{path}/cancel", json={"reason": "wrong address"}).json()
    assert (cancelled["status"], cancelled["error"]) == ("cancelled", "wrong address")
    assert "cannot cancel while cancelled" in refusal(client.post(f"{path}/cancel"), 409)["reason"]
    assert client.post(f"{path}/retry").json()["status"] == "pending"
    assert client.post(f"{path}/cancel").json()["error"] == "cancelled by hand"
    for move in ("cancel", "retry"):
        assert refusal(client.post(f"/api/v1/jobs/nothing/{move}"), 404)["value"] == "nothing"


def test_attempts_are_told_with_what_was_said(client: Client, queue: JobQueue) -> None:
    """From the first on."""
    queue.register("fail", lambda: 1 / 0, max_retries=0)
    job = queue.add("fail")
    queue.executor.run_until_idle(queue.clock.now())
    [attempt] = client.get(f"/api/v1/jobs/{job.id}/attempts").json()
    assert (attempt["number"], attempt["ending"]) == (1, "failed")
    assert attempt["error"] == "ZeroDivisionError: division by zero"
    assert attempt["worker"] == client.get(f"/api/v1/jobs/{job.id}").json()["worker"]
    assert refusal(client.get("/api/v1/jobs/nothing/attempts"), 404)["field"] == "id"


def test_jobs_are_listed_newest_first_and_in_pages(client: Client, queue: JobQueue) -> None:
    """Each page is what comes before the last id of the one before."""
    ids = [queue.add("note", {"text": n}).id for n in range(5)]
    first = [job["id"] for job in client.get("/api/v1/jobs", params={"limit": 3}).json()]
    rest = client.get("/api/v1/jobs", params={"limit": 3, "before": first[-1]}).json()
    assert first + [job["id"] for job in rest] == ids[::-1]


def test_jobs_are_filtered(client: Client, queue: JobQueue) -> None:
    """By status and by name."""
    wanted = queue.add("note", {"text": ""})
    queue.add("send_mail", {"to": "a"})
    done = queue.add("note", {"text": "done"}, priority=-9)
    queue.storage.acquire_next_job()
    queue.storage.complete_job(done.id, "x")
    found = client.get("/api/v1/jobs", params={"status": "pending", "name": "note"}).json()
    assert [job["id"] for job in found] == [wanted.id]
    assert client.get("/api/v1/jobs", params={"name": "\x00"}).json() == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"status": "done"}, "query: status"),
        ({"limit": 0}, "query: limit"),
        ({"limit": 1001}, "query: limit"),
        ({"limit": "ten"}, "query: limit"),
    ],
)
def test_a_wrong_filter_is_refused(client: Client, query: dict[str, Any], field: str) -> None:
    """422, naming it."""
    assert refusal(client.get("/api/v1/jobs", params=query), 422)["field"] == field


def test_a_lease_token_stays_inside(client: Client, queue: JobQueue) -> None:
    """Who knows it could settle the job."""
    queue.add("note", {"text": ""})
    leased = queue.storage.acquire_next_job()
    assert leased is not None
    assert leased.lease is not None
    text = client.get(f"/api/v1/jobs/{leased.id}").text
    assert leased.lease.token not in text
    assert json.loads(text)["lease_expires_at"]


@freeze_time(NOON, real_asyncio=True)
def test_schedules_are_listed_with_what_comes_next(client: Client, queue: JobQueue) -> None:
    """By name; durations are seconds."""
    queue.register("hourly", send_mail, rule=every(hours=1), data={"to": "a"}, timeout=1.5)
    queue.register("daily", send_mail, rule=every(days=1), data={"to": "b"})
    queue.declare()
    queue.expander.tick(NOON)
    listed = client.get("/api/v1/schedules").json()
    assert [each["name"] for each in listed] == ["daily", "hourly"]
    hourly = listed[1]
    assert hourly["rule"] == {"every": 1, "unit": "hours"}
    assert (hourly["next_at"], hourly["timeout"]) == ("2026-01-05T13:00:00Z", 1.5)
    assert (hourly["status"], hourly["materialised"]) == ("active", 1)
    assert (hourly["grace"], hourly["catch_up"]) == (60.0, "latest")


# --- health ---------------------------------------------------------------------------------


def test_health_while_all_is_well(client: Client) -> None:
    """Alive and ready."""
    assert client.get("/livez").json() == {"status": "ok"}
    assert client.get("/readyz").status_code == 200


class Unreachable(MemoryStorage):
    """A store that went away after it was opened."""

    def check(self) -> None:
        raise StorageUnavailable("database: connection refused")

    def _gone(self, *_: Any, **__: Any) -> Any:
        self.check()

    save_jobs = get_job = list_jobs = list_schedules = _gone


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.post("/api/v1/jobs", json={"name": "note", "data": {"text": ""}}),
        lambda client: client.get("/api/v1/jobs"),
        lambda client: client.get("/api/v1/jobs/x"),
        lambda client: client.get("/api/v1/schedules"),
    ],
)
def test_without_a_store_it_is_unavailable(ask: Callable[[Client], Any]) -> None:
    """503 for whatever needs it; alive, and not ready, with the reason."""
    queue = JobQueue(Unreachable())
    queue.register("note", note)
    client = Client(create_app(queue))
    assert "connection refused" in refusal(ask(client), 503)["message"]
    assert client.get("/livez").status_code == 200
    ready = client.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["problems"] == {"storage": "database: connection refused"}


def test_a_duty_that_fails_is_not_ready() -> None:
    """The reason is the duty's last error, until it does its work again."""
    failed, again, mended = threading.Event(), threading.Event(), threading.Event()

    class Shaky(MemoryStorage):
        def acquire_next_jobs(self, n: int, **given: Any) -> list[Job]:
            if mended.is_set():
                return super().acquire_next_jobs(n, **given)
            if failed.is_set():  # the first call is over, and its error is there to be seen
                again.set()
                assert mended.wait(10)
                return []
            failed.set()
            raise StorageUnavailable("no route to host")

        def next_job_at(self, **given: Any) -> datetime | None:
            recovered.set()
            return super().next_job_at(**given)

    recovered = threading.Event()
    queue = JobQueue(Shaky())
    queue.register("note", note)
    client = Client(create_app(queue))
    assert client.get("/readyz").status_code == 200
    queue.start()
    assert failed.wait(10)
    queue.add("note", {"text": "wakes the executor"})
    assert again.wait(10)
    assert client.get("/readyz").json()["problems"] == {"executor": "no route to host"}
    mended.set()
    assert recovered.wait(10)
    queue.stop()
