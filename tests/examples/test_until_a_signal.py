"""The worker and the HTTP server: until a signal, or until one of the two fails."""

from __future__ import annotations

import logging
import signal
import socket
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from docs.examples import until_a_signal
from docs.examples.until_a_signal import make_program
from nestling import Aborter, StopTimeoutError, leaf, run_until_signal, running
from nestling.testing import Probe, override, record
from tests.app.processes import Program, started, wait_until_refused

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

FILE = Path(until_a_signal.__file__)
PARTS = ("program/worker", "program/server")
needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")


class RequestInFlight:
    """A request that the server has taken, and whose body is missing yet."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        self._socket.sendall(
            b"POST / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n"
            b"content-length: 1\r\nexpect: 100-continue\r\n\r\n"
        )
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._socket.recv(1024)
        assert received.startswith(b"HTTP/1.1 100"), "the server has taken it"

    def finish(self) -> bytes:
        """Send the body, and return the answer."""
        with self._socket:
            self._socket.sendall(b"!")
            parts = iter(lambda: self._socket.recv(1024), b"")
            return b"".join(parts)

    def is_cut(self) -> bool:
        """Tell whether the connection ends without an answer."""
        try:
            return not self.finish()
        except ConnectionError:
            return True


def port_in(line: str) -> int:
    return int(line.rpartition(":")[2])


def until_served(program: Program) -> int:
    """Wait until all of it runs; return the port."""
    port = port_in(program.wait_for("listening on"))
    program.wait_for("program: running")
    return port


@needs_signals
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_at_a_signal_the_requests_in_flight_are_finished_and_no_new_ones_are_taken(
    number: signal.Signals,
) -> None:
    with started(FILE) as program:
        port = until_served(program)
        request = RequestInFlight(port)
        program.send(number)
        program.wait_for("program/server: stopping")
        wait_until_refused(port)
        answer = request.finish()
        assert program.end() == 0
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b" rounds are done\n")
    assert f"program: asked to stop by {number.name}" in program.output
    for part in PARTS:
        assert program.output.count(f"{part}: stopping") == 1
        assert program.output.count(f"{part}: stopped") == 1
    assert program.lines[-1] == "INFO:nestling:program: stopped\n"


@needs_signals
def test_a_second_signal_forces() -> None:
    with started(FILE) as program:
        request = RequestInFlight(until_served(program))
        program.send(signal.SIGTERM)
        program.wait_for("program/server: stopping")
        program.send(signal.SIGTERM)
        assert "program/server" in program.wait_for("program: forced")
        program.wait_for("program/server: stopped")
        assert request.is_cut()
        assert program.end() == 0
    assert program.lines[-1] == "INFO:nestling:program: stopped\n"


async def test_the_worker_finishes_its_round(autojump_clock: MockClock) -> None:
    with record() as trace:
        async with running(override(make_program(), {"server": Probe("server")})):
            await trio.sleep(1.2)
    start = trace.events[0].time
    stopped = {
        event.path: round(event.time - start, 6)
        for event in trace.events
        if type(event).__name__ == "Stopped"
    }
    assert stopped == {"program/server": 1.2, "program/worker": 1.5, "program": 1.5}


class Happened(defaultdict[str, trio.Event]):
    """An observer that tells when something has happened."""

    def __init__(self) -> None:
        super().__init__(trio.Event)

    def __call__(self, event: Any) -> None:
        self[f"{event.path} {type(event).__name__.lower()}"].set()


async def test_if_the_worker_fails_the_request_in_flight_is_finished_and_its_error_comes_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    happened = Happened()
    fail = trio.Event()

    async def work() -> None:
        await fail.wait()
        raise LookupError("nothing left to do")

    async def ask() -> None:
        await happened["program running"].wait()
        (line,) = (text for text in caplog.messages if "listening on" in text)
        request = await trio.to_thread.run_sync(RequestInFlight, port_in(line))
        fail.set()
        await happened["program/worker stopped"].wait()
        await happened["program/server stopping"].wait()
        answer = await trio.to_thread.run_sync(request.finish)
        assert answer.startswith(b"HTTP/1.1 200")

    program = override(make_program(), {"worker": leaf(work)})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        with pytest.raises(ExceptionGroup) as caught:
            await run_until_signal(program, signals=(), observers=[happened])
    (error,) = caught.value.exceptions
    assert (type(error), vars(error)["__notes__"]) == (LookupError, ["in 'worker'"])


async def test_whoever_refuses_to_stop_is_forced_after_the_timeout_and_named(
    autojump_clock: MockClock,
) -> None:
    happened, aborter = Happened(), Aborter()

    async def stop_it() -> None:
        await happened["program running"].wait()
        aborter.abort()

    stubborn = {"worker": Probe("worker", stop=60), "server": Probe("server")}
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_it)
        with pytest.raises(StopTimeoutError) as caught:
            await run_until_signal(
                override(make_program(), stubborn),
                signals=(),
                aborter=aborter,
                stop_timeout=5,
                observers=[happened],
            )
    assert trio.current_time() == 5
    assert "program/worker" in caught.value.stuck
    assert "program/server" not in caught.value.stuck
