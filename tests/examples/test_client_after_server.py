"""The client and its server: what starts first, what stops last, and whose error comes out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from docs.examples import client_after_server
from docs.examples.client_after_server import Server, make_program
from nestling import Runnable, leaf, run_until_signal, running, start_stop
from nestling.testing import Probe, Trace, override, record, schedules

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

FILE = Path(client_after_server.__file__)
IN_ORDER = [
    "server starting",
    "server running",
    "client starting",
    "client running",
    "client stopping",
    "client stopped",
    "server stopping",
    "server stopped",
]


def events(trace: Trace) -> list[str]:
    return [f"{event.path} {type(event).__name__.lower()}" for event in trace.events]


async def run_program(program: Runnable) -> Trace:
    """Run it until it asks for its own end."""
    with record() as trace:
        await run_until_signal(program, signals=())
    return trace


def test_the_program_prints_what_its_documentation_shows_and_ends_by_itself() -> None:
    program = subprocess.run(
        [sys.executable, str(FILE)], capture_output=True, text=True, timeout=60, check=False
    )
    shown = re.search(r"it prints::\n\n((?: {4}.*\n)+)", client_after_server.__doc__ or "")
    assert shown is not None
    assert (program.returncode, program.stderr) == (0, "")
    assert program.stdout == re.sub("^ {4}", "", shown[1], flags=re.MULTILINE)


@schedules(20)
async def test_the_client_starts_once_the_server_is_ready_and_the_server_stops_after_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    trace = await run_program(make_program())
    assert events(trace) == IN_ORDER
    assert capsys.readouterr().out == "server ready\nclient received: hello\n"


async def test_the_client_is_not_started_while_the_server_is_not_ready(
    autojump_clock: MockClock,
) -> None:
    server, client = Probe("server", start=5), Probe("client")
    with record() as trace:
        async with running(override(make_program(), {"server": server, "client": client})):
            assert trio.current_time() == 5
    assert events(trace) == IN_ORDER


async def test_a_stop_reaches_the_server_when_the_client_has_ended_however_long_that_takes(
    autojump_clock: MockClock,
) -> None:
    server, client = Probe("server", stop=1), Probe("client", stop=3)
    with record() as trace:
        async with running(override(make_program(), {"server": server, "client": client})):
            pass
    assert events(trace) == IN_ORDER
    assert [event.time - trace.events[0].time for event in trace.events[-4:]] == [0, 3, 3, 4]


async def test_a_client_that_has_ended_without_an_error_stops_nothing(
    autojump_clock: MockClock,
) -> None:
    server, client = Probe("server"), Probe("client", run=1, on_return="stay")
    async with running(override(make_program(), {"server": server, "client": client})):
        await trio.sleep(100)
    assert trio.current_time() == 100


async def test_a_server_that_fails_to_start_is_the_error_and_no_client_is_started() -> None:
    async def fail_to_bind() -> None:
        raise OSError("the port is taken")

    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        await run_until_signal(
            override(make_program(), {"server": start_stop(fail_to_bind, fail_to_bind)}),
            signals=(),
        )
    assert [str(error) for error in caught.value.exceptions] == ["the port is taken"]
    assert events(trace) == ["server starting", "server stopped"]


async def test_the_error_of_the_client_comes_out_and_the_server_stops_gracefully_after_it() -> None:
    async def fail() -> None:
        raise LookupError("no such host")

    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        await run_until_signal(override(make_program(), {"client": leaf(fail)}), signals=())
    (error,) = caught.value.exceptions
    assert (type(error), vars(error)["__notes__"]) == (LookupError, ["in 'client'"])
    trace.assert_order("client stopped", "server stopping", "server stopped")
    assert [getattr(event, "error", None) for event in trace.events[-2:]] == [None, None]


async def test_an_error_in_a_task_of_the_server_comes_out_as_well(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost = OSError("lost the thread")

    async def lose_it(server: Server, visitor: trio.SocketStream) -> None:
        raise lost

    monkeypatch.setattr(Server, "greet", lose_it)
    with pytest.raises(ExceptionGroup) as caught:
        await run_until_signal(make_program(), signals=())
    assert caught.value.message == "1 of 2 nodes failed: 'server'"
    assert lost in leaves(caught.value)


def leaves(error: BaseException) -> list[BaseException]:
    """Return the errors in a group, and in the groups in it."""
    if not isinstance(error, ExceptionGroup):
        return [error]
    group = cast("ExceptionGroup[Exception]", error)
    return [each for part in group.exceptions for each in leaves(part)]
