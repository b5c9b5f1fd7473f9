"""`run` and `run_until_signal`, in this process."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing

from nestling import (
    InvalidStateError,
    StartTimeoutError,
    StopTimeoutError,
    abort,
    chain,
    leaf,
    named,
    nop,
    parallel,
    run,
    run_until_signal,
    start_stop,
)

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def nothing() -> None:
    pass


async def nowhere() -> None:
    raise OSError("no")


async def forever() -> None:
    await trio.sleep_forever()


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_it_returns_when_the_runnable_ends() -> None:
    trace = list[str]()

    async def record() -> None:
        trace.append("ran")

    run(leaf(record))
    assert trace == ["ran"]


def test_an_error_comes_out_bare() -> None:
    error = OSError("no")

    async def fail() -> None:
        raise error

    with pytest.raises(OSError, match="no") as raised:
        run(named("db", leaf(fail)))
    assert raised.value is error


def test_a_group_comes_out_as_it_is() -> None:
    async def fail() -> None:
        raise OSError("no")

    with pytest.raises(ExceptionGroup, match="1 of 2 members failed: 'a'") as raised:
        run(parallel(named("a", leaf(fail)), named("b", leaf(forever))))
    assert [str(error) for error in raised.value.exceptions] == ["no"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_gracefully_and_its_handlers_are_put_back(number: int) -> None:
    before, trace = handlers(), list[str]()

    async def raise_signal() -> None:
        trace.append("start")
        assert handlers() != before
        signal.raise_signal(number)
        await forever()

    async def stop() -> None:
        await trio.lowlevel.checkpoint()
        trace.append("stopped")

    run(chain(start_stop(nothing, stop), leaf(raise_signal)))
    assert trace == ["start", "stopped"]
    assert handlers() == before


def test_the_handlers_are_put_back_after_an_error() -> None:
    before = handlers()

    async def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        run(leaf(fail))
    assert handlers() == before


def test_a_handler_of_ones_own_is_put_back() -> None:
    def own(number: int, frame: object) -> None:
        del number, frame

    before = signal.signal(signal.SIGTERM, own)
    try:
        run(leaf(nothing))
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_second_signal_forces() -> None:
    trace = list[str]()

    async def stop() -> None:
        signal.raise_signal(signal.SIGTERM)
        try:
            await forever()
        except trio.Cancelled as cancelled:
            trace.append(f"{cancelled.reason}")
            raise

    async def raise_signal() -> None:
        signal.raise_signal(signal.SIGTERM)
        await forever()

    run(named("app", chain(start_stop(nothing, stop), leaf(raise_signal))))
    assert trace == ["'app' is forced to stop by SIGTERM"]


def test_only_the_signals_that_were_asked_for_are_handled() -> None:
    before = handlers()
    seen = list[object]()

    async def look() -> None:
        seen.extend(handlers())

    run(leaf(look), signals=[signal.SIGTERM])
    assert seen[1] != before[1]
    assert seen[0] is not seen[1]


def test_without_signals_ctrl_c_forces_and_comes_out_bare() -> None:
    trace = list[str]()

    async def stop() -> None:
        trace.append("stopping")
        await trio.lowlevel.checkpoint()
        trace.append("not reached")

    async def press() -> None:
        signal.raise_signal(signal.SIGINT)
        await forever()

    with pytest.raises(KeyboardInterrupt):
        run(chain(start_stop(nothing, stop), leaf(press)), signals=())
    assert trace == ["stopping"]


async def test_a_start_that_takes_too_long_is_cancelled(
    autojump_clock: trio.testing.MockClock,
) -> None:
    slow = named("app", chain(named("db", nop()), named("http", start_stop(forever, nothing))))
    with pytest.raises(StartTimeoutError) as raised:
        await run_until_signal(slow, start_timeout=2)
    assert (raised.value.path, raised.value.seconds) == ("app", 2)
    assert raised.value.stuck == ("app/http",)
    assert autojump_clock.current_time() == 2


async def test_a_stop_that_takes_too_long_is_forced_and_logged(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async def raise_signal() -> None:
        signal.raise_signal(signal.SIGTERM)
        await forever()

    app = chain(named("http", start_stop(nothing, forever)), named("alarm", leaf(raise_signal)))
    with pytest.raises(StopTimeoutError) as raised:
        await run_until_signal(named("app", app), stop_timeout=2)
    assert raised.value.stuck == ("app/http",)
    assert autojump_clock.current_time() == 2
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == ["app: forced: app/http"]


async def test_cancelling_it_takes_it_down_from_the_inside_out() -> None:
    trace = list[str]()

    def recording(name: str) -> Any:
        async def stay() -> None:
            try:
                await forever()
            finally:
                trace.append(name)

        return leaf(stay)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_until_signal, chain(*map(recording, "abc")))
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert trace == ["c", "b", "a"]


def test_off_the_main_thread_signals_are_refused_before_anything_starts() -> None:
    trace = list[str]()

    async def record() -> None:
        trace.append("started")

    async def main() -> None:
        with pytest.raises(RuntimeError, match=r"main thread only: pass signals=\(\)"):
            await run_until_signal(leaf(record))

    in_thread(lambda: trio.run(main))
    with pytest.raises(RuntimeError, match="main thread only"):
        in_thread(lambda: run(leaf(record)))
    assert trace == []


def test_without_signals_it_works_in_any_thread() -> None:
    trace = list[str]()

    async def record() -> None:
        trace.append(threading.current_thread().name)

    in_thread(lambda: run(leaf(record), signals=()))
    assert trace == ["other"]


async def test_a_run_beside_a_trio_run_in_another_thread_needs_no_signals() -> None:
    trace = list[str]()

    async def record() -> None:
        trace.append("inner")

    async def outer() -> None:
        await trio.to_thread.run_sync(lambda: run(leaf(record), signals=()))

    await run_until_signal(leaf(outer))
    assert trace == ["inner"]


def in_thread(function: Callable[[], object]) -> None:
    """Call ``function`` in a thread, and raise here what it raises."""
    raised = list[BaseException]()

    def call() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=call, name="other")
    thread.start()
    thread.join()
    if raised:
        raise raised.pop()


def test_two_runs_cannot_share_the_signals() -> None:
    async def inner() -> None:
        await run_until_signal(nop())

    with pytest.raises(InvalidStateError, match=r"another run handles SIGINT: pass signals=\(\)"):
        run(leaf(inner))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"signals": signal.SIGTERM}, TypeError, "must be an iterable of signals"),
        ({"signals": ["SIGTERM"]}, TypeError, "must be a signal such as SIGTERM"),
        ({"signals": [True]}, TypeError, "must be a signal such as SIGTERM"),
        ({"signals": [signal.SIGKILL]}, ValueError, "that can be handled"),
        ({"signals": [4711]}, ValueError, "that can be handled"),
        ({"start_timeout": -1}, ValueError, "start_timeout of run.* must be zero or more"),
        ({"stop_timeout": "30"}, TypeError, "stop_timeout of run.* must be a number"),
        ({"aborter": "now"}, TypeError, "aborter of run.* must be an Aborter"),
        ({"observers": print}, TypeError, "observers of run.* must be an iterable"),
        ({"observers": [1]}, TypeError, "each of observers of run.* must be a plain function"),
        ({"observers": [nothing]}, TypeError, "must be a plain function of an event"),
    ],
)
def test_arguments_are_checked_before_anything_starts(
    arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    trace = list[str]()

    async def record() -> None:
        trace.append("started")

    before = handlers()
    with pytest.raises(error, match=message):
        run(leaf(record), **arguments)
    assert trace == []
    assert handlers() == before


def test_observers_see_the_events_of_all_nodes_in_order() -> None:
    trace = list[str]()

    def observer(event: Any) -> None:
        trace.append(f"{event.path} {type(event).__name__.lower()}")

    run(named("app", chain(named("db", nop()), leaf(nothing))), observers=[observer])
    assert trace == [
        "app starting",
        "app/db starting",
        "app/db running",
        "app/nothing starting",
        "app/nothing running",
        "app running",
        "app stopping",
        "app/nothing stopping",
        "app/nothing stopped",
        "app/db stopping",
        "app/db stopped",
        "app stopped",
    ]


def test_an_observer_that_fails_takes_no_event_from_the_next(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trace = list[object]()

    def broken(event: object) -> None:
        raise ValueError(event)

    run(named("app", leaf(nothing)), observers=[broken, trace.append])
    assert [type(event).__name__ for event in trace] == [
        "Starting",
        "Running",
        "Stopping",
        "Stopped",
    ]
    failed = [r for r in caplog.records if r.getMessage().startswith("an observer failed")]
    assert len(failed) == 4


@pytest.mark.parametrize("raises", [True, False])
async def test_nothing_keeps_an_error_alive(*, raises: bool) -> None:
    class Marker:
        pass

    async def fail() -> None:
        marker = Marker()
        alive.append(weakref.ref(marker))
        try:
            await nowhere()
        except OSError as error:
            if raises:
                raise
            abort(error)

    alive = list[weakref.ref[Marker]]()
    gc.collect()
    gc.disable()
    try:
        with suppress(OSError):
            await run_until_signal(named("app", leaf(fail)))
        assert alive[0]() is None
    finally:
        gc.enable()
