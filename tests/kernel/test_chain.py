from __future__ import annotations

import itertools
import signal
import sys
from typing import TYPE_CHECKING, Literal

import pytest
import trio
import trio.testing

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
from tests.kernel.recording import failure_of, leaves_of, no_task_left, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


# Identity


def test_of_no_runnable_it_is_nop_law_5() -> None:
    assert repr(chain()) == repr(nop())


def test_of_one_runnable_it_is_that_one_law_5() -> None:
    one = leaf(trio.sleep_forever)
    assert chain(one) is one


def test_a_chain_in_a_chain_is_one_chain() -> None:
    a, b, c = (leaf(trio.sleep_forever) for _ in range(3))
    flat = repr(chain(a, b, c))
    assert repr(chain(chain(a, b), c)) == flat
    assert repr(chain(a, chain(b, c))) == flat


# Order


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_members_start_in_order_and_stop_in_reverse_law_1(
    record: Recorder, count: int
) -> None:
    names = [f"m{n}" for n in range(count)]
    with no_task_left():
        await chain(*[pair(record, name) for name in names]).run(record.does("callback"))
    assert record.trace == [
        *[f"{name} start" for name in names],
        "callback",
        *[f"{name} stop" for name in reversed(names)],
    ]


async def test_it_can_be_run_again_law_9(record: Recorder) -> None:
    shop = chain(pair(record, "a"), pair(record, "b"))
    for _ in range(2):
        await shop.run(record.does("callback"))
    assert record.trace[:5] == record.trace[5:]


async def test_it_can_be_run_twice_at_the_same_time(record: Recorder) -> None:
    shop = chain(*[pair(record, f"m{n}") for n in range(40)])
    async with trio.open_nursery() as nursery:
        for _ in range(2):
            nursery.start_soon(shop.run, record.does("callback", takes=1))
    assert record.trace.count("callback done") == 2


@pytest.mark.parametrize("position", range(3))
async def test_after_a_failed_start_none_is_started_and_those_that_run_are_stopped(
    record: Recorder, position: int
) -> None:
    broken = OSError("no")
    members = [pair(record, "a"), pair(record, "b")]
    members.insert(position, pair(record, "c", start_fails=broken))
    assert await failure_of(chain(*members), record.does("callback")) is broken
    running = ["a", "b"][:position]
    assert record.trace == [
        *[f"{name} start" for name in running],
        "c start",
        *[f"{name} stop" for name in reversed(running)],
    ]
    assert notes_of(broken) == ["in 'c'"]


@pytest.mark.parametrize("position", range(3))
async def test_a_failed_stop_lets_the_others_stop(record: Recorder, position: int) -> None:
    broken = OSError("no")
    members = [pair(record, "a"), pair(record, "b")]
    members.insert(position, pair(record, "c", stop_fails=broken))
    assert await failure_of(chain(*members), nothing) is broken
    names = ["a", "b"]
    names.insert(position, "c")
    assert record.trace[3:] == [f"{name} stop" for name in reversed(names)]


async def test_all_errors_of_the_stops_are_kept_law_3(record: Recorder) -> None:
    shop = chain(
        pair(record, "a", stop_fails=OSError("a")), pair(record, "b", stop_fails=ValueError("b"))
    )
    error = await failure_of(shop, nothing)
    assert isinstance(error, ValueError)
    assert notes_of(error) == ["in 'b'", "the stop function failed as well: OSError: a"]


@pytest.mark.parametrize("position", range(3))
async def test_a_member_that_fails_takes_down_its_dependents_before_it_is_gone(
    record: Recorder, position: int
) -> None:
    broken = OSError("no")
    members = [pair(record, "a"), pair(record, "b")]
    members.insert(position, named("c", leaf(record.does("run", takes=1, fails=broken))))
    assert await failure_of(chain(*members), record.forever("callback")) is broken
    after = record.trace[record.trace.index("callback cancelled") :]
    stops = ["b stop", "b stop cancelled", "a stop", "a stop cancelled"]
    graceful = {0: stops, 1: [*stops[:2], "a stop"], 2: ["b stop", "a stop"]}[position]
    assert after == ["callback cancelled", *graceful]


@pytest.mark.parametrize("on_return", ["stop", "stay"])
async def test_a_member_that_returns_does_as_it_was_told(
    record: Recorder, on_return: Literal["stop", "stay"]
) -> None:
    job = leaf(record.does("run", takes=1), on_return=on_return)
    await chain(pair(record, "a"), job, pair(record, "b")).run(record.does("callback", takes=5))
    assert trio.current_time() == (1 if on_return == "stop" else 5)
    assert record.trace[-1] == "a stop"


async def test_a_cancellation_goes_from_the_inside_out_law_1(record: Recorder) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await record.forever("service", last=1)()

    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await record.forever("worker", last=1)()

    @runnable
    async def foreign(f: Callback) -> None:
        try:
            await f()
        finally:
            await record.forever("foreign", last=1)()

    shop = chain(
        leaf(record.forever("leaf", last=1)),
        service(serve),
        worker(work),
        foreign,
        parallel(leaf(record.forever("member", last=1)), nop()),
        sequential(leaf(record.forever("in turn", last=1)), nop()),
    )
    with trio.move_on_after(1) as scope:
        await shop.run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    gone = [event for event in record.trace if event.endswith("gone")]
    assert gone == [
        f"{name} gone"
        for name in ["callback", "in turn", "member", "foreign", "worker", "service", "leaf"]
    ]
    for inner, outer in itertools.pairwise(gone):
        begin = record.trace.index(outer.replace("gone", "cancelled"))
        assert record.trace.index(inner) < begin
    assert trio.current_time() == 8


