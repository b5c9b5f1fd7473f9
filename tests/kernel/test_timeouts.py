from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
import trio

from nestling import (
    Callback,
    Runnable,
    StartTimeoutError,
    StopTimeoutError,
    chain,
    leaf,
    named,
    nop,
    parallel,
    runnable,
    sequential,
    service,
    start_stop,
    timeouts,
)
from tests.kernel.composing import nothing
from tests.kernel.recording import failure_of, leaves_of, no_cycles, no_task_left, notes_of

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


def slow(record: Recorder, name: str = "db", *, start: float = 0, stop: float = 0) -> Runnable:
    """Make a runnable, named, that takes its time."""
    return named(
        name,
        start_stop(
            record.does(f"{name} start", takes=start), record.does(f"{name} stop", takes=stop)
        ),
    )


# Arguments


async def test_without_bounds_it_changes_nothing(record: Recorder) -> None:
    bounded = timeouts(slow(record, start=100, stop=100))
    await bounded.run(record.does("callback", takes=1000))
    assert trio.current_time() == 1200


async def test_bounds_of_infinity_are_no_bounds(record: Recorder) -> None:
    bounded = timeouts(
        slow(record, start=100, stop=100), start=math.inf, stop=math.inf, grace=math.inf
    )
    await bounded.run(record.does("callback", takes=1000))
    assert trio.current_time() == 1200


async def test_there_is_no_bound_for_how_long_it_runs(record: Recorder) -> None:
    bounded = timeouts(slow(record, start=1, stop=1), start=2, stop=2, grace=2)
    await bounded.run(record.does("callback", takes=1000))
    assert trio.current_time() == 1002


async def test_it_can_be_run_again_law_9(record: Recorder) -> None:
    bounded = timeouts(slow(record, start=1, stop=3), start=2, stop=2)
    for _ in range(2):
        assert isinstance(await failure_of(bounded, nothing), StopTimeoutError)
    quick = timeouts(slow(record, start=1, stop=1), start=2, stop=2)
    for _ in range(2):
        await quick.run(nothing)


async def test_the_callback_is_called_in_the_task_of_the_run_law_7(record: Recorder) -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks = [trio.lowlevel.current_task()]
    await timeouts(slow(record), stop=1).run(callback)
    await timeouts(slow(record), stop=1, grace=1).run(callback)
    assert tasks == [tasks[0]] * 3


# The start


@pytest.mark.parametrize("grace", [0, 10])
async def test_a_start_that_takes_too_long_is_cancelled(record: Recorder, grace: float) -> None:
    bounded = timeouts(slow(record, start=10), start=2, grace=grace)
    error = await failure_of(bounded, record.does("callback"))
    assert isinstance(error, StartTimeoutError)
    assert (error.path, error.seconds, error.stuck) == ("db", 2, ("db",))
    assert str(error) == "'db' did not start within 2 s; stuck: 'db'"
    assert record.trace == ["db start", "db start cancelled"]
    assert trio.current_time() == 2


async def test_a_start_that_is_ready_at_the_deadline_is_too_late(record: Recorder) -> None:
    bounded = timeouts(slow(record, start=2), start=2)
    assert isinstance(await failure_of(bounded, record.does("callback")), StartTimeoutError)
    assert record.trace == ["db start", "db start cancelled"]


@pytest.mark.parametrize("inner", [nop(), start_stop(nothing, nothing)])
async def test_no_time_is_not_enough_for_any_start(record: Recorder, inner: Runnable) -> None:
    error = await failure_of(timeouts(named("db", inner), start=0), record.does("callback"))
    assert isinstance(error, StartTimeoutError)
    assert (error.path, error.seconds) == ("db", 0)
    assert record.trace == []


async def test_a_start_timeout_takes_down_what_runs_already_in_order_law_1(
    record: Recorder,
) -> None:
    bounded = timeouts(
        chain(slow(record, "a", stop=1), slow(record, "b", stop=1), slow(record, "c", start=5)),
        start=2,
    )
    error = await failure_of(bounded, record.does("callback"))
    assert isinstance(error, StartTimeoutError)
    assert (error.path, error.stuck) == ("chain", ("c",))
    assert record.trace == [
        "a start",
        "b start",
        "c start",
        "c start cancelled",
        "b stop",
        "b stop cancelled",
        "a stop",
        "a stop cancelled",
    ]


