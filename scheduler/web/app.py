"""The HTTP API, as a FastAPI app over one JobQueue.

Jobs and health are here, schedules in schedules.py; what an answer is, in answers.py.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

import scheduler
from scheduler.errors import (
    InvalidInput,
    InvalidScheduleMove,
    SchedulerError,
    StaleSchedule,
    StorageError,
    StorageUnavailable,
    UnknownName,
)
from scheduler.model import JobStatus
from scheduler.queue import JobQueue
from scheduler.rules.zones import parse_moment, zone
from scheduler.views import job_view
from scheduler.web.answers import AsciiJSON, detail, refusal
from scheduler.web.schedules import add_schedules

MAX_BODY = 1024 * 1024
"""The largest request body, in bytes."""


class NewJob(BaseModel):
    """What POST /api/v1/jobs takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    data: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = None
    scheduled_at: str | None = None


def create_app(queue: JobQueue) -> FastAPI:
    """The API over `queue`, which need not be started: then jobs are taken in and not run."""
    app = FastAPI(
        title="Scheduler",
        version=scheduler.__version__,
        docs_url="/api/docs",
        redoc_url=None,
        openapi_url="/api/openapi.json",
        default_response_class=AsciiJSON,
    )
    _answer_errors(app)
    _add_health(app, queue)
    _add_jobs(app, queue)

    add_schedules(app, queue)
    return app


def _add_jobs(app: FastAPI, queue: JobQueue) -> None:
    @app.post("/api/v1/jobs", status_code=201, tags=["jobs"])
    def add_job(new: NewJob) -> AsciiJSON:
        """Enqueue a job; the job as stored."""
        at = (
            None
            if new.scheduled_at is None
            else parse_moment(new.scheduled_at, zone("UTC"), "scheduled_at")
        )
        job = queue.add(new.name, new.data, priority=new.priority, scheduled_at=at)
        return AsciiJSON(job_view(job), 201)

    @app.get("/api/v1/jobs/{job_id}", tags=["jobs"])
    def get_job(job_id: str) -> AsciiJSON:
        """One job."""
        job = queue.get_job(job_id)
        if job is None:
            return refusal(404, "id", job_id, "is no job in this store")
        return AsciiJSON(job_view(job))

    @app.get("/api/v1/jobs", tags=["jobs"])
    def list_jobs(
        status: JobStatus | None = None,
        name: str | None = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        before: str | None = None,
    ) -> AsciiJSON:
        """Jobs, newest first; the next page is what comes `before` the last id of this one."""
        found = queue.storage.list_jobs(status=status, name=name, limit=limit, before_id=before)
        return AsciiJSON([job_view(job) for job in found])


def _add_health(app: FastAPI, queue: JobQueue) -> None:
    @app.get("/livez", tags=["health"])
    def live() -> AsciiJSON:
        """200 while the process answers."""
        return AsciiJSON({"status": "ok"})

    @app.get("/readyz", tags=["health"])
    def ready() -> AsciiJSON:
        """200 while the store answers and every duty does its work, else 503 with the reason."""
        problems = dict(queue.problems)
        try:
            queue.storage.check()
        except StorageError as error:
            problems["storage"] = str(error)
        if problems:
            return AsciiJSON({"status": "unavailable", "problems": problems}, 503)
        return AsciiJSON({"status": "ok"})


def _answer_errors(app: FastAPI) -> None:
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
        details = [
            detail(
                ": ".join(str(part) for part in each["loc"]) or "body",
                each.get("input", ""),
                each["msg"],
            )
            for each in error.errors()
        ]
        return AsciiJSON({"detail": details}, 422)

    @app.exception_handler(HTTPException)
    async def turned_away(request: Request, error: HTTPException) -> AsciiJSON:
        """What the framework refuses itself: a path, a method, a body that cannot be parsed."""
        asked = f"{request.method} {request.url.path}"
        answer = refusal(error.status_code, "request", asked, f"is refused: {error.detail}")
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(SchedulerError)
    async def refused(_: Request, error: SchedulerError) -> AsciiJSON:
        match error:
            case InvalidInput(field=field, value=value, reason=reason, hint=hint):
                return refusal(422, field, value, reason, hint)
            case UnknownName(kind="schedule", name=name):
                return refusal(404, "schedule", name, "is not known", error.mend)
            case UnknownName(kind=kind, name=name):
                return refusal(422, kind, name, "is not known", error.mend)
            case StaleSchedule() | InvalidScheduleMove():
                return refusal(409, "schedule", "", str(error))
            case StorageUnavailable():
                return refusal(503, "storage", "", str(error))
            case _:
                return refusal(500, "scheduler", "", str(error))
