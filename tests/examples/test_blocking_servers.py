"""The blocking servers: what a graceful stop waits for, what a forced one cuts, and whose error."""

from __future__ import annotations

import errno
import signal
import socket
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import trio

from docs.examples import blocking_servers
from docs.examples.blocking_servers import Capitals, PoliteServer, Server, Sums, in_thread, serve
from nestling import StopTimeoutError, chain, leaf, named, nop, running, timeouts
from nestling.testing import record
from tests.app.processes import Program, started

FILE = Path(blocking_servers.__file__)
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")


class Client:
    """A blocking client."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._lines = self._socket.makefile("rb")

    def send(self, text: bytes) -> None:
        self._socket.sendall(text)

    def line(self) -> bytes:
        return self._lines.readline()

    def rest(self) -> bytes:
        """Receive until the end; nothing where the connection was reset."""
        try:
            return self._lines.read()
        except ConnectionError:
            return b""

    def hang_up(self) -> None:
        self._lines.close()
        self._socket.close()


HALF_A_REQUEST = b"POST / HTTP/1.0\r\ncontent-length: 4\r\n\r\nne"


def ports(program: Program) -> dict[str, int]:
    """Wait until both serve; return the ports by name."""
    lines = [program.wait_for("listens on port").split() for _ in range(2)]
    program.wait_for("servers: running")
    return {line[0].rpartition(":")[2]: int(line[-1]) for line in lines}


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_graceful_stop_finishes_the_requests_in_flight_and_waits_for_clients_to_hang_up(
    number: signal.Signals,
) -> None:
    with started(FILE) as program:
        port = ports(program)
        web, sums = Client(port["web"]), Client(port["sums"])
        web.send(HALF_A_REQUEST)
        program.wait_for("a request has begun")
        sums.send(b"1 2 3\n")
        assert sums.line() == b"6\n"
        program.send(number)
        assert sums.line() == b"bye\n"
        sums.send(b"20 22\n")
        assert sums.line() == b"42\n"
        sums.hang_up()
        program.wait_for("servers/sums: stopped")
        web.send(b"st")
        assert web.rest().endswith(b"\r\n\r\nNEST")
        web.hang_up()
        assert program.end() == 0
    for name in ("servers/web", "servers/sums"):
        steps = ["threads: stopping", "threads: stopped", "port: stopping", "port: stopped"]
        places = [program.output.index(f"{name}/{step}") for step in steps]
        assert places == sorted(places)
    assert program.lines[-1] == "INFO:nestling:servers: stopped\n"


@needs_signals
def test_a_second_signal_cuts_all_connections() -> None:
    with started(FILE) as program:
        port = ports(program)
        web, sums = Client(port["web"]), Client(port["sums"])
        web.send(HALF_A_REQUEST)
        program.wait_for("a request has begun")
        sums.send(b"1\n")
        assert sums.line() == b"1\n"
        program.send(signal.SIGTERM)
        assert sums.line() == b"bye\n"
        program.send(signal.SIGTERM)
        assert b"NE" not in web.rest()
        assert sums.rest() == b""
        assert program.end() == 0
        web.hang_up()
        sums.hang_up()
    assert "servers: forced" in program.output
    assert "Traceback" not in program.output
    assert program.lines[-1] == "INFO:nestling:servers: stopped\n"


async def client(server: Server) -> Client:
    return await trio.to_thread.run_sync(Client, server.server_address[1])


async def test_a_new_connection_is_refused_after_the_stop_and_the_port_is_free_again() -> None:
    server = PoliteServer("sums", Sums)
    async with running(serve(lambda: server)):
        sums = await client(server)
        sums.send(b"1 2\n")
        assert await trio.to_thread.run_sync(sums.line) == b"3\n"
        sums.hang_up()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.server_address[1]))
    assert server.connections == set()


async def test_a_cancellation_cuts_the_connections_and_waits_for_the_threads() -> None:
    server = Server("sums", Sums)
    sums = await client(server)
    sums.send(b"1 2\n")
    with trio.CancelScope() as scope:
        async with running(serve(lambda: server)):
            assert await trio.to_thread.run_sync(sums.line) == b"3\n"
            scope.cancel("the test is over")
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not [each for each in threading.enumerate() if "process_request" in each.name]
    assert await trio.to_thread.run_sync(sums.rest) == b""
    sums.hang_up()


async def test_after_its_time_a_graceful_stop_is_forced_and_says_so() -> None:
    server = Server("sums", Sums)
    sums = await client(server)
    sums.send(b"1 2\n")
    with pytest.raises(StopTimeoutError) as caught:
        async with running(named("sums", timeouts(serve(lambda: server), stop=0.01))):
            assert await trio.to_thread.run_sync(sums.line) == b"3\n"
    assert caught.value.path == "sums"
    assert await trio.to_thread.run_sync(sums.rest) == b""
    sums.hang_up()


async def test_the_error_of_the_serving_thread_comes_out_bare_and_cancels_what_depends_on_it() -> (
    None
):
    class Broken(Server):
        def service_actions(self) -> None:
            raise LookupError("no such thing")

    with record() as trace, pytest.raises(LookupError, match="no such thing"):
        async with running(chain(serve(lambda: Broken("broken", Sums)), named("dependent", nop()))):
            await trio.sleep_forever()
    trace.assert_order("dependent stopped", "threads stopped", "port stopping", "port stopped")


async def test_the_error_of_the_shutdown_comes_out_bare_and_the_server_ends_all_the_same() -> None:
    class Careless(Server):
        def stop(self) -> None:
            raise LookupError("no such thing")

    with record() as trace, pytest.raises(LookupError, match="no such thing"):
        async with running(serve(lambda: Careless("careless", Sums))):
            pass
    assert trace.names("stopped") == ["threads", "port"]


async def test_a_port_in_use_is_an_error_of_the_start_and_nothing_serves() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with record() as trace, pytest.raises(OSError, match="in use") as caught:
            async with running(serve(lambda: Server("sums", Sums, port))):
                raise AssertionError("it must not be served")
    assert caught.value.errno == errno.EADDRINUSE
    assert trace.names("starting") == ["port"]


async def test_a_request_that_fails_ends_neither_the_server_nor_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server("sums", Sums)
    async with running(serve(lambda: server)):
        bad, good = await client(server), await client(server)
        bad.send(b"one two\n")
        assert await trio.to_thread.run_sync(bad.rest) == b""
        good.send(b"1 2\n")
        assert await trio.to_thread.run_sync(good.line) == b"3\n"
        bad.hang_up()
        good.hang_up()
    (record,) = caplog.records
    assert "has failed: ValueError(" in record.getMessage()


async def test_it_serves_and_stops_also_where_all_shared_threads_are_in_use() -> None:
    limiter, holder = trio.to_thread.current_default_thread_limiter(), object()
    limiter.total_tokens, before = 1, limiter.total_tokens
    await limiter.acquire_on_behalf_of(holder)
    try:
        with record() as trace:
            async with running(serve(lambda: Server("web", Capitals))):
                assert limiter.available_tokens == 0
    finally:
        limiter.release_on_behalf_of(holder)
        limiter.total_tokens = before
    assert trace.names("stopped") == ["threads", "port"]


async def test_it_can_run_again_after_its_end() -> None:
    servers: list[Server] = []

    def make_server() -> Server:
        servers.append(Server("sums", Sums))
        return servers[-1]

    program = serve(make_server)
    for _ in range(2):
        async with running(program):
            sums = await client(servers[-1])
            sums.send(b"1 2\n")
            assert await trio.to_thread.run_sync(sums.line) == b"3\n"
            sums.hang_up()
    assert len(servers) == 2


# What awaits a thread -----------------------------------------------------------------------------


class Gate:
    """Work for a thread, until it is told to give up."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.happened: list[str] = []
        self.begun = trio.Event()
        self._error = error
        self._open = threading.Event()

    def work(self) -> None:
        self.happened.append("works")
        trio.from_thread.run_sync(self.begun.set)
        self._open.wait()
        self.happened.append("ends")
        if self._error is not None:
            raise self._error

    def give_up(self) -> None:
        self.happened.append("gives up")
        self._open.set()


async def test_a_thread_is_given_up_when_it_is_cancelled_and_waited_for() -> None:
    gate = Gate()
    async with running(leaf(partial(in_thread, gate.work, gate.give_up))):
        await gate.begun.wait()
        gate.happened.append("is stopped")
    assert gate.happened == ["works", "is stopped", "gives up", "ends"]


async def test_the_error_of_a_thread_that_was_given_up_comes_out_bare() -> None:
    error = LookupError("no such thing")
    gate = Gate(error)
    with pytest.raises(LookupError) as caught:
        async with running(leaf(partial(in_thread, gate.work, gate.give_up))):
            await gate.begun.wait()
    assert caught.value is error


async def test_a_thread_that_is_cancelled_before_it_begins_is_given_up_as_well() -> None:
    gate = Gate()
    with trio.CancelScope() as scope:
        scope.cancel("at once")
        await in_thread(gate.work, gate.give_up)
    assert sorted(gate.happened) == ["ends", "gives up", "works"]


async def test_a_thread_that_returns_by_itself_is_not_given_up() -> None:
    gate = Gate()
    await in_thread(lambda: None, gate.give_up)
    assert gate.happened == []
