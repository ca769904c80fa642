"""Ids that sort by time, so that the newest rows of an index stand together.

A hand-made job gets a UUIDv7 (RFC 9562), monotonic within the process. The job of an
occurrence gets an id derived from its schedule and its instant, in the same layout: two
expanders that decide the same occurrence make the same row. Of those of one instant, the jobs of
schedules that were made one after another stand together, too: a storm of a million of them writes
to the end of an index, and not all over it.
"""

from __future__ import annotations

import functools
import hashlib
import os
import re
import secrets
import threading
from datetime import UTC, datetime, timedelta
from struct import unpack

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_TAIL_BITS = 74
_VERSION_BITS = 62
_FIRST_BITS = _TAIL_BITS - 1  # a beginning leaves room for 2**41 ids, each of which takes 2**32

_PLACE = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-([89ab][0-9a-f]{3})-([0-9a-f]{4})[0-9a-f]{8}"
)
"""A UUIDv7, and where in it is what one made in the same process soon after has, or a bit more."""
_PLACE_BITS = 30


class _Sequence:
    """The (millisecond, tail) of the last id: a later id is always greater, and so is its tail.

    But if a process makes so many that tails are used up: then they begin anew.
    """

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin anew, somewhere else."""
        self._lock = threading.Lock()
        self._last = (-1, 1 << _FIRST_BITS)

    def next(self, millisecond: int, n: int) -> tuple[int, list[int]]:
        """The millisecond and the tails of the next `n` ids, of which there are some."""
        steps = unpack(f"{n}I", os.urandom(4 * n))
        with self._lock:
            last_millisecond, tail = self._last
            if millisecond > last_millisecond:
                last_millisecond = millisecond
                if tail >> _FIRST_BITS:
                    tail = secrets.randbits(_FIRST_BITS)
            tails = [tail := tail + 1 + step for step in steps]
            self._last = (last_millisecond, tail)
            return last_millisecond, tails


_sequence = _Sequence()
os.register_at_fork(after_in_child=_sequence.begin)  # it does not go on where its parent does


def new_id(now: datetime) -> str:
    """A fresh UUIDv7 as text; within this process greater than every one before it."""
    return new_ids(now, 1)[0]


def new_ids(now: datetime, n: int) -> list[str]:
    """The same `n` times, ascending; drawn at once."""
    if n == 0:
        return []
    millisecond, tails = _sequence.next(_millisecond(now), n)
    return [_layout(millisecond, tail, version=7) for tail in tails]


def occurrence_id(schedule_id: str, occurrence_at: datetime) -> str:
    """The id of the one job of this occurrence: the same for every caller.

    UUIDv8 in the layout of version 7: the instant, then 74 bits of SHA-256. Of a schedule with an
    id made here, 30 bits from where that stands among others take the place of the first of them.
    """
    # In UTC: of one zone, two readings that are an hour apart may be equal, and share a key.
    instant, millisecond = _named(occurrence_at.astimezone(UTC))
    named = f"{schedule_id}|{instant}".encode()
    tail = int.from_bytes(hashlib.sha256(named).digest()[:10], "big") >> (80 - _TAIL_BITS)
    if found := _PLACE.fullmatch(schedule_id):
        place = int(found[1] + found[2], 16) & ((1 << _PLACE_BITS) - 1)
        hashed = _TAIL_BITS - _PLACE_BITS
        tail = place << hashed | tail & ((1 << hashed) - 1)
    return _layout(millisecond, tail, version=8)


@functools.lru_cache(maxsize=256)  # many schedules fall due at one instant
def _named(occurrence_at: datetime) -> tuple[str, int]:
    return occurrence_at.isoformat(), _millisecond(occurrence_at)


def first_id(moment: datetime) -> str:
    """What no id that was made for `moment` or later is below, and no earlier one above."""
    return _layout(_millisecond(moment), 0, version=7)


def _millisecond(moment: datetime) -> int:
    return max(0, (moment - _EPOCH) // _MILLISECOND)


def _layout(millisecond: int, tail: int, *, version: int) -> str:
    high, low = tail >> _VERSION_BITS, tail & ((1 << _VERSION_BITS) - 1)
    number = (millisecond & ((1 << 48) - 1)) << 80 | version << 76 | high << 64 | 0b10 << 62 | low
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
