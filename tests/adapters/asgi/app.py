"""An ASGI application that does what a test tells it, and records what happens to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import trio

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
LifespanFunction = Callable[["App", Receive, Send], Awaitable[None]]


async def answer(send: Send, body: bytes = b"hello") -> None:
    """Send a whole answer."""
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def plain_lifespan(app: App, receive: Receive, send: Send) -> None:
    """Start up and shut down without a fault, and record both."""
    assert (await receive())["type"] == "lifespan.startup"
    app.events.append("startup")
    await send({"type": "lifespan.startup.complete"})
    assert (await receive())["type"] == "lifespan.shutdown"
    app.events.append("shutdown")
    await send({"type": "lifespan.shutdown.complete"})


class App:
    """An application with a few paths.

    ``/`` is answered at once, ``/slow`` once it is released, ``/flood`` without end, and all
    others fail.

    Attributes:
        events: what has happened, in order.
        scopes: the scopes that it was called with.
        arrived: set when a request has arrived that is not answered at once.
        release: lets ``/slow`` be answered.
    """

    def __init__(self, lifespan: LifespanFunction = plain_lifespan) -> None:
        self.events: list[str] = []
        self.scopes: list[MutableMapping[str, Any]] = []
        self.arrived = trio.Event()
        self.release = trio.Event()
        self._lifespan = lifespan

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        if scope["type"] == "lifespan":
            await self._lifespan(self, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            self.arrived.set()
            await self.release.wait()
        elif scope["path"] == "/":
            await answer(send)
        elif scope["path"] == "/slow":
            await self._slow(send)
        elif scope["path"] == "/flood":
            await self._flood(send)
        else:
            raise ValueError(scope["path"])

    async def _slow(self, send: Send) -> None:
        self.arrived.set()
        try:
            await self.release.wait()
        except trio.Cancelled:
            self.events.append("cut")
            raise
        await answer(send, b"at last")
        self.events.append("answered")

    async def _flood(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            self.arrived.set()
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
