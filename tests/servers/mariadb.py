"""MariaDB for tests: the server of Debian's mariadb-server, on an empty directory of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from sqlalchemy import NullPool, create_engine, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from .keeper import Kind, ServerError, reserved_port

DRIVER = "mysql+pymysql"


class MariaDB(Kind):
    """A server, of MariaDB or MySQL, on which databases may be created."""

    key = "mariadb"
    name = "MariaDB"
    variable = "SCHEDULER_TEST_MYSQL_URL"
    mend = (
        "install Debian's mariadb-server, or set "
        f"{variable} to the URL of a server on which databases may be created"
    )

    def answering(self, given: str) -> str:
        try:
            url = make_url(given)
        except ArgumentError as error:
            raise ServerError(f"{self.variable}: not a database URL; want {DRIVER}://…") from error
        if url.get_backend_name() not in ("mysql", "mariadb"):
            raise ServerError(f"{self.variable}: {url!r} is no MySQL URL; want {DRIVER}://…")
        server = url.set(drivername=DRIVER).render_as_string(hide_password=False)
        try:
            _execute(server, "SELECT 1")
        except OperationalError as error:
            raise ServerError(f"{self.variable}: {url!r} does not answer: {error.orig}") from error
        return server

    def programs(self) -> Path:
        for name in ("mariadbd", "mysqld"):
            # /usr/sbin is not on every user's PATH.
            found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
            if found:
                return Path(found)
        raise ServerError(f"no MariaDB server to test with: {self.mend}")

    def create(self, directory: Path) -> "_Server":
        owner = None
        if os.geteuid() == 0:  # as which it refuses to run
            owner = pwd.getpwnam("nobody")
            os.chown(directory, owner.pw_uid, owner.pw_gid)
        return _Server(self.programs(), directory, owner)


MARIADB = MariaDB()


@contextmanager
def fresh_database(server: str) -> Iterator[str]:
    """The URL of a new, empty database on `server`; dropped after the block."""
    name = f"scheduler_test_{uuid4().hex}"
    # Not the character set of the tables: those say their own.
    _execute(server, f"CREATE DATABASE {name} CHARACTER SET latin1")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        _execute(server, f"DROP DATABASE {name}")


def _execute(server: str, statement: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(statement)


@dataclass
class _Server:
    program: Path
    directory: Path
    owner: pwd.struct_passwd | None
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self) -> str:
        # No password: it listens to this machine alone.
        self._run(
            "mariadb-install-db",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
        )
        with reserved_port() as port, self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self.program,
                    *self._options,
                    "--bind-address=127.0.0.1",
                    f"--port={port}",
                    f"--socket={self.directory / 'socket'}",
                    f"--pid-file={self.directory / 'pid'}",
                    "--skip-name-resolve",
                    "--max-connections=300",
                    "--innodb-buffer-pool-size=64M",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
                user=self.owner and self.owner.pw_uid,
                group=self.owner and self.owner.pw_gid,
                extra_groups=[] if self.owner else None,
            )
            url = f"{DRIVER}://root@127.0.0.1:{port}/mysql"
            self._await(url)
        return url

    def _await(self, url: str) -> None:
        """Returns when the server answers. It has no command that waits for that."""
        until = time.monotonic() + 90
        while True:
            try:
                return _execute(url, "SELECT 1")
            except OperationalError as error:
                ended = self._process is None or self._process.poll() is not None
                if ended or time.monotonic() > until:
                    self.stop()
                    raise ServerError(f"{error.orig}\n{self._log.read_text()}") from error
            time.sleep(0.05)

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def _log(self) -> Path:
        return self.directory / "log"

    @property
    def _options(self) -> list[str]:
        return ["--no-defaults", f"--datadir={self.directory / 'data'}"]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [program, *self._options, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=True,
            timeout=90,
            cwd=self.directory,
            user=self.owner and self.owner.pw_uid,
            group=self.owner and self.owner.pw_gid,
            extra_groups=[] if self.owner else None,
        )
