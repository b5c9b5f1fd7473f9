"""Law 4: KeyboardInterrupt, SystemExit and their like force, and come out bare."""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from nestling import (
    WorkerHandle,
    chain,
    deferred,
    leaf,
    named,
    nop,
    resource,
    runnable,
    service,
    start_stop,
    worker,
)
from nestling._kernel import _interrupts
from nestling._kernel._interrupts import interruptible, surely
from tests.kernel.recording import Recorder, failure_of, leaves_of, no_task_left, notes_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from types import CodeType, FrameType

    from nestling import Callback, Runnable

Function = Callable[[], Awaitable[None]]


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


def by_leaf(start: Function, foreground: Function, stop: Function) -> Runnable:
    del start, stop
    return leaf(foreground)


def by_leaf_with_stop(start: Function, foreground: Function, stop: Function) -> Runnable:
    del start
    return leaf(foreground, stop)


def by_start_stop(start: Function, foreground: Function, stop: Function) -> Runnable:
    del foreground
    return start_stop(start, stop)


def by_service(start: Function, foreground: Function, stop: Function) -> Runnable:
    del stop

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await start()
        task_status.started()
        await foreground()

    return service(serve)


def by_worker(start: Function, foreground: Function, stop: Function) -> Runnable:
    async def work(handle: WorkerHandle) -> None:
        await start()
        handle.ready()
        with handle.until_stopping():
            await foreground()
        await stop()

    return worker(work)


def by_resource(start: Function, foreground: Function, stop: Function) -> Runnable:
    del foreground

    @asynccontextmanager
    async def manager() -> AsyncGenerator[None, None]:
        await start()
        try:
            yield
        finally:
            await stop()

    return resource(manager)


