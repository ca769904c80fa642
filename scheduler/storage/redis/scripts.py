"""The fixed keys of a store, and the scripts that are all that touches them.

However many jobs there are, the keys are these: every script declares them all and makes up none,
and they share one hash tag, so that a cluster keeps them in one slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

KINDS: Mapping[str, str] = {
    "jobs": "hash",  # id -> record
    "states": "hash",  # id -> state
    "ids": "zset",  # all the indexes of jobs: lua/layout.lua
    "statuses": "zset",
    "names": "zset",
    "pending": "zset",
    "keyed": "zset",
    "by_key": "zset",
    "heads": "zset",
    "blocked": "zset",
    "running": "zset",
    "starts": "zset",
    "stale": "zset",
    "leases": "zset",
    "owned": "zset",
    "occurrences": "zset",
    "unfinished": "zset",
    "schedules": "hash",  # name -> text
    "schedule_names": "hash",  # id -> name
    "turns": "zset",  # when next due, id
    "skips": "zset",
    "notes": "zset",
    "attempts": "zset",
    "declarations": "hash",  # process -> text
}
"""The keys that hold jobs and schedules, without their prefix, and the type of each."""

SCHEMA = "schema"
"""The key that holds the version of all the others."""

_PARTS: Mapping[str, tuple[str, ...]] = {
    "acquire": ("writing", "walking", "lists", "asking", "limiting", "merging"),
    "delete_schedule": ("scheduling",),
    "next": ("walking", "lists", "asking"),
    "pending": ("walking",),
    "prepare": ("writing",),
    "record": ("writing", "scheduling", "lists"),
    "remove": ("writing",),
    "renew": ("writing",),
    "replace": ("writing",),
    "restore": ("writing", "scheduling", "lists", "restoring"),
    "save": ("writing",),
    "save_schedule": ("scheduling",),
    "settle": ("writing",),
    "there": ("scheduling", "lists", "restoring"),
}
"""What a script begins with, besides lua/layout.lua."""


def key(prefix: str, name: str) -> str:
    """The key of this name in the store of this prefix, which is the hash tag."""
    return f"{{{prefix}}}:{name}"


def keys(prefix: str) -> list[str]:
    """The KEYS of every script."""
    return [key(prefix, name) for name in (*KINDS, SCHEMA)]


@cache
def script(name: str) -> str:
    """The text of lua/`name`.lua, behind the names of the keys and what it shares with others."""
    naming = f"local {', '.join((*KINDS, SCHEMA)).upper()} = unpack(KEYS)"
    parts = ("layout", *_PARTS.get(name, ()), name)
    return "\n".join((naming, *map(_source, parts)))


@cache
def _source(name: str) -> str:
    return (files(__package__) / "lua" / f"{name}.lua").read_text("utf-8")
