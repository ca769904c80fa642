"""What is refused over HTTP, and how: every error in the one shape of answers.py."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from scheduler.errors import (
    InvalidInput,
    InvalidMove,
    InvalidScheduleMove,
    SchedulerError,
    StaleSchedule,
    StorageUnavailable,
    UnknownJobId,
    UnknownName,
)
from scheduler.web.answers import AsciiJSON, detail, refusal

MAX_BODY = 1024 * 1024
"""The largest request body, in bytes."""


def answer_errors(app: FastAPI) -> None:
    """Have `app` refuse what is too large, malformed, or not to be done."""

    @app.middleware("http")
    async def bound_body(request: Request, call_next: Any) -> Any:
        length = request.headers.get("content-length", "")
        if request.method == "POST" and not length.isdigit():
            return refusal(411, "body", "", "has no Content-Length")
        if length.isdigit() and int(length) > MAX_BODY:
            return refusal(413, "body", f"{length} bytes", f"is more than {MAX_BODY} bytes")
        return await call_next(request)

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> AsciiJSON:
        return AsciiJSON({"detail": [_malformed(each) for each in error.errors()]}, 422)

    @app.exception_handler(HTTPException)
    async def turned_away(request: Request, error: HTTPException) -> AsciiJSON:
        """What the framework refuses itself: a path, a method, a body that cannot be parsed."""
        asked = f"{request.method} {request.url.path}"
        answer = refusal(error.status_code, "request", asked, f"is refused: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(SchedulerError)
    async def refused(_: Request, error: SchedulerError) -> AsciiJSON:
        return answer_to(error)


def answer_to(error: SchedulerError) -> AsciiJSON:
    """What a request is answered that met `error`."""
    match error:
        case InvalidInput(field=field, value=value, reason=reason, hint=hint):
            return refusal(422, field, value, reason, hint)
        case UnknownName(kind="schedule", name=name):
            return refusal(404, "schedule", name, "is not known", error.mend)
        case UnknownName(kind=kind, name=name):
            return refusal(422, kind, name, "is not known", error.mend)
        case StaleSchedule() | InvalidScheduleMove():
            return refusal(409, "schedule", "", str(error))
        case UnknownJobId(job_id=job_id):
            return refusal(404, "id", job_id, "is no job in this store")
        case InvalidMove():
            return refusal(409, "job", "", str(error))
        case StorageUnavailable():
            return refusal(503, "storage", "", str(error))
        case _:
            return refusal(500, "scheduler", "", str(error))


def _malformed(error: Mapping[str, Any]) -> dict[str, str]:
    if error["type"] == "json_invalid":
        place, said = error["loc"][-1], error["ctx"]["error"]
        return detail("body", "", f"is not JSON at character {place}", said)
    field = ": ".join(str(part) for part in error["loc"]) or "body"
    return detail(field, error.get("input", ""), error["msg"])