async def test_an_error_while_a_late_start_is_cancelled_becomes_a_note(record: Recorder) -> None:
    async def start() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("socket in use")

    bounded = timeouts(named("http", start_stop(start, nothing)), start=1)
    error = await failure_of(bounded, record.does("callback"))
    assert isinstance(error, StartTimeoutError)
    assert notes_of(error) == ["what was forced failed as well: OSError: socket in use"]


async def test_an_error_before_the_deadline_comes_out_as_it_is(record: Recorder) -> None:
    broken = OSError("no")
    start = record.does("start", takes=1, fails=broken)
    bounded = timeouts(start_stop(start, nothing), start=2)
    assert await failure_of(bounded, nothing) is broken
    assert notes_of(broken) == []


async def test_a_late_start_that_ignores_its_cancellation_never_enters_the_callback(
    record: Recorder,
) -> None:
    @runnable
    async def stubborn(f: Callback) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        await f()

    error = await failure_of(timeouts(stubborn, start=1), record.does("callback"))
    assert isinstance(error, StartTimeoutError)
    assert error.stuck == ("stubborn",)
    assert record.trace == []
    assert trio.current_time() == 5


async def test_a_start_that_was_cancelled_from_outside_is_no_timeout(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await timeouts(slow(record, start=5), start=2, grace=10).run(nothing)
    assert scope.cancelled_caught
    assert trio.current_time() == 1


# The graceful stop


async def test_a_stop_that_takes_too_long_is_forced(record: Recorder) -> None:
    bounded = timeouts(slow(record, stop=10), stop=2)
    error = await failure_of(bounded, record.does("callback", takes=1))
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.seconds, error.stuck) == ("db", 2, ("db",))
    assert str(error) == "'db' did not stop within 2 s; stuck: 'db'"
    assert record.trace[-2:] == ["db stop", "db stop cancelled"]
    assert trio.current_time() == 3


async def test_a_stop_that_is_done_at_the_deadline_is_too_late(record: Recorder) -> None:
    assert isinstance(
        await failure_of(timeouts(slow(record, stop=2), stop=2), nothing), StopTimeoutError
    )


async def test_no_time_is_enough_for_a_stop_that_needs_none() -> None:
    started = trio.current_time()
    await timeouts(start_stop(nothing, nothing), stop=0).run(nothing)
    assert trio.current_time() == started


async def test_no_time_is_not_enough_for_a_stop_that_waits(record: Recorder) -> None:
    error = await failure_of(timeouts(slow(record, stop=1), stop=0), nothing)
    assert str(error) == "'db' did not stop within 0 s; stuck: 'db'"


async def test_the_seconds_of_the_error_are_those_of_the_argument(record: Recorder) -> None:
    await trio.sleep(12345.6)
    error = await failure_of(timeouts(slow(record, stop=1), stop=0.1), nothing)
    assert isinstance(error, StopTimeoutError)
    assert error.seconds == 0.1


async def test_a_forced_stop_goes_from_the_inside_out_law_1(record: Recorder) -> None:
    bounded = timeouts(
        chain(slow(record, "a", stop=1), slow(record, "b", stop=5), slow(record, "c", stop=1)),
        stop=2,
    )
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert error.stuck == ("a", "b")
    assert record.trace[3:] == [
        "c stop",
        "c stop done",
        "b stop",
        "b stop cancelled",
        "a stop",
        "a stop cancelled",
    ]
    assert trio.current_time() == 2


async def test_the_error_names_every_node_that_had_not_stopped(record: Recorder) -> None:
    bounded = named(
        "shop",
        timeouts(
            parallel(
                slow(record, "db", stop=5),
                slow(record, "cache", stop=1),
                named("web", sequential(slow(record, "http", stop=5), slow(record, "ftp"))),
            ),
            stop=2,
        ),
    )
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert error.path == "shop"
    assert error.stuck == ("shop/db", "shop/web/http", "shop/web/ftp")


