"""What was promised and not held by a test, until a deliberate breakage went unnoticed."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Generator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from nestling import (
    Process,
    Runnable,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    parallel,
    resource,
    runnable,
    running,
    sequential,
    service,
    start_stop,
    worker,
)
from nestling._kernel._events import Stopped
from nestling._kernel._node import Node, enter_node, leave_node
from tests.kernel.composing import nothing
from tests.kernel.ctrl_c import KERNEL, Sweep, at_each_call
from tests.kernel.recording import Marker, Recorder, failure_of, no_cycles

if TYPE_CHECKING:
    from nestling import Callback
    from nestling._kernel._events import Event, Observer

groups = pytest.mark.parametrize("combine", [parallel, sequential])


@contextmanager
def watched(observer: Observer) -> Generator[None, None, None]:
    """Run what is inside below a node that is observed."""
    token = enter_node(Node("", "", None, observer, claimed=True))
    try:
        yield
    finally:
        leave_node(token)


def lives(events: list[Event]) -> list[str]:
    return [f"{event.path} {type(event).__name__.lower()}" for event in events]


# Law 1


@groups
async def test_law_1_a_member_whose_inside_fails_stops_after_the_dependents_of_its_group(
    record: Recorder, combine: Callable[..., Runnable]
) -> None:
    crash = leaf(record.does("crash", takes=1, fails=OSError("crash")))
    inside = chain(crash, start_stop(nothing, record.does("inside stops")))
    await failure_of(combine(inside, nop()), record.forever("dependent", last=5))
    assert record.trace[2:6] == [
        "crash done",
        "dependent cancelled",
        "dependent gone",
        "inside stops",
    ]


async def test_law_1_a_cancelled_body_may_still_stop_what_runs_around_it_gracefully(
    record: Recorder,
) -> None:
    async def stops_its_process() -> None:
        async with running(start_stop(nothing, record.does("stop", takes=2))) as process:
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await process.stop()

    with trio.move_on_after(1):
        await stops_its_process()
    assert record.trace == ["stop", "stop done"]


# Law 2


def service_in_time(cancel: Callable[[], None]) -> Runnable:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        cancel()
        await trio.sleep_forever()

    return service(serve)


def worker_in_time(cancel: Callable[[], None]) -> Runnable:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        cancel()
        await trio.sleep_forever()

    return worker(work)


@pytest.mark.parametrize("make", [service_in_time, worker_in_time])
async def test_law_2_what_is_ready_in_the_moment_of_a_cancellation_enters_no_callback(
    record: Recorder, make: Callable[[Callable[[], None]], Runnable]
) -> None:
    with trio.CancelScope() as scope:
        await make(scope.cancel).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_law_2_nothing_at_all_does_not_enter_its_callback_when_it_is_cancelled(
    record: Recorder,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await nop().run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


# Law 4


def run_into_ctrl_c(r: Runnable, f: Callback) -> None:
    async def main() -> None:
        await r.run(f)
        # Let one come out that struck in the last step.
        await trio.lowlevel.checkpoint()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def finite_job(record: Recorder) -> Runnable:
    return leaf(record.does("job", takes=1), record.does("stop"), on_return="stay")


def pair(record: Recorder) -> Runnable:
    return start_stop(record.does("job", takes=1), record.does("stop"))


@pytest.mark.parametrize("make", [finite_job, pair])
def test_law_4_ctrl_c_at_any_line_keeps_no_stop_from_being_called(
    sweep: Sweep, make: Callable[[Recorder], Runnable]
) -> None:
    def run() -> list[str]:
        record = Recorder()
        with suppress(KeyboardInterrupt):
            run_into_ctrl_c(make(record), record.does("callback", takes=1))
        return record.trace

    for line, trace in sweep.strikes(run):
        assert "stop" in trace or "job done" not in trace, line


class Plain(AbstractContextManager[None]):
    """A context manager that is not async."""

    def __init__(self, record: Recorder) -> None:
        self._record = record

    def __enter__(self) -> None:
        self._record("entered")

    def __exit__(self, *details: object) -> None:
        self._record("left")


def test_laws_1_and_4_ctrl_c_at_any_call_leaves_no_plain_context_manager_open(
    record: Recorder,
) -> None:
    def run() -> list[str]:
        record.trace.clear()
        provider = start_stop(nothing, record.does("stop"))
        with suppress(KeyboardInterrupt):
            run_into_ctrl_c(chain(provider, resource(Plain, record)), nothing)
        return [event for event in record.trace if event != "stop cancelled"]

    for function, trace in at_each_call(run, KERNEL, contextlib.__file__):
        assert trace in ([], ["stop"], ["entered", "left", "stop"]), function


def test_law_4_a_second_ctrl_c_does_not_end_the_wait_for_the_end_of_a_process(
    record: Recorder,
) -> None:
    async def main() -> None:
        async with trio.open_nursery() as nursery:
            process = Process(nursery, leaf(record.forever("web", last=10)))
            await process.start()
            nursery.start_soon(_ctrl_c_at, 2)
            nursery.start_soon(_ctrl_c_at, 3)
            try:
                with trio.move_on_after(1):
                    await process.stop()
            finally:
                record(f"{process.state.value} at {trio.current_time():g}")

    with pytest.RaisesGroup(KeyboardInterrupt, flatten_subgroups=True) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert record.trace == ["web", "web cancelled", "web gone", "stopped at 10"]
    del caught


@trio.lowlevel.enable_ki_protection
async def _ctrl_c_at(when: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_until(when)
        signal.raise_signal(signal.SIGINT)


# Law 6


async def test_law_6_no_reference_cycle_keeps_an_error_that_a_context_manager_raises_again() -> (
    None
):
    class Manager(AbstractAsyncContextManager[None]):
        async def __aexit__(
            self, kind: object, error: BaseException | None, traceback: object
        ) -> None:
            assert error is not None
            try:
                raise error
            finally:
                del kind, error, traceback

    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await resource(Manager).run(fails)
        del caught


def interrupted_members(fails: Callable[[], Any]) -> Runnable:
    return parallel(leaf(fails), nop())


def failing_child(fails: Callable[[], Any]) -> Runnable:
    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(fails)
        handle.ready()
        await trio.sleep_forever()

    return worker(work)


@pytest.mark.parametrize("make", [interrupted_members, failing_child])
async def test_law_6_no_reference_cycle_keeps_an_error_of_one_of_several_tasks(
    make: Callable[[Callable[[], Any]], Runnable],
) -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker: Marker = mark()
            await trio.lowlevel.checkpoint()
            raise SystemExit(marker.__class__)

        with pytest.raises(SystemExit) as caught:
            await make(fails).run(trio.sleep_forever)
        del caught


async def test_law_6_no_reference_cycle_keeps_an_error_that_hid_another_from_an_observer() -> None:
    """The hidden one was raised while the other was handled, so that its context leads back."""

    class Manager(AbstractAsyncContextManager[None]):
        async def __aexit__(self, *details: object) -> None:
            raise ValueError("hidden")

    with no_cycles() as mark, watched(lambda _: None):

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await named("db", resource(Manager)).run(fails)
        del caught


# Law 8


@pytest.mark.parametrize("levels", [1, 40])
async def test_law_8_a_cancellation_comes_out_of_pairs_that_stop_without_looking_at_it(
    levels: int,
) -> None:
    with trio.CancelScope() as scope:
        await chain(*[start_stop(nothing, nothing)] * levels).run(_cancelled_by(scope))
        raise AssertionError("it was swallowed")
    assert scope.cancelled_caught


def _cancelled_by(scope: trio.CancelScope) -> Callback:
    async def callback() -> None:
        scope.cancel()
        await trio.lowlevel.checkpoint()

    return callback


@groups
async def test_law_8_a_member_sees_that_its_callback_was_cancelled(
    record: Recorder, combine: Callable[..., Runnable]
) -> None:
    @runnable
    async def impatient(f: Callback) -> None:
        with trio.move_on_after(1) as scope:
            await f()
        record(f"cancelled: {scope.cancelled_caught}")

    await combine(impatient, nop()).run(trio.sleep_forever)
    assert record.trace == ["cancelled: True"]


# Nodes


async def test_a_node_that_was_cancelled_while_it_started_has_not_failed() -> None:
    events: list[Event] = []
    with watched(events.append), trio.move_on_after(1):
        await named("db", start_stop(trio.sleep_forever, nothing)).run(nothing)
    assert lives(events) == ["db starting", "db stopped"]
    assert isinstance(events[-1], Stopped)
    assert events[-1].error is None


async def test_what_a_function_runs_is_a_node_below_that_of_the_function() -> None:
    async def inner() -> None:
        await leaf(trio.sleep_forever).run(nothing)

    events: list[Event] = []
    with watched(events.append):
        await named("outer", leaf(inner, on_return="stop")).run(trio.sleep_forever)
    assert "outer/sleep_forever running" in lives(events)
