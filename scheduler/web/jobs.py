"""The jobs over HTTP: take one in, list them, look at one, call it off, try it again."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from scheduler.jobs import BY_HAND
from scheduler.model import JobStatus
from scheduler.queue import JobQueue
from scheduler.rules.zones import parse_moment, zone
from scheduler.views import attempt_view, job_view
from scheduler.web.answers import AsciiJSON


class NewJob(BaseModel):
    """What POST /api/v1/jobs takes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    data: dict[str, Any] = Field(default_factory=dict)
    priority: int | None = None
    scheduled_at: str | None = None


class Cancellation(BaseModel):
    """What POST /api/v1/jobs/{id}/cancel takes; it may be left out."""

    model_config = ConfigDict(extra="forbid", strict=True)

    reason: str = BY_HAND


def add_jobs(app: FastAPI, queue: JobQueue) -> None:
    """Serve the jobs of `queue`."""

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

    @app.get("/api/v1/jobs/{job_id:name}", tags=["jobs"])
    def get_job(job_id: str) -> AsciiJSON:
        """One job."""
        return AsciiJSON(job_view(queue.jobs.get(job_id)))

    @app.get("/api/v1/jobs/{job_id:name}/attempts", tags=["jobs"])
    def list_attempts(job_id: str) -> AsciiJSON:
        """Its attempts that are over, oldest first, with error, traceback and what they logged."""
        return AsciiJSON([attempt_view(each) for each in queue.jobs.attempts(job_id)])

    @app.post("/api/v1/jobs/{job_id:name}/cancel", tags=["jobs"])
    def cancel_job(job_id: str, sent: Cancellation | None = None) -> AsciiJSON:
        """Call it off while it waits or runs; its handler is told to end."""
        return AsciiJSON(
            job_view(queue.jobs.cancel(job_id, reason=(sent or Cancellation()).reason))
        )

    @app.post("/api/v1/jobs/{job_id:name}/retry", tags=["jobs"])
    def retry_job(job_id: str) -> AsciiJSON:
        """Let it be tried once more, now, after it failed or was cancelled."""
        return AsciiJSON(job_view(queue.jobs.retry(job_id)))

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
