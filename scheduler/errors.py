"""The error family: every refusal names the thing, the value, what is allowed and the mend.

One root, SchedulerError; subclasses are split by whose fault it was: the caller's input,
the code that declares jobs, the store, or this installation. Expected races are results
(`False`, `None`, a shorter list), never exceptions.
"""

# ruff: noqa: N818 - named for what went wrong; that it is an error, `raise` says

from __future__ import annotations

import difflib
from collections.abc import Iterable

SHOWN = 80
"""How many characters of an offending value an error repeats."""

LONGEST = 4096
"""How many characters of what an exception says are kept: it may repeat all it was given."""


def shown(value: object) -> str:
    """`value` as an error shows it: at most 80 characters, control characters escaped."""
    text = value if isinstance(value, str) else _repr(value)
    cut = text[:SHOWN]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    safe = safe[:SHOWN]
    return safe if len(text) <= SHOWN and len(safe) < SHOWN else safe[: SHOWN - 1] + "…"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception:  # noqa: BLE001 - a broken __repr__, or an integer of 5,000 digits
        return f"a value of type {type(value).__name__}"


def shortened(text: str) -> str:
    """`text` as it is kept for good: its first 4,096 characters, and how many were left out."""
    left_out = len(text) - LONGEST
    return text if left_out <= 0 else f"{text[:LONGEST]}… {left_out} characters left out"


def described(error: BaseException) -> str:
    """The kind of `error` and what it says, shortened, whatever somebody's own exception does."""
    kind = type(error).__name__
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ is not worth losing an outcome
        return f"{kind}: its text cannot be shown"
    return shortened(f"{kind}: {said}") if said else kind


class SchedulerError(Exception):
    """The root of everything this package raises on purpose."""


class InvalidInput(SchedulerError, ValueError):
    """Something the caller gave is not allowed.

    `field` names where it stood ("cron: minute"), `value` is the offending part (at most
    80 characters), `reason` says what is wrong or allowed, `hint` how to mend it ("" if the
    reason says it already).
    """

    def __init__(self, field: str, value: object, reason: str, hint: str = "") -> None:
        self.field = field
        self.value = shown(value)
        self.reason = reason
        self.hint = hint
        what = f"{field}: {self.value}" if self.value else f"{field}:"
        super().__init__(f"{what} {reason}" + (f"; {hint}" if hint else ""))

    def __reduce__(self) -> tuple[type[InvalidInput], tuple[str, str, str, str]]:
        return type(self), (self.field, self.value, self.reason, self.hint)


class InvalidRule(InvalidInput):
    """A recurrence rule, or a part of one, that cannot be accepted."""


class NaiveTime(InvalidInput):
    """A datetime without a zone where an instant is required."""

    def __init__(self, field: str, value: object, reason: str = "", hint: str = "") -> None:
        super().__init__(
            field,
            value,
            reason or "has no zone",
            hint or "give an aware datetime, such as datetime(…, tzinfo=timezone.utc)",
        )


class InvalidData(InvalidInput):
    """Job data that does not fit the signature of the job's handler."""


class InvalidOption(InvalidInput):
    """An option of a job, a queue or a setting that is out of its range."""


class UnknownName(SchedulerError, LookupError):
    """A job, handler or schedule that is not there; `known` lists what is."""

    def __init__(self, kind: str, name: str, known: Iterable[str]) -> None:
        self.kind = kind
        self.name = name
        self.known = sorted(known)
        close = difflib.get_close_matches(name, self.known, n=1)
        listed = ", ".join(self.known[:20]) or "none"
        more = ", …" if len(self.known) > 20 else ""
        self.mend = f"did you mean {close[0]!r}?" if close else f"known: {listed}{more}"
        super().__init__(f"{kind}: {shown(name)} is not known; {self.mend}")


class DiscoveryFailed(SchedulerError):
    """A job module that cannot be imported, or declares what cannot stand together."""


class CommandFailed(SchedulerError):
    """A program that ended with an exit code other than 0, or by a signal (negative).

    Its text is the program's `fate` and the last line of its `output`.
    """

    def __init__(self, fate: str, exit_code: int, output: str) -> None:
        self.exit_code = exit_code
        last = output.rstrip().rpartition("\n")[2].strip()
        super().__init__(f"{fate}: {last}" if last else fate)


class InvalidMove(SchedulerError):
    """A move that the life of a job does not have, such as completing a pending one."""

    def __init__(self, job_id: str, move: str, status: str, allowed: Iterable[str]) -> None:
        self.job_id = job_id
        super().__init__(
            f"job {job_id}: cannot {move} while {status}; only while {', '.join(allowed)}"
        )


class InvalidScheduleMove(SchedulerError):
    """Something a schedule cannot do as it stands, such as resuming a completed one."""

    def __init__(self, name: str, move: str, status: str, allowed: Iterable[str]) -> None:
        self.name = name
        super().__init__(
            f"schedule {shown(name)}: cannot be {move} while {status}; only while "
            f"{' or '.join(allowed)}"
        )


class StorageError(SchedulerError):
    """The store refused or could not do what was asked."""


class StorageUnavailable(StorageError):
    """The store cannot be reached now; the same call may succeed later."""


class SchemaMismatch(StorageError):
    """The tables are of another version than this code."""


class DuplicateJob(StorageError):
    """A job of this id, or of this occurrence, is already there."""


class DifferentRecord(StorageError):
    """The store holds something else where a record was to be put back as it was."""


class UnknownJobId(StorageError, LookupError):
    """No job of this id is in the store."""

    def __init__(self, job_id: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {shown(job_id)}: not in the store")


class StaleSchedule(StorageError):
    """Somebody else wrote this schedule in between; read it again."""


class NotSupported(StorageError):
    """The store does not have this capability."""
