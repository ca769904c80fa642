"""Servers for tests: the one that the environment names, or a throwaway one.

A throwaway server lives exactly as long as its lease, a file lock, which the kernel drops
however its holder dies. A detached *keeper* process (`python -m tests.servers KIND HOME`) starts
the server, waits for that lock, then stops the server and removes every trace. What differs
between one server and another is its Kind.
"""

import fcntl
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

ROOT = Path(__file__).parents[2]

MEMORY = Path("/dev/shm")  # noqa: S108 - a fresh name within it
ROOM = 2 * 2**30
"""How many bytes must be free there for servers to keep their files in memory."""

# What a home holds beside the server's files: two locks of processes, one of starting, one result.
LEASE, KEEPERS, STARTING, URL = "lease", "keepers", "starting", "url"


class ServerError(RuntimeError):
    """No server to test with: why, and what to do about it."""


class Server(Protocol):
    """A throwaway server that is not started yet."""

    def start(self) -> str:
        """The URL of the server, which answers by now.

        Raises ServerError, SubprocessError or OSError if it does not start; it is stopped then too.
        """

    def stop(self) -> None:
        """Returns when no server runs."""


class Kind(ABC):
    """What differs between servers: one subclass for each, and a line in tests/servers/__init__."""

    key: str
    """What tests call it."""
    name: str
    """What it is called in errors."""
    variable: str
    """Where the environment names a server of this kind."""
    mend: str
    """What to do where there is none."""

    @abstractmethod
    def answering(self, given: str) -> str:
        """The URL, for a driver, of the server `given` by the environment: it has answered.

        Raises ServerError, without the password, if it cannot be read or does not answer.
        """

    @abstractmethod
    def programs(self) -> Path:
        """Where the server's programs are. Raises ServerError if they are not installed."""

    @abstractmethod
    def create(self, directory: Path) -> Server:
        """A server that will keep its files in `directory`, which exists and is empty."""


# --- for tests ------------------------------------------------------------------------------


@contextmanager
def server_home(kind: Kind, *, is_lasting: bool = True) -> Iterator[Path]:
    """A directory that may hold one server, which ends with the block or with this process.

    Costs next to nothing: nothing starts before `server_url` asks for it. A server that need not be
    lasting keeps its files in memory, where there is room: it makes a database in a tenth of the
    time, and forgets all in a power cut, whatever it was told of fsync.
    """
    place = _temporary_directory() if is_lasting else _memory() or _temporary_directory()
    home = Path(tempfile.mkdtemp(prefix=f"scheduler-{kind.key}-", dir=place))
    home.chmod(0o711)
    with (home / LEASE).open("w") as lease:
        fcntl.flock(lease, fcntl.LOCK_EX)
        try:
            yield home
        finally:
            # Not just closed: a forked child would still hold it.
            fcntl.flock(lease, fcntl.LOCK_UN)
            await_keepers(home)
            shutil.rmtree(home, ignore_errors=True)


def server_url(kind: Kind, home: Path) -> str:
    """The URL of the server to test with: the one named by the environment, else that of `home`.

    The first caller starts it, in whichever process; the others wait for it and share it.
    Raises ServerError if there is none to be had.
    """
    return named_server(kind) or throwaway_server(kind, home)


def named_server(kind: Kind) -> str | None:
    """The URL in the kind's variable, once it has answered; None if it is not set."""
    given = os.environ.get(kind.variable)
    return kind.answering(given) if given else None


def throwaway_server(kind: Kind, home: Path) -> str:
    """The URL of the server of `home`, whatever the environment says; started if need be."""
    with (home / STARTING).open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        published = home / URL
        if not published.exists():
            published.write_text(_start_keeper(kind, home))
        return published.read_text()


def await_keepers(home: Path) -> None:
    """Returns when no server of `home` runs, and none is being started or stopped."""
    with suppress(FileNotFoundError), (home / KEEPERS).open() as keepers:
        fcntl.flock(keepers, fcntl.LOCK_EX)


# --- starting -------------------------------------------------------------------------------


def _start_keeper(kind: Kind, home: Path) -> str:
    """The URL that a new keeper of `home` printed, its server being ready."""
    kind.programs()
    with (home / KEEPERS).open("w") as keepers:
        # Locked here and inherited, so that no keeper is ever alive and not awaited.
        fcntl.flock(keepers, fcntl.LOCK_SH)
        keeper = subprocess.run(
            [sys.executable, "-m", __package__, kind.key, home],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C is for pytest
            pass_fds=[keepers.fileno()],
        )
    if not keeper.stdout:
        raise ServerError(f"{kind.name} did not start; {kind.mend}\n{keeper.stderr}")
    return keeper.stdout.strip()


def _memory() -> Path | None:
    """Where files are kept in memory; None if there is no room."""
    if not MEMORY.is_dir() or not is_open_to_all(MEMORY):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= ROOM else None


def _temporary_directory() -> Path:
    """Where a server may keep its files: as root, where every user may go."""
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return usual
    candidates = [usual, Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - a fresh name within it
    for candidate in candidates:
        if candidate.is_dir() and is_open_to_all(candidate):
            return candidate
    raise ServerError(f"none of {[*map(str, candidates)]} is open to all users; set TMPDIR")


def is_open_to_all(path: Path) -> bool:
    """Whether any user may reach, read and enter (or run) `path`."""
    resolved = path.resolve()
    may = stat.S_IROTH | stat.S_IXOTH
    return resolved.stat().st_mode & may == may and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in resolved.parents
    )


@contextmanager
def reserved_port() -> Iterator[int]:
    """A free port of 127.0.0.1, for a server that sets SO_REUSEADDR, as servers do.

    Bound for the length of the block, and shared with the server, which sets it as well: a port
    that is merely looked up can be gone when it is used.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("127.0.0.1", 0))
        yield reserved.getsockname()[1]


# --- the keeper -----------------------------------------------------------------------------


def keep(kind: Kind, home: Path) -> None:
    """Starts a server and prints its URL, keeps it while `home` is leased, and clears up."""
    if os.fork():
        # Leaves no child to the caller, who still reads what the rest of this prints.
        os._exit(0)
    signal.signal(signal.SIGTERM, _end)
    directory = Path(tempfile.mkdtemp(dir=home))
    try:
        server = kind.create(directory)
        try:
            url = server.start()
            with suppress(BrokenPipeError):  # the caller died; so has the lease, most likely
                print(url, flush=True)
            _close_output()
            with (home / LEASE).open() as lease:
                fcntl.flock(lease, fcntl.LOCK_SH)
        finally:
            server.stop()
    except (ServerError, subprocess.SubprocessError, OSError, KeyError) as error:
        # The home stays: other workers of the session will want to say the same.
        shutil.rmtree(directory, ignore_errors=True)
        sys.exit(f"{error}\n{getattr(error, 'stdout', None) or ''}")
    shutil.rmtree(home, ignore_errors=True)


def _close_output() -> None:
    """Ends what the caller reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def _end(signum: int, frame: object) -> NoReturn:
    sys.exit(f"ended by signal {signum}")
