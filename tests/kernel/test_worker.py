from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
import trio

from nestling import (
    ExitedBeforeRunningError,
    UnexpectedReturnError,
    WorkerHandle,
    named,
    parallel,
    service,
    worker,
)
from tests.kernel.recording import failure_of, no_cycles, no_task_left, notes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestling import Runnable
    from tests.kernel.recording import Recorder


def alone(r: Runnable) -> Runnable:
    return r


def in_parallel(r: Runnable) -> Runnable:
    async def ready(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    return parallel(r, service(ready))


either_way = pytest.mark.parametrize("around", [alone, in_parallel])


@either_way
async def test_the_callback_waits_until_it_is_ready(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        record("work")
        await trio.sleep(1)
        handle.ready()
        record("ready")
        await handle.stopping.wait()
        record("stopping")
        await trio.sleep(1)
        record("ends")

    await around(worker(work)).run(record.does("callback", takes=1))
    assert record.trace == [
        "work",
        "ready",
        "callback",
        "callback done",
        "stopping",
        "ends",
    ]
    assert trio.current_time() == 3


@either_way
async def test_a_forced_stop_cancels_it_and_does_not_ask(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await record.forever("work")()

    with trio.move_on_after(1) as scope:
        await around(worker(work)).run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    assert sorted(record.trace[:2]) == ["callback", "work"]
    assert record.trace[2:] == ["callback cancelled", "callback gone", "work cancelled"]


@either_way
async def test_ready_called_again_does_nothing(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        handle.ready()
        await handle.stopping.wait()
        handle.ready()

    await around(worker(work)).run(record.does("callback"))
    assert record.trace == ["callback"]


async def test_ready_called_again_does_not_stand_for_another_member(record: Recorder) -> None:
    async def hasty(handle: WorkerHandle) -> None:
        handle.ready()
        handle.ready()
        await handle.stopping.wait()

    async def slow(handle: WorkerHandle) -> None:
        await trio.sleep(1)
        record("slow is ready")
        handle.ready()
        await handle.stopping.wait()

    await parallel(worker(hasty), worker(slow)).run(record.does("callback"))
    assert record.trace == ["slow is ready", "callback"]


@either_way
async def test_a_worker_that_returns_before_it_is_ready_failed_to_start(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    kept: list[WorkerHandle] = []

    async def work(handle: WorkerHandle) -> None:
        kept.append(handle)

    error = await failure_of(around(worker(work)), record.does("callback"))
    if around is alone:
        assert isinstance(error, ExitedBeforeRunningError)
        assert str(error) == "worker 'work' ended before it was running"
    else:
        with pytest.RaisesGroup(ExitedBeforeRunningError):
            raise error
    kept[0].ready()
    assert record.trace == []


@pytest.mark.parametrize("on_return", ["stop", "stay", "fail"])
async def test_on_return_says_what_a_return_means(
    record: Recorder, on_return: Literal["stop", "stay", "fail"]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await trio.sleep(1)

    r = worker(work, on_return=on_return)
    if on_return == "fail":
        error = await failure_of(r, record.does("callback", takes=2))
        assert isinstance(error, UnexpectedReturnError)
        assert str(error) == "worker 'work' returned before it was stopped"
    else:
        await r.run(record.does("callback", takes=2))
    assert record.trace == [
        "callback",
        f"callback {'done' if on_return == 'stay' else 'cancelled'}",
    ]


async def test_a_worker_that_fails_cancels_the_callback(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await trio.sleep(1)
        raise OSError("lost")

    error = await failure_of(worker(work), record.forever("callback"))
    assert isinstance(error, OSError)
    assert record.reasons == {"callback": "worker 'work' has failed: OSError: lost"}


# until_stopping ----------------------------------------------------------------------------------


@either_way
async def test_until_stopping_cuts_its_body_short(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        with handle.until_stopping() as scope:
            await record.forever("waiting")()
        record(f"cut short: {scope.cancelled_caught}")

    await around(named("mailer", worker(work))).run(record.does("callback", takes=1))
    assert record.trace[-2:] == ["waiting cancelled", "cut short: True"]
    assert record.reasons["waiting"] == "worker 'work' in 'mailer' is asked to stop"


async def test_until_stopping_lets_a_body_that_ends_alone(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        with handle.until_stopping() as scope:
            await trio.sleep(1)
        assert not scope.cancelled_caught
        await handle.stopping.wait()
        record("asked")

    await worker(work).run(record.does("callback", takes=2))
    assert record.trace == ["callback", "callback done", "asked"]


async def test_until_stopping_cancels_at_once_where_the_stop_was_asked_for_before(
    record: Recorder,
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        with handle.until_stopping() as scope:
            await record.forever("waiting")()
        assert scope.cancelled_caught

    await worker(work).run(record.does("callback"))
    assert record.trace == ["callback", "waiting", "waiting cancelled"]
    assert record.reasons == {"waiting": "worker 'work' is asked to stop"}


async def test_until_stopping_may_be_used_by_several_tasks_at_the_same_time(
    record: Recorder,
) -> None:
    async def child(handle: WorkerHandle, name: str) -> None:
        with handle.until_stopping():
            await record.forever(name)()
        record(f"{name} ends")
        done.append(name)
        if len(done) == 2:
            all_done.set()

    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(child, handle, "a")
        handle.start_soon(child, handle, "b")
        handle.ready()
        await all_done.wait()

    done: list[str] = []
    all_done = trio.Event()
    await worker(work).run(record.does("callback", takes=1))
    assert sorted(record.trace[-4:]) == ["a cancelled", "a ends", "b cancelled", "b ends"]


async def test_law_8_until_stopping_does_not_swallow_a_cancellation_from_outside(
    record: Recorder,
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        with handle.until_stopping():
            await record.forever("waiting")()
        record("not cancelled")

    with trio.move_on_after(1) as scope:
        await worker(work).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert "not cancelled" not in record.trace


async def test_until_stopping_passes_errors_through() -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        with handle.until_stopping():
            raise OSError("inside")

    with pytest.raises(OSError, match="inside"):
        await worker(work).run(trio.sleep_forever)


# Child tasks -------------------------------------------------------------------------------------


async def test_child_tasks_end_with_the_worker(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(record.forever("child", last=1))
        handle.ready()
        await handle.stopping.wait()
        record("ends")

    with no_task_left():
        await worker(work).run(record.does("callback", takes=1))
    assert record.trace[-3:] == ["ends", "child cancelled", "child gone"]
    assert record.reasons == {"child": "worker 'work' has ended"}


async def test_child_tasks_get_arguments_and_names(record: Recorder) -> None:
    async def child(*words: str) -> None:
        await trio.lowlevel.checkpoint()
        record(f"{trio.lowlevel.current_task().name}: {' '.join(words)}")

    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        handle.start_soon(child)
        await trio.sleep(1)
        handle.start_soon(child, "a", "b")
        await trio.sleep(1)
        handle.start_soon(child, name="poll")
        await trio.sleep(1)

    await worker(work).run(trio.sleep_forever)
    assert record.trace == ["work[0]: ", "work[1]: a b", "work.poll: "]


async def test_a_child_task_that_fails_fails_the_worker_with_a_note(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        handle.start_soon(record.does("child", takes=1, fails=OSError("lost")), name="poll")
        await record.forever("work")()

    error = await failure_of(worker(work), record.forever("callback"))
    assert isinstance(error, OSError)
    assert notes_of(error) == ["in 'work.poll'"]
    assert record.reasons == {
        "work": "the child task 'work.poll' has failed",
        "callback": "worker 'work' has failed: OSError: lost",
    }


async def test_law_3_errors_of_the_worker_and_of_all_its_child_tasks_are_kept(
    record: Recorder,
) -> None:
    async def fails(name: str) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError(name)

    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        handle.start_soon(fails, "one")
        handle.start_soon(record.does("child", takes=1, fails=OSError("first")))
        await fails("worker")

    error = await failure_of(worker(work), record.forever("callback"))
    assert str(error) == "worker"
    assert sorted(notes_of(error)) == [
        "the child task 'work[0]' failed as well: OSError: one",
        "the child task 'work[1]' failed as well: OSError: first",
    ]


@pytest.mark.parametrize("part", ["worker", "child"])
async def test_law_3_cancelled_child_tasks_hide_no_error(part: str) -> None:
    """A nursery with cancelled child tasks raises, and must not take the place of the error."""

    async def fails() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError(part)

    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(trio.sleep_forever)
        if part == "child":
            handle.start_soon(fails)
        handle.ready()
        await (fails if part == "worker" else trio.sleep_forever)()

    with pytest.raises(OSError, match=part), trio.move_on_after(1):
        await worker(work).run(trio.sleep_forever)


async def test_law_3_a_worker_that_returns_hides_no_error_of_a_child_task() -> None:
    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("child")

    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(child)
        handle.ready()
        await handle.stopping.wait()

    with pytest.raises(OSError, match="child"):
        await worker(work).run(trio.lowlevel.checkpoint)


async def test_law_8_a_cancellation_is_not_swallowed_where_only_a_child_task_saw_it(
    record: Recorder,
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(record.forever("child"))
        handle.ready()
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

    with trio.move_on_after(1) as scope:
        await worker(work).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace[-1] == "child cancelled"


async def test_law_4_an_interrupt_of_a_child_task_comes_out_bare(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        handle.start_soon(record.does("child", takes=1, fails=SystemExit(3)))
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("worker")

    error = await failure_of(worker(work), record.forever("callback"))
    assert isinstance(error, SystemExit)
    assert notes_of(error) == ["in 'work[0]'", "the worker failed as well: OSError: worker"]


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        async def work(handle: WorkerHandle) -> None:
            handle.start_soon(fails)
            handle.ready()
            await fails()

        with pytest.raises(OSError, match="Marker") as caught:
            await worker(work).run(trio.sleep_forever)
        del caught


async def test_law_9_it_can_run_again_and_twice_at_the_same_time(record: Recorder) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        record("ends")

    r = worker(work)
    await r.run(record.does("callback"))
    await parallel(r, r).run(record.does("callback"))
    assert record.trace == ["callback", "ends", "callback", "ends", "ends"]


# The log -----------------------------------------------------------------------------------------


@either_way
async def test_its_log_has_the_path_of_the_node(
    caplog: pytest.LogCaptureFixture, around: Callable[[Runnable], Runnable]
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.log.warning("sent %d of %s", 3, "50%", extra={"count": 3})
        handle.log.warning("done", extra=None)
        handle.ready()
        await handle.stopping.wait()

    await named("shop", around(named("100%", worker(work)))).run(trio.lowlevel.checkpoint)
    first, second = caplog.records
    assert first.getMessage() == "shop/100%: sent 3 of 50%"
    assert first.name == "nestling.worker"
    assert vars(first)["path"] == vars(second)["path"] == "shop/100%"
    assert vars(first)["count"] == 3


async def test_without_a_name_its_log_has_that_of_the_function(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def work(handle: WorkerHandle) -> None:
        handle.log.warning("hello")
        handle.ready()

    await worker(work).run(trio.sleep_forever)
    assert caplog.messages == ["work: hello"]
