"""How a server stops: what finishes, what is cut, and in which order."""

from __future__ import annotations

import logging
import math
import ssl
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived
from hypercorn.config import Config

from nestling import Process, running
from nestling.adapters.asgi import ASGIServer, asgi_server
from tests.adapters.asgi.app import App
from tests.adapters.asgi.http_client import Connection, CutError, connected, get

if TYPE_CHECKING:
    from tests.adapters.asgi.app import Message, Receive, Send


CERTIFICATE = Path(__file__).with_name("localhost.pem")


async def refuses(url: str) -> bool:
    """Tell whether ``url`` refuses a connection."""
    try:
        async with connected(url):
            return False
    except OSError:
        return True


async def until_draining(server: ASGIServer) -> None:
    """Wait until ``server`` takes no connections any more."""
    with trio.fail_after(60):
        while not await refuses(server.urls[0]):
            await trio.lowlevel.checkpoint()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the warnings and errors that were logged."""
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


@pytest.mark.parametrize("drain", [10, math.inf])
async def test_a_request_in_flight_finishes_and_no_new_connection_is_taken(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture, drain: float
) -> None:
    app = App()
    process = Process(nursery, server := asgi_server(app, drain=drain))
    await process.start()
    await get(server.urls[0])  # an earlier connection, which is gone
    async with connected(server.urls[0]) as connection:
        await connection.ask("/slow")
        await app.arrived.wait()
        nursery.start_soon(process.stop)
        await until_draining(server)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert app.events == ["startup"]
        app.release.set()
        reply = await connection.answer()
        assert reply.body == b"at last"
        assert reply.headers[b"connection"] == b"close"
        assert await connection.is_closed()
    await process.wait()
    assert app.events == ["startup", "answered", "shutdown"]
    assert warnings(caplog) == []


async def test_hypercorns_own_grace_does_not_cut(nursery: trio.Nursery) -> None:
    config = Config()
    config.graceful_timeout = 0
    app = App()
    server = asgi_server(app, config=config, bind="127.0.0.1:0")
    process = Process(nursery, server)
    await process.start()
    async with connected(server.urls[0]) as connection:
        await connection.ask("/slow")
        await app.arrived.wait()
        nursery.start_soon(process.stop)
        await until_draining(server)
        app.release.set()
        assert (await connection.answer()).body == b"at last"
    await process.wait()


@pytest.mark.parametrize("drain", [0, 0.05])
async def test_what_has_not_finished_in_time_is_cut_and_the_application_shut_down(
    caplog: pytest.LogCaptureFixture, drain: float
) -> None:
    app = App()
    async with AsyncExitStack() as clients:
        async with running(server := asgi_server(app, drain=drain)):
            connections: list[Connection] = []
            for _ in range(2):
                connection = await clients.enter_async_context(connected(server.urls[0]))
                app.arrived = trio.Event()
                await connection.ask("/slow")
                await app.arrived.wait()
                connections.append(connection)
        for connection in connections:
            with pytest.raises(CutError):
                await connection.answer()
    assert app.events == ["startup", "cut", "cut", "shutdown"]
    assert warnings(caplog) == ["App: cut requests in flight: 2"]


async def test_idle_connections_are_closed_at_once(caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as clients:
        with trio.fail_after(60):
            async with running(server := asgi_server(App(), drain=math.inf)):
                used = await clients.enter_async_context(connected(server.urls[0]))
                fresh = await clients.enter_async_context(connected(server.urls[0]))
                half = await clients.enter_async_context(connected(server.urls[0]))
                await used.ask()
                await used.answer()
                await half.stream.send_all(b"GET / HTTP/1.1\r\nHost:")
                # An answer on the last connection: the server has seen the others by then.
                await used.ask()
                await used.answer()
        for connection in (used, fresh, half):
            assert await connection.is_closed()
    assert warnings(caplog) == []


async def test_a_tls_connection_that_has_not_come_to_a_request_is_closed_at_once() -> None:
    config = Config()
    config.certfile = config.keyfile = str(CERTIFICATE)
    trust = ssl.create_default_context(cafile=str(CERTIFICATE))
    async with AsyncExitStack() as clients:
        with trio.fail_after(60):
            server = asgi_server(App(), config=config, bind="127.0.0.1:0", drain=math.inf)
            async with running(server):
                silent = await clients.enter_async_context(connected(server.urls[0]))
                strange = await clients.enter_async_context(connected(server.urls[0]))
                await strange.stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
                while await strange.stream.receive_some():
                    pass
                used = await clients.enter_async_context(connected(server.urls[0], trust))
                await used.ask()
                await used.answer()
        assert await silent.is_closed()


@pytest.mark.parametrize("forced", [False, True])
async def test_a_client_that_does_not_read_holds_nothing_up(forced: bool) -> None:
    app = App()
    with trio.fail_after(60):
        async with AsyncExitStack() as clients:
            with trio.CancelScope() as scope:
                drain = math.inf if forced else 0.05
                async with running(server := asgi_server(app, drain=drain)):
                    connection = await clients.enter_async_context(connected(server.urls[0]))
                    await connection.ask("/flood")
                    await app.arrived.wait()
                    await trio.testing.wait_all_tasks_blocked(0.05)
                    if forced:
                        scope.cancel()
                        await trio.sleep_forever()
    assert app.events == ["startup", "shutdown"]


async def test_a_websocket_is_cut_when_the_time_is_over(caplog: pytest.LogCaptureFixture) -> None:
    app = App()
    async with AsyncExitStack() as clients, running(server := asgi_server(app, drain=0.05)):
        connection = await clients.enter_async_context(connected(server.urls[0]))
        await connection.stream.send_all(
            b"GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await app.arrived.wait()
    assert app.events == ["startup", "shutdown"]
    assert warnings(caplog) == ["App: cut requests in flight: 1"]


async def test_an_http2_request_in_flight_finishes(nursery: trio.Nursery) -> None:
    app = App()
    process = Process(nursery, server := asgi_server(app))
    await process.start()
    client = H2Connection(H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    fields = {"method": "GET", "path": "/slow", "scheme": "http", "authority": "localhost"}
    client.send_headers(1, [(f":{name}", value) for name, value in fields.items()], True)
    received = b""
    async with connected(server.urls[0]) as connection:
        await connection.stream.send_all(client.data_to_send())
        await app.arrived.wait()
        nursery.start_soon(process.stop)
        await until_draining(server)
        app.release.set()
        with trio.fail_after(60):
            while data := await connection.stream.receive_some(65536):
                for event in client.receive_data(data):
                    received += event.data if isinstance(event, DataReceived) else b""
                if ours := client.data_to_send():
                    with suppress(trio.BrokenResourceError):
                        await connection.stream.send_all(ours)
    await process.wait()
    assert received == b"at last"
    assert app.events == ["startup", "answered", "shutdown"]


async def test_a_forced_stop_cuts_at_once_and_shuts_the_application_down(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = App()
    server = asgi_server(app, drain=math.inf)
    with trio.fail_after(60), trio.CancelScope() as scope:
        async with running(server), connected(server.urls[0]) as connection:
            await connection.ask("/slow")
            await app.arrived.wait()
            scope.cancel()
            await connection.answer()
    assert scope.cancelled_caught
    assert app.events == ["startup", "cut", "shutdown"]
    assert warnings(caplog) == ["App: cut requests in flight: 1"]


async def test_a_forced_stop_cuts_what_drains(nursery: trio.Nursery) -> None:
    app = App()
    process = Process(nursery, server := asgi_server(app, drain=math.inf))
    await process.start()
    async with connected(server.urls[0]) as connection:
        await connection.ask("/slow")
        await app.arrived.wait()
        with trio.fail_after(60), trio.CancelScope() as patience:
            nursery.start_soon(_cancel_when_draining, server, patience)
            await process.stop()
        with pytest.raises(CutError):
            await connection.answer()
    assert app.events == ["startup", "cut", "shutdown"]


async def _cancel_when_draining(server: ASGIServer, scope: trio.CancelScope) -> None:
    await until_draining(server)
    scope.cancel()


async def test_the_callback_is_gone_before_the_server_begins_to_stop() -> None:
    app = App()
    server = asgi_server(app)

    async def callback() -> None:
        scope.cancel()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                assert (await get(server.urls[0])).body == b"hello"
            app.events.append("callback over")

    with trio.CancelScope() as scope:
        await server.run(callback)
    assert app.events == ["startup", "callback over", "shutdown"]


async def test_an_error_of_the_callback_comes_out_bare_after_a_graceful_stop() -> None:
    app = App()
    server = asgi_server(app)
    error = LookupError("mine")

    async def callback() -> None:
        connection = await clients.enter_async_context(connected(server.urls[0]))
        await connection.ask("/slow")
        await app.arrived.wait()
        app.release.set()
        raise error

    async with AsyncExitStack() as clients:
        with pytest.raises(LookupError) as caught:
            await server.run(callback)
    assert caught.value is error
    assert app.events == ["startup", "answered", "shutdown"]


async def test_an_exit_asked_for_by_a_request_comes_out_bare() -> None:
    async def app(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raise SystemExit(7)

    async def callback() -> None:
        await get(server.urls[0])

    server = asgi_server(app)
    with pytest.raises(SystemExit) as caught:
        await server.run(callback)
    assert caught.value.code == 7


async def test_under_load_each_request_that_reached_the_application_is_answered() -> None:
    """A stop finds connections in any state, and takes neither an answer nor a request away."""
    for _ in range(10):
        app, answers = App(), 0

        async def client(server: ASGIServer, app: App) -> None:
            nonlocal answers
            with suppress(OSError, CutError):
                async with connected(server.urls[0]) as connection:
                    while True:
                        await connection.ask()
                        assert (await connection.answer()).body == b"hello"
                        answers += 1
                        app.arrived.set()

        async with trio.open_nursery() as clients:
            with trio.fail_after(60):
                async with running(server := asgi_server(app, drain=math.inf)):
                    for _ in range(20):
                        clients.start_soon(client, server, app)
                    await app.arrived.wait()
        assert answers == [scope["type"] for scope in app.scopes].count("http")
