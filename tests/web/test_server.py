"""The server that carries the API: bound first, answering while it is started."""

from __future__ import annotations

import socket

import httpx
import pytest

from scheduler import JobQueue
from scheduler.errors import InvalidOption
from scheduler.web.app import create_app
from scheduler.web.server import WebServer


def test_it_answers_until_it_is_stopped() -> None:
    """On a free port, which its URL names."""
    server = WebServer(create_app(JobQueue()), host="127.0.0.1", port=0)
    url = server.url
    server.start()
    assert httpx.get(f"{url}/livez", timeout=10).json() == {"status": "ok"}
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/livez", timeout=10)


def test_a_taken_port_is_refused_before_anything_starts() -> None:
    """Naming the address and the way out."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InvalidOption, match=f"127.0.0.1:{port} cannot be served.*--port"):
            WebServer(create_app(JobQueue()), host="127.0.0.1", port=port)
