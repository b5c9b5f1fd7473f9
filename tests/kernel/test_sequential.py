from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Literal

import pytest
import trio

from nestling import (
    Callback,
    Runnable,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    parallel,
    runnable,
    sequential,
    service,
    start_stop,
    worker,
)
from tests.kernel.composing import nothing, pair
from tests.kernel.recording import failure_of, leaves_of, notes_of

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder

slow = update_wrapper(partial(pair, start=1, stop=1), pair)
StopOrder = Literal["forward", "reverse"]


def polite(record: Recorder, name: str, *, stop: float = 1) -> Runnable:
    """Make a leaf with a stop function, named."""
    event = trio.Event()

    async def run() -> None:
        await event.wait()
        await record.does(f"{name} stop", takes=stop)()

    async def ask() -> None:
        event.set()

    return named(name, leaf(run, ask))


def stubborn(record: Recorder, name: str, *, stop: float = 1) -> Runnable:
    """Make a service that is cancelled to stop it, and holds on, named."""

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await record.does(f"{name} stop", takes=stop)()

    return named(name, service(serve))


def waiting(record: Recorder, name: str, *, stop: float = 1) -> Runnable:
    """Make a worker, named."""

    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        await record.does(f"{name} stop", takes=stop)()

    return named(name, worker(work))


def foreign(record: Recorder, name: str, *, stop: float = 1) -> Runnable:
    """Make a foreign runnable, named."""

    @runnable
    async def run(f: Callback) -> None:
        await f()
        await record.does(f"{name} stop", takes=stop)()

    return named(name, run)


KINDS: list[Callable[..., Runnable]] = [slow, polite, stubborn, waiting, foreign]


# Identity


def test_of_no_runnable_it_is_nop_law_5() -> None:
    assert repr(sequential()) == repr(nop())
    assert repr(sequential(stop_order="reverse")) == repr(nop())


def test_of_one_runnable_it_is_that_one_law_5() -> None:
    one = leaf(trio.sleep_forever)
    assert sequential(one) is one
    assert sequential(one, stop_order="reverse") is one


# Starting


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_members_start_one_after_the_other(record: Recorder, count: int) -> None:
    names = [f"m{n}" for n in range(count)]
    group = sequential(*[slow(record, name, stop=0) for name in names])
    await group.run(record.does("callback", takes=1))
    starts = [event for name in names for event in (f"{name} start", f"{name} start done")]
    assert record.trace[: 2 * count] == starts
    assert record.trace[2 * count : 2 * count + 2] == ["callback", "callback done"]
    assert trio.current_time() == count + 1


@pytest.mark.parametrize("position", range(3))
async def test_after_a_failure_none_is_started_and_those_that_run_are_stopped_gracefully(
    record: Recorder, position: int
) -> None:
    broken = OSError("no")
    members = [slow(record, "a"), slow(record, "b")]
    members.insert(position, slow(record, "c", start_fails=broken))
    error = await failure_of(sequential(*members), record.does("callback"))
    assert type(error).__name__ == "ExceptionGroup"
    assert str(error) == "1 of 3 members failed: 'c' (1 sub-exception)"
    assert leaves_of(error) == [broken]
    started = ["a", "b"][:position]
    assert record.trace == [
        *[event for name in [*started, "c"] for event in (f"{name} start", f"{name} start done")],
        *[event for name in started for event in (f"{name} stop", f"{name} stop done")],
    ]


async def test_a_failure_of_one_that_runs_cancels_the_one_that_starts(record: Recorder) -> None:
    group = sequential(
        leaf(record.does("run", takes=1, fails=OSError("no"))),
        slow(record, "b", start=5),
        slow(record, "c"),
    )
    error = await failure_of(group, record.does("callback"))
    assert str(error) == "1 of 3 members failed: 'function' (1 sub-exception)"
    assert record.trace[-2:] == ["run done", "b start cancelled"]
    assert "c start" not in record.trace


