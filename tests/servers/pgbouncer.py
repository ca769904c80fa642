"""PgBouncer for tests, in front of a PostgreSQL server: Debian's pgbouncer."""

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url

from .keeper import ServerError, reserved_port

MEND = "install Debian's pgbouncer"


@contextmanager
def pooled(server: str) -> Iterator[str]:
    """`server`, a URL, through a pooler in transaction mode, for the length of the block."""
    # /usr/sbin is not on every user's PATH.
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        raise ServerError(f"no PgBouncer to test with: {MEND}")
    url = make_url(server)
    with tempfile.TemporaryDirectory() as directory, reserved_port() as port:
        users = Path(directory) / "users"
        users.write_text(f'"{url.username}" ""\n')
        configuration = Path(directory) / "pgbouncer.ini"
        configuration.write_text(
            f"[databases]\n* = host={url.host} port={url.port}\n[pgbouncer]\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
            f"auth_type = trust\nauth_file = {users}\n"
            "pool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 3\n"
        )
        Path(directory).chmod(0o755)
        # As root it refuses to run.
        user = "nobody" if os.geteuid() == 0 else None
        with subprocess.Popen(
            [program, configuration], stderr=subprocess.PIPE, text=True, user=user
        ) as process:
            try:
                _await(process)
                # Else nobody reads what it says; and once a pipe is full, it serves no more.
                threading.Thread(target=_listen, args=[process], daemon=True).start()
                yield url.set(port=port).render_as_string(hide_password=False)
            finally:
                process.kill()


def _listen(process: "subprocess.Popen[str]") -> None:
    for _ in process.stderr or ():
        pass


def _await(process: "subprocess.Popen[str]") -> None:
    said = []
    for line in process.stderr or ():
        said.append(line)
        if "process up" in line:
            return
    raise ServerError("PgBouncer did not start:\n" + "".join(said))
