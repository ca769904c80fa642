"""A rule as a sentence."""

from __future__ import annotations

import pytest

from scheduler.rules import any_of, at, cron, every, explain, rrule

BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0 9 * * mon-fri", "every weekday at 09:00"),
        ("*/15 * * * * *", "every 15 seconds"),
        ("*/15 * * * *", "every 15 minutes"),
        ("@hourly", "minute 0"),
        ("* * * * *", "every minute"),
        ("0 0 13 * 5", "on the 13th of the month or every Friday at 00:00"),
        ("0 0 1-2 * */7", "on the 1st and 2nd of the month if it is every Sunday at 00:00"),
        ("0 0 L * *", "on the last day of the month at 00:00"),
        (
            "0 0 LW,L-3 * *",
            "on 3 days before the last day and the last weekday of the month at 00:00",
        ),
        (
            "0 0 * * FRIL,MON#1",
            "the last Friday of the month and the 1st Monday of the month at 00:00",
        ),
        ("30 2 1 jan,jul *", "on the 1st of the month in January and July at 02:30"),
        ("0 0 1W 6 *", "on the weekday nearest to the 1st of the month in June at 00:00"),
        (
            "*/10 9-17 * * sat,sun",
            "every 10 minutes of every hour from 9 to 17, every Saturday and Sunday",
        ),
        ("5 30 9 * * *", "every day at 09:30:05"),
    ],
)
def test_cron(text: str, sentence: str) -> None:
    assert explain(cron(text)) == sentence
    assert explain(cron(text, timezone=BERLIN)) == f"{sentence}, {BERLIN}"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (every(minutes=15), "every 15 minutes"),
        (every(hours=1, limit=1), "every hour, once"),
        (every(days=1, start_date="2024-01-31T09:00"), "every day at 09:00, from 2024-01-31 09:00"),
        (
            every(weeks=2, start_date="2024-01-01T09:00", timezone=BERLIN, limit=3),
            "every 2 weeks on Monday at 09:00, Europe/Berlin, from 2024-01-01 09:00, 3 times",
        ),
        (
            every(months=1, start_date="2024-01-31T09:00Z", end_date="2025-01-01T00:00"),
            (
                "every month on the 31st at 09:00 UTC, from 2024-01-31 09:00 UTC, until "
                "2025-01-01 00:00"
            ),
        ),
        (
            every(years=1, start_date="2024-02-29T09:00+02:00"),
            "every year on 29 February at 09:00 UTC+02:00, from 2024-02-29 09:00 UTC+02:00",
        ),
        (
            at("2024-12-24T18:00", "2024-12-31T23:59:50"),
            "once at 2024-12-24 18:00 and 2024-12-31 23:59:50",
        ),
        (
            any_of(cron("0 9 * * *"), cron("0 12 * * sun")).except_({"annual": ["12-25"]}),
            "every day at 09:00; or every Sunday at 12:00, except 25 December",
        ),
        (
            cron("0 * * * *").only_on({"weekdays": "mon-fri", "times": "09:00-17:00", "tz": "UTC"}),
            "minute 0, only on every weekday between 09:00 and 17:00 in UTC",
        ),
    ],
)
def test_others(rule: object, sentence: str) -> None:
    assert explain(rule) == sentence  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("FREQ=WEEKLY", "every week on Monday at 09:00 from 2024-01-01 09:00"),
        ("FREQ=WEEKLY;BYDAY=SU", "every Sunday at 09:00 from 2024-01-01 09:00"),
        (
            "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE",
            "every 2 weeks on Monday and Wednesday at 09:00 from 2024-01-01 09:00",
        ),
        (
            "FREQ=MONTHLY;BYDAY=-1FR;COUNT=3",
            "every month on the last Friday at 09:00 from 2024-01-01 09:00 3 times",
        ),
        (
            "FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO",
            "every year on every Monday in week 20 at 09:00 from 2024-01-01 09:00",
        ),
        ("FREQ=YEARLY", "every year on 1 January at 09:00 from 2024-01-01 09:00"),
        (
            "FREQ=MONTHLY;BYMONTHDAY=2,-2",
            (
                "every month on the 2nd to last and the 2nd of the month at 09:00 from "
                "2024-01-01 09:00"
            ),
        ),
        ("FREQ=MINUTELY;INTERVAL=20;BYHOUR=9", "every 20 minutes in hour 9 from 2024-01-01 09:00"),
        (
            "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=-1;UNTIL=20250101T000000Z",
            (
                "every month on every Monday at 09:00 (the last of each month) from 2024-01-01 "
                "09:00 until 2025-01-01 00:00 UTC"
            ),
        ),
    ],
)
def test_rrule(text: str, sentence: str) -> None:
    assert explain(rrule(text, dtstart="2024-01-01T09:00")) == sentence