@pytest.mark.parametrize("kind", [stubborn, foreign])
async def test_a_failure_of_one_that_runs_cancels_one_that_starts_in_a_task(
    record: Recorder, kind: object
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await record.forever("starting")()

    @runnable
    async def run(f: Callback) -> None:
        await record.forever("starting")()

    group = sequential(
        leaf(record.does("run", takes=1, fails=OSError("no"))),
        service(serve) if kind is stubborn else run,
    )
    await failure_of(group, record.does("callback"))
    assert record.trace[-1] == "starting cancelled"
    assert record.reasons["starting"] == "sequential gives up its start"


async def test_a_cancellation_during_the_start_reaches_those_that_start_and_those_that_run(
    record: Recorder,
) -> None:
    with trio.move_on_after(1.5) as scope:
        await sequential(slow(record, "a"), slow(record, "b"), slow(record, "c")).run(nothing)
    assert scope.cancelled_caught
    assert record.trace[:3] == ["a start", "a start done", "b start"]
    assert sorted(record.trace[3:]) == ["a stop", "a stop cancelled", "b start cancelled"]


# Stopping


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stop_order", ["forward", "reverse"])
async def test_members_stop_one_after_the_other_in_the_order_that_was_asked_for(
    record: Recorder, kind: Callable[..., Runnable], stop_order: StopOrder
) -> None:
    names = ["a", "b", "c"]
    group = sequential(*[kind(record, name, stop=2) for name in names], stop_order=stop_order)
    await group.run(nothing)
    stops = [event for event in record.trace if "stop" in event]
    in_order = names if stop_order == "forward" else names[::-1]
    assert stops == [event for n in in_order for event in (f"{n} stop", f"{n} stop done")]


@pytest.mark.parametrize("stop_order", ["forward", "reverse"])
async def test_members_of_different_kinds_stop_one_after_the_other(
    record: Recorder, stop_order: StopOrder
) -> None:
    names = [kind.__name__ for kind in KINDS]
    group = sequential(
        *[kind(record, kind.__name__) for kind in KINDS], nop(), stop_order=stop_order
    )
    await group.run(nothing)
    stops = [event for event in record.trace if event.endswith("stop")]
    in_order = names if stop_order == "forward" else names[::-1]
    assert stops == [f"{name} stop" for name in in_order]


@pytest.mark.parametrize("position", range(3))
async def test_a_stop_function_that_fails_lets_the_next_stop(
    record: Recorder, position: int
) -> None:
    members = [slow(record, "a"), slow(record, "b")]
    members.insert(position, slow(record, "c", stop_fails=OSError("disk full")))
    error = await failure_of(sequential(*members), nothing)
    assert str(error) == "1 of 3 members failed: 'c' (1 sub-exception)"
    names = ["a", "b"]
    names.insert(position, "c")
    assert record.trace[6:] == [event for n in names for event in (f"{n} stop", f"{n} stop done")]


async def test_after_a_failure_the_others_stop_in_order(record: Recorder) -> None:
    group = sequential(
        slow(record, "a"),
        leaf(record.does("run", takes=3, fails=OSError("no"))),
        slow(record, "b"),
        stop_order="reverse",
    )
    await failure_of(group, record.forever("callback"))
    assert record.trace[-4:] == ["b stop", "b stop done", "a stop", "a stop done"]


async def test_a_start_that_takes_its_time_to_be_cancelled_is_waited_for_before_the_next_stops(
    record: Recorder,
) -> None:
    group = sequential(
        leaf(record.does("run", takes=2, fails=OSError("no"))),
        slow(record, "b"),
        named("c", start_stop(record.forever("c start", last=3), nothing)),
        stop_order="reverse",
    )
    await failure_of(group, record.does("callback"))
    assert record.trace[-4:] == ["c start cancelled", "c start gone", "b stop", "b stop done"]


async def test_a_cancellation_during_the_graceful_stop_forces_all_at_once_law_2(
    record: Recorder,
) -> None:
    group = sequential(slow(record, "a", stop=5), slow(record, "b"), slow(record, "c"))
    with trio.move_on_after(4) as scope:
        await group.run(nothing)
    assert scope.cancelled_caught
    assert record.trace[6:8] == ["a stop", "a stop cancelled"]
    assert sorted(record.trace[8:]) == [
        "b stop",
        "b stop cancelled",
        "c stop",
        "c stop cancelled",
    ]
    assert trio.current_time() == 4


async def test_a_member_that_returns_cancels_the_callback_and_stops_the_others_in_order(
    record: Recorder,
) -> None:
    group = sequential(leaf(record.does("run", takes=5)), slow(record, "a"), slow(record, "b"))
    await group.run(record.forever("callback"))
    assert record.trace[-5:] == [
        "callback cancelled",
        "a stop",
        "a stop done",
        "b stop",
        "b stop done",
    ]


async def test_a_finite_job_that_is_done_is_not_waited_for(record: Recorder) -> None:
    job = leaf(record.does("job", takes=1), on_return="stay")
    await sequential(job, slow(record, "a")).run(record.does("callback", takes=5))
    assert record.trace[-2:] == ["a stop", "a stop done"]


# Interrupts


async def test_an_interrupt_of_a_stop_function_forces_those_that_come_after_law_4(
    record: Recorder,
) -> None:
    raised = SystemExit(3)
    group = sequential(slow(record, "a", stop_fails=raised), slow(record, "b", stop=5))
    assert await failure_of(group, nothing) is raised
    assert record.trace[-2:] == ["b stop", "b stop cancelled"]


async def test_an_interrupt_of_the_callback_forces_all_law_4(record: Recorder) -> None:
    raised = KeyboardInterrupt()
    group = sequential(slow(record, "a"), slow(record, "b"))
    assert await failure_of(group, record.does("callback", fails=raised)) is raised
    assert sorted(record.trace[-4:]) == [
        "a stop",
        "a stop cancelled",
        "b stop",
        "b stop cancelled",
    ]
    assert notes_of(raised) == []


# Nested


async def test_sequences_nest(record: Recorder) -> None:
    group = sequential(
        slow(record, "a"),
        sequential(slow(record, "b"), slow(record, "c"), stop_order="reverse"),
        parallel(slow(record, "d"), nop()),
        chain(slow(record, "e"), slow(record, "f")),
    )
    await group.run(record.does("callback"))
    plain = [event for event in record.trace if not event.endswith("done")]
    assert plain == [
        *[f"{name} start" for name in "abcdef"],
        "callback",
        *[f"{name} stop" for name in "acbdfe"],
    ]
