"""The connections of one run: taken until the stop, drained for a while, then cut.

The protocols are hypercorn's; its own server loop is not used. That one swallows an interrupt, and
it cannot close a connection whose client has stopped to read: hypercorn shields what it sends, so
such a client would hold up even a forced stop for as long as it likes.

========  ========================  ===========================================================
phase     event                     outcome
========  ========================  ===========================================================
serving   a connection              one task, in which hypercorn speaks with it
serving   a connection's task       logged; the other connections do not notice
          fails
serving   stop, graceful            draining: the listeners are closed, idle connections too
serving   stop, forced              cut
draining  a request is answered     its connection is closed
draining  no connection is left     the end
draining  the time is over          cut, with a warning that counts the requests
draining  stop, forced              cut
cut                                 handlers are cancelled, and sockets closed under their feet
========  ========================  ===========================================================
"""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, cast

import trio
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

if TYPE_CHECKING:
    import logging

    from hypercorn.config import Config
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

    from nestling._kernel import WorkerHandle
    from nestling.adapters.asgi._lifespan import ASGIApp
    from nestling.adapters.asgi._sockets import Listener

    Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Connections:
    """All connections of one run; the foreground of a worker."""

    def __init__(
        self,
        app: ASGIApp,
        config: Config,
        state: dict[str, Any],
        drain: float,
        log: logging.Logger,
    ) -> None:
        self._app = app
        self._config = config
        self._state = state
        self._drain = drain
        self._context = WorkerContext(max_requests=None)
        self._streams: set[Stream] = set()
        self._all_gone = trio.Event()
        self._log = log
        self._is_cut = False
        self._requests_cut = 0

    async def serve(self, handle: WorkerHandle, listeners: list[Listener]) -> None:
        """Take connections until the stop, and drain them."""
        error: BaseException | None = None
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cut_when_cancelled)
                handle.ready()
                with handle.until_stopping():
                    await trio.serve_listeners(self._connection, listeners, handler_nursery=nursery)
                await self._context.terminated.set()
                with trio.move_on_after(self._drain):
                    await self._gone()
                nursery.cancel_scope.cancel(f"the requests had {self._drain:g} s to finish")
        except BaseExceptionGroup as group:
            print("GROUP", repr(group)); error = _only(group)
        finally:
            if self._requests_cut:
                self._log.warning("cut requests in flight: %d", self._requests_cut)
        print("ERR", repr(error))
        if error is not None:
            try:
                raise error
            finally:
                del error

    async def _gone(self) -> None:
        if self._streams:
            await self._all_gone.wait()

    async def _cut_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self._is_cut = True
            for stream in self._streams:
                _socket_of(stream).close()

    async def _connection(self, stream: Stream) -> None:
        self._streams.add(stream)
        # hypercorn declares one kind of stream, and takes the other as well.
        tls_stream = cast("trio.SSLStream[trio.SocketStream]", stream)
        state = ConnectionState(self._state.copy())
        try:
            server = TCPServer(self._call, self._config, self._context, state, tls_stream)
            await server.run()
        except Exception as error:
            self._failed(error)
        except BaseExceptionGroup as group:
            errors, others = group.split(Exception)
            if errors is not None:
                self._failed(errors)
            assert others is not None
            raise others from None
        finally:
            self._streams.discard(stream)
            if not self._streams:
                self._all_gone.set()

    def _failed(self, error: BaseException) -> None:
        # One client must not bring down the others; and what fails for being cut is no news.
        if not self._is_cut:
            self._log.error("a connection failed", exc_info=error)

    async def _call(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        _sync_spawn: object,
        _call_soon: object,
    ) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if trio.current_effective_deadline() == -math.inf:
                self._requests_cut += 1


def _socket_of(stream: Stream) -> trio.socket.SocketType:
    if isinstance(stream, trio.SSLStream):
        return stream.transport_stream.socket
    return stream.socket


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what is in ``group``, bare if it is one thing."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
