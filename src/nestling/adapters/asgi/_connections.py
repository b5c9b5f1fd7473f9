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
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState

from nestling.adapters.asgi._connection import Connection, RefusedError, closing

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
        self._last_gone: trio.Event | None = None
        self._log = log
        self._requests_cut = 0
        self._interrupts: list[BaseException] = []

    async def serve(self, handle: WorkerHandle, listeners: list[Listener]) -> None:
        """Take connections until the stop, and drain them."""
        self._handle = handle
        errors: list[BaseException] = []
        try:
            async with trio.open_nursery() as self._nursery:
                self._nursery.start_soon(self._cut_when_cancelled)
                handle.ready()
                with handle.until_stopping():
                    await self._take(listeners)
                await self._context.terminated.set()
                with trio.move_on_after(self._drain):
                    await self._gone()
                self._nursery.cancel_scope.cancel(
                    f"requests in flight had {self._drain:g} s to finish"
                )
        except BaseExceptionGroup as group:
            errors.append(_only(group))
        finally:
            if self._requests_cut:
                self._log.warning("cut requests in flight: %d", self._requests_cut)
        error = next(iter([*self._interrupts, *errors]), None)
        try:
            if error is not None:
                raise error
        finally:
            # The traceback of what is raised has this frame, which is not to keep it in turn.
            del error
            errors.clear()
            self._interrupts.clear()

    async def _take(self, listeners: list[Listener]) -> None:
        await trio.serve_listeners(self._connection, listeners, handler_nursery=self._nursery)

    async def _gone(self) -> None:
        if self._streams:
            self._last_gone = trio.Event()
            await self._last_gone.wait()

    async def _cut_when_cancelled(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            for stream in self._streams:
                _socket_of(stream).close()

    async def _shakes_hands(self, stream: Stream) -> bool:
        """Shake hands where that is to be done; a stop cuts it short: no request has come in."""
        if not isinstance(stream, trio.SSLStream):
            return True
        with self._handle.until_stopping(), trio.move_on_after(self._config.ssl_handshake_timeout):
            try:
                await stream.do_handshake()
            except trio.BrokenResourceError:
                return False
            return True
        return False

    async def _connection(self, stream: Stream) -> None:
        if not await self._shakes_hands(stream):
            return
        self._streams.add(stream)
        # hypercorn declares one kind of stream, and takes the other as well.
        tls_stream = cast("trio.SSLStream[trio.SocketStream]", stream)
        state = ConnectionState(self._state.copy())
        app = ASGIWrapper(self._call)
        try:
            await Connection(app, self._config, self._context, state, tls_stream).run()
        except BaseException as raised:
            error, cancelled = _split(raised)
            if isinstance(error, Exception):
                self._failed(error)
            elif error is not None:
                self._interrupted(error)
            try:
                if cancelled is not None:
                    raise cancelled from None
            finally:
                del error, cancelled
        finally:
            self._streams.discard(stream)
            if self._last_gone is not None and not self._streams:
                self._last_gone.set()

    def _failed(self, error: Exception) -> None:
        # One client must not bring down the others.
        if not isinstance(_only(error), RefusedError):
            self._log.error("a connection failed", exc_info=error)

    def _interrupted(self, error: BaseException) -> None:
        # Kept and not raised: a checkpoint on the way out would put `Cancelled` in its place.
        self._interrupts.append(error)
        reason = f"a request was interrupted by {type(error).__name__}"
        self._nursery.cancel_scope.cancel(reason)

    async def _call(
        self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        try:
            await self._app(scope, receive, closing(scope, send, self._context))
        finally:
            if trio.current_effective_deadline() == -math.inf:
                self._requests_cut += 1


def _socket_of(stream: Stream) -> trio.socket.SocketType:
    if isinstance(stream, trio.SSLStream):
        return stream.transport_stream.socket
    return stream.socket


def _split(raised: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """Return what is an error in ``raised``, bare where it is one, and what is cancellation."""
    if isinstance(raised, trio.Cancelled):
        return None, raised
    if not isinstance(raised, BaseExceptionGroup):
        return raised, None
    group = cast("BaseExceptionGroup[BaseException]", raised)
    cancelled, errors = group.split(trio.Cancelled)
    return None if errors is None else _only(errors), cancelled


def _only(error: BaseException) -> BaseException:
    """Return the only member of a group, of a group in it, and so on, or else the group itself."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    group = cast("BaseExceptionGroup[BaseException]", error)
    return _only(group.exceptions[0]) if len(group.exceptions) == 1 else group
