from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from nestling import chain, named, parallel, start_stop
from tests.kernel.recording import failure_of, no_cycles, no_task_left, notes_of

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def test_it_awaits_start_then_the_callback_then_stop(record: Recorder) -> None:
    pair = start_stop(record.does("start", takes=1), record.does("stop", takes=1))
    await pair.run(record.does("callback", takes=1))
    assert record.trace == [
        "start",
        "start done",
        "callback",
        "callback done",
        "stop",
        "stop done",
    ]
    assert trio.current_time() == 3


async def test_where_start_fails_there_is_nothing_to_stop(record: Recorder) -> None:
    pair = start_stop(record.does("start", fails=OSError("no")), record.does("stop"))
    assert isinstance(await failure_of(pair, record.does("callback")), OSError)
    assert record.trace == ["start"]


async def test_where_start_is_cancelled_there_is_nothing_to_stop(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await start_stop(record.forever("start"), record.does("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["start", "start cancelled"]


async def test_stop_is_awaited_after_a_callback_that_fails(record: Recorder) -> None:
    pair = start_stop(record.does("start"), record.does("stop", takes=1))
    await failure_of(pair, record.does("callback", fails=KeyError()))
    assert record.trace == ["start", "callback", "stop", "stop done"]


async def test_law_1_a_cancelled_callback_is_gone_before_stop_is_called(record: Recorder) -> None:
    pair = start_stop(record.does("start"), record.does("stop"))
    with trio.move_on_after(1) as scope:
        await pair.run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    assert record.trace == [
        "start",
        "callback",
        "callback cancelled",
        "callback gone",
        "stop",
        "stop cancelled",
    ]


async def test_law_2_cancelled_before_it_is_run_it_starts_nothing(record: Recorder) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("enough")
        await start_stop(record.does("start"), record.does("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_law_2_a_cancellation_that_start_does_not_see_keeps_the_callback_from_starting(
    record: Recorder,
) -> None:
    """What was started is stopped all the same."""
    with trio.CancelScope() as scope:

        async def start() -> None:
            await trio.lowlevel.checkpoint()
            record("start")
            scope.cancel("enough")

        await start_stop(start, record.does("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["start", "stop", "stop cancelled"]


async def test_law_2_forcing_during_a_graceful_stop_takes_effect_at_once(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await start_stop(record.does("start"), record.forever("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace[-1] == "stop cancelled"
    assert trio.current_time() == 1


@pytest.mark.parametrize("cancelled_at", [math.inf, 1, 3])
@pytest.mark.parametrize("stop_fails", [False, True], ids=["stop works", "stop fails"])
@pytest.mark.parametrize("callback", ["returns", "raises", "is cancelled"])
async def test_law_3_the_first_error_comes_out_bare_and_none_is_lost(
    callback: str, stop_fails: bool, cancelled_at: float
) -> None:
    callback_error, stop_error = OSError("callback"), OSError("stop")

    async def dependent() -> None:
        with trio.CancelScope(shield=callback != "is cancelled"):
            await trio.sleep(2)
        if callback == "raises":
            raise callback_error

    async def stop() -> None:
        try:
            await trio.sleep(2)
        finally:
            if stop_fails:
                raise stop_error

    error: BaseException | None = None
    with no_task_left(), trio.CancelScope(deadline=cancelled_at) as scope:
        try:
            await start_stop(trio.lowlevel.checkpoint, stop).run(dependent)
        except OSError as exception:
            error = exception
    if callback == "raises":
        assert error is callback_error
        noted = ["the stop function failed as well: OSError: stop"] if stop_fails else []
        assert notes_of(callback_error) == noted
        assert callback_error.__cause__ is None
    else:
        assert error is (stop_error if stop_fails else None)
        assert notes_of(stop_error) == []
    assert scope.cancelled_caught == (error is None and cancelled_at < math.inf)


@pytest.mark.parametrize("part", ["start", "callback", "stop"])
async def test_law_3_a_cancellation_in_a_group_hides_no_error(part: str) -> None:
    async def mixed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError(part)

    pair = start_stop(
        mixed if part == "start" else trio.lowlevel.checkpoint,
        mixed if part == "stop" else trio.lowlevel.checkpoint,
    )
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match=part)), trio.move_on_after(1):
        await pair.run(mixed if part == "callback" else trio.sleep_forever)


@pytest.mark.parametrize("part", ["start", "callback", "stop"])
async def test_law_6_no_reference_cycle_keeps_the_error(part: str) -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        pair = start_stop(
            fails if part == "start" else trio.lowlevel.checkpoint,
            fails if part in {"stop", "callback"} else trio.lowlevel.checkpoint,
        )
        callback = fails if part == "callback" else trio.lowlevel.checkpoint
        with pytest.raises(OSError, match="Marker") as caught:
            await pair.run(callback)
        del caught


async def test_law_7_everything_is_called_in_the_task_that_runs_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def function() -> None:
        await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    await start_stop(function, function).run(function)
    assert tasks == [trio.lowlevel.current_task()] * 3


async def test_law_8_a_cancellation_from_outside_keeps_its_reason(record: Recorder) -> None:
    pair = start_stop(record.does("start"), record.does("stop"))
    with trio.CancelScope() as scope:

        async def callback() -> None:
            scope.cancel("lunch")
            await record.forever("callback")()

        await pair.run(callback)
    assert scope.cancelled_caught
    assert record.reasons == {"callback": "lunch", "stop": "lunch"}


async def test_law_9_it_can_run_again(record: Recorder) -> None:
    pair = start_stop(record.does("start"), record.does("stop"))
    await pair.run(record.does("callback"))
    await pair.run(record.does("callback"))
    assert record.trace == ["start", "callback", "stop"] * 2


async def test_in_a_group_its_functions_are_awaited_as_well(record: Recorder) -> None:
    group = parallel(
        named("a", start_stop(record.does("start a"), record.does("stop a", takes=1))),
        named("b", start_stop(record.does("start b", takes=1), record.does("stop b", takes=2))),
    )
    await group.run(record.does("callback"))
    assert sorted(record.trace[:2]) == ["start a", "start b"]
    assert record.trace[2:4] == ["start b done", "callback"]
    assert sorted(record.trace[4:6]) == ["stop a", "stop b"]
    assert record.trace[6:] == ["stop a done", "stop b done"]


async def test_in_a_group_a_failing_start_is_told_in_a_group_by_name(record: Recorder) -> None:
    group = parallel(
        named("a", start_stop(record.does("start a"), record.does("stop a"))),
        named("b", start_stop(record.does("start b", takes=1, fails=OSError()), record.does("x"))),
    )
    with pytest.RaisesGroup(OSError, match="1 of 2 members failed: 'b'"):
        await group.run(record.does("callback"))
    assert "callback" not in record.trace
    assert record.trace[-1] == "stop a"


async def test_several_in_a_chain_nest(record: Recorder) -> None:
    pairs = [start_stop(record.does(f"start {n}"), record.does(f"stop {n}")) for n in "abc"]
    await chain(*pairs).run(record.does("callback"))
    assert record.trace == [
        "start a",
        "start b",
        "start c",
        "callback",
        "stop c",
        "stop b",
        "stop a",
    ]
