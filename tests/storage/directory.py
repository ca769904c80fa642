"""A directory of JSON documents with transactions, among threads and processes.

A transaction runs alone, under a lock among threads and one among processes. What it writes
becomes true at one moment, when its journal is moved into place; who finds a journal finishes
it. It survives the death of any process; to survive that of the machine, it would have to fsync.
"""

from __future__ import annotations

import fcntl
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class Directory:
    """Documents by name, "kind/key", in the files of `home`, which is made if it is missing."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._home.mkdir(parents=True, exist_ok=True)
        self._journal = home / "journal"
        self._lock = threading.RLock()
        self._depth = 0
        self._pending: dict[str, str | None] = {}

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Alone in the directory; what is written inside is written whole, at the outermost end."""
        with self._lock, self.alone():
            self._depth += 1
            try:
                yield
                if self._depth == 1 and self._pending:
                    new = self._home / "new"
                    new.write_text(json.dumps(self._pending))
                    new.replace(self._journal)
                    self._finish()
            finally:
                self._depth -= 1
                if self._depth == 0:
                    self._pending.clear()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """The only process in the directory, with no journal left to finish."""
        if self._depth:
            yield
            return
        with (self._home / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            self._finish()
            yield

    def read(self, name: str) -> Any:
        """The document of this name, as the transaction left it; None if there is none."""
        with self.transaction():
            if name in self._pending:
                text = self._pending[name]
            else:
                path = self._home / name
                text = path.read_text() if path.exists() else None
        return None if text is None else json.loads(text)

    def read_all(self, kind: str) -> list[Any]:
        """Every document of this kind, as it stood before the transaction."""
        with self.transaction():
            return [json.loads(path.read_text()) for path in (self._home / kind).glob("*")]

    def write(self, name: str, document: Any) -> None:
        """Write a document, or with None remove it; within a transaction."""
        self._pending[name] = None if document is None else json.dumps(document, default=dict)

    def clear(self) -> None:
        """Remove every document."""
        with self.transaction():
            for path in self._home.glob("*/*"):
                self.write(str(path.relative_to(self._home)), None)

    def _finish(self) -> None:
        """Do what the journal says; again, if who began it died in the middle of a file."""
        if not self._journal.exists():
            return
        for name, text in json.loads(self._journal.read_text()).items():
            path = self._home / name
            # Some file systems flush a file that is overwritten to the disk, at a millisecond each.
            path.unlink(missing_ok=True)
            if text is not None:
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
        self._journal.unlink()