async def test_unnamed_nodes_are_stuck_by_the_names_of_their_functions() -> None:
    async def shut_down_pool() -> None:
        await trio.sleep(5)

    async def open_pool() -> None:
        pass

    async def consume(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)

    bounded = timeouts(parallel(start_stop(open_pool, shut_down_pool), service(consume)), stop=1)
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.stuck) == ("parallel", ("open_pool", "consume"))


async def test_the_path_is_that_of_the_name_around_or_inside(record: Recorder) -> None:
    inside = timeouts(slow(record, "db", stop=5), stop=1)
    around = named("db", timeouts(start_stop(nothing, record.does("stop", takes=5)), stop=1))
    unnamed = timeouts(leaf(record.forever("run"), record.does("stop", takes=5)), stop=1)
    for bounded, path in [
        (inside, "db"),
        (around, "db"),
        (unnamed, "function"),
        (named("shop", chain(nop(), inside)), "shop/db"),
        (named("shop", chain(nop(), unnamed)), "shop/function"),
    ]:
        error = await failure_of(bounded, nothing)
        assert isinstance(error, StopTimeoutError)
        assert (error.path, error.stuck) == (path, (path,))


async def test_dependents_are_no_part_of_what_is_stuck(record: Recorder) -> None:
    bounded = chain(
        timeouts(slow(record, "db", stop=5), stop=1),
        slow(record, "http", stop=5),
    )
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.stuck) == ("db", ("db",))
    assert trio.current_time() == 6


async def test_a_node_that_ignores_its_forced_stop_is_waited_for() -> None:
    async def stop() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(7)

    error = await failure_of(timeouts(named("db", start_stop(nothing, stop)), stop=1), nothing)
    assert isinstance(error, StopTimeoutError)
    assert error.stuck == ("db",)
    assert trio.current_time() == 7


async def test_the_callbacks_error_comes_out_and_the_timeout_is_a_note_law_3(
    record: Recorder,
) -> None:
    broken = ValueError("no")
    bounded = timeouts(slow(record, stop=5), stop=1)
    assert await failure_of(bounded, record.does("callback", fails=broken)) is broken
    assert notes_of(broken) == [
        "in 'db'",
        "the stop failed as well: StopTimeoutError: 'db' did not stop within 1 s; stuck: 'db'",
    ]


async def test_an_error_while_it_is_forced_becomes_a_note_of_the_timeout() -> None:
    async def stop() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("unflushed")

    error = await failure_of(timeouts(start_stop(nothing, stop), stop=1), nothing)
    assert isinstance(error, StopTimeoutError)
    assert notes_of(error) == ["what was forced failed as well: OSError: unflushed"]


async def test_an_interrupt_while_it_is_forced_comes_out_law_4() -> None:
    async def stop() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise SystemExit(3)

    error = await failure_of(timeouts(start_stop(nothing, stop), stop=1), nothing)
    assert isinstance(error, SystemExit)
    assert notes_of(error) == [
        (
            "the stop failed as well: "
            "StopTimeoutError: 'nothing' did not stop within 1 s; stuck: 'nothing'"
        )
    ]


async def test_a_stop_after_an_error_of_a_node_is_bounded_as_well(record: Recorder) -> None:
    broken = ValueError("no")
    bounded = timeouts(
        parallel(leaf(record.does("run", takes=1, fails=broken)), slow(record, stop=5)), stop=1
    )
    error = await failure_of(bounded, record.forever("callback"))
    assert isinstance(error, StopTimeoutError)
    assert notes_of(error) == [
        (
            "what was forced failed as well: "
            "ExceptionGroup: 1 of 2 members failed: 'function' (ValueError: no)"
        )
    ]
    assert trio.current_time() == 2


# Cancelled from outside


