# ruff: noqa: PT012  # what is tested is a statement with a body

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

import pytest
import trio
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
    nop,
    parallel,
    runnable,
    running,
    start_stop,
)
from tests.kernel.composing import nothing
from tests.kernel.recording import leaves_of, no_task_left, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def fail(error: BaseException) -> None:
    raise error


def pair(record: Recorder, name: str, *, stop: float = 1) -> Runnable:
    return start_stop(record.does(f"{name} start"), record.does(f"{name} stop", takes=stop))


async def test_it_runs_around_its_body(record: Recorder) -> None:
    with no_task_left():
        async with running(pair(record, "db"), name="db") as process:
            assert isinstance(process, Process)
            assert (process.state, process.stopping) == (State.RUNNING, False)
            assert repr(process) == "<Process 'db': running>"
            record("body")
            await trio.sleep(1)
        assert (process.state, process.error) == (State.STOPPED, None)
    assert record.trace == ["db start", "body", "db stop", "db stop done"]


async def test_the_body_stays_in_its_task() -> None:
    task = trio.lowlevel.current_task()
    async with running(leaf(trio.sleep_forever)):
        assert trio.lowlevel.current_task() is task


async def test_an_error_of_the_start_comes_out_bare(record: Recorder) -> None:
    broken = OSError("no")
    failing = start_stop(record.does("start", takes=1, fails=broken), nothing)
    with pytest.raises(OSError, match="no") as caught:
        async with running(failing, name="db"):
            record("body")
    assert caught.value is broken
    assert notes_of(broken) == ["in 'db'"]
    assert record.trace == ["start", "start done"]


async def test_a_runnable_that_never_calls_back_exited_before_running(record: Recorder) -> None:
    @runnable
    async def silent(f: Callback) -> None:
        pass

    with pytest.raises(ExitedBeforeRunningError):
        async with running(silent):
            record("body")
    assert record.trace == []


async def test_an_error_of_the_body_comes_out_bare_after_the_stop(record: Recorder) -> None:
    broken = ValueError("no")
    with pytest.raises(ValueError, match="no") as caught:
        async with running(chain(pair(record, "a"), pair(record, "b"))):
            raise broken
    assert caught.value is broken
    assert record.trace[2:] == ["b stop", "b stop done", "a stop", "a stop done"]


async def test_the_runnable_sees_the_error_of_the_body_and_may_handle_it(
    record: Recorder,
) -> None:
    @runnable
    async def handles(f: Callback) -> None:
        try:
            await f()
        except ValueError:
            record("handled")

    async with running(handles):
        await fail(ValueError("no"))
    assert record.trace == ["handled"]


async def test_the_runnable_may_translate_the_error_of_the_body() -> None:
    @runnable
    async def translates(f: Callback) -> None:
        try:
            await f()
        except ValueError as error:
            raise OSError("translated") from error

    with pytest.raises(OSError, match="translated"):
        async with running(translates):
            raise ValueError("no")


async def test_an_error_of_the_stop_comes_out_bare(record: Recorder) -> None:
    with pytest.raises(OSError, match="disk full"):
        async with running(start_stop(nothing, record.does("stop", fails=OSError("disk full")))):
            pass


async def test_the_error_of_the_body_wins_over_that_of_the_stop_law_3(record: Recorder) -> None:
    failing = start_stop(nothing, record.does("stop", fails=OSError("disk full")))
    with pytest.raises(ValueError, match="body") as caught:
        async with running(failing):
            raise ValueError("body")
    assert notes_of(caught.value) == ["the stop function failed as well: OSError: disk full"]


async def test_a_group_raises_its_members_errors_as_a_group(record: Recorder) -> None:
    failing = leaf(record.does("run", takes=1, fails=OSError("no")))
    with pytest.raises(ExceptionGroup, match="1 of 2 members failed"):
        async with running(parallel(failing, nop())):
            await trio.sleep_forever()


# A node that ends early


async def test_a_node_that_fails_cancels_the_body(record: Recorder) -> None:
    broken = OSError("no")
    with pytest.raises(OSError, match="no") as caught:
        async with running(leaf(record.does("run", takes=1, fails=broken)), name="db"):
            await record.forever("body", last=2)()
    assert caught.value is broken
    assert record.reasons["body"] == "'db' has ended"
    assert trio.current_time() == 3


async def test_a_node_that_ends_cancels_the_body_and_no_error_comes_out(
    record: Recorder,
) -> None:
    async with running(leaf(record.does("run", takes=1))) as process:
        await record.forever("body")()
        record("not reached")
    record("after")
    assert process.error is None
    # The body does not wait for the foreground of a leaf to begin.
    assert sorted(record.trace[:2]) == ["body", "run"]
    assert record.trace[2:] == ["run done", "body cancelled", "after"]


async def test_a_provider_outlives_the_body_when_a_node_inside_it_fails_law_1(
    record: Recorder,
) -> None:
    shop = chain(pair(record, "db"), leaf(record.does("run", takes=1, fails=OSError("no"))))
    with pytest.raises(OSError, match="no"):
        async with running(shop):
            await record.forever("body", last=5)()
    assert record.trace[-4:] == ["body cancelled", "body gone", "db stop", "db stop done"]


