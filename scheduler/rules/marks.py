"""The instants of a short window as bits, so that sets of them are united and counted at once.

A dense set has 86,400 instants a day, and walking them costs milliseconds; as one integer a
day costs microseconds. Instants with different fractions of a second are never equal, so each
fraction has an integer of its own, and nearly always there is only one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache

from scheduler.rules.instants import SECOND

Marks = dict[int, int]
"""By fraction of a second (microseconds): bit n is the nth second from that of the window's lo.

The same for wall readings.
"""


def marked(instants: Iterable[int], lo: int) -> Marks:
    """The marks of instants at or after `lo`."""
    if isinstance(instants, range) and instants.step % SECOND == 0:
        return _run(instants, lo)
    found: dict[int, bytearray] = {}
    origin = lo // SECOND
    for instant in instants:
        second, fraction = divmod(instant, SECOND)
        byte, bit = divmod(second - origin, 8)
        row = found.setdefault(fraction, bytearray())
        if byte >= len(row):
            row.extend(bytes(byte + 1 - len(row)))
        row[byte] |= 1 << bit
    return {fraction: int.from_bytes(row, "little") for fraction, row in found.items()}


def united(all_marks: Sequence[Marks]) -> Marks:
    """The marks that are in any."""
    found: Marks = {}
    for marks in all_marks:
        for fraction, bits in marks.items():
            found[fraction] = found.get(fraction, 0) | bits
    return found


def shared(all_marks: Sequence[Marks]) -> Marks:
    """The marks that are in every one."""
    first, *others = all_marks
    found = dict(first)
    for marks in others:
        found = {at: bits & marks[at] for at, bits in found.items() if at in marks}
    return found


def left(marks: Marks, removed: Marks) -> Marks:
    """The marks that are not in `removed`."""
    return {at: bits & ~removed.get(at, 0) for at, bits in marks.items()}


def moved(marks: Marks, base: int, lo: int, hi: int) -> Marks:
    """What the marks of a window from `base` have in [lo, hi), as marks of that window."""
    (origin, skipped), (last, rest) = divmod(lo, SECOND), divmod(hi, SECOND)
    places = base // SECOND - origin
    found: Marks = {}
    for fraction, bits in marks.items():
        length = last - origin + (fraction < rest)
        shown = bits << places if places >= 0 else bits >> -places
        if shown.bit_length() > length:
            shown &= (1 << length) - 1
        found[fraction] = shown & ~1 if fraction < skipped else shown
    return found


def marked_count(marks: Marks) -> int:
    """How many instants are marked."""
    return sum(bits.bit_count() for bits in marks.values())


def _run(instants: range, lo: int) -> Marks:
    if not instants:
        return {}
    second, fraction = divmod(instants.start, SECOND)
    beats = _beats(instants.step // SECOND, len(instants))
    return {fraction: beats << second - lo // SECOND}


# Days have one of two numbers of beats: every window of a count asks for the same few.
@lru_cache(maxsize=256)
def _beats(step: int, length: int) -> int:
    """`length` bits, each `step` from the one before."""
    return ((1 << step * length) - 1) // ((1 << step) - 1)
