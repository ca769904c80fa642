"""The connection to a Redis server: its URL, its errors as ours, and what is sent again.

A call whose connection broke may have been carried out all the same. So only what a repeat cannot
harm is sent again, once, on a new connection; the driver's own retries are off. A pooled
connection that the server has closed meanwhile is noticed before anything is sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from scheduler.errors import InvalidOption, StorageError, StorageUnavailable, described
from scheduler.storage.redis import scripts

T = TypeVar("T")

DEFAULT_PREFIX = "scheduler"
CONNECT_SECONDS = 5
ANSWER_SECONDS = 30
"""How long a call waits: longer than the largest batch takes on a slow machine."""

_EXAMPLE = "write redis://user:password@host:6379/0?prefix=scheduler"
_OPTIONS = frozenset(
    ("db", "password", "prefix", "socket_connect_timeout", "socket_timeout", "username")
)
_TLS_OPTIONS = frozenset(
    f"ssl_{name}"
    for name in (
        "ca_certs",
        "ca_path",
        "cert_reqs",
        "certfile",
        "check_hostname",
        "keyfile",
        "password",
    )
)
_LONGEST_PREFIX = 100

_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.ClusterDownError,
    exceptions.TryAgainError,
)
_PASSING_CODES = ("BUSY ", "MISCONF ", "NOREPLICAS ")
"""What a server says that is busy with a script, cannot write its files, or lacks its replicas."""

_OLDEST = (7, 0)


@dataclass(frozen=True, slots=True)
class RedisURL:
    """A URL, read: `driver` is for redis-py, `shown` has its passwords hidden."""

    driver: str = field(repr=False)
    shown: str
    prefix: str
    secrets: tuple[str, ...] = field(repr=False)


def read_url(text: str) -> RedisURL:
    """`text` as a URL of a store. Raises InvalidOption, without what may be a password."""
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018 - raises where it is no number
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        _refuse("cannot be read")
    scheme = parts.scheme.removeprefix("redis+")
    is_socket = scheme == "unix"
    if parts.fragment or (not is_socket and not re.fullmatch(r"/?\d*", parts.path)):
        _refuse("cannot be read")
    if is_socket and not parts.path.strip("/"):
        _refuse("names no socket", "write redis+unix:///run/redis/redis.sock")
    known = _OPTIONS | _TLS_OPTIONS if scheme == "rediss" else _OPTIONS
    if not known.issuperset(name for name, _ in options):
        _refuse("has an option that is not known", f"use one of {', '.join(sorted(known))}")
    given = dict(options)
    if len(given) < len(options):
        _refuse("has an option twice")
    prefix = given.pop("prefix", DEFAULT_PREFIX)
    if not 0 < len(prefix) <= _LONGEST_PREFIX or not prefix.isprintable() or set(prefix) & {*"{}"}:
        raise InvalidOption(
            "database: prefix",
            prefix,
            f"is not 1 to {_LONGEST_PREFIX} printable characters without braces",
        )
    passwords = [given[name] for name in ("password", "ssl_password") if name in given]
    if parts.password:
        passwords += [parts.password, unquote(parts.password)]
    hidden = [(name, "***" if "password" in name else value) for name, value in options]
    user, at, host = parts.netloc.rpartition("@")
    shown_user = f"{user.partition(':')[0]}:***" if parts.password else user
    return RedisURL(
        driver=_written(scheme, parts.netloc, parts.path, given.items()),
        shown=_written(parts.scheme, f"{shown_user}{at}{host}", parts.path, hidden),
        prefix=prefix,
        secrets=tuple(password for password in passwords if password),
    )


def _written(scheme: str, netloc: str, path: str, options: Iterable[tuple[str, str]]) -> str:
    # Not urlunsplit, which writes unix:/path where there is no host.
    query = urlencode([*options], safe="*/")
    return f"{scheme}://{netloc}{path}" + (f"?{query}" if query else "")


def _refuse(reason: str, hint: str = _EXAMPLE) -> NoReturn:
    # Not the text itself: what looks like half a URL may hold a password.
    raise InvalidOption("database", "the URL", reason, hint) from None


def unfit(info: Mapping[str, Any]) -> str | None:
    """Why a server that says this INFO of itself cannot hold jobs, and the mend; None if it can.

    Eviction matters where it takes keys that do not expire: one key here holds all the jobs. What
    evicts only keys that do expire (volatile-…) finds none of ours.
    """
    version = str(info.get("redis_version", ""))
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < _OLDEST:
        return f"it is Redis {version or 'of no version'}; use one of version 7.0 or later"
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys-") and int(info.get("maxmemory", 0)) > 0:
        return (
            f"it may evict any key (maxmemory-policy {policy}), and with one key all jobs; "
            "set its maxmemory-policy to noeviction"
        )
    return None


class Connection:
    """A pool of connections to one server, and one prefix on it. For any thread.

    Nothing is connected until the first call. Raises InvalidOption if the URL cannot be read.
    """

    def __init__(self, url: str) -> None:
        self._url = read_url(url)
        self._keys = scripts.keys(self._url.prefix)
        self._scripts: dict[str, Script] = {}
        try:
            self._client = Redis.from_url(
                self._url.driver,
                protocol=2,
                retry=Retry(NoBackoff(), 0),
                socket_connect_timeout=CONNECT_SECONDS,
                socket_timeout=ANSWER_SECONDS,
            )
        except ValueError:
            _refuse("has an option of the wrong kind")

    @property
    def url(self) -> str:
        """The URL with its passwords hidden."""
        return self._url.shown

    def key(self, name: str) -> str:
        """The key of this name in this store."""
        return scripts.key(self._url.prefix, name)

    def run(self, script: str, *args: bytes | int, repeat: bool = False) -> Any:
        """What lua/`script`.lua answers to `args`; `repeat` as for `ask`."""
        if script not in self._scripts:
            self._scripts[script] = self._client.register_script(scripts.script(script))
        run = self._scripts[script]
        return self._called(lambda: run(self._keys, args), repeat=repeat)

    def ask(self, *command: str | bytes | int, repeat: bool = False) -> Any:
        """What the server answers to one command; `repeat`: a second time would do no harm.

        Raises StorageUnavailable if the server does not answer or cannot now, StorageError if it
        refuses.
        """
        execute: Callable[..., Any] = self._client.execute_command
        return self._called(lambda: execute(*command), repeat=repeat)

    def ask_all(self, *commands: tuple[str, ...]) -> list[Any]:
        """What the server answers to commands that only read, sent together."""

        def send() -> list[Any]:
            with self._client.pipeline(transaction=False) as pipeline:
                queue: Callable[..., Any] = pipeline.execute_command
                for command in commands:
                    queue(*command)
                return list(pipeline.execute())

        return self._called(send, repeat=True)

    def close(self) -> None:
        """Close what is connected."""
        self._client.close()

    def _called(self, call: Callable[[], T], *, repeat: bool) -> T:
        with self._translated():
            try:
                return call()
            except (exceptions.AuthenticationError, exceptions.BusyLoadingError):
                raise
            except exceptions.ConnectionError:
                if not repeat:
                    raise
            return call()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """The driver's errors as ours: which store, what it said, and without the password."""
        try:
            yield
        except exceptions.RedisError as error:
            is_passing = isinstance(error, _PASSING) or str(error).startswith(_PASSING_CODES)
            kind = StorageUnavailable if is_passing else StorageError
            said = described(error).splitlines()[0]
            for secret in self._url.secrets:
                said = said.replace(secret, "***")
            # A traceback shows the cause as well: not one that repeats a password.
            repeats = any(secret in str(error) for secret in self._url.secrets)
            raise kind(f"database {self.url}: {said}") from (None if repeats else error)
