"""Schedules over HTTP: the verbs of Schedules, as paths.

A name is one segment of its path, encoded (paths.py). An unknown schedule is 404, a stale
revision or a move that its status does not allow 409, and whatever else is wrong with what was
sent 422.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field

from scheduler.previews import MOST_PREVIEWED
from scheduler.queue import JobQueue
from scheduler.views import (
    explanation_view,
    job_view,
    note_view,
    preview_view,
    schedule_view,
    skip_view,
)
from scheduler.web.answers import AsciiJSON


class Sent(BaseModel):
    """A body: no key that is not known, no value that is nearly right."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Options(Sent):
    """What of a schedule may be said or left open; durations are seconds."""

    data: dict[str, Any] | None = None
    timezone: str | None = None
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout: float | None = None
    catch_up: str | None = None
    grace: float | None = None
    catch_up_window: float | None = None
    catch_up_max: int | None = None
    overlap: str | None = None
    jitter: float | None = None


class NewSchedule(Options):
    """What POST /api/v1/schedules takes."""

    name: str
    job: str
    rule: dict[str, Any]
    allow_past: bool = False
    actor: str | None = None


class Edit(Options):
    """What PATCH takes: what changes, and the revision it was read at."""

    job: str | None = None
    rule: dict[str, Any] | None = None
    revision: int | None = None
    reset_count: bool = False
    pending: Literal["cancel", "keep"] = "cancel"
    actor: str | None = None


class Pause(Sent):
    """What pause takes."""

    revision: int | None = None
    actor: str | None = None


class Resume(Pause):
    """What resume takes."""

    catch_up: bool = False


class Run(Sent):
    """What run takes: data in place of the schedule's."""

    data: dict[str, Any] | None = None


class Window(Sent):
    """What backfill takes: [from, to), wall clock in the schedule's zone or with an offset."""

    start: str = Field(alias="from")
    end: str = Field(alias="to")
    revision: int | None = None
    actor: str | None = None


class Asked(Sent):
    """A rule that is stored nowhere, and what of it is asked."""

    rule: dict[str, Any]
    timezone: str | None = None
    n: int | None = None
    start: str | None = Field(None, alias="from")
    end: str | None = Field(None, alias="to")


def add_schedules(app: FastAPI, queue: JobQueue) -> None:
    """The paths under /api/v1/schedules, and /api/v1/preview."""
    router = APIRouter(prefix="/api/v1/schedules", tags=["schedules"])
    _add_reading(router, queue)
    _add_writing(router, queue)
    app.include_router(router)

    @app.post("/api/v1/preview", tags=["schedules"])
    def preview_rule(asked: Asked) -> AsciiJSON:
        """What a rule would run; nothing is stored."""
        found = queue.schedules.preview(
            asked.rule, asked.n, start=asked.start, end=asked.end, timezone=asked.timezone
        )
        return AsciiJSON([preview_view(each) for each in found])


def _add_reading(router: APIRouter, queue: JobQueue) -> None:
    @router.get("")
    def list_schedules() -> AsciiJSON:
        """Every schedule, by name."""
        return AsciiJSON([schedule_view(each) for each in queue.schedules.all()])

    @router.get("/{name:name}")
    def get_schedule(name: str) -> AsciiJSON:
        """One schedule."""
        return AsciiJSON(schedule_view(queue.schedules.get(name)))

    @router.get("/{name:name}/skips")
    def list_skips(name: str) -> AsciiJSON:
        """What of it did not run, in runs, by first occurrence."""
        return AsciiJSON([skip_view(each) for each in queue.schedules.skips(name)])

    @router.get("/{name:name}/notes")
    def list_notes(name: str) -> AsciiJSON:
        """What was done to it, oldest first."""
        return AsciiJSON([note_view(each) for each in queue.schedules.notes(name)])

    @router.get("/{name:name}/preview")
    def preview(
        name: str,
        n: Annotated[int | None, Query(ge=1, le=MOST_PREVIEWED)] = None,
        start: Annotated[str | None, Query(alias="from")] = None,
        end: Annotated[str | None, Query(alias="to")] = None,
    ) -> AsciiJSON:
        """What it runs next, or in a window, there with what is dropped and why."""
        found = queue.schedules.preview(name, n, start=start, end=end)
        return AsciiJSON([preview_view(each) for each in found])

    @router.get("/{name:name}/explain")
    def explain(name: str, at: str) -> AsciiJSON:
        """Why it did, or did not, run `at` a moment: one sentence, and its evidence."""
        return AsciiJSON(explanation_view(queue.schedules.explain(name, at)))


def _add_writing(router: APIRouter, queue: JobQueue) -> None:
    @router.post("", status_code=201)
    def add(new: NewSchedule) -> AsciiJSON:
        """Add a schedule."""
        options = new.model_dump(exclude_unset=True)
        schedule = queue.schedules.add(
            options.pop("name"), options.pop("job"), options.pop("rule"), **options
        )
        return AsciiJSON(schedule_view(schedule), 201)

    @router.patch("/{name:name}")
    def edit(name: str, change: Edit) -> AsciiJSON:
        """Change it from now on."""
        given = change.model_dump(exclude_unset=True)
        keep_pending = given.pop("pending", "cancel") == "keep"
        schedule = queue.schedules.edit(name, keep_pending=keep_pending, **given)
        return AsciiJSON(schedule_view(schedule))

    @router.post("/{name:name}/pause")
    def pause(name: str, sent: Pause | None = None) -> AsciiJSON:
        """Make no more jobs of it; those that are queued go on."""
        given = (sent or Pause()).model_dump()
        return AsciiJSON(schedule_view(queue.schedules.pause(name, **given)))

    @router.post("/{name:name}/resume")
    def resume(name: str, sent: Resume | None = None) -> AsciiJSON:
        """Go on from now, in the old phase."""
        given = (sent or Resume()).model_dump()
        return AsciiJSON(schedule_view(queue.schedules.resume(name, **given)))

    @router.post("/{name:name}/run", status_code=201)
    def run(name: str, sent: Run | None = None) -> AsciiJSON:
        """Enqueue one extra job now, outside the series."""
        return AsciiJSON(job_view(queue.schedules.run_now(name, data=(sent or Run()).data)), 201)

    @router.post("/{name:name}/backfill", status_code=201)
    def backfill(name: str, window: Window) -> AsciiJSON:
        """Enqueue a job for every occurrence of a past window that has none."""
        made = queue.schedules.backfill(name, **window.model_dump())
        return AsciiJSON([job_view(job) for job in made], 201)

    @router.delete("/{name:name}", status_code=200)
    def delete(name: str, keep_jobs: bool = False, revision: int | None = None) -> AsciiJSON:
        """Remove it and its record; its jobs that have not started are cancelled."""
        queue.schedules.delete(name, keep_jobs=keep_jobs, revision=revision)
        return AsciiJSON({"deleted": name})
