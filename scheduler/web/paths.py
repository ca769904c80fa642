"""Paths as they were sent: what is encoded inside of a segment does not part it.

A server decodes a path before it is routed, and a schedule called `a/b` would be two segments.
Here paths are routed encoded, and `{name:name}` decodes its one segment.
"""

from __future__ import annotations

from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes

from starlette.convertors import Convertor, register_url_convertor
from starlette.types import ASGIApp, Receive, Scope, Send


class NameConvertor(Convertor[str]):
    """One segment, whatever it encodes."""

    regex = "[^/]+"

    def convert(self, value: str) -> str:
        return unquote(value)

    def to_string(self, value: str) -> str:
        return quote(value, safe="")


register_url_convertor("name", NameConvertor())


class EncodedPaths:
    """Hands `app` each path with its segments encoded, all in one way."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope.get("raw_path"):
            sent, _, _ = scope["raw_path"].partition(b"?")
            segments = (
                quote_from_bytes(unquote_to_bytes(each), safe="") for each in sent.split(b"/")
            )
            scope = {**scope, "path": "/".join(segments)}
        await self._app(scope, receive, send)
