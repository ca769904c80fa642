"""Serving the app: uvicorn on a thread of its own, on a socket that is bound first.

Binding before anything starts turns a taken port into an error of the command line.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from scheduler.errors import InvalidOption


class _Server(uvicorn.Server):
    """One that is told to end, where uvicorn's looks ten times a second whether it is to."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_told = asyncio.Event()

    async def main_loop(self) -> None:
        self._loop = asyncio.get_running_loop()
        while not await self.on_tick(0):  # which renews the date in the answers' heads
            with suppress(TimeoutError):
                await asyncio.wait_for(self._is_told.wait(), timeout=1)

    def tell(self) -> None:
        """Let it end; from any thread."""
        self.should_exit = True
        if self._loop is not None:
            with suppress(RuntimeError):  # it has ended by itself, and its loop is closed
                self._loop.call_soon_threadsafe(self._is_told.set)


class WebServer:
    """An HTTP server on `host` and `port` (0: a free one). Raises InvalidOption if taken."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self._server = _Server(
            uvicorn.Config(app, log_config=None, log_level=logging.WARNING, access_log=False)
        )
        self._thread = threading.Thread(target=self._serve, name="scheduler-web", daemon=True)

    @property
    def url(self) -> str:
        """Where it answers: `http://127.0.0.1:8080`."""
        host, port = self._socket.getsockname()[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def start(self) -> None:
        """Begin to answer; returns at once. Connections wait in the socket meanwhile."""
        self._thread.start()

    def stop(self) -> None:
        """Finish the requests under way, at most five seconds, and stop answering."""
        self._server.tell()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise InvalidOption(
            "web", f"{host}:{port}", f"cannot be served: {error.strerror}", "use --port or --no-web"
        ) from None
    return bound
