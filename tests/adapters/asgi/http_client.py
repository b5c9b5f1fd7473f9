"""A small HTTP client that shows what a connection goes through, which grown-up clients hide."""

from __future__ import annotations

import ssl
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import attrs
import h11
import trio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@attrs.frozen
class Answer:
    """A complete answer."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class CutError(Exception):
    """The connection was closed, or is to be closed, before the answer is complete."""


class Connection:
    """One connection to a server."""

    def __init__(self, stream: trio.abc.Stream, host: str) -> None:
        self.stream = stream
        self._host = host
        self._protocol = h11.Connection(h11.CLIENT)

    async def ask(self, path: str = "/", method: str = "GET", body: bytes = b"") -> None:
        """Send a request."""
        headers = [("host", self._host), ("content-length", str(len(body)))]
        events: list[h11.Request | h11.Data | h11.EndOfMessage] = [
            h11.Request(method=method, target=path, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ]
        try:
            data = b"".join(self._protocol.send(event) or b"" for event in events)
            await self.stream.send_all(data)
        except (h11.LocalProtocolError, trio.BrokenResourceError) as error:
            raise CutError from error

    async def answer(self) -> Answer:
        """Receive the answer to the request."""
        response: h11.Response | None = None
        body = b""
        while True:
            event = await self._event()
            if isinstance(event, h11.Response):
                response = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert response is not None
                if self._protocol.our_state is h11.DONE:
                    self._protocol.start_next_cycle()
                return Answer(response.status_code, dict(response.headers), body)

    async def _event(self) -> object:
        try:
            while (event := self._protocol.next_event()) is h11.NEED_DATA:
                self._protocol.receive_data(bytes(await self.stream.receive_some(65536)))
        except (h11.RemoteProtocolError, trio.BrokenResourceError) as error:
            raise CutError from error
        if isinstance(event, h11.ConnectionClosed):
            raise CutError
        return event

    async def is_closed(self) -> bool:
        """Wait for the server to close, and tell that it sent nothing before."""
        try:
            return await self.stream.receive_some(1) == b""
        except trio.BrokenResourceError:
            return True


@asynccontextmanager
async def connected(url: str, context: ssl.SSLContext | None = None) -> AsyncGenerator[Connection]:
    """Connect to a server."""
    parts = urlsplit(url)
    stream: trio.abc.Stream
    if parts.scheme == "unix":
        stream = await trio.open_unix_socket(parts.path)
    else:
        assert parts.hostname is not None
        assert parts.port is not None
        stream = await trio.open_tcp_stream(parts.hostname, parts.port)
    if context is not None:
        stream = trio.SSLStream(stream, context, server_hostname=parts.hostname)
    async with stream:
        yield Connection(stream, parts.netloc or "localhost")


async def get(url: str, path: str = "/") -> Answer:
    """Get one answer on a connection of its own."""
    async with connected(url) as connection:
        await connection.ask(path)
        return await connection.answer()
