from __future__ import annotations

import itertools
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
import trio
import trio.lowlevel
import trio.testing

from nestling import (
    Callback,
    ExitedBeforeRunningError,
    InvalidStateError,
    Process,
    Runnable,
    State,
    chain,
    leaf,
    named,
    nop,
    runnable,
    running,
    service,
    start_stop,
)
from tests.kernel.composing import nothing
from tests.kernel.recording import leaves_of, no_cycles, no_task_left, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

if TYPE_CHECKING:
    from tests.kernel.recording import AsyncFunction, Recorder

Situation = Literal["initial", "starting", "running", "stopping", "stopped", "prevented"]


def slow(record: Recorder, *, start: float = 1, stop: float = 1) -> Runnable:
    return start_stop(record.does("start", takes=start), record.does("stop", takes=stop))


async def error_of(call: Callable[[], Awaitable[object]]) -> BaseException:
    """Return what ``call`` raises, unless it is a cancellation."""
    try:
        await call()
    except trio.Cancelled:
        raise
    except BaseException as error:
        return error
    raise AssertionError("it has not failed")


async def bring(process: Process, nursery: trio.Nursery, situation: Situation) -> None:
    """Bring a new process, whose start and stop take a second, into a situation."""
    if situation == "prevented":
        await process.stop()
    elif situation == "starting":
        nursery.start_soon(_start_whatever_comes, process)
        await trio.sleep(0.5)
    elif situation != "initial":
        await process.start()
        if situation == "stopping":
            nursery.start_soon(process.stop)
            await trio.sleep(0.5)
        elif situation == "stopped":
            await process.stop()


async def _start_whatever_comes(process: Process) -> None:
    with suppress(ExitedBeforeRunningError):
        await process.start()


async def test_it_shows_its_name_and_state(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record), name="db")
        assert repr(process) == "<Process 'db': initial>"
        await bring(process, nursery, "stopping")
        assert repr(process) == "<Process 'db': running, stopping>"
        await process.wait()
        assert repr(process) == "<Process 'db': stopped>"
        assert repr(Process(nursery, named("x", nop()))) == "<Process 'x': initial>"
        assert repr(Process(nursery, nop())) == "<Process 'nop': initial>"
        assert repr(Process(nursery, leaf(nothing))) == "<Process 'nothing': initial>"


# Each state and each call


@pytest.mark.parametrize(
    ("situation", "state", "stopping"),
    [
        ("initial", State.INITIAL, False),
        ("starting", State.STARTING, False),
        ("running", State.RUNNING, False),
        ("stopping", State.RUNNING, True),
        ("stopped", State.STOPPED, False),
        ("prevented", State.STOPPED, False),
    ],
)
async def test_in_each_state_its_properties_say_so(
    record: Recorder, situation: Situation, state: State, stopping: bool
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        await bring(process, nursery, situation)
        assert (process.state, process.stopping, process.error) == (state, stopping, None)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("situation", "state"),
    [
        ("starting", "starting"),
        ("running", "running"),
        ("stopping", "running"),
        ("stopped", "stopped"),
        ("prevented", "stopped"),
    ],
)
async def test_it_can_be_started_only_in_its_initial_state(
    record: Recorder, situation: Situation, state: str
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record), name="db")
        await bring(process, nursery, situation)
        error = await error_of(process.start)
        assert isinstance(error, InvalidStateError)
        assert str(error) == f"cannot start 'db': it is {state}"
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("situation", ["stopped", "prevented"])
async def test_it_cannot_be_stopped_once_it_is_stopped(
    record: Recorder, situation: Situation
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record), name="db")
        await bring(process, nursery, situation)
        error = await error_of(process.stop)
        assert isinstance(error, InvalidStateError)
        assert str(error) == "cannot stop 'db': it is stopped"


