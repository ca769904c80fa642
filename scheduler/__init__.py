"""Recurring jobs that survive deploys: the public names.

Everything is imported on first use, so that `import scheduler` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from scheduler.commands import command
    from scheduler.context import JobContext
    from scheduler.errors import (
        DifferentRecord,
        DiscoveryFailed,
        DuplicateJob,
        InvalidData,
        InvalidInput,
        InvalidMove,
        InvalidOption,
        InvalidRule,
        NaiveTime,
        NotSupported,
        SchedulerError,
        SchemaMismatch,
        StaleSchedule,
        StorageError,
        StorageUnavailable,
        UnknownJobId,
        UnknownName,
    )
    from scheduler.model import Job, JobStatus, Schedule
    from scheduler.queue import JobQueue
    from scheduler.registry import job
    from scheduler.retention import Retention
    from scheduler.retries import Cancel, Exponential, Retry
    from scheduler.rules import (
        Rule,
        all_of,
        any_of,
        at,
        cron,
        every,
        explain,
        from_apscheduler,
        occurrences,
        rrule,
        rule_from_json,
    )
    from scheduler.storage import JobStorage, open_storage

_HOMES = {
    "scheduler.commands": ("command",),
    "scheduler.context": ("JobContext",),
    "scheduler.errors": (
        "DifferentRecord",
        "DiscoveryFailed",
        "DuplicateJob",
        "InvalidData",
        "InvalidInput",
        "InvalidMove",
        "InvalidOption",
        "InvalidRule",
        "NaiveTime",
        "NotSupported",
        "SchedulerError",
        "SchemaMismatch",
        "StaleSchedule",
        "StorageError",
        "StorageUnavailable",
        "UnknownJobId",
        "UnknownName",
    ),
    "scheduler.model": ("Job", "JobStatus", "Schedule"),
    "scheduler.queue": ("JobQueue",),
    "scheduler.registry": ("job",),
    "scheduler.retention": ("Retention",),
    "scheduler.retries": ("Cancel", "Exponential", "Retry"),
    "scheduler.rules": (
        "Rule",
        "all_of",
        "any_of",
        "at",
        "cron",
        "every",
        "explain",
        "from_apscheduler",
        "occurrences",
        "rrule",
        "rule_from_json",
    ),
    "scheduler.storage": ("JobStorage", "open_storage"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Cancel",
    "DifferentRecord",
    "DiscoveryFailed",
    "DuplicateJob",
    "Exponential",
    "InvalidData",
    "InvalidInput",
    "InvalidMove",
    "InvalidOption",
    "InvalidRule",
    "Job",
    "JobContext",
    "JobQueue",
    "JobStatus",
    "JobStorage",
    "NaiveTime",
    "NotSupported",
    "Retention",
    "Retry",
    "Rule",
    "Schedule",
    "SchedulerError",
    "SchemaMismatch",
    "StaleSchedule",
    "StorageError",
    "StorageUnavailable",
    "UnknownJobId",
    "UnknownName",
    "all_of",
    "any_of",
    "at",
    "command",
    "cron",
    "every",
    "explain",
    "from_apscheduler",
    "job",
    "occurrences",
    "open_storage",
    "rrule",
    "rule_from_json",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
