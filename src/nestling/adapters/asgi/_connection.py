"""One connection: hypercorn's, made to keep what a graceful stop promises.

=============================  ==================================================================
what hypercorn does            what is done here
=============================  ==================================================================
it closes an idle connection   Idle is what no request has come in for, in the very step in which
in the same moment in which a  it is closed. A request that is read later is refused: no
request comes in               application is called for an answer that nobody will get.
it answers the last request,   The reading ends with the connection.
closes, and goes on waiting
for what comes after the
request that it has read by
then, for ever
it keeps an answer silent      An answer that begins after the stop says ``connection: close``, so
about the end of its           that the client sends no further request to a server that is going.
connection
=============================  ==================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from hypercorn.events import Closed, Event, Updated
from hypercorn.trio.tcp_server import TCPServer

if TYPE_CHECKING:
    from hypercorn.config import Config
    from hypercorn.trio.worker_context import WorkerContext
    from hypercorn.typing import (
        AppWrapper,
        ASGISendCallable,
        ASGISendEvent,
        ConnectionState,
        Scope,
    )


class RefusedError(Exception):
    """A request came in on a connection that was idle, and was closed for that."""


class Connection(TCPServer):
    """One connection to a client."""

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        state: ConnectionState,
        stream: trio.SSLStream[trio.SocketStream],
    ) -> None:
        super().__init__(app, config, context, state, stream)
        self._is_idle = True
        self._closed_as_idle = False
        self._reading = trio.CancelScope()

    async def protocol_send(self, event: Event) -> None:
        """Do what the protocol asks for."""
        if isinstance(event, Updated):
            if self._closed_as_idle and not event.idle:
                raise RefusedError
            # Before the first checkpoint, so that what closes idle connections sees it.
            self._is_idle = event.idle
        await super().protocol_send(event)
        if isinstance(event, Closed):
            self._reading.cancel("the connection is closed")

    async def _read_data(self) -> None:
        with self._reading:
            await super()._read_data()

    async def _idle_timeout(self) -> None:
        with trio.move_on_after(self.config.keep_alive_timeout):
            await self.context.terminated.wait()
        if self._is_idle:
            self._closed_as_idle = True
            with trio.CancelScope(shield=True):
                await self._initiate_server_close()


def closing(scope: Scope, send: ASGISendCallable, context: WorkerContext) -> ASGISendCallable:
    """Return a ``send`` that announces the end of the connection in answers after the stop."""
    if scope["type"] != "http" or not scope["http_version"].startswith("1"):
        return send

    async def announce(message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and context.terminated.is_set():
            message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        await send(message)

    return announce