async def test_without_grace_a_cancellation_forces_at_once(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await timeouts(slow(record, stop=5), stop=2).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace[1:] == ["callback", "callback cancelled", "db stop", "db stop cancelled"]
    assert trio.current_time() == 1


async def test_with_grace_it_stops_gracefully_although_it_was_cancelled(record: Recorder) -> None:
    with trio.move_on_after(1) as scope:
        await timeouts(slow(record, stop=5), grace=6).run(record.forever("callback"))
        record("after the run")
    assert scope.cancelled_caught
    assert record.trace[1:] == ["callback", "callback cancelled", "db stop", "db stop done"]
    assert trio.current_time() == 6


async def test_a_stop_that_outlasts_the_grace_is_forced(record: Recorder) -> None:
    bounded = timeouts(slow(record, stop=5), grace=3)
    with trio.move_on_after(1):
        error = await failure_of(bounded, record.forever("callback"))
        assert isinstance(error, StopTimeoutError)
        assert (error.path, error.seconds, error.stuck) == ("db", 3, ("db",))
    assert trio.current_time() == 4


@pytest.mark.parametrize(("stop", "grace", "seconds"), [(2, 3, 2), (3, 2, 2), (2, 2, 2)])
async def test_of_stop_and_grace_the_earlier_wins(
    record: Recorder, stop: float, grace: float, seconds: float
) -> None:
    bounded = timeouts(slow(record, stop=9), stop=stop, grace=grace)
    with trio.move_on_after(1):
        error = await failure_of(bounded, record.forever("callback"))
        assert isinstance(error, StopTimeoutError)
        assert error.seconds == seconds
    assert trio.current_time() == 3


async def test_a_cancellation_during_a_graceful_stop_leaves_it_the_rest_of_its_grace(
    record: Recorder,
) -> None:
    # The stop begins at 0; the cancellation comes at 2; the grace counts from the stop's begin.
    bounded = timeouts(slow(record, stop=9), grace=3)
    with trio.move_on_after(2):
        error = await failure_of(bounded, nothing)
        assert isinstance(error, StopTimeoutError)
        assert error.seconds == 3
    assert trio.current_time() == 3


@pytest.mark.parametrize("cancel_first", [False, True])
async def test_a_cancellation_at_the_moment_when_the_callback_returns_limits_the_grace(
    record: Recorder, cancel_first: bool
) -> None:
    async def end() -> None:
        await trio.sleep(1)
        if cancel_first:
            scope.cancel("now")
        returns.set()
        if not cancel_first:
            scope.cancel("now")

    returns = trio.Event()
    bounded = timeouts(slow(record, stop=9), grace=3)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end)
        with trio.CancelScope() as scope:
            error = await failure_of(bounded, returns.wait)
            assert isinstance(error, StopTimeoutError)
            assert error.seconds == 3
    assert trio.current_time() == 4


async def test_a_group_that_is_forced_gives_its_members_no_more_than_their_grace_law_4(
    record: Recorder,
) -> None:
    raised = SystemExit(3)
    group = parallel(timeouts(slow(record, stop=9), grace=3), nop())
    assert await failure_of(group, record.does("callback", fails=raised)) is raised
    assert trio.current_time() == 3


async def test_a_cancellation_after_the_grace_is_over_forces_at_once(record: Recorder) -> None:
    bounded = timeouts(slow(record, stop=9), grace=3)
    with trio.move_on_after(5):
        assert isinstance(await failure_of(bounded, nothing), StopTimeoutError)
    assert trio.current_time() == 5


async def test_a_graceful_stop_without_a_cancellation_has_no_need_of_grace(
    record: Recorder,
) -> None:
    await timeouts(slow(record, stop=9), grace=3).run(nothing)
    assert trio.current_time() == 9


async def test_a_second_cancellation_changes_nothing_of_the_grace(record: Recorder) -> None:
    with trio.move_on_after(2) as outer, trio.move_on_after(1) as inner:
        await timeouts(slow(record, stop=5), grace=9).run(record.forever("callback"))
    assert (outer.cancelled_caught, inner.cancelled_caught) == (True, False)
    assert record.trace[-1] == "db stop done"
    assert trio.current_time() == 6