def by_runnable(start: Function, foreground: Function, stop: Function) -> Runnable:
    @runnable
    async def provider(f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            await start()
            nursery.start_soon(foreground)
            try:
                await f()
            finally:
                await stop()
            nursery.cancel_scope.cancel("the provider is done")

    return provider


def by_named(start: Function, foreground: Function, stop: Function) -> Runnable:
    return named("node", by_leaf_with_stop(start, foreground, stop))


def by_deferred(start: Function, foreground: Function, stop: Function) -> Runnable:
    return deferred(lambda: by_resource(start, foreground, stop))


def by_chain(start: Function, foreground: Function, stop: Function) -> Runnable:
    return chain(nop(), by_start_stop(start, foreground, stop), nop())


Make = Callable[[Function, Function, Function], "Runnable"]

WITH_START = [by_start_stop, by_service, by_worker, by_resource, by_runnable, by_deferred, by_chain]
WITH_STOP = [
    by_leaf_with_stop,
    by_start_stop,
    by_resource,
    by_runnable,
    by_named,
    by_deferred,
    by_chain,
]
WITH_FOREGROUND = [by_leaf, by_leaf_with_stop, by_service, by_worker, by_runnable, by_named]
ALL = [by_leaf, *WITH_STOP, by_service, by_worker]


def name_of(value: object) -> str:
    return getattr(value, "__name__", repr(value))


def what_has_ended(trace: list[str]) -> bool:
    """Tell whether all that has begun, ends in ``done`` or ``cancelled``."""
    begun = [what for what in trace if " " not in what]
    ended = [what.split()[0] for what in trace if what.endswith((" done", " cancelled"))]
    return sorted(begun) == sorted(ended)


interrupts = pytest.mark.parametrize(
    "interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit], ids=name_of
)


# Raised ------------------------------------------------------------------------------------------


@interrupts
@pytest.mark.parametrize("make", ALL, ids=name_of)
async def test_law_4_raised_by_the_callback_it_forces_the_stop_and_comes_out_bare(
    record: Recorder, make: Make, interrupt: type[BaseException]
) -> None:
    error = interrupt()
    r = make(nothing, record.forever("foreground"), record.forever("stop"))
    with no_task_left():
        assert await failure_of(r, record.does("callback", takes=1, fails=error)) is error
    assert what_has_ended(record.trace)
    assert trio.current_time() == 1
    if make in WITH_STOP:
        assert "stop cancelled" in record.trace
    for reason in record.reasons.values():
        assert f"is forced to stop by {interrupt.__name__}" in reason
    assert notes_of(error) == (["in 'node'"] if make is by_named else [])


@interrupts
@pytest.mark.parametrize("make", WITH_START, ids=name_of)
async def test_law_4_raised_by_start_it_comes_out_bare_and_nothing_is_stopped(
    record: Recorder, make: Make, interrupt: type[BaseException]
) -> None:
    error = interrupt()
    r = make(record.does("start", takes=1, fails=error), nothing, record.does("stop"))
    raised = await failure_of(r, record.does("callback"))
    if make is by_runnable:  # its nursery wraps what does not come from the callback
        with pytest.RaisesGroup(interrupt):
            raise raised
    else:
        assert raised is error
    assert record.trace == ["start", "start done"]


@interrupts
@pytest.mark.parametrize("make", WITH_STOP, ids=name_of)
async def test_law_4_raised_by_stop_it_cancels_what_runs_and_comes_out_bare(
    record: Recorder, make: Make, interrupt: type[BaseException]
) -> None:
    error = interrupt()
    r = make(nothing, record.forever("foreground"), record.does("stop", takes=1, fails=error))
    with no_task_left():
        raised = await failure_of(r, record.does("callback", takes=1))
    if make is by_runnable:
        with pytest.RaisesGroup(interrupt):
            raise raised
    else:
        assert raised is error
    assert what_has_ended(record.trace)
    assert trio.current_time() == 2


@interrupts
@pytest.mark.parametrize("make", WITH_FOREGROUND, ids=name_of)
async def test_law_4_raised_by_the_foreground_it_cancels_the_callback_and_comes_out_bare(
    record: Recorder, make: Make, interrupt: type[BaseException]
) -> None:
    error = interrupt()
    r = make(nothing, record.does("foreground", takes=1, fails=error), record.forever("stop"))
    with no_task_left(), trio.move_on_after(5):
        raised = await failure_of(r, record.forever("callback"))
        if make is by_runnable:
            with pytest.RaisesGroup(interrupt):
                raise raised
        else:
            assert raised is error
    assert what_has_ended(record.trace)
    assert "callback cancelled" in record.trace
    assert trio.current_time() == 1


async def test_law_4_it_comes_out_over_errors_that_came_before(record: Recorder) -> None:
    interrupt = KeyboardInterrupt()
    r = leaf(record.forever("foreground"), record.does("stop", fails=interrupt))
    assert await failure_of(r, record.does("callback", fails=OSError("early"))) is interrupt
    assert notes_of(interrupt) == ["the callback failed as well: OSError: early"]


async def test_law_4_it_forces_each_level_of_a_chain_from_the_inside_out(record: Recorder) -> None:
    def level(name: str) -> Runnable:
        return start_stop(record.does(f"{name}"), record.forever(f"{name}:stop"))

    r = chain(level("a"), leaf(record.forever("b")), level("c"))
    error = await failure_of(r, record.does("callback", takes=1, fails=SystemExit(3)))
    assert isinstance(error, SystemExit)
    assert sorted(record.trace[:4]) == ["a", "b", "c", "callback"]
    assert record.trace[4:] == [
        "callback done",
        "c:stop",
        "c:stop cancelled",
        "b cancelled",
        "a:stop",
        "a:stop cancelled",
    ]
    assert trio.current_time() == 1


async def test_law_4_a_provider_that_raises_it_forces_its_dependents(record: Recorder) -> None:
    provider = leaf(record.does("provider", takes=1, fails=SystemExit(3)))
    dependent = start_stop(record.does("start"), record.forever("stop"))
    error = await failure_of(chain(provider, dependent), record.forever("callback"))
    assert isinstance(error, SystemExit)
    assert record.trace[-4:] == ["provider done", "callback cancelled", "stop", "stop cancelled"]


# Ctrl-C ------------------------------------------------------------------------------------------


@trio.lowlevel.enable_ki_protection
async def ctrl_c(at: float) -> None:
    """Press Ctrl-C at that time: where nothing unprotected runs, it strikes the main task."""
    await trio.sleep(at)
    signal.raise_signal(signal.SIGINT)


def ctrl_c_here() -> None:
    """Press Ctrl-C right here, in code that is not protected."""
    signal.raise_signal(signal.SIGINT)
    for _ in range(100):  # On Python 3.10 it is not noticed at once.
        pass


@attrs.define
class Interrupted:
    """What came of a run that was interrupted: the error, and when the run had ended."""

    error: BaseException | None = None
    ended: float = 0

    @property
    def is_bare(self) -> bool:
        return isinstance(self.error, KeyboardInterrupt)

    @property
    def is_nothing_else(self) -> bool:
        if self.error is None:
            return False
        return all(isinstance(error, KeyboardInterrupt) for error in leaves_of(self.error))


def run_interrupted(r: Runnable, f: Function, *, at: float | None = None) -> Interrupted:
    """Run ``r`` in the main task of a run of trio, and press Ctrl-C at that time."""
    result = Interrupted()

    async def main() -> None:
        tasks = trio.lowlevel.current_statistics().tasks_living
        async with trio.open_nursery() as nursery:
            if at is not None:
                nursery.start_soon(ctrl_c, at)
            try:
                with trio.fail_after(1000):
                    await r.run(f)
            except BaseException as error:
                result.error = error
            result.ended = trio.current_time()
        assert not trio.lowlevel.current_task().child_nurseries
        assert trio.lowlevel.current_statistics().tasks_living == tasks

    try:
        trio.run(main, clock=MockClock(autojump_threshold=0))
    except KeyboardInterrupt:
        raise AssertionError("Ctrl-C struck nothing while it ran") from None
    return result


def striking(record: Recorder, name: str) -> Function:
    async def function() -> None:
        await trio.sleep(1)
        record(name)
        try:
            ctrl_c_here()
        finally:
            record(f"{name} done")
        record(f"{name} was not interrupted")

    return function


@pytest.mark.parametrize("make", WITH_START, ids=name_of)
def test_law_4_ctrl_c_while_it_starts_gives_up_the_start(record: Recorder, make: Make) -> None:
    async def start() -> None:
        record("start")
        try:
            await trio.sleep_forever()
        finally:
            record("start done")

    result = run_interrupted(make(start, nothing, record.does("stop")), nothing, at=1)
    assert result.is_nothing_else
    assert result.is_bare or make is by_runnable
    assert result.ended == 1
    assert record.trace == ["start", "start done"]


@pytest.mark.parametrize("make", ALL, ids=name_of)
def test_law_4_ctrl_c_while_the_callback_waits_forces_the_stop(
    record: Recorder, make: Make
) -> None:
    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            record("over")

    r = make(nothing, record.forever("foreground"), record.forever("stop"))
    result = run_interrupted(r, callback, at=1)
    assert result.is_bare
    assert result.ended == 1
    assert "over" in record.trace[:2]
    record.trace.remove("over")
    assert what_has_ended(record.trace)
    if make in WITH_STOP:
        assert "stop cancelled" in record.trace


@pytest.mark.parametrize("make", WITH_STOP, ids=name_of)
def test_law_4_ctrl_c_while_it_stops_forces_the_stop(record: Recorder, make: Make) -> None:
    async def stop() -> None:
        record("stop")
        try:
            await trio.sleep_forever()
        finally:
            record("stop done")

    r = make(nothing, record.forever("foreground"), stop)
    result = run_interrupted(r, record.does("callback", takes=1), at=2)
    assert result.is_nothing_else
    assert result.is_bare or make is by_runnable
    assert result.ended == 2
    assert what_has_ended(record.trace)


@pytest.mark.parametrize("make", [by_leaf, by_service, by_worker], ids=name_of)
def test_law_4_ctrl_c_while_it_waits_for_the_foreground_still_waits_for_its_end(
    record: Recorder, make: Make
) -> None:
    r = make(nothing, record.forever("foreground", last=5), nothing)
    result = run_interrupted(r, record.does("callback", takes=1), at=2)
    assert result.is_bare
    assert result.ended == 6
    assert record.trace[-1] == "foreground gone"


def test_law_4_ctrl_c_while_a_foreground_ends_by_itself_cancels_it(record: Recorder) -> None:
    result = run_interrupted(leaf(record.forever("foreground"), nothing), nothing, at=2)
    assert result.is_bare
    assert result.ended == 2
    assert record.trace == ["foreground", "foreground cancelled"]


def test_law_4_ctrl_c_in_the_last_step_of_a_runnable_comes_out_bare(record: Recorder) -> None:
    @trio.lowlevel.enable_ki_protection
    def at_the_end() -> None:
        signal.raise_signal(signal.SIGINT)

    @runnable
    async def provider(f: Callback) -> None:
        await f()
        at_the_end()

    result = run_interrupted(provider, record.does("callback", takes=1))
    assert result.is_bare
    assert record.trace == ["callback", "callback done"]


def test_law_4_a_second_ctrl_c_is_noted(record: Recorder) -> None:
    async def callback() -> None:
        await trio.sleep(1)
        ctrl_c_here()

    @trio.lowlevel.enable_ki_protection
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        record("stop done")

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ctrl_c, 3)
            with pytest.raises(KeyboardInterrupt) as caught:
                await start_stop(nothing, stubborn).run(callback)
            assert notes_of(caught.value) == ["the stop function failed as well: KeyboardInterrupt"]

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert record.trace == []


