"""A wire to a server that fails as wires do: it loses an answer, is cut, or stands still.

Where an answer is lost, the request went through, and nothing comes back.
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from select import select


class Wire(socketserver.ThreadingTCPServer):
    """Hands on what both sides say, until an answer is to be lost."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Ends)
        self.behind = host, port
        self.losing = threading.Event()
        self.flowing = threading.Event()
        self.flowing.set()
        self._word: bytes | None = None
        self._lock = threading.Lock()
        self._connected: set[socket.socket] = set()

    @property
    def port(self) -> int:
        """Where it is reached."""
        return int(self.server_address[1])

    def lose_next_answer(self) -> None:
        """The next answer of the server is not handed on; its connection ends instead."""
        self.losing.set()

    def lose_answer_to(self, word: bytes) -> None:
        """The answer to the next request with this word in it is not handed on; as above."""
        with self._lock:
            self._word = word

    @property
    def has_lost(self) -> bool:
        """Whether the answer that was to be lost is."""
        return self._word is None and not self.losing.is_set()

    def is_to_lose(self, request: bytes) -> bool:
        """Whether this is the request whose answer is to be lost; it is the only one then."""
        with self._lock:
            if self._word is None or self._word not in request:
                return False
            self._word = None
            return True

    def cut(self) -> int:
        """End every connection there is, in the middle of whatever is said; how many there were."""
        with self._lock:
            cut = list(self._connected)
        for each in cut:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        return len(cut)

    def stall(self) -> None:
        """Hand on nothing, and end nothing either, until `flow`."""
        self.flowing.clear()

    def flow(self) -> None:
        """Hand on again, first what was held back."""
        self.flowing.set()

    @contextmanager
    def connected(self, client: socket.socket) -> Iterator[None]:
        """Know of a connection for the length of the block."""
        with self._lock:
            self._connected.add(client)
        try:
            yield
        finally:
            with self._lock:
                self._connected.remove(client)


class _Ends(socketserver.BaseRequestHandler):
    server: Wire

    def handle(self) -> None:
        client: socket.socket = self.request
        with (
            suppress(OSError),  # of a wire that was cut
            self.server.connected(client),
            socket.create_connection(self.server.behind) as behind,
        ):
            other = {client: behind, behind: client}
            while True:
                for end in select(other, [], [])[0]:
                    said = end.recv(65536)
                    if end is behind and said and self.server.losing.is_set():
                        self.server.losing.clear()
                        return
                    if not said:
                        return
                    self.server.flowing.wait()
                    other[end].sendall(said)
                    if end is client and self.server.is_to_lose(said):
                        behind.recv(65536)
                        return


@contextmanager
def wire_to(host: str, port: int) -> Iterator[Wire]:
    """A wire to this server, for the length of the block."""
    with Wire(host, port) as wire:
        thread = threading.Thread(target=wire.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield wire
        finally:
            wire.flow()
            wire.shutdown()
            thread.join()
