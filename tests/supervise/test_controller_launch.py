"""What a controller launches, and what becomes of it while it runs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
import trio

from nestling import (
    ExitedBeforeRunningError,
    InvalidStateError,
    State,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    running,
    start_stop,
    worker,
)
from nestling.supervise import Controller
from nestling.testing import Probe, record as recorded
from tests.kernel.recording import Recorder, failure_of, no_task_left, notes_of
from tests.supervise.growing import pair

if TYPE_CHECKING:
    pass

if sys.version_info < (3, 11):
    pass


@pytest.fixture
def record() -> Recorder:
    return Recorder()


# What is launched ---------------------------------------------------------------------------------


async def test_launch_returns_the_process_when_it_runs(record: Recorder) -> None:
    async with running(named("app", root := Controller())):
        process = await root.launch(Probe("slow", start=3), name="other")
        assert trio.current_time() == 3
        assert repr(process) == "<Process 'other': running>"
    assert repr(process) == "<Process 'other': stopped>"
    assert process.error is None


async def test_what_ends_by_itself_is_simply_over(record: Recorder) -> None:
    @worker
    async def works(handle: WorkerHandle) -> None:
        handle.ready()
        await trio.sleep(1)

    async with running(root := Controller()):
        processes = [
            await root.launch(leaf(record.does("leaf", takes=1))),
            await root.launch(chain(pair(record, "db"), works)),
            await root.launch(works),
        ]
        await trio.sleep(5)
        assert [process.state for process in processes] == [State.STOPPED] * 3
        record("body")
    assert record.trace == ["leaf", "leaf done", "db", "db done", "body"]


async def test_what_returns_as_soon_as_it_runs_has_been_launched() -> None:
    async with running(root := Controller()):
        process = await root.launch(leaf(trio.lowlevel.checkpoint))
        await process.wait()
        assert process.error is None


async def test_whoever_has_a_process_can_stop_it_at_any_time(record: Recorder) -> None:
    async with running(root := Controller()):
        process = await root.launch(pair(record, "a"), name="a")
        await process.stop()
        record("body")
        with pytest.raises(InvalidStateError, match="cannot stop 'a': it is stopped"):
            await process.stop()
    assert record.trace == ["a", "a done", "body"]


async def test_the_error_of_what_is_stopped_by_a_call_is_that_of_the_call_alone() -> None:
    async with running(root := Controller()):
        error = OSError("lost")
        process = await root.launch(Probe("a", fail=("stop", error)))
        with pytest.raises(OSError, match="lost") as caught:
            await process.stop()
        assert caught.value is error
        await trio.sleep(1)


async def test_an_interrupt_of_what_is_stopped_by_a_call_ends_the_controller_as_well() -> None:
    root = Controller()
    stopped: list[BaseException] = []

    async def callback() -> None:
        process = await root.launch(Probe("a", fail=("stop", SystemExit(3))))
        try:
            await process.stop()
        except SystemExit as error:
            stopped.append(error)
        await trio.sleep_forever()

    assert [await failure_of(root, callback)] == stopped


async def test_a_stop_by_a_call_that_is_cancelled_is_forced(record: Recorder) -> None:
    async with running(root := Controller()):
        process = await root.launch(pair(record, "a", takes=9))
        with trio.move_on_after(1):
            await process.stop()
        record("body")
    assert record.trace == ["a", "a cancelled", "body"]


async def test_the_same_name_may_be_launched_several_times() -> None:
    root = Controller()

    async def callback() -> None:
        for seconds in (2, 3):
            await root.launch(Probe("a", run=seconds, stop=9, fail="run"))
        await root.launch(Probe("a", stop=9, fail="stop"))
        await trio.sleep_forever()

    error: Any = await failure_of(root, callback)
    assert error.message == "2 below the controller failed: 'a', 'a (3)'"


async def test_launching_from_inside_of_what_was_launched(record: Recorder) -> None:
    root = Controller()

    async def parent(handle: WorkerHandle) -> None:
        await root.launch(pair(record, "while it starts"))
        handle.ready()
        await root.launch(pair(record, "while it runs"))
        await handle.stopping.wait()
        record("parent")

    with no_task_left():
        async with running(root):
            await root.launch(worker(parent))
            await trio.sleep(1)
    assert set(record.trace) >= {"parent", "while it starts done", "while it runs done"}


async def test_launching_from_a_dependent_into_the_controller_that_it_depends_on(
    record: Recorder,
) -> None:
    root = Controller()

    async def consumer(handle: WorkerHandle) -> None:
        await root.launch(pair(record, "pool"), name="pool")
        handle.ready()
        await handle.stopping.wait()
        record("consumer")

    with recorded() as trace:
        async with running(root):
            await root.dependent(name="web").launch(worker(consumer))
    assert record.trace == ["consumer", "pool", "pool done"]
    trace.assert_order("controller/pool running", "controller/web/consumer running")


async def test_a_controller_in_a_controller(record: Recorder) -> None:
    root, inner = Controller(), Controller()
    with recorded() as trace:
        async with running(root):
            await root.launch(inner, name="inner")
            await inner.launch(pair(record, "a"), name="a")
    trace.assert_order(
        "controller/inner running",
        "controller/inner/a running",
        "controller/inner/a stopped",
        "controller/inner stopped",
        "controller stopped",
    )
    assert record.trace == ["a", "a done"]


# A start that fails -------------------------------------------------------------------------------


async def test_a_launch_that_fails_raises_its_error_bare_and_leaves_nothing() -> None:
    async with running(root := Controller()):
        before = trio.lowlevel.current_statistics().tasks_living
        error = OSError("no such host")
        with pytest.raises(OSError, match="no such host") as caught:
            await root.launch(Probe("a", start=1, fail=("start", error)))
        assert caught.value is error
        assert notes_of(error) == ["in 'a'"]
        assert trio.lowlevel.current_statistics().tasks_living == before
        await root.launch(Probe("a"))


async def test_a_launch_that_fails_half_way_stops_what_had_started(record: Recorder) -> None:
    broken = named(
        "broken", start_stop(record.does("start", fails=OSError("lost")), trio.lowlevel.checkpoint)
    )
    with recorded() as trace:
        async with running(root := Controller()):
            with no_task_left(), pytest.raises(OSError, match="lost"):
                await root.launch(chain(named("db", pair(record, "db")), broken), name="pair")
            record("body")
    assert record.trace == ["start", "db", "db done", "body"]
    assert [node.path for node in trace.live()] == []
    trace.assert_order("pair/broken stopped", "pair/db stopped", "controller stopping")


async def test_what_ends_before_it_runs_has_failed_to_start() -> None:
    @worker
    async def ends(handle: WorkerHandle) -> None:
        await trio.sleep(1)

    async with running(root := Controller()):
        with pytest.raises(ExitedBeforeRunningError, match="'ends'"):
            await root.launch(ends)


async def test_an_interrupt_in_a_start_ends_the_controller_as_well() -> None:
    root = Controller()
    caught: list[BaseException] = []

    async def callback() -> None:
        try:
            await root.launch(Probe("a", fail=("start", SystemExit(3))))
        except SystemExit as error:
            caught.append(error)
        await trio.sleep_forever()

    assert [await failure_of(root, callback)] == caught


async def test_a_launch_that_is_cancelled_cancels_the_start_and_waits_for_its_end(
    record: Recorder,
) -> None:
    async with running(root := Controller()):
        start = record.does("start", takes=9, last=1)
        with no_task_left(), trio.move_on_after(2) as scope:
            await root.launch(start_stop(start, trio.lowlevel.checkpoint))
        assert scope.cancelled_caught
        assert trio.current_time() == 3
        await root.launch(nop())
    assert record.trace == ["start", "start cancelled", "start gone"]
    assert "start() was cancelled" in record.reasons["start"]


async def test_a_launch_in_a_cancelled_scope_starts_nothing(record: Recorder) -> None:
    async with running(root := Controller()):
        with trio.CancelScope() as scope:
            scope.cancel()
            await root.launch(start_stop(record.does("start"), trio.lowlevel.checkpoint))
    assert record.trace == []