@pytest.mark.parametrize("make", ALL, ids=name_of)
def test_law_4_ctrl_c_in_the_middle_of_the_callback_strikes_there(
    record: Recorder, make: Make
) -> None:
    r = make(nothing, record.forever("foreground"), record.forever("stop"))
    result = run_interrupted(r, striking(record, "callback"))
    assert result.is_bare
    assert result.ended == 1
    assert "callback done" in record.trace
    assert what_has_ended(record.trace)


@pytest.mark.parametrize("make", WITH_START, ids=name_of)
def test_law_4_ctrl_c_in_the_middle_of_start_strikes_there(record: Recorder, make: Make) -> None:
    result = run_interrupted(make(striking(record, "start"), nothing, nothing), nothing)
    assert result.is_nothing_else
    assert result.is_bare or make is by_runnable
    assert record.trace == ["start", "start done"]


@pytest.mark.parametrize("make", WITH_STOP, ids=name_of)
def test_law_4_ctrl_c_in_the_middle_of_stop_strikes_there(record: Recorder, make: Make) -> None:
    r = make(nothing, record.forever("foreground"), striking(record, "stop"))
    result = run_interrupted(r, record.does("callback", takes=1))
    assert result.is_nothing_else
    assert result.is_bare or make is by_runnable
    assert what_has_ended(record.trace)


