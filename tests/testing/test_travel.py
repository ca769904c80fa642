"""Simulated time: the real parts, the hour that a test wants, and no sleeping."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

import pytest
from freezegun.api import FakeDatetime

from scheduler import JobContext, cron, every, job
from scheduler.errors import InvalidOption, InvalidRule, SchedulerError, UnknownName
from scheduler.testing import Travel

BERLIN = "Europe/Berlin"
SEEN: list[Any] = []


@job(cron("30 2 * * *", timezone=BERLIN))
def nightly() -> None: ...


@job(every(minutes=10, start_date="2026-01-01T00:00Z"))
def tens() -> str:
    SEEN.append(datetime.now(UTC))
    return "ten"


@job(every(seconds=10, start_date="2026-01-01T00:00Z"))
def quick() -> None: ...


@job
async def waits(seconds: float = 60) -> float:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await asyncio.sleep(seconds)
    return loop.time() - began


@job
def sleeps() -> None:
    time.sleep(900)


@job
def sleeps_by_name() -> None:
    sleep(900)


@job
async def sleeps_in_a_thread() -> str:
    began = datetime.now(UTC)
    await asyncio.gather(asyncio.to_thread(time.sleep, 900), asyncio.to_thread(time.sleep, 5))
    return str(datetime.now(UTC) - began)


@job
async def sleeps_on_the_loop() -> None:
    time.sleep(300)
    await asyncio.sleep(300)
    time.sleep(300)


@job
def sleeps_in_a_thread_of_its_own() -> bool:
    thread = threading.Thread(target=time.sleep, args=[0.01])
    thread.start()
    thread.join(0)
    return thread.is_alive()


@job(timeout=30)
def polite(ctx: JobContext) -> None:
    while not ctx.cancelled:
        time.sleep(1)


@job(max_retries=3, backoff=[1, 2])
def flaky(ctx: JobContext) -> int:
    return ctx.attempt


@job(timeout=30)
def bounded(ctx: JobContext) -> None:
    SEEN.append(ctx)


@job(timeout=30)
async def bounded_wait() -> None:
    try:
        await asyncio.sleep(100)
    except asyncio.CancelledError:
        SEEN.append("cancelled")
        raise


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def test_the_night_the_clocks_go_forward(travel: Travel) -> None:
    travel.only("nightly").to("2026-03-28T00:00", timezone=BERLIN)
    travel.until("2026-03-31T00:00")
    assert travel.runs("nightly") == ["2026-03-28T02:30", "2026-03-29T03:00", "2026-03-30T02:30"]


def test_the_night_the_clocks_go_back(travel: Travel) -> None:
    travel.only("nightly").to("2026-10-24T12:00", timezone=BERLIN).until("2026-10-26T12:00")
    assert travel.runs("nightly") == ["2026-10-25T02:30+02:00", "2026-10-26T02:30"]
    assert repr(travel.runs("nightly")) == "['2026-10-25T02:30+02:00', '2026-10-26T02:30']"


def test_handlers_see_the_time_at_which_they_run(travel: Travel) -> None:
    travel.until("2026-01-01T00:20")
    assert [datetime(2026, 1, 1, 0, minute, tzinfo=UTC) for minute in (0, 10, 20)] == SEEN


def test_a_year_takes_no_time(travel: Travel) -> None:
    began = time.monotonic()
    travel.only("nightly").until("2027-01-01")
    assert len(travel.runs("nightly")) == 365
    assert time.monotonic() - began == 365 * 86_400  # the monotonic clock is simulated, too


@pytest.mark.parametrize(
    ("overlap", "starts"),
    [
        ("skip", ["00:00:00", "00:00:30", "00:01:00"]),
        ("queue_one", ["00:00:00", "00:00:25", "00:00:50"]),
        ("allow", [f"00:00:{second}0" for second in range(6)]),
    ],
)
def test_9_10_a_job_that_takes_longer_than_its_interval(
    travel: Travel, overlap: str, starts: list[str]
) -> None:
    travel.only("quick").takes("quick", seconds=25)
    travel.queue.schedules.edit("quick", overlap=overlap)
    travel.until("2026-01-01T00:01:10")
    assert travel.runs("quick")[: len(starts)] == [f"2026-01-01T{start}" for start in starts]


@pytest.mark.parametrize(
    ("catch_up", "occurrences"),
    [("skip", []), ("latest", ["13:00"]), ("all", ["12:40", "12:50", "13:00"])],
)
def test_9_5_what_an_outage_missed(travel: Travel, catch_up: str, occurrences: list[str]) -> None:
    travel.only("tens").to("2026-01-01T11:55").down("2026-01-01T12:35", "2026-01-01T13:02")
    travel.queue.schedules.edit("tens", catch_up=catch_up)
    travel.until("2026-01-01T13:05")
    late = travel.occurrences("tens")[4:]
    assert late == [f"2026-01-01T{at}" for at in occurrences]
    missed = 3 - len(occurrences)
    assert sum(skip.occurrences for skip in travel.skips("tens")) == missed


def test_what_ran_when_the_process_died_is_tried_again(travel: Travel) -> None:
    travel.only("flaky").takes("flaky", minutes=5).down("2026-01-01T00:02", "2026-01-01T00:10")
    travel.queue.add("flaky")
    travel.until("2026-01-01T00:30")
    assert [attempt.number for attempt in travel.attempts("flaky")] == [1, 2]
    assert travel.outcomes("flaky") == {"completed": 1}


@pytest.mark.parametrize(
    ("first", "second"),
    [("executor", "expander"), ("expander", "executor"), ("executor", None), (None, "expander")],
)
def test_outages_that_overlap_all_count(
    travel: Travel, first: str | None, second: str | None
) -> None:
    window = ("2026-01-01T00:35", "2026-01-01T01:02")
    travel.only("tens").down(*window, part=first).down(*window, part=second)
    travel.until("2026-01-01T01:05")
    assert travel.runs("tens")[4:] == ["2026-01-01T01:02"]  # the latest of what was missed
    assert travel.skips("tens") == [
        ("missed", "2026-01-01T00:40", "2026-01-01T00:50", 2),
    ]


def test_a_part_that_is_down_leaves_the_other_at_work(travel: Travel) -> None:
    travel.only("tens").down("2026-01-01T00:05", "2026-01-01T00:35", part="executor")
    travel.queue.schedules.edit("tens", overlap="allow")
    travel.until("2026-01-01T00:40")
    late = "2026-01-01T00:35"
    assert travel.runs("tens") == ["2026-01-01T00:00", late, late, late, "2026-01-01T00:40"]


def test_what_ran_when_the_executor_died_is_tried_again(travel: Travel) -> None:
    travel.only("flaky").takes("flaky", minutes=5)
    travel.down("2026-01-01T00:02", "2026-01-01T00:10", part="executor")
    travel.queue.add("flaky")
    travel.until("2026-01-01T00:30")
    assert travel.attempts("flaky") == ["2026-01-01T00:00", "2026-01-01T00:10:01"]
    assert travel.outcomes("flaky") == {"completed": 1}


def test_retries_come_after_their_backoff(travel: Travel) -> None:
    travel.only("flaky").fails("flaky", times=2)
    travel.queue.add("flaky")
    travel.until("2026-01-01T00:01")
    assert travel.attempts("flaky") == [
        "2026-01-01T00:00:00",
        "2026-01-01T00:00:01",
        "2026-01-01T00:00:03",
    ]
    [run] = travel.runs("flaky")
    assert (run.status, run.result) == ("completed", 3)
    assert [attempt.outcome for attempt in run.attempts] == ["retrying", "retrying", "completed"]


def test_a_coroutine_sleeps_in_simulated_time(travel: Travel) -> None:
    travel.only("waits").queue.add("waits", {"seconds": 600})
    travel.until("2026-01-01T00:20")
    [run] = travel.runs("waits")
    assert run.result == 600
    assert run.ended_at == datetime(2026, 1, 1, 0, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "name", ["sleeps", "sleeps_by_name", "sleeps_in_a_thread", "sleeps_on_the_loop"]
)
def test_a_handler_that_sleeps_takes_so_much_simulated_time(travel: Travel, name: str) -> None:
    """Were one to sleep in earnest, the test's own time limit would end it long before."""
    travel.only(name).queue.add(name)
    travel.until("2026-01-01T02:00")
    [run] = travel.runs(name)
    assert run.ended_at == run.started_at + timedelta(minutes=15)


