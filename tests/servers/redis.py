"""Redis for tests: Debian's redis-server, on a free port of this machine.

It keeps nothing on disk unless it is told to. A test that ends servers makes its own RedisServer.
"""

import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from redis import Redis as Client
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from .keeper import Kind, ServerError, reserved_port

IN_MEMORY: Mapping[str, str] = {"save": '""', "appendonly": "no"}
DURABLE: Mapping[str, str] = {"save": '""', "appendonly": "yes", "appendfsync": "always"}
"""What is acknowledged is on disk."""

_START_SECONDS = 60
_LOOK_SECONDS = 0.02


class Redis(Kind):
    """A server on which any key may be written that begins with a fresh prefix."""

    key = "redis"
    name = "Redis"
    variable = "SCHEDULER_TEST_REDIS_URL"
    mend = (
        "install Debian's package redis-server (7.0 or later), or set "
        f"{variable} to the URL of a server to write on"
    )

    def answering(self, given: str) -> str:
        shown = given.rpartition("@")[2]
        try:
            with _client(given) as client:
                client.ping()
        except ValueError as error:
            raise ServerError(f"{self.variable}: not a Redis URL; expected redis://…") from error
        except RedisError as error:
            raise ServerError(f"{self.variable}: {shown} does not answer: {error}") from error
        return given

    def programs(self) -> Path:
        server = shutil.which("redis-server")
        if server is None:
            raise ServerError(f"no Redis server to test with: {self.mend}")
        return Path(server).parent

    def create(self, directory: Path) -> "RedisServer":
        return RedisServer(directory, IN_MEMORY)


REDIS = Redis()


class RedisServer:
    """One server, which may be ended and started again on the same port and files.

    `settings` are those of redis.conf, as they are written there.
    """

    def __init__(self, directory: Path, settings: Mapping[str, str]) -> None:
        self._directory = directory
        self._settings = settings
        self._held = ExitStack()
        self._port = self._held.enter_context(reserved_port())
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens, started or not."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> str:
        settings = {
            "bind": "127.0.0.1",
            "port": str(self._port),
            "dir": str(self._directory),
            "logfile": str(self._log),
            **self._settings,
        }
        written = self._directory / "redis.conf"
        written.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
        self._process = subprocess.Popen(
            [REDIS.programs() / "redis-server", written],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
            start_new_session=True,
        )
        for _ in range(round(_START_SECONDS / _LOOK_SECONDS)):
            if self._answers():
                return self.url
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_SECONDS)
                break
        log = self._log.read_text() if self._log.exists() else ""
        raise ServerError(f"redis-server did not start\n{log}")

    def _answers(self) -> bool:
        """Whether it does, be it to ask for a password."""
        try:
            with _client(self.url) as client:
                return bool(client.ping())
        except AuthenticationError:
            return True
        except RedisError:
            return False

    def kill(self) -> None:
        """Ends it as a power cut would, with whatever it is doing."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        with self._held:
            if self._process is not None:
                self._process.terminate()
                try:
                    self._process.wait(30)
                except subprocess.TimeoutExpired:
                    self.kill()

    @property
    def _log(self) -> Path:
        return self._directory / "log"


@contextmanager
def running_redis(
    directory: Path, settings: Mapping[str, str] = IN_MEMORY
) -> Iterator[RedisServer]:
    """A server of its own, started, for the length of the block."""
    server = RedisServer(directory, settings)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def fresh_prefix(server: str) -> Iterator[str]:
    """The URL of an empty prefix on `server`; its keys are removed after the block."""
    prefix = f"test_{uuid4().hex}"
    try:
        yield f"{server}{'&' if '?' in server else '?'}prefix={prefix}"
    finally:
        with _client(server) as client:
            for key in client.scan_iter(f"{{{prefix}}}*", count=1000):
                client.unlink(key)


def _client(url: str) -> Client:
    return Client.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), socket_timeout=30)