@pytest.mark.parametrize(
    ("situation", "ends_at", "trace"),
    [
        ("initial", 0, []),
        ("starting", 0.5, ["start", "start cancelled"]),
        ("running", 2, ["start", "start done", "stop", "stop done"]),
        ("stopping", 2, ["start", "start done", "stop", "stop done"]),
    ],
)
async def test_it_can_be_stopped_until_it_is_stopped(
    record: Recorder, situation: Situation, ends_at: float, trace: list[str]
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        await bring(process, nursery, situation)
        await process.stop()
        assert (process.state, process.stopping, process.error) == (State.STOPPED, False, None)
        assert trio.current_time() == ends_at
        assert record.trace == trace


@pytest.mark.parametrize("situation", ["starting", "running", "stopping"])
async def test_waiting_lasts_until_it_is_stopped(record: Recorder, situation: Situation) -> None:
    async def note() -> None:
        await process.wait()
        record("waited")

    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        nursery.start_soon(note)
        await bring(process, nursery, situation)
        nursery.start_soon(process.wait)
        await trio.sleep(10)
        assert ("waited" in record.trace) == (situation == "stopping")
        if situation != "stopping":
            await process.stop()
        await process.wait()
        assert process.state is State.STOPPED


async def test_waiting_in_the_initial_state_waits_for_a_later_run(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        with trio.move_on_after(1) as scope:
            await process.wait()
        assert scope.cancelled_caught
        assert process.state is State.INITIAL


async def test_waiting_raises_no_error_of_the_process(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, leaf(record.does("run", takes=1, fails=OSError("no"))))
        await process.start()
        await process.wait()
        await process.wait()
        assert isinstance(process.error, OSError)


async def test_a_stop_that_prevents_a_start_lets_those_go_on_who_wait(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        nursery.start_soon(process.wait)
        await trio.sleep(1)
        await process.stop()
    assert record.trace == []


# Starting


async def test_a_start_returns_when_it_runs(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        await process.start()
        assert (process.state, trio.current_time()) == (State.RUNNING, 1)
        await process.stop()


async def test_a_start_raises_what_it_fails_with(record: Recorder) -> None:
    broken = OSError("no")
    async with trio.open_nursery() as nursery:
        failing = start_stop(record.does("start", takes=1, fails=broken), nothing)
        process = Process(nursery, failing, name="db")
        assert await error_of(process.start) is broken
        assert process.error is broken
        assert process.state is State.STOPPED
        assert notes_of(broken) == ["in 'db'"]


@pytest.mark.parametrize("name", [None, "db"])
async def test_a_runnable_that_never_calls_back_exited_before_running(name: str | None) -> None:
    @runnable
    async def silent(f: Callback) -> None:
        pass

    async with trio.open_nursery() as nursery:
        error = await error_of(Process(nursery, silent, name=name).start)
        assert isinstance(error, ExitedBeforeRunningError)


async def test_a_start_that_was_stopped_exited_before_running(record: Recorder) -> None:
    async def start() -> None:
        errors.append(await error_of(process.start))

    errors: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record), name="db")
        nursery.start_soon(start)
        await trio.sleep(0.5)
        await process.stop()
    (error,) = errors
    assert isinstance(error, ExitedBeforeRunningError)
    assert str(error) == "'db' ended before it was running"
    assert record.reasons["start"] == "'db' was stopped during its start-up"


async def test_a_start_that_is_stopped_before_its_first_step_starts_nothing(
    record: Recorder,
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        nursery.start_soon(error_of, process.start)
        while process.state is State.INITIAL:
            await trio.lowlevel.checkpoint()
        await process.stop()
    assert record.trace in ([], ["start", "start cancelled"])


async def test_a_runnable_that_calls_back_although_it_was_stopped_stops_at_once(
    record: Recorder,
) -> None:
    @runnable
    async def shielded(f: Callback) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
            await f()
            record("stopped")

    async with trio.open_nursery() as nursery:
        process = Process(nursery, shielded)
        nursery.start_soon(error_of, process.start)
        await trio.sleep(1)
        await process.stop()
        assert trio.current_time() == 2
    assert record.trace == ["stopped"]


async def test_a_start_that_is_cancelled_cancels_the_process_and_waits_for_its_end(
    record: Recorder,
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, start_stop(record.forever("start", last=3), nothing), name="db")
        with trio.move_on_after(1) as scope:
            await process.start()
        assert scope.cancelled_caught
        assert (process.state, process.error) == (State.STOPPED, None)
        assert trio.current_time() == 4
        assert record.reasons["start"] == "start() was cancelled for 'db'"


async def test_a_start_that_times_out_raises_the_timeout(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record, start=5))
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await process.start()
        assert process.state is State.STOPPED


async def test_an_error_is_not_hidden_by_the_cancellation_of_the_start(record: Recorder) -> None:
    async def start() -> None:
        try:
            await record.forever("start")()
        finally:
            raise OSError("no")

    async with trio.open_nursery() as nursery:
        process = Process(nursery, start_stop(start, nothing))
        with trio.move_on_after(1) as scope:
            error = await error_of(process.start)
            assert isinstance(error, OSError)
            assert process.error is error
        assert not scope.cancelled_caught


async def test_a_start_in_a_closed_nursery_is_refused(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        pass
    process = Process(nursery, slow(record), name="db")
    error = await error_of(process.start)
    assert isinstance(error, InvalidStateError)
    assert str(error) == "cannot start 'db': its nursery is closed"
    assert process.state is State.STOPPED
    await process.wait()
    assert isinstance(await error_of(process.stop), InvalidStateError)


async def test_a_process_that_ends_as_soon_as_it_runs_has_been_started() -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, leaf(nothing))
        await process.start()
        await process.wait()
        assert process.error is None


# Stopping


async def test_a_stop_raises_what_it_fails_with(record: Recorder) -> None:
    broken = OSError("disk full")
    async with trio.open_nursery() as nursery:
        process = Process(nursery, start_stop(nothing, record.does("stop", takes=1, fails=broken)))
        await process.start()
        assert await error_of(process.stop) is broken
        assert process.error is broken
        assert isinstance(await error_of(process.stop), InvalidStateError)


async def test_all_that_stop_it_wait_and_get_the_same_error(record: Recorder) -> None:
    async def stop() -> None:
        errors.append(await error_of(process.stop))

    broken = OSError("disk full")
    errors: list[BaseException] = []
    async with trio.open_nursery() as nursery:
        process = Process(nursery, start_stop(nothing, record.does("stop", takes=2, fails=broken)))
        await process.start()
        async with trio.open_nursery() as stoppers:
            for _ in range(3):
                stoppers.start_soon(stop)
                await trio.sleep(0.5)
        assert trio.current_time() == 2
    assert errors == [broken] * 3
    assert record.trace == ["stop", "stop done"]


async def test_a_stop_that_is_cancelled_forces_and_waits_for_the_end_law_2(
    record: Recorder,
) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, start_stop(nothing, record.forever("stop", last=3)), name="db")
        await process.start()
        with trio.move_on_after(1) as scope:
            await process.stop()
        assert scope.cancelled_caught
        assert process.state is State.STOPPED
        assert trio.current_time() == 4
        assert record.reasons["stop"] == "stop() was cancelled for 'db'"


async def test_a_stop_that_times_out_raises_the_timeout(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record, stop=5))
        await process.start()
        with pytest.raises(trio.TooSlowError), trio.fail_after(1):
            await process.stop()
        assert record.trace[-1] == "stop cancelled"