def test_a_coroutine_goes_on_once_its_thread_has_slept(travel: Travel) -> None:
    travel.only("sleeps_in_a_thread").queue.add("sleeps_in_a_thread")
    travel.until("2026-01-01T02:00")
    assert travel.runs("sleeps_in_a_thread")[0].result == "0:15:00"


def test_a_thread_that_nobody_awaits_sleeps_for_real(travel: Travel) -> None:
    travel.only("sleeps_in_a_thread_of_its_own").queue.add("sleeps_in_a_thread_of_its_own")
    travel.until("2026-01-01T02:00")
    assert travel.runs("sleeps_in_a_thread_of_its_own")[0].result is True


def test_a_handler_that_sleeps_past_its_deadline_is_told_so(travel: Travel) -> None:
    travel.only("polite").queue.add("polite", max_retries=0)
    travel.until("2026-01-01T01:00")
    assert travel.runs("polite")[0].error == "timed out after 30 s"


@pytest.mark.parametrize("name", ["bounded", "bounded_wait"])
def test_a_timeout_ends_what_takes_too_long(travel: Travel, name: str) -> None:
    travel.only(name)
    if name == "bounded":
        travel.takes("bounded", minutes=5)
    travel.queue.add(name, max_retries=0)
    travel.until("2026-01-01T01:00")
    [run] = travel.runs(name)
    assert (run.status, run.error) == ("failed", "timed out after 30 s")
    assert run.ended_at == run.started_at + timedelta(seconds=30)
    assert SEEN[0] == "cancelled" or SEEN[0].cancelled


