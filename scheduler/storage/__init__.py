"""Where jobs and schedules live: one interface, and the stores that keep it."""

from __future__ import annotations

from scheduler.storage.base import JobStorage
from scheduler.storage.open import open_storage

__all__ = ["JobStorage", "open_storage"]
