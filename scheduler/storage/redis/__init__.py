"""The store in a Redis server: storage.py has the verbs, lua/ what each of them does there."""

from __future__ import annotations

from scheduler.storage.redis.storage import RedisStorage

__all__ = ["RedisStorage"]
