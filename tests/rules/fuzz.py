"""Bad rules by the thousand: one error type, no hang, nothing else.

`python -m tests.rules.fuzz 100000` runs that many; the suite runs a few thousand.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import Any

from scheduler.errors import InvalidRule
from scheduler.rules import explain, occurrences, rule_from_json
from tests.steps import calls

SLOW = 100_000  # calls
_TEXTS = (
    "",
    " ",
    "*",
    "0 9 * * *",
    "@daily",
    "FREQ=DAILY",
    "FREQ=DAILY;COUNT=3",
    "2024-01-01T00:00",
    "2024-02-30T00:00Z",
    "UTC",
    "Europe/Berlin",
    "../../etc/passwd",
    "mon-fri",
    "09:00-17:00",
    "days",
    "seconds",
    "minutes",
    "12-25",
    "2024-01-01",
    "\x00",
    "\n",
    "'; DROP TABLE jobs; --",
    "{{7*7}}",
    "${jndi:x}",
    "\ud800",
    "\u202e",
    "٥",
    "skip",
    "both",
    "NaN",
    "1e9",
    "-1",
    "x" * 100,
    "9" * 5_000,
    "FREQ=HOURLY;INTERVAL=5",
)
_SCALARS = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    59,
    60,
    10**6,
    10**30,
    1.0,
    0.5,
    float("nan"),
    float("inf"),
    (),
    b"x",
)
_KEYS = (
    "every",
    "unit",
    "cron",
    "rrule",
    "dtstart",
    "exdate",
    "rdate",
    "at",
    "any",
    "all",
    "timezone",
    "start_date",
    "end_date",
    "limit",
    "only_on",
    "except",
    "gap",
    "fold",
    "dates",
    "annual",
    "weekdays",
    "ranges",
    "times",
    "tz",
    "x",
)
_CRON = "0123456789*/-,?LW# \t" + "MONFRIJAND@~H+."
_RECUR = (
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYDAY",
    "BYMONTH",
    "BYMONTHDAY",
    "BYSETPOS",
    "BYHOUR",
    "BYMINUTE",
    "BYSECOND",
    "BYYEARDAY",
    "BYWEEKNO",
    "WKST",
    "X",
)
_VALUES = (
    "DAILY",
    "WEEKLY",
    "MONTHLY",
    "YEARLY",
    "HOURLY",
    "MINUTELY",
    "SECONDLY",
    "1",
    "2",
    "-1",
    "29",
    "31",
    "60",
    "366",
    "100000",
    "MO",
    "1MO",
    "-1FR",
    "5SU",
    "20240101T000000Z",
    "",
    "1,2,3",
    "999999999999",
)
_SEEDS: tuple[dict[str, Any], ...] = (
    {"every": 15, "unit": "minutes", "start_date": "2024-01-31T09:00", "limit": 3},
    {
        "every": 1,
        "unit": "months",
        "start_date": "2024-01-31T09:00",
        "gap": "skip",
        "timezone": "Europe/Berlin",
    },
    {"cron": "30 2 * * mon-fri", "timezone": "America/New_York", "end_date": "2030-01-01T00:00"},
    {
        "rrule": "FREQ=MONTHLY;BYDAY=-1FR",
        "dtstart": "2024-01-01T09:00",
        "exdate": ["2024-01-26T09:00"],
    },
    {"at": ["2024-01-01T00:00", "2024-03-10T02:30"], "fold": "both"},
    {
        "any": [{"cron": "0 9 * * *"}, {"every": 2, "unit": "hours"}],
        "except": [{"annual": ["12-25"]}],
    },
    {
        "all": [{"cron": "0 0 13 * *"}, {"cron": "0 0 * * 5"}],
        "only_on": [{"weekdays": ["fri"], "times": ["00:00-12:00"]}],
    },
)


def junk(draw: random.Random, depth: int = 0) -> Any:
    """Any value that JSON, or a caller in Python, can hand over."""
    kind = draw.randrange(8)
    if kind == 0 and depth < 4:
        return [junk(draw, depth + 1) for _ in range(draw.randrange(4))]
    if kind == 1 and depth < 4:
        return {draw.choice(_KEYS): junk(draw, depth + 1) for _ in range(draw.randrange(4))}
    if kind == 2:
        return draw.choice(_SCALARS)
    if kind == 3:
        return "".join(draw.choice(_CRON) for _ in range(draw.randrange(24)))
    if kind == 4:
        return " ".join(
            "".join(draw.choice(_CRON[:14]) for _ in range(draw.randrange(1, 5))) for _ in range(5)
        )
    if kind == 5:
        parts = (
            f"{draw.choice(_RECUR)}={draw.choice(_VALUES)}" for _ in range(draw.randrange(1, 6))
        )
        return f"FREQ={draw.choice(_VALUES[:7])};" + ";".join(parts)
    if kind == 6:
        return "".join(chr(draw.randrange(0x2500)) for _ in range(draw.randrange(16)))
    return draw.choice(_TEXTS)


def damaged(draw: random.Random, value: Any) -> Any:
    """`value` with a part of it replaced, removed, added or mangled."""
    if draw.randrange(4) == 0:
        return junk(draw)
    if isinstance(value, dict) and value:
        changed = dict(value)
        key = draw.choice(list(changed))
        move = draw.randrange(4)
        if move == 0:
            del changed[key]
        elif move == 1:
            changed[draw.choice(_KEYS)] = junk(draw)
        else:
            changed[key] = damaged(draw, changed[key])
        return changed
    if isinstance(value, list) and value:
        return [damaged(draw, part) if draw.randrange(2) else part for part in value]
    if isinstance(value, str) and value:
        at = draw.randrange(len(value))
        return value[:at] + draw.choice(_CRON + "TZ:;=") + value[at + draw.randrange(2) :]
    return junk(draw)


def candidate(draw: random.Random) -> Any:
    """A rule that is probably bad."""
    if draw.randrange(3) == 0:
        kind = draw.choice(("every", "cron", "rrule", "at", "any", "all"))
        rule = {kind: junk(draw)} | {
            draw.choice(_KEYS): junk(draw) for _ in range(draw.randrange(3))
        }
        if kind == "rrule":
            rule.setdefault("dtstart", "2024-01-01T00:00")
        return rule
    return damaged(draw, draw.choice(_SEEDS))


def attempt(rule: Any) -> tuple[bool, int]:
    """Whether the rule is accepted, and how many calls it took to say."""
    try:
        with calls() as made:
            parsed = rule_from_json(rule)
    except InvalidRule as refused:
        if len(str(refused)) > 600 or len(refused.value) > 80:
            raise AssertionError(f"too long a refusal: {refused}") from refused
        return False, made[0]
    if rule_from_json(parsed.to_json()) != parsed:
        raise AssertionError(f"not the same when stored: {parsed}")
    explain(parsed)
    try:
        found = list(islice(occurrences(rule, "2024-01-01T00:00", "2024-02-01T00:00"), 20))
    except InvalidRule:
        return True, made[0]
    if sorted(set(found)) != found:
        raise AssertionError(f"not ascending: {rule}")
    return True, made[0]


def run(count: int, seed: int, slow: Callable[[Any, int], None]) -> int:
    """How many of `count` candidates were accepted; `slow` hears of each that took too much."""
    draw = random.Random(seed)
    accepted = 0
    for _ in range(count):
        rule = candidate(draw)
        ok, took = attempt(rule)
        if took > SLOW:
            slow(rule, took)
        accepted += ok
    return accepted


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    slow: list[str] = []
    began = perf_counter()
    accepted = run(count, seed, lambda rule, took: slow.append(f"{took} calls: {rule!r}"[:300]))
    print(f"{count} rules, {accepted} accepted, {len(slow)} slow, {perf_counter() - began:.0f} s")
    print("\n".join(slow))


if __name__ == "__main__":
    main()