async def test_the_bodys_error_after_an_early_end_comes_out_with_its_cause_law_3(
    record: Recorder,
) -> None:
    broken = OSError("no")
    with pytest.raises(ValueError, match="connection lost") as caught:
        async with running(leaf(record.does("run", takes=1, fails=broken))):
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("connection lost")
    assert caught.value.__cause__ is broken


async def test_a_body_that_swallows_its_cancellation_does_not_hide_the_error(
    record: Recorder,
) -> None:
    with pytest.raises(OSError, match="no"):
        async with running(leaf(record.does("run", takes=1, fails=OSError("no")))):
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                record("swallowed")
    assert record.trace[-1] == "swallowed"


# Stopped from within


async def test_its_process_may_be_stopped_in_the_body(record: Recorder) -> None:
    async with running(pair(record, "db")) as process:
        await process.stop()
        record("body goes on")
        await trio.sleep(1)
    assert record.trace == ["db start", "db stop", "db stop done", "body goes on"]


async def test_an_error_of_the_body_after_a_stop_comes_out(record: Recorder) -> None:
    with pytest.raises(ValueError, match="late"):
        async with running(pair(record, "db")) as process:
            await process.stop()
            raise ValueError("late")


async def test_an_error_of_a_stop_in_the_body_comes_out_once(record: Recorder) -> None:
    broken = OSError("disk full")
    with pytest.raises(OSError, match="disk full") as caught:
        async with running(start_stop(nothing, record.does("stop", fails=broken))) as process:
            await process.stop()
    assert caught.value is broken
    assert notes_of(broken) == []


async def test_an_error_of_the_stop_that_the_body_handled_comes_out_all_the_same(
    record: Recorder,
) -> None:
    with pytest.raises(OSError, match="disk full"):
        async with running(
            start_stop(nothing, record.does("stop", fails=OSError("disk full")))
        ) as process:
            with pytest.raises(OSError, match="disk full"):
                await process.stop()


async def test_where_a_stop_and_then_the_body_fail_the_error_of_the_stop_is_a_note(
    record: Recorder,
) -> None:
    with pytest.raises(ValueError, match="body") as caught:
        async with running(
            start_stop(nothing, record.does("stop", fails=OSError("disk full")))
        ) as process:
            with pytest.raises(OSError, match="disk full"):
                await process.stop()
            raise ValueError("body")
    assert notes_of(caught.value) == ["the run failed as well: OSError: disk full"]


# Stopped by another task


async def test_a_stop_from_another_task_cancels_the_body(record: Recorder) -> None:
    async def run(*, task_status: trio.TaskStatus[Process]) -> None:
        async with running(pair(record, "db"), name="db") as process:
            task_status.started(process)
            await record.forever("body")()
        record("after")

    async with trio.open_nursery() as nursery:
        process: Process = await nursery.start(run)
        await trio.sleep(1)
        await process.stop()
    assert sorted(record.trace[1:4]) == ["body", "body cancelled", "db stop"]
    assert record.trace[4:] == ["db stop done", "after"]
    assert record.reasons["body"] == "'db' is asked to stop"
    assert trio.current_time() == 2


async def test_a_stop_by_the_task_that_the_body_waits_for_does_not_hang(
    record: Recorder,
) -> None:
    """So it is where a fixture yields the process and a test stops it."""

    async def test(process: Process, done: trio.Event) -> None:
        await process.stop()
        record("stopped")
        done.set()

    done = trio.Event()
    async with trio.open_nursery() as nursery, running(pair(record, "db")) as process:
        with trio.CancelScope(shield=True):
            nursery.start_soon(test, process, done)
            await done.wait()
    assert record.trace == ["db start", "db stop", "db stop done", "stopped"]


async def test_a_stop_from_a_task_of_the_body_cancels_the_body_when_the_process_has_ended(
    record: Recorder,
) -> None:
    async def stop(process: Process) -> None:
        async with trio.open_nursery() as deeper:
            deeper.start_soon(process.stop)

    async with running(pair(record, "db"), name="db") as process, trio.open_nursery() as nursery:
        nursery.start_soon(stop, process)
        await record.forever("body")()
    assert record.trace[2:] == ["db stop", "db stop done", "body cancelled"]
    assert record.reasons["body"] == "'db' has ended"


async def test_a_stop_after_the_end_is_refused_as_that_of_any_process() -> None:
    async with running(nop()) as process:
        pass
    with pytest.raises(InvalidStateError, match="cannot stop 'nop': it is stopped"):
        await process.stop()


async def test_a_body_that_is_cancelled_by_a_stop_may_wait_for_it_in_turn(
    record: Recorder,
) -> None:
    async def body(process: Process) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await process.stop()
            record("body gone")

    async with trio.open_nursery() as nursery, running(pair(record, "db")) as process:
        nursery.start_soon(process.stop)
        await body(process)
    assert record.trace == ["db start", "db stop", "db stop done", "body gone"]


