"""The HTTP API, as a FastAPI app over one JobQueue.

Health is here, jobs and schedules in files of their own; what an answer is, in answers.py, what is
refused, in refusals.py.
"""

from __future__ import annotations

from fastapi import FastAPI

import scheduler
from scheduler.errors import StorageError
from scheduler.queue import JobQueue
from scheduler.web.answers import AsciiJSON
from scheduler.web.jobs import add_jobs
from scheduler.web.paths import EncodedPaths
from scheduler.web.refusals import answer_errors
from scheduler.web.schedules import add_schedules


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
    app.add_middleware(EncodedPaths)
    answer_errors(app)
    _add_health(app, queue)
    add_jobs(app, queue)
    add_schedules(app, queue)
    return app


def _add_health(app: FastAPI, queue: JobQueue) -> None:
    @app.get("/livez", tags=["health"])
    def live() -> AsciiJSON:
        """200 while the process answers."""
        return AsciiJSON({"status": "ok"})

    @app.get("/readyz", tags=["health"])
    def ready() -> AsciiJSON:
        """200 while the store answers and every duty does its work, else 503 with the reason.

        `clock_behind`: by how many seconds this machine's clock is behind the store's; instants
        are corrected by that.
        """
        problems = dict(queue.problems)
        try:
            queue.storage.check()
        except StorageError as error:
            problems["storage"] = str(error)
        if problems:
            return AsciiJSON({"status": "unavailable", "problems": problems}, 503)
        behind = round(queue.clock.ahead.total_seconds(), 3)
        return AsciiJSON({"status": "ok", "clock_behind": behind})
