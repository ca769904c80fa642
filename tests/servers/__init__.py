"""Real servers for tests: keeper.py says how they live, each other file is one kind of server."""

from collections.abc import Mapping

from .keeper import Kind, ServerError, await_keepers, server_home, server_url, throwaway_server
from .mariadb import MARIADB
from .postgres import POSTGRES, fresh_database
from .redis import REDIS, fresh_prefix

KINDS: Mapping[str, Kind] = {kind.key: kind for kind in (MARIADB, POSTGRES, REDIS)}
"""Every kind of server, by its key. The session of tests has a home for one of each."""

__all__ = [
    "KINDS",
    "MARIADB",
    "POSTGRES",
    "REDIS",
    "Kind",
    "ServerError",
    "await_keepers",
    "fresh_database",
    "fresh_prefix",
    "server_home",
    "server_url",
    "throwaway_server",
]
