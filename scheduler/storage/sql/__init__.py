"""Jobs and schedules in SQL tables, through SQLAlchemy Core: SQLite and PostgreSQL."""

from __future__ import annotations

from scheduler.storage.sql.storage import SQLStorage

__all__ = ["SQLStorage"]
