"""Serving the app: uvicorn on a thread of its own, on a socket that is bound first.

Binding before anything starts turns a taken port into an error of the command line.
"""

from __future__ import annotations

import logging
import socket
import threading

import uvicorn
from fastapi import FastAPI

from scheduler.errors import InvalidOption


class WebServer:
    """An HTTP server on `host` and `port` (0: a free one). Raises InvalidOption if taken."""

    def __init__(self, app: FastAPI, *, host: str, port: int) -> None:
        self._socket = _bind(host, port)
        self._server = uvicorn.Server(
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
        self._server.should_exit = True
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