def test_a_clock_set_back_repeats_nothing(travel: Travel) -> None:
    travel.only("tens").until("2026-01-01T01:00").jump(hours=-1)
    travel.until("2026-01-01T01:00")
    assert len(travel.runs("tens")) == 7
    travel.until("2026-01-01T01:10")
    assert len(travel.runs("tens")) == 8


@pytest.mark.parametrize(("hours", "ends_at"), [(-1, "23:25"), (2, "02:25")])
def test_a_clock_that_is_set_leaves_a_handler_its_time(
    travel: Travel, hours: int, ends_at: str
) -> None:
    travel.only("flaky").takes("flaky", minutes=25).queue.add("flaky")
    travel.until("2026-01-01T00:10").jump(hours=hours).forward(hours=1)
    [run] = travel.runs("flaky")
    assert f"{run.ended_at:%H:%M}" == ends_at


@pytest.mark.parametrize(("minutes", "ends_at"), [(-5, "00:25"), (40, "01:10")])
def test_a_clock_that_is_set_leaves_a_coroutine_its_time(
    travel: Travel, minutes: int, ends_at: str
) -> None:
    travel.only("waits").queue.add("waits", {"seconds": 1800})
    travel.until("2026-01-01T00:10").jump(minutes=minutes).forward(hours=1)
    [run] = travel.runs("waits")
    assert f"{run.ended_at:%H:%M}" == ends_at
    assert run.result == 1800


def test_a_clock_set_forward_is_looked_at_twice(travel: Travel) -> None:
    travel.only("tens").until("2026-01-01T01:00").jump(hours=5)
    travel.forward(seconds=0)
    assert len(travel.runs("tens")) == 7
    travel.forward(seconds=1)
    assert travel.occurrences("tens")[-1] == "2026-01-01T06:00"
    assert "clock-jumped" in [event.name for event in travel.events]


def test_a_clock_wrong_for_a_moment_does_no_harm(travel: Travel) -> None:
    travel.only("tens").until("2026-01-01T01:05").jump(to="2031-01-01")
    travel.forward(seconds=0)
    travel.jump(to="2026-01-01T01:05")
    travel.until("2026-01-01T01:20")
    assert travel.occurrences("tens")[-2:] == ["2026-01-01T01:10", "2026-01-01T01:20"]


def test_recorders_stand_in_for_handlers(travel: Travel) -> None:
    travel.only("tens").record("tens", returning={"n": 1})
    travel.until("2026-01-01T00:10")
    assert [run.result for run in travel.runs("tens")] == [{"n": 1}] * 2
    assert SEEN == []


def test_every_handler_is_recorded_but_those_that_are_staged(travel: Travel) -> None:
    travel.only("tens", "flaky").record(returning=5).record("flaky", returning=6)
    travel.queue.add("flaky")
    travel.forward(seconds=0)
    assert [travel.runs(name)[0].result for name in ("tens", "flaky")] == [5, 6]
    assert SEEN == []


def test_told_to_fail_no_times_a_handler_does_not_fail(travel: Travel) -> None:
    travel.only("tens").fails("tens", times=0).forward(seconds=0)
    assert travel.outcomes("tens") == {"completed": 1}


def test_a_restart_goes_on(travel: Travel) -> None:
    travel.only("tens").until("2026-01-01T00:15").restart()
    travel.until("2026-01-01T00:30")
    assert travel.runs("tens") == [f"2026-01-01T00:{minute}" for minute in ("00", "10", "20", "30")]


def test_a_deploy_without_a_job_retires_it(travel: Travel) -> None:
    travel.only("tens", "nightly").until("2026-01-01T00:15").forget("tens").restart()
    travel.until("2026-01-01T00:30")
    schedule = travel.storage.get_schedule("tens")
    assert schedule is not None
    assert schedule.status == "retired"