@pytest.mark.parametrize("make", WITH_FOREGROUND, ids=name_of)
def test_law_4_ctrl_c_in_the_middle_of_the_foreground_strikes_there(
    record: Recorder, make: Make
) -> None:
    r = make(nothing, striking(record, "foreground"), record.forever("stop"))
    result = run_interrupted(r, record.forever("callback"))
    assert result.is_nothing_else
    assert result.is_bare or make is by_runnable
    assert what_has_ended(record.trace)
    assert "callback cancelled" in record.trace


async def test_what_is_interruptible_is_not_protected() -> None:
    states: list[bool] = []

    async def function(*arguments: int) -> None:
        states.append(trio.lowlevel.currently_ki_protected())
        assert arguments == (1, 2)

    def sync(*arguments: int) -> Awaitable[None]:
        states.append(trio.lowlevel.currently_ki_protected())
        return function(*arguments)

    @trio.lowlevel.enable_ki_protection
    async def protected() -> None:
        states.append(trio.lowlevel.currently_ki_protected())
        await interruptible(function, 1, 2)
        await interruptible(sync, 1, 2)
        await surely(function, 1, 2)
        await surely(sync, 1, 2)
        states.append(trio.lowlevel.currently_ki_protected())

    await protected()
    assert states == [True, *[False] * 6, True]


@contextmanager
def ctrl_c_as_it_begins(code: CodeType) -> Generator[None, None, None]:
    """Press Ctrl-C in the kernel's last step before a function with that code begins."""
    here = _interrupts._open.__code__  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]

    def profile(frame: FrameType, event: str, argument: object) -> None:
        del argument
        if event == "call" and frame.f_code is here:
            awaited = frame.f_locals["awaitable"]
            if getattr(awaited, "cr_code", None) is code:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(profile)
    try:
        yield
    finally:
        sys.setprofile(None)


def test_law_4_ctrl_c_in_the_moment_before_a_stop_function_strikes_when_it_has_begun(
    record: Recorder,
) -> None:
    async def stop() -> None:
        record("stop")
        try:
            await trio.sleep(1)
        except KeyboardInterrupt:
            record("ctrl-c")
            raise

    with ctrl_c_as_it_begins(stop.__code__):
        result = run_interrupted(start_stop(nothing, stop), nothing)
    assert result.is_bare
    assert record.trace == ["stop", "ctrl-c"]


class NoCoroutine:
    """What can be awaited, but is no coroutine: nobody can tell whether it has begun."""

    def __init__(self, function: Function) -> None:
        self._function = function

    def __await__(self) -> Generator[Any, None, None]:
        return self._function().__await__()


@pytest.mark.parametrize("struck", ["callback", "stop"])
def test_law_4_ctrl_c_strikes_in_what_is_awaited_and_is_no_coroutine(
    record: Recorder, struck: str
) -> None:
    callback, stop = (
        striking(record, name) if name == struck else record.does(name)
        for name in ("callback", "stop")
    )
    pair = start_stop(nothing, lambda: NoCoroutine(stop))
    result = run_interrupted(pair, lambda: NoCoroutine(callback))
    assert result.is_bare
    assert [name for name in record.trace if name in {"callback", "stop"}] == ["callback", "stop"]