async def test_it_cannot_be_stopped_from_inside_of_it(record: Recorder) -> None:
    processes: list[Process] = []

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)

    async def stop() -> None:
        await trio.sleep(1)
        with pytest.raises(InvalidStateError, match="cannot stop 'db' from inside of it: it would"):
            await processes[0].stop()
        record("refused")

    async with running(
        chain(pair(record, "db"), leaf(run, on_return="stay")), name="db"
    ) as process:
        processes.append(process)
        await trio.sleep(2)
    assert record.trace == ["db start", "refused", "db stop", "db stop done"]


# Cancelled from outside


async def test_a_cancellation_reaches_the_body_first_law_1(record: Recorder) -> None:
    shop = chain(pair(record, "db"), leaf(record.forever("run")))
    with trio.move_on_after(1) as scope:
        async with running(shop):
            await record.forever("body", last=2)()
    assert scope.cancelled_caught
    assert record.trace[-5:] == [
        "body cancelled",
        "body gone",
        "run cancelled",
        "db stop",
        "db stop cancelled",
    ]
    assert trio.current_time() == 3


async def test_a_cancellation_during_the_start_is_that_of_the_start(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        async with running(start_stop(record.forever("start"), nothing)):
            record("body")
    assert scope.cancelled_caught
    assert record.trace == ["start", "start cancelled"]


async def test_a_cancellation_during_the_stop_forces_and_is_not_swallowed_law_8(
    record: Recorder,
) -> None:
    with trio.move_on_after(1) as scope:
        async with running(pair(record, "db", stop=9)):
            pass
        record("not reached")
    assert scope.cancelled_caught
    assert record.trace == ["db start", "db stop", "db stop cancelled"]


async def test_an_error_is_not_hidden_by_a_cancellation(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        with pytest.raises(ValueError, match="unflushed"):
            async with running(pair(record, "db")):
                try:
                    await trio.sleep_forever()
                finally:
                    raise ValueError("unflushed")
    assert not scope.cancelled_caught


# Interrupts


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_the_body_comes_out_bare_and_forces_law_4(
    record: Recorder, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    with pytest.raises(interrupt) as caught:
        async with running(pair(record, "db", stop=9)):
            raise raised
    assert caught.value is raised
    assert record.trace == ["db start", "db stop", "db stop cancelled"]


async def test_an_interrupt_of_a_node_comes_out_bare_law_4(record: Recorder) -> None:
    raised = SystemExit(3)
    with pytest.raises(SystemExit) as caught:
        async with running(
            chain(pair(record, "db", stop=9), leaf(record.does("run", takes=1, fails=raised)))
        ):
            await record.forever("body")()
    assert caught.value is raised
    assert record.trace[-3:] == ["body cancelled", "db stop", "db stop cancelled"]


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5])
def test_ctrl_c_comes_out_bare_after_all_has_ended_law_4(record: Recorder, seconds: float) -> None:
    async def press() -> None:
        await trio.sleep(seconds)
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(press)
        r = start_stop(record.does("start", takes=1), record.does("stop", takes=1))
        async with running(r):
            await trio.sleep(1)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert record.trace[-1] in ("start cancelled", "stop cancelled")


def test_a_second_ctrl_c_ends_the_wait_for_a_start_that_cannot_be_cancelled_law_4(
    record: Recorder,
) -> None:
    @runnable
    async def stubborn(f: Callback) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
            await f()
            record("stopped")

    async def press() -> None:
        for _ in range(2):
            await trio.sleep(1)
            signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(press)
        async with running(stubborn):
            record("body")

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert record.trace == ["stopped"]


# What is left


async def test_whoever_waits_for_its_end_still_gets_the_error_that_came_out(
    record: Recorder,
) -> None:
    async def stop(process: Process) -> None:
        with pytest.raises(OSError, match="disk full"):
            await process.stop()
        record("told")

    for _ in range(10):
        record.trace.clear()
        async with trio.open_nursery() as nursery:
            with pytest.raises(OSError, match="disk full"):
                async with running(
                    start_stop(nothing, record.does("stop", takes=1, fails=OSError("disk full")))
                ) as process:
                    nursery.start_soon(stop, process)
                    await trio.sleep(0.5)
        assert record.trace[-1] == "told"


async def test_an_error_that_has_come_out_stays_with_the_process() -> None:
    broken = OSError("no")
    processes: list[Process] = []
    with pytest.raises(OSError, match="no"):
        async with running(nop()) as process:
            processes.append(process)
            raise broken
    assert [(process.state, process.error) for process in processes] == [(State.STOPPED, broken)]


async def test_leaves_of_nested_runs_come_out_as_they_were_raised(record: Recorder) -> None:
    broken = OSError("no")
    with pytest.raises(OSError, match="no") as caught:
        async with running(pair(record, "a")), running(pair(record, "b")):
            raise broken
    assert leaves_of(caught.value) == [broken]
    assert record.trace[2:] == ["b stop", "b stop done", "a stop", "a stop done"]