async def test_an_error_of_the_callback_is_not_hidden_by_a_grace(record: Recorder) -> None:
    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise broken

    broken = ValueError("no")
    with trio.move_on_after(1):
        assert await failure_of(timeouts(slow(record, stop=5), grace=9), callback) is broken
        record("raised")
    assert record.trace[-2:] == ["db stop done", "raised"]


async def test_a_cancellation_during_the_start_up_gets_no_grace_law_2(record: Recorder) -> None:
    bounded = timeouts(chain(slow(record, "a", stop=1), slow(record, "b", start=5)), grace=9)
    with trio.move_on_after(1) as scope:
        await bounded.run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == [
        "a start",
        "b start",
        "b start cancelled",
        "a stop",
        "a stop cancelled",
    ]


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_an_interrupt_gets_no_grace_and_no_false_timeout_law_4(
    record: Recorder, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    bounded = timeouts(slow(record, stop=5), grace=9, stop=9)
    assert await failure_of(bounded, record.does("callback", fails=raised)) is raised
    assert notes_of(raised) == ["in 'db'"]
    assert record.trace[-2:] == ["db stop", "db stop cancelled"]
    assert trio.current_time() == 0


async def test_grace_inside_a_chain_keeps_the_order_law_1(record: Recorder) -> None:
    shop = chain(
        slow(record, "db", stop=1),
        timeouts(slow(record, "cache", stop=2), grace=3),
        slow(record, "http", stop=4),
    )
    with trio.move_on_after(1) as scope:
        await shop.run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace[3:] == [
        "callback",
        "callback cancelled",
        "http stop",
        "http stop cancelled",
        "cache stop",
        "cache stop done",
        "db stop",
        "db stop cancelled",
    ]


# Nested


@pytest.mark.parametrize(("outer", "inner", "path"), [(2, 5, "chain"), (5, 2, "db")])
async def test_of_nested_start_deadlines_the_earlier_wins(
    record: Recorder, outer: float, inner: float, path: str
) -> None:
    bounded = timeouts(
        chain(nop(), timeouts(slow(record, "db", start=9), start=inner)), start=outer
    )
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StartTimeoutError)
    assert (error.path, error.seconds, error.stuck) == (path, 2, ("db",))
    assert notes_of(error) == []
    assert trio.current_time() == 2


@pytest.mark.parametrize(("outer", "inner", "path"), [(2, 5, "chain"), (5, 2, "db")])
async def test_of_nested_stop_deadlines_the_earlier_wins(
    record: Recorder, outer: float, inner: float, path: str
) -> None:
    bounded = timeouts(chain(nop(), timeouts(slow(record, "db", stop=9), stop=inner)), stop=outer)
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.seconds, error.stuck) == (path, 2, ("db",))
    assert notes_of(error) == []
    assert trio.current_time() == 2


async def test_where_nested_deadlines_are_the_same_the_outer_one_is_raised(
    record: Recorder,
) -> None:
    bounded = timeouts(chain(nop(), timeouts(slow(record, "db", stop=9), stop=2)), stop=2)
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert error.path == "chain"
    assert notes_of(error) == [
        (
            "what was forced failed as well: "
            "StopTimeoutError: 'db' did not stop within 2 s; stuck: 'db'"
        )
    ]


async def test_a_grace_gives_way_to_a_stop_deadline_further_out(record: Recorder) -> None:
    bounded = timeouts(chain(nop(), timeouts(slow(record, "db", stop=9), grace=5)), stop=2)
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StopTimeoutError)
    assert (error.path, error.seconds, error.stuck) == ("chain", 2, ("db",))
    assert notes_of(error) == []
    assert trio.current_time() == 2


async def test_a_grace_gives_way_to_a_start_deadline_further_out(record: Recorder) -> None:
    bounded = timeouts(
        chain(timeouts(slow(record, "a", stop=9), grace=5), slow(record, "b", start=9)), start=2
    )
    error = await failure_of(bounded, nothing)
    assert isinstance(error, StartTimeoutError)
    assert (error.path, error.stuck) == ("chain", ("b",))
    assert record.trace[-2:] == ["a stop", "a stop cancelled"]
    assert trio.current_time() == 2


