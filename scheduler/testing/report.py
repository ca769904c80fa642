"""What a simulation says: runs by job over time, busy minutes, collisions, clock changes. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from scheduler.testing.runs import wall

_MINUTE = timedelta(minutes=1)
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Start:
    """One job that would start: instants in UTC."""

    job: str
    started_at: datetime
    occurrence_at: datetime | None


@dataclass(frozen=True, slots=True)
class ClockChange:
    """A zone's clocks are set at `at`, by `by`; `moved` are starts that day at unusual times."""

    at: datetime
    zone: str
    by: timedelta
    moved: tuple[Start, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The starts of a window [start, end), in order, and what stands out in them."""

    start: datetime
    end: datetime
    starts: Sequence[Start]
    zones: dict[str, str] = field(default_factory=dict)
    """The zone of each job's schedule, by the job's name."""

    def counts(self) -> dict[str, int]:
        """How often each job starts, by name."""
        return dict(sorted(Counter(each.job for each in self.starts).items()))

    def buckets(self, number: int) -> dict[str, list[int]]:
        """How often each job starts in each of so many equal parts of the window, by name."""
        found: dict[str, list[int]] = {name: [0] * number for name in sorted(self.zones)}
        for each in self.starts:
            found.setdefault(each.job, [0] * number)[self.bucket(each.started_at, number)] += 1
        return found

    def bucket(self, at: datetime, number: int) -> int:
        """Which of `number` equal parts of the window an instant is in."""
        return min(number - 1, (at - self.start) * number // (self.end - self.start))

    def busiest(self, number: int) -> list[tuple[datetime, int]]:
        """The minutes with the most starts, and how many; the busiest first, then the earliest."""
        minutes = Counter(each.started_at.replace(second=0, microsecond=0) for each in self.starts)
        return sorted(minutes.items(), key=lambda item: (-item[1], item[0]))[:number]

    def collisions(self) -> dict[datetime, list[str]]:
        """The instants at which more than one job starts, and which."""
        found: dict[datetime, list[str]] = defaultdict(list)
        for each in self.starts:
            found[each.started_at].append(each.job)
        return {at: names for at, names in sorted(found.items()) if len(names) > 1}

    def clock_changes(self) -> list[ClockChange]:
        """When the clocks of the schedules' zones are set, and what that moves, in order."""
        found = []
        for key in sorted(set(self.zones.values())):
            starts = [each for each in self.starts if self.zones.get(each.job) == key]
            for at, by in _changes(ZoneInfo(key), self.start, self.end):
                found.append(ClockChange(at, key, by, tuple(_moved(starts, at, ZoneInfo(key)))))
        return sorted(found, key=lambda change: (change.at, change.zone))


def _changes(
    zone: ZoneInfo, start: datetime, end: datetime
) -> Iterable[tuple[datetime, timedelta]]:
    """The instants of [start, end) at which `zone` has a new offset, and by how much."""
    at = start
    while at < end:
        until = min(at + _DAY, end)
        before, after = _offset(at, zone), _offset(until, zone)
        if before != after:
            yield _turn(at, until, zone), after - before
        at = until


def _turn(low: datetime, high: datetime, zone: ZoneInfo) -> datetime:
    """The minute in (low, high] from which the offset is that of `high`."""
    while high - low > _MINUTE:
        middle = low + (high - low) // 2
        if _offset(middle, zone) == _offset(high, zone):
            high = middle
        else:
            low = middle
    return high.replace(second=0, microsecond=0)


def _offset(at: datetime, zone: ZoneInfo) -> timedelta:
    return at.astimezone(UTC).astimezone(zone).utcoffset() or timedelta(0)


def _moved(starts: Sequence[Start], at: datetime, zone: ZoneInfo) -> Iterable[Start]:
    """The starts on the day of a change at a time of day that their job has on no other day."""
    day = wall(at, zone).date()
    usual: dict[str, set[object]] = defaultdict(set)
    here: list[Start] = []
    for each in starts:
        there = wall(each.started_at, zone)
        if there.date() == day:
            here.append(each)
        else:
            usual[each.job].add(there.time())
    return (
        each
        for each in here
        if usual[each.job] and wall(each.started_at, zone).time() not in usual[each.job]
    )