def test_why_is_answered(travel: Travel) -> None:
    travel.only("tens").until("2026-01-01T00:15")
    assert "it completed" in travel.explain("tens", "2026-01-01T00:10")


def test_postgresql_is_travelled_too(postgres_database: str) -> None:
    from scheduler.storage.sql import SQLStorage

    with SQLStorage(postgres_database) as storage:
        storage.upgrade()
    with Travel(storage=postgres_database, timezone=BERLIN, start="2026-03-28T00:00") as travel:
        travel.know(nightly).until("2026-03-30T00:00")
        assert travel.runs("nightly") == ["2026-03-28T02:30", "2026-03-29T03:00"]


@pytest.mark.travel(storage="memory://", timezone=BERLIN)
def test_a_marker_says_where(travel: Travel) -> None:
    assert type(travel.storage).__name__ == "MemoryStorage"
    travel.only("nightly").until("2026-01-02T03:00")
    assert travel.runs("nightly") == ["2026-01-01T02:30", "2026-01-02T02:30"]


def test_garbage_is_collected_as_before_when_time_has_passed(travel: Travel) -> None:
    before = gc.get_threshold()
    during = []
    travel.only("tens").queue.add_event_listener(
        "started", lambda _: during.append(gc.get_threshold())
    )
    travel.forward(seconds=0)
    assert during[0] != before == gc.get_threshold()


def test_the_clock_is_thawed_whatever_happens() -> None:
    with pytest.raises(RuntimeError, match="boom"), Travel():
        raise RuntimeError("boom" if type(datetime.now(UTC)) is FakeDatetime else "")
    assert type(datetime.now(UTC)) is not FakeDatetime


def test_a_handler_may_wait_for_ever(travel: Travel) -> None:
    travel.only("waits", "tens").queue.add("waits", {"seconds": 1e30})
    travel.takes("tens", days=36_500).forward(minutes=15)
    assert [run.status for run in travel.runs("waits")] == ["processing"]


REFUSED: list[tuple[Callable[[Travel], object], str]] = [
    (lambda travel: travel.until("2025-12-31"), "until: 2025-12-31 is before 2026-01-01T00:00"),
    (lambda travel: travel.until("9999-01-01"), "until: 9999-01-01T00:00:00+00:00 is outside"),
    (lambda travel: travel.jump("0001-12-31"), "jump: 0001-12-31T00:00:00+00:00 is outside"),
    (lambda travel: travel.jump(days=-800_000), "jump: -800000 days, 0:00:00 leads outside"),
    (lambda travel: travel.forward(days=10**9), "forward: {'days': 1000000000} is not a duration"),
    (lambda travel: travel.forward(days=10**7), "forward: 10000000 days, 0:00:00 leads outside"),
    (lambda travel: travel.forward(years=1), "forward: {'years': 1} is not a duration; write days"),
    (lambda travel: travel.forward(minutes=-1), "forward: -1 day, 23:59:00 is before now"),
    (lambda travel: travel.down("2025-01-01", "2025-01-03"), "is no window to come"),
    (lambda travel: travel.down("2026-01-02", "2026-01-01"), "is no window to come"),
    (lambda travel: travel.down("2026-01-02", "2026-01-03", part="web"), "part: web is neither"),
    (lambda travel: travel.takes("tens", minutes=-1), "is not a number of seconds from 0"),
    (lambda travel: travel.takes("tens", months=1), "takes: {'months': 1} is not a duration"),
    (lambda travel: travel.fails("tens", times=-1), "times: -1 is not an integer from 0"),
]


@pytest.mark.parametrize(("call", "fault"), REFUSED)
def test_what_cannot_be_is_refused(
    travel: Travel, call: Callable[[Travel], object], fault: str
) -> None:
    travel.only("tens")
    with pytest.raises((InvalidOption, InvalidRule)) as refusal:
        call(travel)
    assert fault in str(refusal.value)


@pytest.mark.parametrize("call", [Travel.runs, Travel.skips, Travel.takes, Travel.record])
def test_a_name_that_is_not_known_is_refused(
    travel: Travel, call: Callable[[Travel, str], object]
) -> None:
    with pytest.raises(UnknownName, match="did you mean 'tens'"):
        call(travel.only("tens"), "tenz")


def test_a_travel_that_has_not_begun_says_so() -> None:
    with pytest.raises(SchedulerError, match="use it in a with block"):
        Travel().to("2026-01-01")