@pytest.mark.parametrize("stop", [2, 5])
async def test_a_grace_does_not_outlast_a_later_stop_deadline_further_out(
    record: Recorder, stop: float
) -> None:
    bounded = timeouts(chain(nop(), timeouts(slow(record, "db", stop=9), grace=5)), stop=stop)
    with trio.move_on_after(1):
        error = await failure_of(bounded, record.forever("callback"))
        assert isinstance(error, StopTimeoutError)
        assert (error.path, error.seconds, error.stuck) == ("chain", stop, ("db",))
        assert notes_of(error) == []
    assert trio.current_time() == 1 + stop


@pytest.mark.parametrize(("outer", "inner", "path"), [(2, 5, "chain"), (5, 2, "db")])
async def test_of_nested_graces_the_earlier_wins(
    record: Recorder, outer: float, inner: float, path: str
) -> None:
    bounded = timeouts(
        chain(nop(), timeouts(slow(record, "db", stop=9), grace=inner, stop=inner)), grace=outer
    )
    with trio.move_on_after(1):
        error = await failure_of(bounded, record.forever("callback"))
        assert isinstance(error, StopTimeoutError)
        assert (error.path, error.seconds, error.stuck) == (path, 2, ("db",))
    assert trio.current_time() == 3


async def test_a_grace_outlasts_no_deadline_however_many_lie_between(record: Recorder) -> None:
    bounded = timeouts(
        timeouts(timeouts(slow(record, "db", stop=99), grace=50), stop=90, grace=60), stop=2
    )
    with trio.move_on_after(1):
        error = await failure_of(bounded, record.forever("callback"))
        assert isinstance(error, StopTimeoutError)
        assert error.seconds == 2
    assert trio.current_time() == 3


async def test_members_of_a_group_have_deadlines_of_their_own(record: Recorder) -> None:
    group = parallel(
        timeouts(slow(record, "a", stop=9), stop=1),
        timeouts(slow(record, "b", stop=9), stop=2),
        slow(record, "c", stop=3),
    )
    error = await failure_of(group, nothing)
    assert str(error) == "2 of 3 members failed: 'a', 'b' (2 sub-exceptions)"
    assert [str(leaf) for leaf in leaves_of(error)] == [
        "'a' did not stop within 1 s; stuck: 'a'",
        "'b' did not stop within 2 s; stuck: 'b'",
    ]
    assert trio.current_time() == 3


async def test_a_dependent_does_not_inherit_the_deadlines_of_its_provider(
    record: Recorder,
) -> None:
    shop = chain(
        timeouts(slow(record, "db"), start=1, stop=1),
        timeouts(slow(record, "http", start=5, stop=5), grace=9),
    )
    with trio.move_on_after(6) as scope:
        await shop.run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace[-3:] == ["http stop done", "db stop", "db stop cancelled"]


# What is left


@pytest.mark.parametrize("grace", [0, 1])
async def test_no_reference_cycle_keeps_a_timeout_law_6(grace: float) -> None:
    with no_cycles() as mark, no_task_left():

        async def stop() -> None:
            _marker = mark()
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

        bounded = timeouts(start_stop(nothing, stop), stop=1, grace=grace)
        with pytest.raises(StopTimeoutError):
            await bounded.run(nothing)
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("grace", [0, 1])
async def test_no_reference_cycle_keeps_an_error_of_the_callback_law_6(grace: float) -> None:
    with no_cycles() as mark, no_task_left():

        async def callback() -> None:
            _marker = mark()
            raise OSError("no")

        with pytest.raises(OSError, match="no"):
            await timeouts(start_stop(nothing, nothing), stop=1, grace=grace).run(callback)


def test_it_is_shown_with_its_bounds() -> None:
    shown = repr(named("web", timeouts(nop(), start=1, stop=2.5)))
    assert shown == "named('web', timeouts(nop(), start=1, stop=2.5, grace=0))"