async def test_a_cancelled_start_up_is_taken_down_from_the_inside_out_law_1(
    record: Recorder,
) -> None:
    shop = chain(
        leaf(record.forever("a", last=1)),
        leaf(record.forever("b", last=1)),
        start_stop(record.forever("c", last=1), nothing),
    )
    with trio.move_on_after(1) as scope:
        await shop.run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace[3:] == [
        "c cancelled",
        "c gone",
        "b cancelled",
        "b gone",
        "a cancelled",
        "a gone",
    ]


# The callback's task


@pytest.mark.parametrize("levels", [1, 2, 31, 32])
async def test_down_to_32_levels_the_callback_is_called_in_the_task_of_the_run_law_7(
    levels: int,
) -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks = [trio.lowlevel.current_task()]
    await chain(*[leaf(trio.sleep_forever) for _ in range(levels)]).run(callback)
    assert tasks == [tasks[0]] * 2


async def test_below_32_levels_it_is_called_in_a_child_task_law_7() -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks = [trio.lowlevel.current_task()]
    await chain(*[nop() for _ in range(33)]).run(callback)
    assert tasks[1] is not tasks[0]


async def test_nested_chains_count_their_levels_together_law_7() -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks = [trio.lowlevel.current_task()]
    part = [named(str(n), chain(*[nop()] * 10)) for n in range(4)]
    await chain(*part[:2]).run(callback)
    assert tasks.pop() is tasks[0]
    await chain(*part).run(callback)
    assert tasks.pop() is not tasks[0]


async def test_a_chain_in_the_task_of_a_member_counts_its_levels_anew() -> None:
    tasks: list[trio.lowlevel.Task] = []

    @runnable
    async def note(f: Callback) -> None:
        tasks.append(trio.lowlevel.current_task())
        await f()

    inner = chain(note, *[nop()] * 20, note)
    await chain(*[nop()] * 20, parallel(inner, nop())).run(nothing)
    assert tasks[0] is tasks[1]


async def test_after_a_run_the_levels_are_counted_anew() -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks: list[trio.lowlevel.Task] = []
    for _ in range(3):
        await chain(*[nop()] * 20).run(callback)
    assert tasks == [trio.lowlevel.current_task()] * 3


# Below 32 levels


def deep(*members: Runnable) -> Runnable:
    """Make a chain whose ``members`` run in a child task."""
    return chain(*[nop()] * 32, *members)


async def test_an_error_of_a_child_task_comes_out_bare() -> None:
    broken = OSError("no")

    async def callback() -> None:
        raise broken

    assert await failure_of(deep(nop()), callback) is broken
    assert notes_of(broken) == []


async def test_a_group_of_a_child_task_comes_out_as_it_was_raised(record: Recorder) -> None:
    group = parallel(pair(record, "a", stop_fails=OSError("no")), nop())
    error = await failure_of(deep(group), nothing)
    assert str(error) == "1 of 2 members failed: 'a' (1 sub-exception)"


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_of_a_child_task_comes_out_bare_law_4(
    record: Recorder, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    shop = chain(pair(record, "a"), deep(pair(record, "b")))
    assert await failure_of(shop, record.does("callback", fails=raised)) is raised
    assert record.trace[-4:] == ["b stop", "b stop cancelled", "a stop", "a stop cancelled"]


async def test_a_cancellation_passes_through_a_child_task(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await chain(pair(record, "a"), deep(pair(record, "b"))).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace[3:] == [
        "callback cancelled",
        "b stop",
        "b stop cancelled",
        "a stop",
        "a stop cancelled",
    ]


def test_ctrl_c_while_a_child_task_runs_takes_it_down_first_laws_1_and_4(
    record: Recorder,
) -> None:
    async def press() -> None:
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(press)
        shop = chain(pair(record, "a"), deep(pair(record, "b")))
        await shop.run(record.forever("callback", last=1))

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert record.trace[3:] == [
        "callback cancelled",
        "callback gone",
        "b stop",
        "b stop cancelled",
        "a stop",
        "a stop cancelled",
    ]


def test_an_error_in_a_child_task_is_a_note_of_ctrl_c_law_4() -> None:
    async def press() -> None:
        await trio.sleep(1)
        signal.raise_signal(signal.SIGINT)

    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("unflushed")

    async def main() -> None:
        trio.lowlevel.spawn_system_task(press)
        await deep(nop()).run(callback)

    with pytest.raises(KeyboardInterrupt) as caught:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert notes_of(caught.value) == ["a dependent failed as well: OSError: unflushed"]


async def test_a_group_of_a_cancellation_and_an_error_comes_out_of_a_child_task() -> None:
    async def callback() -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    caught: list[BaseException] = []
    with trio.move_on_after(1):
        try:
            await deep(nop()).run(callback)
        except BaseExceptionGroup as group:
            rest = group.split(trio.Cancelled)[1]
            assert rest is not None
            caught += leaves_of(rest)
    assert [str(error) for error in caught] == ["unflushed"]
