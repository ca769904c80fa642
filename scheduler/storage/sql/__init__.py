"""Jobs and schedules in SQL tables, through SQLAlchemy Core."""

from __future__ import annotations

from scheduler.storage.sql.storage import SQLStorage

__all__ = ["SQLStorage"]
