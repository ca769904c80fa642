"""`scheduler run` on a SQLite file that may not grow beyond so many pages: a disk that is full.

`python -m tests.faults.limited run`. How many, a file says, so that there is room again when the
test wants it; SQLite keeps the number for a connection, and is told with every transaction.
"""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import Connection, Engine, event

from scheduler.cli import main

PAGES = "FAULTS_PAGES"
"""The variable that names that file."""


def limit(connection: Connection) -> None:
    """Let the file grow to so many pages; to what it has, if that is more."""
    pages = int(Path(os.environ[PAGES]).read_text())
    connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")


if __name__ == "__main__":
    event.listen(Engine, "begin", limit)
    main()
