"""Servers that block, from the standard library, as services that start and stop in order.

Run it, and ask the two servers, with the ports that it logs::

    python docs/examples/blocking_servers.py

    curl -d 'hello' localhost:PORT
    nc localhost PORT

The first is a web server that returns what it is sent, in capitals. The second adds up numbers,
line after line, for as long as a client stays. Ctrl-C: both take no new connection. The web server
finishes the requests in flight; the other says ``bye`` to its clients, and waits until each
has hung up. Press Ctrl-C again, or wait for ten seconds, and all connections are cut.

A thread cannot be cancelled, as a task can. So what blocks comes with something that makes it
return: `in_thread` is that pair.
"""

import logging
import socket
import socketserver
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
from typing import Any

import outcome
import trio

import nestling
from nestling import Runnable, chain, leaf, named, parallel, resource, timeouts

log = logging.getLogger("servers")

# Threads ------------------------------------------------------------------------------------------


async def in_thread(work: Callable[[], None], give_up: Callable[[], None]) -> None:
    """Await ``work()``, in a thread; where that is cancelled, make it return by ``give_up()``.

    It is waited for in each case, and no error of it is lost.
    """

    async def watch() -> None:
        try:
            await trio.sleep_forever()
        finally:
            if not returned:
                with trio.CancelScope(shield=True):
                    await blocking(give_up)

    returned = False
    result: outcome.Outcome[None] = outcome.Value(None)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with trio.CancelScope(shield=True):
                result = await blocking(partial(outcome.capture, work))
            returned = True
            nursery.cancel_scope.cancel("the thread has returned")
    finally:
        result.unwrap()  # an error comes out bare, and before a cancellation


async def blocking(function: Callable[[], Any]) -> Any:
    """Call a function in a thread of its own, however many others are in use."""
    return await trio.to_thread.run_sync(function, limiter=trio.CapacityLimiter(1))


# A server of the standard library -----------------------------------------------------------------


class Server(socketserver.ThreadingTCPServer):
    """Has a thread for each connection; `server_close` waits for all of them."""

    daemon_threads = False

    def __init__(
        self, name: str, handler: type[socketserver.BaseRequestHandler], port: int = 0
    ) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.connections = set[socket.socket]()
        log.info("%s listens on port %d", name, self.server_address[1])

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, client = super().get_request()
        self.connections.add(connection)
        return connection, client

    def shutdown_request(self, request: Any) -> None:
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.warning("a request of %s has failed: %r", client_address, sys.exc_info()[1])

    def serve(self) -> None:
        """Serve until it is shut down; then wait for the requests in flight."""
        with self:
            self.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """Take no new connections. What is in flight is waited for by `serve`."""
        self.shutdown()

    def cut(self) -> None:
        """Stop at once."""
        self.shutdown()
        for connection in tuple(self.connections):
            with suppress(OSError):  # it has just been closed
                connection.shutdown(socket.SHUT_RDWR)


class PoliteServer(Server):
    """Tells its clients that it is going."""

    def stop(self) -> None:
        super().stop()
        for connection in tuple(self.connections):
            with suppress(OSError):
                connection.sendall(b"bye\n")


# As a service -------------------------------------------------------------------------------------


def serve(make_server: Callable[[], Server]) -> Runnable:
    """Open the port first, so that one in use is an error of the start; then serve there."""
    port = resource(make_server)  # its context closes it
    return chain(
        named("port", port),
        named(
            "threads",
            leaf(
                lambda: in_thread(port.value.serve, port.value.cut),
                lambda: in_thread(port.value.stop, port.value.cut),
            ),
        ),
    )


# The two of them ----------------------------------------------------------------------------------


class Capitals(BaseHTTPRequestHandler):
    """Returns what it is sent, in capitals."""

    def do_POST(self) -> None:
        log.info("a request has begun")
        text = self.rfile.read(int(self.headers["content-length"])).upper()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        log.debug(format, *args)


class Sums(socketserver.StreamRequestHandler):
    """Adds up each line of numbers."""

    def handle(self) -> None:
        for line in self.rfile:
            total = sum(map(int, line.split()))
            self.wfile.write(b"%d\n" % total)


def make_servers() -> Runnable:
    servers = parallel(
        named("web", serve(lambda: Server("web", Capitals))),
        named("sums", serve(lambda: PoliteServer("sums", Sums))),
    )
    return named("servers", timeouts(servers, stop=10))


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    nestling.run(make_servers())
