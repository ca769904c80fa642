from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

from jobs import daily_report
from jobs.daily_report import WrongStoreError, report_runs
from scheduler import JobContext, JobStatus, every

from .conftest import Service

NEW_YEAR = "2026-01-01T00:00:00Z"
EVERY_SIX_HOURS = every(hours=6, start_date=NEW_YEAR)

REPORT = """\
# Runs of 2026-03-28 (UTC)

| job | runs | completed | failed | retries | longest |
|---|--:|--:|--:|--:|--:|
| fetch_rates | 1 | 0 | 1 | 0 | 0.0 s |
| report_runs | 1 | 1 | 0 | 0 | 0.0 s |
| sync_books | 4 | 4 | 0 | 0 | 0.0 s |

## Failed

- fetch_rates `{fetch_rates}`: ConnectionError: no route to the bank
"""


def fetch_rates() -> None:
    raise ConnectionError("no route\nto the bank")


def test_the_day_before_is_reported_at_ten_past_midnight(
    service: Callable[[str, ModuleType], Service], here: Path
) -> None:
    started = service("2026-03-27T20:00:00+00:00", daily_report)
    started.queue.register("sync_books", lambda: None, rule=EVERY_SIX_HOURS)
    started.queue.register("fetch_rates", fetch_rates, max_retries=0)
    started.queue.declare()
    started.queue.schedule("fetch_rates", {}, datetime(2026, 3, 28, 9, tzinfo=UTC))
    started.run_until("2026-03-29T12:00:00+00:00")
    first, last = started.runs("report_runs")
    assert [f"{run.occurrence_at:%d %H:%M}" for run in (first, last)] == ["28 00:10", "29 00:10"]
    (failed,) = started.runs("fetch_rates")
    assert last.result == {
        "report": "data/reports/2026-03-28.md",
        "runs": 6,
        "failed": 1,
        "missed": 0,
    }
    written = (here / "data" / "reports" / "2026-03-28.md").read_text()
    assert written == REPORT.format(fetch_rates=failed.id)


def test_what_was_missed_while_the_service_was_down_is_reported(
    service: Callable[[str, ModuleType], Service],
) -> None:
    started = service("2026-03-28T00:30:00+00:00", daily_report)
    started.queue.register("sync_books", lambda: None, rule=EVERY_SIX_HOURS)
    started.queue.declare()
    started.clock.move_to("2026-03-29T00:10:00+00:00")
    started.run_until("2026-03-29T00:10:00+00:00")
    (report,) = started.runs("report_runs")
    assert report.status is JobStatus.COMPLETED
    assert report.result["missed"] == 3
    assert "- sync_books: 3\n" in Path(report.result["report"]).read_text()


def test_every_page_of_a_busy_day_is_counted(
    service: Callable[[str, ModuleType], Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daily_report, "PAGE", 5)
    started = service("2026-03-28T00:30:00+00:00", daily_report)
    started.queue.register("sync_books", lambda: None, rule=every(hours=1, start_date=NEW_YEAR))
    started.queue.declare()
    started.run_until("2026-03-29T00:10:00+00:00")
    assert started.runs("report_runs")[-1].result["runs"] == 23


def test_a_day_without_runs_is_reported_as_such(
    service: Callable[[str, ModuleType], Service], here: Path
) -> None:
    service("2026-03-28T00:00:00+00:00", daily_report).run_until("2026-03-28T00:10:00+00:00")
    written = (here / "data" / "reports" / "2026-03-27.md").read_text()
    assert written == "# Runs of 2026-03-27 (UTC)\n\nNo run ended on this day.\n"


def test_jobs_from_before_the_look_back_are_not_read(
    service: Callable[[str, ModuleType], Service],
) -> None:
    started = service("2026-03-20T00:30:00+00:00", daily_report)
    started.queue.register("fetch_rates", lambda: None)
    started.queue.schedule("fetch_rates", {}, datetime(2026, 3, 28, 9, tzinfo=UTC))
    started.run_until("2026-03-29T00:09:00+00:00")
    counts = []
    for days in (6, 8):
        added = started.queue.add("report_runs", {"look_back_days": days})
        started.run_until("2026-03-29T00:09:00+00:00")
        done = started.queue.get_job(added.id)
        assert done is not None
        counts.append(done.result["runs"])
    assert counts == [1, 2]


def test_a_report_on_another_store_than_the_jobs_own_is_refused(
    context: JobContext, here: Path
) -> None:
    with pytest.raises(WrongStoreError, match="SCHEDULER_DATABASE"):
        report_runs(context)
    assert not (here / "data").exists()
