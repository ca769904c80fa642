"""Schedules over HTTP: every verb, and what each refusal is called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from freezegun import freeze_time

from scheduler import JobQueue, clock
from scheduler.testing.values import NOON
from scheduler.web.app import create_app
from tests.web.test_api import Client, as_json

ROOT = "/api/v1/schedules"
TENS = {"every": 10, "unit": "minutes", "start_date": "2026-01-01T00:00:00Z"}
DAY = {"from": "2026-01-01T00:00", "to": "2026-01-02T00:00"}
NEW = {"name": "tens", "job": "mail", "rule": TENS, "data": {"to": "ada"}, "overlap": "allow"}


@pytest.fixture
def queue() -> JobQueue:
    made = JobQueue("memory://")
    made.register("mail", lambda to: None)
    return made


@pytest.fixture
def client(queue: JobQueue) -> Iterator[Client]:
    app = create_app(queue)  # before the clock is frozen: it imports classes of dates
    with freeze_time(NOON):
        yield Client(app)


def post(client: Client, path: str, body: Any = None) -> Any:
    answer = client.post(f"{ROOT}{path}", **as_json({} if body is None else body))
    assert answer.status_code < 300, answer.text
    return answer.json()


def test_a_schedule_lives_over_http(client: Client, queue: JobQueue) -> None:
    added = client.post(ROOT, **as_json({**NEW, "grace": 30, "jitter": 5, "actor": "bob"}))
    assert added.status_code == 201
    body = added.json()
    assert (body["status"], body["revision"], body["overlap"]) == ("active", 1, "allow")
    assert (body["grace"], body["jitter"], body["data"]) == (30, 5, {"to": "ada"})
    assert client.get(f"{ROOT}/tens").json() == body
    assert client.get(ROOT).json() == [body]

    paused = post(client, "/tens/pause", {"actor": "ada"})
    assert (paused["status"], paused["paused_by"], paused["next_at"]) == ("paused", "ada", None)
    assert post(client, "/tens/resume", {"catch_up": True})["status"] == "active"

    change = as_json({"priority": 3, "revision": 3, "rule": {"cron": "@hourly"}})
    edited = client.ask("PATCH", f"{ROOT}/tens", **change).json()
    assert (edited["priority"], edited["revision"]) == (3, 4)
    assert [note["action"] for note in client.get(f"{ROOT}/tens/notes").json()] == [
        "created",
        "paused",
        "resumed",
        "edited",
    ]

    assert client.get(f"{ROOT}/tens/notes").json()[0]["actor"] == "bob"
    job = post(client, "/tens/run", {"data": {"to": "bob"}})
    assert (job["origin"], job["data"], job["sequence"]) == ("run_now", {"to": "bob"}, None)
    window = {"from": "2026-01-05T08:00", "to": "2026-01-05T10:00"}
    filled = post(client, "/tens/backfill", window)
    assert [each["occurrence_at"] for each in filled] == [
        "2026-01-05T08:00:00Z",
        "2026-01-05T09:00:00Z",
    ]
    assert all(each["backfill"] for each in filled)
    assert client.ask("DELETE", f"{ROOT}/tens").json() == {"deleted": "tens"}
    assert client.get(ROOT).json() == []


def test_previews_and_explanations(client: Client, queue: JobQueue) -> None:
    post(client, "", {**NEW, "rule": {**TENS, "except": [{"times": [["12:20", "12:30"]]}]}})
    queue.expander.tick(clock.now())
    following = client.get(f"{ROOT}/tens/preview?n=2").json()
    assert [each["occurrence_at"] for each in following] == [
        "2026-01-05T12:10:00Z",
        "2026-01-05T12:30:00Z",
    ]
    window = client.get(f"{ROOT}/tens/preview?from=2026-01-05T12:15&to=2026-01-05T12:35").json()
    assert [each["dropped"] for each in window] == ["excluded", None]
    asked = {"rule": {"cron": "0 9 * * *"}, "timezone": "Asia/Tokyo", "n": 1}
    [only] = client.post("/api/v1/preview", **as_json(asked)).json()
    assert only["local"] == "2026-01-06 09:00:00 JST"
    past = {**asked, "from": "2020-01-01T00:00", "to": "2020-01-03T00:00", "n": 9}
    assert len(client.post("/api/v1/preview", **as_json(past)).json()) == 2
    why = client.get(f"{ROOT}/tens/explain?at=2026-01-05T12:00").json()
    assert (why["verdict"], why["job"]["occurrence_at"]) == ("queued", "2026-01-05T12:00:00Z")
    assert client.get(f"{ROOT}/tens/skips").json() == []


@pytest.mark.parametrize(
    "name", ["über 100 % – nightly?", "a/b", "a/skips", "/", "a%2Fb", "skips", "x/../y", "100%"]
)
def test_names_are_text(client: Client, name: str) -> None:
    post(client, "", NEW)
    post(client, "", {**NEW, "name": name})
    path = f"/{quote(name, safe='')}"
    assert client.get(f"{ROOT}{path}").json()["name"] == name
    assert post(client, f"{path}/pause")["name"] == name
    assert len(client.get(f"{ROOT}{path}/notes").json()) == 2
    assert client.get(f"{ROOT}{path}/skips").json() == []
    assert client.ask("DELETE", f"{ROOT}{path}").json() == {"deleted": name}
    assert [each["name"] for each in client.get(ROOT).json()] == ["tens"]


def test_what_is_no_json_says_where(client: Client) -> None:
    given = {"content": '{"name": }', "headers": {"content-type": "application/json"}}
    [detail] = client.post(ROOT, **given).json()["detail"]
    assert detail["field"] == "body"
    assert detail["message"].startswith("body: is not JSON at character 9; ")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/nope", None, 404, "is not known"),
        ("POST", "/nope/pause", {}, 404, "is not known"),
        ("DELETE", "/nope", None, 404, "is not known"),
        ("POST", "", NEW, 409, "is there already"),
        ("PATCH", "/tens", {"priority": 1, "revision": 9}, 409, "at revision 1, not 9"),
        ("POST", "/done/resume", {}, 409, "while completed"),
        ("PATCH", "/tens", {"rule": {"cron": "61 * * * *"}}, 422, "61 is not in"),
        ("PATCH", "/tens", {"grape": 1}, 422, "Extra inputs"),
        ("PATCH", "/tens", {"job": None}, 422, "job: "),
        ("PATCH", "/tens", {"rule": None}, 422, "rule: null"),
        ("PATCH", "/tens", {"data": None}, 422, "is not a JSON object"),
        ("PATCH", "/tens", {"priority": None}, 422, "is not an integer"),
        ("POST", "/tens/pause", {"actor": "a\0b"}, 422, "actor: "),
        ("GET", "/tens/explain?at=0001-01-01T00:00:00%2B14:00", None, 422, "years 1 to 9999"),
        ("PATCH", "/tens", {"jitter": -1}, 422, "is not a number of seconds"),
        ("PATCH", "/tens", {"priority": "1"}, 422, "valid integer"),
        ("PATCH", "/tens", {"data": {"to": 1, "x": 2}}, 422, "is not a parameter"),
        ("POST", "", {**NEW, "name": "x", "job": "nope"}, 422, "is not known"),
        ("POST", "", {**NEW, "name": "x", "overlap": "maybe"}, 422, "is not one of skip, allow"),
        ("POST", "/tens/backfill", {"from": "2026-01-01", "to": "x"}, 422, "is not a date-time"),
        ("POST", "/tens/backfill", {"to": "2026-01-01T00:00"}, 422, "Field required"),
        ("POST", "/tens/backfill", {**DAY, "revision": 7}, 409, "at revision 1, not 7"),
        ("GET", "/tens/explain?at=soon", None, 422, "is not a date-time"),
        ("GET", "/tens/preview?from=x", None, 422, "from: x is not a date-time"),
        ("GET", "/tens/preview?to=2026-01-01T00:00", None, 422, "is not after 2026-01-05"),
        ("GET", "/tens/preview?n=1001", None, 422, "less than or equal to 1000"),
    ],
)
def test_what_is_wrong_is_named(
    client: Client, method: str, path: str, body: Any, status: int, message: str
) -> None:
    post(client, "", NEW)
    ended = {"at": ["2020-01-01T00:00:00Z"]}
    post(client, "", {**NEW, "name": "done", "rule": ended, "allow_past": True})
    client.ask("PATCH", f"{ROOT}/done", **as_json({"rule": {**TENS, "end_date": "2026-01-02"}}))
    before = client.get(ROOT).json()
    given = {} if body is None else as_json(body)
    if path.startswith("/done"):
        done = {"rule": {**TENS, "end_date": "2026-01-02T00:00:00Z"}}
        edited = client.ask("PATCH", f"{ROOT}/done", **as_json(done))
        assert edited.json()["status"] == "completed"
        before = client.get(ROOT).json()
    answer = client.ask(method, f"{ROOT}{path}", **given)
    assert answer.status_code == status, answer.text
    [detail, *_] = answer.json()["detail"]
    assert message in detail["message"]
    assert client.get(ROOT).json() == before