async def test_one_of_several_stops_that_is_cancelled_forces(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record, start=0, stop=9))
        await process.start()
        nursery.start_soon(process.stop)
        with trio.move_on_after(2):
            await process.stop()
        assert trio.current_time() == 2
        assert record.trace[-1] == "stop cancelled"


async def test_a_wait_that_is_cancelled_leaves_the_process_alone(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        await process.start()
        with trio.move_on_after(5):
            await process.wait()
        assert (process.state, process.stopping) == (State.RUNNING, False)
        await process.stop()


async def test_a_process_that_swallows_the_cancellation_of_its_start_ends_without_an_error(
    record: Recorder,
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            record("swallowed")

    async with trio.open_nursery() as nursery:
        process = Process(nursery, service(serve))
        with trio.move_on_after(1) as scope:
            await process.start()
        assert scope.cancelled_caught
        assert process.error is None
    assert record.trace == ["swallowed"]


# Ending by itself


async def test_a_process_that_ends_by_itself_is_stopped(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, leaf(record.does("run", takes=1)))
        await process.start()
        await process.wait()
        assert (process.state, process.error, trio.current_time()) == (State.STOPPED, None, 1)


async def test_a_process_that_fails_does_not_crash_the_nursery(record: Recorder) -> None:
    broken = OSError("no")
    async with trio.open_nursery() as nursery:
        process = Process(nursery, leaf(record.does("run", takes=1, fails=broken)), name="http")
        await process.start()
        await trio.sleep(5)
        assert (process.state, process.error) == (State.STOPPED, broken)
        record("nursery lives")
    assert record.trace[-1] == "nursery lives"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_it_is_raised_into_the_nursery_as_well_law_4(
    record: Recorder, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    process = None
    try:
        async with trio.open_nursery() as nursery:
            process = Process(nursery, leaf(record.does("run", takes=1, fails=raised)))
            await process.start()
            await trio.sleep_forever()
    except BaseExceptionGroup as group:
        assert leaves_of(group) == [raised]  # noqa: PT017
    assert process is not None
    assert (process.state, process.error) == (State.STOPPED, raised)


async def test_an_interrupt_during_its_start_is_raised_by_the_start_law_4(
    record: Recorder,
) -> None:
    raised = SystemExit(3)
    try:
        async with trio.open_nursery() as nursery:
            failing = start_stop(record.does("start", takes=1, fails=raised), nothing)
            assert await error_of(Process(nursery, failing).start) is raised
    except BaseExceptionGroup as group:
        assert leaves_of(group) == [raised]  # noqa: PT017


# Its nursery is cancelled


@pytest.mark.parametrize(
    ("situation", "trace"),
    [
        ("initial", []),
        ("starting", ["start", "start cancelled"]),
        ("running", ["start", "start done", "stop", "stop cancelled"]),
        ("stopping", ["start", "start done", "stop", "stop cancelled"]),
        ("stopped", ["start", "start done", "stop", "stop done"]),
    ],
)
async def test_a_cancelled_nursery_cancels_it(
    record: Recorder, situation: Situation, trace: list[str]
) -> None:
    with no_task_left():
        async with trio.open_nursery() as nursery:
            process = Process(nursery, slow(record))
            async with trio.open_nursery() as callers:
                await bring(process, callers, situation)
                nursery.cancel_scope.cancel()
        expected = State.INITIAL if situation == "initial" else State.STOPPED
        assert (process.state, process.error) == (expected, None)
        assert record.trace == trace


async def test_a_start_from_outside_of_a_cancelled_nursery_exits_before_running(
    record: Recorder,
) -> None:
    async def start() -> None:
        errors.append(await error_of(process.start))

    errors: list[BaseException] = []
    async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
        process = Process(nursery, slow(record))
        callers.start_soon(start)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    assert [type(error) for error in errors] == [ExitedBeforeRunningError]


async def test_a_cancellation_in_its_error_is_left_out_law_8() -> None:
    # Its two errors leave it as a group of a cancellation and an error.
    @runnable
    async def messy(f: Callback) -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)
            await f()

    async with trio.open_nursery() as callers:
        async with trio.open_nursery() as nursery:
            process = Process(nursery, messy)
            await process.start()
            nursery.cancel_scope.cancel()
        assert process.error is not None
        assert [type(error) for error in leaves_of(process.error)] == [OSError]
        callers.cancel_scope.cancel()


# Interrupts of the task that waits


def interrupt_after(
    seconds: float, main: Callable[[trio.Nursery], Awaitable[None]]
) -> BaseException | None:
    """Run ``main``, and press Ctrl-C after some seconds; return what comes out of its nursery."""

    async def press() -> None:
        await trio.sleep(seconds)
        signal.raise_signal(signal.SIGINT)

    async def around() -> None:
        trio.lowlevel.spawn_system_task(press)
        async with trio.open_nursery() as nursery:
            await main(nursery)

    try:
        trio.run(around, clock=trio.testing.MockClock(autojump_threshold=0))
    except BaseException as raised:
        return raised
    return None


def test_ctrl_c_during_a_start_is_not_hidden_by_an_error_of_the_process_law_4() -> None:
    async def start() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("no")

    async def main(nursery: trio.Nursery) -> None:
        await Process(nursery, start_stop(start, nothing)).start()

    raised = interrupt_after(1, main)
    assert raised is not None
    (interrupt,) = leaves_of(raised)
    assert isinstance(interrupt, KeyboardInterrupt)
    assert notes_of(interrupt) == ["the process failed as well: OSError: no"]


def test_ctrl_c_during_a_stop_forces_and_comes_out_law_4(record: Recorder) -> None:
    async def main(nursery: trio.Nursery) -> None:
        process = Process(nursery, slow(record, stop=9))
        await process.start()
        await process.stop()

    raised = interrupt_after(3, main)
    assert raised is not None
    assert [type(error) for error in leaves_of(raised)] == [KeyboardInterrupt]
    assert record.trace[-1] == "stop cancelled"


# At every step


@attrs.define(eq=False)
class _CancelAt(trio.abc.Instrument):
    """Cancels a scope before a step of any task."""

    step: int
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    struck: bool = False
    _steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self._steps == self.step:
            self.struck = True
            self.scope.cancel("the sweep")
        self._steps += 1


@pytest.mark.parametrize("call", ["start", "stop"])
@pytest.mark.parametrize("shielded", [False, True])
def test_a_call_that_is_cancelled_at_any_step_leaves_a_process_that_has_stopped_or_runs(
    call: str, shielded: bool
) -> None:
    @runnable
    async def inner(f: Callback) -> None:
        with trio.CancelScope(shield=shielded):
            await trio.sleep(1)
            await f()
            await trio.sleep(1)

    async def main(instrument: _CancelAt) -> None:
        async with trio.open_nursery() as nursery:
            process = Process(nursery, chain(start_stop(nothing, nothing), inner, nop()))
            if call == "stop":
                await process.start()
            trio.lowlevel.add_instrument(instrument)
            with instrument.scope:
                await (process.start() if call == "start" else process.stop())
                assert process.state is (State.RUNNING if call == "start" else State.STOPPED)
            trio.lowlevel.remove_instrument(instrument)
            if instrument.scope.cancelled_caught:
                assert process.state is State.STOPPED
                assert process.error is None
            if process.state is not State.STOPPED:
                await process.stop()

    for step in itertools.count():
        instrument = _CancelAt(step)
        trio.run(main, instrument, clock=trio.testing.MockClock(autojump_threshold=0))
        if not instrument.struck:
            assert step > 1
            return


# What keeps an error


FAILING: dict[str, Callable[[AsyncFunction], Runnable]] = {
    "start": lambda fail: start_stop(fail, nothing),
    "stop": lambda fail: start_stop(nothing, fail),
    "foreground": lambda fail: leaf(fail),  # noqa: PLW0108
    "in a chain": lambda fail: chain(nop(), named("db", start_stop(nothing, fail))),
}


async def by_process(r: Runnable) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, r)
        try:
            await process.start()
            await trio.lowlevel.checkpoint()
            await process.stop()
        finally:
            del process  # it keeps its error, and this frame would keep it


async def by_running(r: Runnable) -> None:
    async with running(r):
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("how", [by_process, by_running])
@pytest.mark.parametrize("make", FAILING.values(), ids=FAILING)
async def test_law_6_no_reference_cycle_keeps_the_error(
    make: Callable[[AsyncFunction], Runnable], how: Callable[[Runnable], Awaitable[None]]
) -> None:
    with no_cycles() as mark:

        async def fail() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        with suppress(OSError, ExceptionGroup):
            await how(make(fail))
