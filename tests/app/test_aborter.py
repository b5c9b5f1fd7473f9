"""`Aborter` and `abort`: stopping a run from anywhere."""

from __future__ import annotations

import threading

import pytest
import trio
import trio.testing

from nestling import (
    Aborter,
    NotRunningError,
    abort,
    chain,
    leaf,
    named,
    run,
    run_until_signal,
    start_stop,
)


async def nothing() -> None:
    pass


async def forever() -> None:
    await trio.sleep_forever()


async def test_it_stops_a_run_gracefully() -> None:
    aborter, trace = Aborter(), list[str]()

    async def stop() -> None:
        await trio.lowlevel.checkpoint()
        trace.append("stopped")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_with, aborter, start_stop(nothing, stop))
        await trio.testing.wait_all_tasks_blocked()
        assert not aborter.aborted.is_set()
        aborter.abort()
        assert aborter.aborted.is_set()
    assert trace == ["stopped"]
    assert aborter.error is None


async def run_with(aborter: Aborter, r: object) -> None:
    await run_until_signal(r, aborter=aborter)  # type: ignore[arg-type]


def test_the_run_raises_the_error_bare() -> None:
    aborter, error = Aborter(), OSError("the disk is full")

    async def give_up() -> None:
        aborter.abort_on_error(error)
        await forever()

    with pytest.raises(OSError, match="full") as raised:
        run(named("app", leaf(give_up)), aborter=aborter)
    assert raised.value is error is aborter.error


def test_only_the_first_call_counts() -> None:
    aborter, first = Aborter(), OSError("first")
    aborter.abort_on_error(None)
    assert not aborter.aborted.is_set()
    aborter.abort_on_error(first)
    aborter.abort_on_error(OSError("second"))
    aborter.abort()
    assert aborter.error is first
    assert aborter.aborted.is_set()


@pytest.mark.parametrize("error", [None, OSError("early")])
def test_a_run_that_was_aborted_before_starts_nothing(error: OSError | None) -> None:
    aborter, trace = Aborter(), list[str]()
    if error is None:
        aborter.abort()
    else:
        aborter.abort_on_error(error)

    async def record() -> None:
        trace.append("started")

    for _ in range(2):
        if error is None:
            run(leaf(record), aborter=aborter)
        else:
            with pytest.raises(OSError, match="early"):
                run(leaf(record), aborter=aborter)
    assert trace == []


def test_it_does_nothing_after_the_run() -> None:
    aborter = Aborter()
    run(leaf(nothing), aborter=aborter)
    aborter.abort_on_error(OSError("late"))
    assert aborter.aborted.is_set()


def test_an_abort_during_the_start_up_cancels_it() -> None:
    aborter, trace = Aborter(), list[str]()

    async def start() -> None:
        aborter.abort()
        try:
            await forever()
        except trio.Cancelled as cancelled:
            trace.append(str(cancelled.reason))
            raise

    run(named("app", start_stop(start, nothing)), aborter=aborter)
    assert trace == ["'app' is asked to stop by its aborter"]


def test_a_plain_thread_can_abort() -> None:
    aborter, error = Aborter(), OSError("from a thread")

    async def start_thread() -> None:
        threading.Thread(target=aborter.abort_on_error, args=(error,)).start()

    with pytest.raises(OSError, match="from a thread"):
        run(chain(start_stop(start_thread, nothing), leaf(forever)), aborter=aborter)
    assert aborter.aborted.is_set()


def test_the_function_reaches_the_run_around_from_a_task_and_from_a_worker_thread() -> None:
    async def from_task() -> None:
        abort(OSError("task"))
        await forever()

    async def from_thread() -> None:
        await trio.to_thread.run_sync(abort, OSError("thread"))
        await forever()

    with pytest.raises(OSError, match="task"):
        run(leaf(from_task))
    with pytest.raises(OSError, match="thread"):
        run(leaf(from_thread))


def test_the_function_stops_only_the_innermost_run() -> None:
    trace = list[str]()

    async def stop_inner() -> None:
        abort()
        await forever()

    async def outer() -> None:
        await run_until_signal(leaf(stop_inner), signals=())
        trace.append("the outer one goes on")
        abort()
        await forever()

    run(leaf(outer))
    assert trace == ["the outer one goes on"]


def test_outside_of_a_run_the_function_is_refused() -> None:
    run(leaf(nothing))
    with pytest.raises(NotRunningError, match="there is none"):
        abort()


def test_what_is_no_exception_is_refused() -> None:
    with pytest.raises(TypeError, match="must be an exception or None"):
        abort("why")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be an exception or None"):
        Aborter().abort_on_error(OSError)  # type: ignore[arg-type]


def test_a_failure_during_the_stop_is_a_note_on_the_error() -> None:
    async def fail() -> None:
        raise ValueError("cannot stop")

    async def give_up() -> None:
        abort(OSError("the disk is full"))

    r = chain(start_stop(nothing, fail), leaf(give_up, on_return="stay"))
    with pytest.raises(OSError, match="full") as raised:
        run(r)
    assert getattr(raised.value, "__notes__", None) == [
        "the run failed as well: ValueError: cannot stop"
    ]


async def test_one_aborter_stops_several_runs() -> None:
    aborter, trace = Aborter(), list[str]()

    async def run_one() -> None:
        await run_until_signal(leaf(forever), signals=(), aborter=aborter)
        trace.append("ended")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_one)
        nursery.start_soon(run_one)
        await trio.testing.wait_all_tasks_blocked()
        aborter.abort()
    assert trace == ["ended", "ended"]
