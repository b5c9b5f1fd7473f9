"""ASGI applications, served by hypercorn on trio.

A run goes through these steps, and back through them:

1. The addresses are bound, without taking connections: one that is in use is an error before the
   application does anything.
2. The application starts up (ASGI lifespan).
3. Connections are taken; the callback is entered.

======================  =========================================================================
event                   outcome
======================  =========================================================================
an address is in use    `OSError`, which names it; the application is not started
the start-up fails      its error; the addresses are free again
graceful stop           no new connection; idle ones are closed; requests in flight finish; after
                        ``drain`` seconds they are cut; then the application shuts down
forced stop             requests are cut at once; then the application shuts down, in a cancelled
                        scope
the callback raises     like a graceful stop; the error comes out
======================  =========================================================================
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from nestling._kernel._chain import chain
from nestling._kernel._checks import check_seconds, describe_value, label_of
from nestling._kernel._errors import InvalidStateError, MissingExtraError, NotRunningError
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import protected
from nestling._kernel._node import current_node, run_in, unwatched_node
from nestling._kernel._worker import worker

try:
    from hypercorn.config import Config
except ImportError as _missing:
    raise MissingExtraError("asgi", "hypercorn") from _missing

from nestling.adapters.asgi._connections import Connections
from nestling.adapters.asgi._lifespan import Lifespan, LifespanError as LifespanError
from nestling.adapters.asgi._log import NodeLogger, with_log
from nestling.adapters.asgi._sockets import Bind, Sockets, bind_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nestling._kernel._node import Callback
    from nestling._kernel._worker import WorkerHandle
    from nestling.adapters.asgi._lifespan import ASGIApp

__all__ = ["ASGIServer", "LifespanError", "asgi_server"]

_DEFAULT_BIND = "127.0.0.1:0"


def asgi_server(
    app: ASGIApp,
    *,
    bind: str | Sequence[str] | None = None,
    config: Config | None = None,
    drain: float = 10,
) -> ASGIServer:
    """Make a runnable that serves an ASGI application.

    It is running once it takes connections. A stop closes the listeners first and lets the requests
    in flight finish; the application's lifespan shutdown runs in every case, with whatever
    time a forced stop leaves it: in a cancelled scope, each checkpoint raises `trio.Cancelled`.

    Args:
        app: called as ``await app(scope, receive, send)``. An application without lifespan, one
            that raises or returns before it has received the start-up message, is served as well.
        bind: where to listen: ``host:port``, ``[ipv6]:port``, ``unix:path`` or ``fd://number``, or
            several of them. Port 0 is a free port; `ASGIServer.urls` tells which. By default that
            of ``config``, or without one ``127.0.0.1:0``.
        config: settings for connections and protocols: TLS, keep-alive, HTTP/2, limits, logs, the
            time for the lifespan. It is copied. Settings for processes, such as ``workers`` and
            ``max_requests``, have no effect, and ``graceful_timeout`` gives way to ``drain``.
        drain: for how many seconds a graceful stop waits for requests in flight; they are cut
            afterwards, with a warning. WebSockets and endless streams are requests in flight.

    Raises, when it runs:
        OSError: an address cannot be listened on.
        LifespanError: the application answered that it could not start up, or shut down.
        InvalidStateError: it is running already. It can be run again after the end of a run.

    What the application itself raises in its lifespan comes out as it is. What it raises for a
    request is logged, and the client gets a 500.

    Example::

        http = asgi_server(app, bind="127.0.0.1:8000")
    """
    check_async(app, "app of asgi_server()", arity=3)
    asked = f"asgi_server({label_of(app)!r})"
    if config is not None and not isinstance(cast("object", config), Config):
        raise TypeError(
            f"config of {asked} must be a hypercorn.config.Config, not {describe_value(config)}"
        )
    if bind is None and config is None:
        bind = _DEFAULT_BIND
    config = Config() if config is None else copy.copy(config)
    if bind is not None:
        config.bind = _addresses(bind, f"bind of {asked}")
    return ASGIServer(app, config, check_seconds(drain, f"drain of {asked}"))


def _addresses(bind: object, argument: str) -> list[str]:
    several = [bind] if isinstance(bind, str) else bind
    if not isinstance(several, Iterable):
        raise TypeError(f"{argument} must be an address or several, not {describe_value(bind)}")
    addresses: list[str] = []
    for address in cast("Iterable[object]", several):
        if not isinstance(address, str):
            raise TypeError(f"{argument} must be a string, not {describe_value(address)}")
        addresses.append(address)
    return addresses


class ASGIServer:
    """A served ASGI application; made by `asgi_server`."""

    def __init__(self, app: ASGIApp, config: Config, drain: float) -> None:
        if config.quic_bind:
            raise ValueError("quic_bind is not supported: HTTP/3 has no graceful stop")
        self._app = app
        self._config = config
        self._drain = drain
        self._binds = [Bind(text, tls=config.ssl_enabled) for text in config.bind]
        if config.ssl_enabled:
            self._binds += [Bind(text, tls=False) for text in config.insecure_bind]
        if not self._binds:
            raise ValueError("bind must be one address or more, not none")
        self._runs = False
        self._urls: tuple[str, ...] | None = None

    def __repr__(self) -> str:
        return f"asgi_server(bind={[bind.text for bind in self._binds]})"

    @property
    def urls(self) -> tuple[str, ...]:
        """The base URLs, such as ``http://127.0.0.1:8000``; a Unix socket is ``unix:path``.

        Raises:
            NotRunningError: the server is not running.
        """
        if self._urls is None:
            raise NotRunningError(f"{self!r} has no urls: it is not running")
        return self._urls

    @protected
    async def run(self, f: Callback, /) -> None:
        """Bind, start the application, take connections; call ``f``; and all the way back."""
        node = unwatched_node(label_of(self._app), "asgi_server")
        if self._runs:
            raise InvalidStateError(
                f"cannot run the asgi_server {node.path!r}: it is running; "
                f"make another one for another run"
            )
        self._runs = True
        try:
            await run_in(node, self._run, f)
        finally:
            self._runs = False
            self._urls = None

    async def _run(self, f: Callback) -> None:
        sockets = await bind_all(self._binds)
        try:
            await self._run_on(sockets, f)
        finally:
            sockets.close()

    async def _run_on(self, sockets: Sockets, f: Callback) -> None:
        node = current_node()
        assert node is not None
        config, log = self._config, NodeLogger(node.path)
        context = config.create_ssl_context()
        lifespan = Lifespan(self._app, config.startup_timeout, config.shutdown_timeout, log)
        server = Connections(self._app, with_log(config, log), lifespan.state, self._drain, log)

        async def connections(handle: WorkerHandle) -> None:
            self._urls = sockets.listen(config.backlog)
            log.info("listening on %s", ", ".join(self._urls))
            await server.serve(handle, sockets.listeners(context))

        await chain(worker(lifespan.lifespan), worker(connections)).run(f)
