from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, cast

import pytest
import trio

from nestling import (
    Callback,
    ExitedBeforeRunningError,
    Runnable,
    UnexpectedReturnError,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    parallel,
    resource,
    runnable,
    sequential,
    service,
    start_stop,
    worker,
)
from nestling.testing._trio_internals import scheduled_by
from tests.kernel.composing import nothing, pair
from tests.kernel.recording import failure_of, leaves_of, no_cycles, no_task_left, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


def exceptions_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of a group."""
    return cast("ExceptionGroup[Exception]", error).exceptions


async def body() -> None:
    await trio.sleep(1)


# Identity


def test_of_no_runnable_it_is_nop_law_5() -> None:
    assert repr(parallel()) == repr(nop())


def test_of_one_runnable_it_is_that_one_law_5() -> None:
    one = leaf(trio.sleep_forever)
    assert parallel(one) is one


# Each kind of member


def _leaf(record: Recorder) -> Runnable:
    return leaf(record.forever("run"))


def _polite_leaf(record: Recorder) -> Runnable:
    event = trio.Event()

    async def stop() -> None:
        record("stop")
        event.set()

    return leaf(record.does("run", takes=event), stop)


def _start_stop(record: Recorder) -> Runnable:
    return start_stop(record.does("start"), record.does("stop"))


def _service(record: Recorder) -> Runnable:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await record.forever("run")()

    return service(serve)


def _worker(record: Recorder) -> Runnable:
    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await record.does("run", takes=handle.stopping)()

    return worker(work)


def _resource(record: Recorder) -> Runnable:
    return resource(lambda: _Manager(record))


class _Manager:
    def __init__(self, record: Recorder) -> None:
        self.record = record

    async def __aenter__(self) -> None:
        self.record("enter")

    async def __aexit__(self, *_: object) -> None:
        self.record("exit")


def _foreign(record: Recorder) -> Runnable:
    @runnable
    async def run(f: Callback) -> None:
        record("before")
        await f()
        record("after")

    return run


def _chain(record: Recorder) -> Runnable:
    return chain(_start_stop(record), _foreign(record))


def _group(record: Recorder) -> Runnable:
    return parallel(_start_stop(record), nop())


KINDS: dict[Callable[[Recorder], Runnable], list[str]] = {
    _leaf: ["run", "callback", "callback done", "run cancelled"],
    _polite_leaf: ["run", "callback", "callback done", "stop", "run done"],
    _start_stop: ["start", "callback", "callback done", "stop"],
    _service: ["run", "callback", "callback done", "run cancelled"],
    _worker: ["run", "callback", "callback done", "run done"],
    _resource: ["enter", "callback", "callback done", "exit"],
    _foreign: ["before", "callback", "callback done", "after"],
    _chain: ["start", "before", "callback", "callback done", "after", "stop"],
    _group: ["start", "callback", "callback done", "stop"],
    lambda record: nop(): ["callback", "callback done"],
}

OnReturn = Literal["stop", "stay", "fail"]
Combinator = Callable[..., Runnable]


@pytest.mark.parametrize("combine", [parallel, sequential])
@pytest.mark.parametrize("name", [None, "member"])
@pytest.mark.parametrize(("kind", "expected"), list(KINDS.items()))
async def test_each_kind_of_member_is_started_and_stopped(
    record: Recorder,
    combine: Combinator,
    name: str | None,
    kind: Callable[[Recorder], Runnable],
    expected: list[str],
) -> None:
    member = kind(record) if name is None else named(name, kind(record))
    with no_task_left():
        await combine(nop(), member, nop()).run(record.does("callback", takes=1))
    # The callback does not wait for the foreground of a leaf to begin.
    assert sorted(record.trace[:2]) == sorted(expected[:2])
    assert record.trace[2:] == expected[2:]


@pytest.mark.parametrize("combine", [parallel, sequential])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not _polite_leaf])
async def test_each_kind_of_member_can_be_run_again_law_9(
    record: Recorder, combine: Combinator, kind: Callable[[Recorder], Runnable]
) -> None:
    group = combine(kind(record), nop())
    for _ in range(2):
        record.trace.clear()
        await group.run(record.does("callback", takes=1))
        assert sorted(record.trace) == sorted(KINDS[kind])


# Starting


@pytest.mark.parametrize("count", [2, 3, 4])
async def test_all_start_at_once_and_stop_at_once(record: Recorder, count: int) -> None:
    group = parallel(*[pair(record, f"m{n}", start=n + 1, stop=n + 1) for n in range(count)])
    await group.run(record.does("callback", takes=1))
    names = [f"m{n}" for n in range(count)]
    assert sorted(record.trace[:count]) == [f"{name} start" for name in names]
    assert record.trace[count : 2 * count + 2] == [
        *[f"{name} start done" for name in names],
        "callback",
        "callback done",
    ]
    assert sorted(record.trace[2 * count + 2 : 3 * count + 2]) == [f"{n} stop" for n in names]
    assert record.trace[3 * count + 2 :] == [f"{name} stop done" for name in names]
    assert trio.current_time() == count + 1 + count


async def test_members_of_all_kinds_stop_at_once(record: Recorder) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await record.forever("service", last=5)()

    async def work(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        await record.does("worker", takes=5)()

    @runnable
    async def foreign(f: Callback) -> None:
        await f()
        await record.does("foreign", takes=5)()

    await parallel(
        leaf(record.forever("leaf", last=5)),
        pair(record, "pair", stop=5),
        service(serve),
        worker(work),
        foreign,
    ).run(body)
    assert trio.current_time() == 6


async def test_a_start_that_takes_its_time_to_be_cancelled_holds_up_no_other_stop(
    record: Recorder,
) -> None:
    group = parallel(
        start_stop(record.forever("start", last=5), nothing),
        pair(record, "a", stop=5),
        pair(record, "b", start=1, start_fails=OSError("no")),
    )
    await failure_of(group, record.does("callback"))
    assert record.trace.index("a stop") < record.trace.index("start gone")
    assert trio.current_time() == 6


async def test_the_callback_is_called_in_the_task_of_the_run_law_7() -> None:
    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    tasks = [trio.lowlevel.current_task()]
    await parallel(nop(), leaf(trio.sleep_forever)).run(callback)
    assert tasks == [tasks[0]] * 2


@pytest.mark.parametrize("position", range(3))
async def test_a_failed_start_cancels_those_that_start_and_stops_those_that_run_gracefully(
    record: Recorder, position: int
) -> None:
    members = [pair(record, "runs", stop=1), pair(record, "starts", start=9)]
    members.insert(position, pair(record, "fails", start=1, start_fails=OSError("no")))
    error = await failure_of(parallel(*members), record.does("callback"))
    assert type(error).__name__ == "ExceptionGroup"
    assert str(error) == "1 of 3 members failed: 'fails' (1 sub-exception)"
    assert sorted(record.trace[:3]) == ["fails start", "runs start", "starts start"]
    assert record.trace[3] == "fails start done"
    assert sorted(record.trace[4:]) == ["runs stop", "runs stop done", "starts start cancelled"]
    assert record.trace[-1] == "runs stop done"
    assert trio.current_time() == 2


async def test_all_errors_of_failed_starts_come_out_law_3(record: Recorder) -> None:
    errors = [OSError("a"), ValueError("b")]
    group = parallel(
        pair(record, "a", start=1, start_fails=errors[0]),
        pair(record, "b", start=1, start_fails=errors[1]),
        pair(record, "c", start=1),
    )
    raised = await failure_of(group, record.does("callback"))
    assert str(raised) == "2 of 3 members failed: 'a', 'b' (2 sub-exceptions)"
    assert leaves_of(raised) == errors
    assert "callback" not in record.trace


async def test_a_member_that_calls_back_below_a_shield_after_the_start_was_given_up_is_stopped(
    record: Recorder,
) -> None:
    @runnable
    async def shielded(f: Callback) -> None:
        with trio.move_on_after(50) as scope:
            scope.shield = True
            await trio.sleep(2)
            await f()
            record("stopped")

    group = parallel(pair(record, "fails", start=1, start_fails=OSError("no")), shielded)
    await failure_of(group, record.does("callback"))
    assert record.trace[-1] == "stopped"
    assert trio.current_time() == 2


async def test_a_worker_that_is_ready_below_a_shield_after_the_start_was_given_up_is_stopped(
    record: Recorder,
) -> None:
    async def shielded(handle: WorkerHandle) -> None:
        with trio.move_on_after(50) as scope:
            scope.shield = True
            await trio.sleep(2)
            handle.ready()
            await handle.stopping.wait()
            record("stopped")

    group = parallel(pair(record, "fails", start=1, start_fails=OSError("no")), worker(shielded))
    await failure_of(group, record.does("callback"))
    assert record.trace[-1] == "stopped"
    assert trio.current_time() == 2


async def test_a_start_function_that_outlives_its_cancellation_is_followed_by_its_stop(
    record: Recorder,
) -> None:
    async def start() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)
        record("started anyway")

    group = parallel(
        start_stop(start, record.does("stop", takes=1)),
        pair(record, "fails", start=1, start_fails=OSError("no")),
    )
    await failure_of(group, record.does("callback"))
    assert record.trace[-3:] == ["started anyway", "stop", "stop done"]


async def test_a_member_that_ends_before_it_runs_has_failed() -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        pass

    error = await failure_of(parallel(nop(), service(serve)), body)
    assert str(error) == "1 of 2 members failed: 'serve' (1 sub-exception)"
    (leaf_error,) = leaves_of(error)
    assert isinstance(leaf_error, ExitedBeforeRunningError)
    assert str(leaf_error) == "'serve' ended before it was running"


async def test_a_member_that_ends_before_all_run_ends_the_group_without_an_error(
    record: Recorder,
) -> None:
    for inner in (leaf(nothing), parallel(leaf(nothing), leaf(trio.sleep_forever))):
        group = parallel(inner, pair(record, "slow", start=5))
        await group.run(record.does("callback"))
        assert record.trace == ["slow start", "slow start cancelled"]
        record.trace.clear()


async def test_a_member_that_ends_at_once_ends_the_group_alike_under_every_schedule() -> None:
    for _ in range(30):
        for other in (start_stop(nothing, nothing), chain(nop(), leaf(trio.sleep_forever))):
            await parallel(leaf(nothing), other).run(trio.sleep_forever)
            await sequential(leaf(nothing), other).run(trio.sleep_forever)


@pytest.mark.parametrize("on_return", ["stop", "stay", "fail"])
async def test_a_member_that_swallows_the_cancellation_of_its_start_is_not_to_blame_law_8(
    on_return: OnReturn,
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    for count in (1, 2, 3):
        members = [service(serve, on_return=on_return) for _ in range(count)]
        with trio.move_on_after(1) as scope:
            await parallel(*members, nop()).run(body)
        assert scope.cancelled_caught


@pytest.mark.parametrize("on_return", ["stop", "stay", "fail"])
async def test_a_member_that_returns_when_a_start_up_is_cancelled_is_not_to_blame_law_8(
    record: Recorder, on_return: OnReturn
) -> None:
    async def run() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            return

    for _ in range(10):
        group = parallel(leaf(run, on_return=on_return), pair(record, "slow", start=9))
        with trio.move_on_after(1) as scope:
            await group.run(body)
        assert scope.cancelled_caught


# Running


@pytest.mark.parametrize("position", range(3))
async def test_a_member_that_returns_cancels_the_callback_and_stops_the_others_gracefully(
    record: Recorder, position: int
) -> None:
    members = [pair(record, "a", stop=1), pair(record, "b", stop=2)]
    members.insert(position, leaf(record.does("run", takes=1)))
    await parallel(*members).run(record.forever("callback"))
    assert record.trace[3:6] == ["callback", "run done", "callback cancelled"]
    assert record.trace[-2:] == ["a stop done", "b stop done"]
    assert record.reasons["callback"] == "parallel stops, since 'function' has returned"
    assert trio.current_time() == 3


async def test_a_finite_job_that_is_done_changes_nothing(record: Recorder) -> None:
    group = parallel(leaf(record.does("job", takes=1), on_return="stay"), pair(record, "a"))
    await group.run(record.does("callback", takes=5))
    assert trio.current_time() == 5


async def test_a_finite_job_may_be_done_before_all_members_run(record: Recorder) -> None:
    group = parallel(leaf(nothing, on_return="stay"), pair(record, "a", start=3))
    await group.run(record.does("callback", takes=5))
    assert trio.current_time() == 8


async def test_a_member_that_must_not_return_has_failed(record: Recorder) -> None:
    group = parallel(
        named("job", leaf(record.does("run", takes=1), on_return="fail")), pair(record, "a")
    )
    error = await failure_of(group, record.forever("callback"))
    (leaf_error,) = leaves_of(error)
    assert isinstance(leaf_error, UnexpectedReturnError)
    assert str(leaf_error) == "'job' returned before it was stopped"
    assert record.trace[-1] == "a stop"


@pytest.mark.parametrize("position", range(3))
async def test_a_member_that_fails_cancels_the_callback_and_stops_the_others_gracefully(
    record: Recorder, position: int
) -> None:
    broken = OSError("no")
    members = [pair(record, "a", stop=1), pair(record, "b", stop=2)]
    members.insert(position, named("http", leaf(record.does("run", takes=1, fails=broken))))
    error = await failure_of(named("web", parallel(*members)), record.forever("callback"))
    assert type(error).__name__ == "ExceptionGroup"
    assert str(error) == "1 of 3 members failed: 'http' (1 sub-exception)"
    assert leaves_of(error) == [broken]
    assert notes_of(broken) == ["in 'http'"]
    assert notes_of(error) == ["in 'web'"]
    assert record.trace[-2:] == ["a stop done", "b stop done"]
    assert record.reasons["callback"] == (
        "parallel in 'web' stops, since 'http' failed: OSError: no"
    )
    assert trio.current_time() == 3


async def test_the_callback_of_a_failed_group_may_take_its_time_law_1(record: Recorder) -> None:
    group = parallel(leaf(record.does("run", takes=1, fails=OSError())), pair(record, "a"))
    await failure_of(group, record.forever("callback", last=5))
    assert record.trace[-2:] == ["callback gone", "a stop"]
    assert trio.current_time() == 6


async def test_the_callbacks_error_comes_out_bare_and_those_of_members_are_notes_law_3(
    record: Recorder,
) -> None:
    broken = ValueError("callback")
    group = parallel(nop(), pair(record, "a", stop_fails=OSError("disk full")))
    assert await failure_of(group, record.does("callback", fails=broken)) is broken
    assert notes_of(broken) == [
        (
            "the parallel failed as well: "
            "ExceptionGroup: 1 of 2 members failed: 'a' (OSError: disk full)"
        )
    ]


async def test_where_a_member_failed_first_it_is_the_cause_of_the_callbacks_error_law_3(
    record: Recorder,
) -> None:
    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("connection lost")

    group = parallel(nop(), leaf(record.does("run", takes=1, fails=OSError("no"))))
    error = await failure_of(group, callback)
    assert isinstance(error, ValueError)
    assert error.__cause__ is not None
    assert str(error.__cause__) == "1 of 2 members failed: 'function' (1 sub-exception)"


# Stopping


@pytest.mark.parametrize("position", range(3))
async def test_a_stop_function_that_fails_lets_the_others_stop(
    record: Recorder, position: int
) -> None:
    broken = OSError("disk full")
    members = [pair(record, "a", stop=1), pair(record, "b", stop=3)]
    members.insert(position, pair(record, "c", stop=2, stop_fails=broken))
    error = await failure_of(parallel(*members), nothing)
    assert str(error) == "1 of 3 members failed: 'c' (1 sub-exception)"
    assert leaves_of(error) == [broken]
    assert record.trace[-3:] == ["a stop done", "c stop done", "b stop done"]


async def test_of_the_stop_function_and_the_foreground_the_first_error_is_that_of_the_stop(
    record: Recorder,
) -> None:
    async def run() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("run")

    stop = record.does("stop", takes=1, fails=OSError("stop"))
    error = await failure_of(parallel(nop(), leaf(run, stop)), nothing)
    (leaf_error,) = leaves_of(error)
    assert isinstance(leaf_error, OSError)
    assert notes_of(leaf_error) == ["the leaf failed as well: ValueError: run"]


async def test_a_member_that_fails_while_it_stops_has_failed(record: Recorder) -> None:
    async def run() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("unflushed")

    error = await failure_of(parallel(leaf(run), pair(record, "a", stop=1)), nothing)
    assert str(error) == "1 of 2 members failed: 'run' (1 sub-exception)"
    assert record.trace[-1] == "a stop done"


async def test_a_member_that_has_ended_by_itself_is_not_stopped(record: Recorder) -> None:
    group = parallel(leaf(record.does("run", takes=1), record.does("stop")), nop())
    await group.run(record.forever("callback"))
    assert "stop" not in record.trace


async def test_a_cancellation_during_a_graceful_stop_forces_at_once_law_2(
    record: Recorder,
) -> None:
    with trio.move_on_after(1) as scope:
        await parallel(pair(record, "a", stop=5), pair(record, "b", stop=9)).run(nothing)
    assert scope.cancelled_caught
    assert sorted(record.trace[-2:]) == ["a stop cancelled", "b stop cancelled"]
    assert trio.current_time() == 1


async def test_stop_functions_run_in_a_cancelled_scope_when_it_is_cancelled(
    record: Recorder,
) -> None:
    with trio.move_on_after(1) as scope:
        await parallel(pair(record, "a", stop=5), nop()).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace == [
        "a start",
        "callback",
        "callback cancelled",
        "a stop",
        "a stop cancelled",
    ]


async def test_a_group_that_is_cancelled_before_it_starts_starts_nothing(
    record: Recorder,
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("now")
        await parallel(pair(record, "a"), pair(record, "b")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_an_error_during_a_cancellation_comes_out(record: Recorder) -> None:
    async def stop() -> None:
        raise OSError("disk full")

    group = parallel(start_stop(nothing, stop), nop())
    with trio.move_on_after(1) as scope:
        error = await failure_of(group, record.forever("callback"))
        assert isinstance(leaves_of(error)[0], OSError)
    assert not scope.cancelled_caught


async def test_a_group_of_cancellation_and_an_error_counts_as_the_error() -> None:
    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

    error = await failure_of(parallel(leaf(run), nop()), body)
    assert [str(leaf_error) for leaf_error in leaves_of(error)] == ["unflushed"]


# Interrupts


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
async def test_an_interrupt_of_a_running_member_comes_out_bare_and_forces_the_others_law_4(
    record: Recorder, interrupt: type[BaseException]
) -> None:
    raised = interrupt()
    group = parallel(leaf(record.does("run", takes=1, fails=raised)), pair(record, "a", stop=5))
    assert await failure_of(group, record.forever("callback")) is raised
    assert record.trace[-3:] == ["callback cancelled", "a stop", "a stop cancelled"]
    assert trio.current_time() == 1


async def test_an_interrupt_of_a_starting_member_comes_out_bare_and_forces_the_others_law_4(
    record: Recorder,
) -> None:
    raised = SystemExit(3)
    group = parallel(pair(record, "a", start=1, start_fails=raised), pair(record, "b", stop=5))
    assert await failure_of(group, record.does("callback")) is raised
    assert record.trace[-2:] == ["b stop", "b stop cancelled"]
    assert trio.current_time() == 1


async def test_an_interrupt_of_a_stop_function_comes_out_bare_and_forces_the_others_law_4(
    record: Recorder,
) -> None:
    raised = SystemExit(3)
    group = parallel(pair(record, "a", stop=1, stop_fails=raised), pair(record, "b", stop=5))
    assert await failure_of(group, nothing) is raised
    assert record.trace[-2:] == ["a stop done", "b stop cancelled"]
    assert trio.current_time() == 1


async def test_an_interrupt_carries_notes_of_the_other_errors(record: Recorder) -> None:
    raised = SystemExit(3)
    group = parallel(
        pair(record, "a", stop=1, stop_fails=raised),
        pair(record, "b", stop=0, stop_fails=OSError("disk full")),
    )
    assert await failure_of(group, nothing) is raised
    assert notes_of(raised) == ["in 'a'", "b failed as well: OSError: disk full"]


async def test_an_interrupt_of_the_callback_forces_all_members_law_4(record: Recorder) -> None:
    raised = KeyboardInterrupt()
    group = parallel(pair(record, "a", stop=5), leaf(record.forever("run")))
    assert await failure_of(group, record.does("callback", takes=1, fails=raised)) is raised
    assert sorted(record.trace[-3:]) == ["a stop", "a stop cancelled", "run cancelled"]
    assert trio.current_time() == 1


# The group of errors


async def test_the_message_counts_and_names_those_that_failed(record: Recorder) -> None:
    failing = [pair(record, f"m{n}", stop_fails=OSError(str(n))) for n in range(25)]
    error = await failure_of(parallel(*failing, nop()), nothing)
    names = ", ".join(f"'m{n}'" for n in range(20))
    assert str(error) == (f"25 of 26 members failed: {names} and 5 more (25 sub-exceptions)")


async def test_the_group_can_be_pickled_and_shows_its_errors(record: Recorder) -> None:
    error = await failure_of(parallel(pair(record, "a", stop_fails=OSError("no")), nop()), nothing)
    assert repr(error) == "ExceptionGroup(\"1 of 2 members failed: 'a'\", [OSError('no')])"
    copy = pickle.loads(pickle.dumps(error))
    assert str(copy) == str(error)
    assert repr(leaves_of(copy)) == "[OSError('no')]"


async def test_groups_in_groups_nest_their_errors(record: Recorder) -> None:
    inner = parallel(pair(record, "a", stop_fails=OSError("no")), nop())
    error = await failure_of(parallel(named("inner", inner), nop()), nothing)
    assert type(error).__name__ == "ExceptionGroup"
    assert str(error) == "1 of 2 members failed: 'inner' (1 sub-exception)"
    (nested,) = exceptions_of(error)
    assert str(nested) == "1 of 2 members failed: 'a' (1 sub-exception)"
    assert notes_of(nested) == ["in 'inner'"]


# What is left


@pytest.mark.parametrize("combine", [parallel, sequential])
@pytest.mark.parametrize("moment", ["start", "run", "stop", "callback"])
async def test_no_reference_cycle_keeps_an_error_law_6(combine: Combinator, moment: str) -> None:
    with no_cycles() as mark, no_task_left():

        async def fail() -> None:
            _marker = mark()
            raise OSError(moment)

        members: dict[str, Runnable] = {
            "start": start_stop(fail, nothing),
            "stop": start_stop(nothing, fail),
            "run": leaf(fail),
            "callback": nop(),
        }
        f = fail if moment == "callback" else body
        with pytest.raises((OSError, ExceptionGroup)):
            await combine(members[moment], nop()).run(f)
        await trio.lowlevel.checkpoint()


# What comes too late to be cancelled


async def test_a_start_that_returns_although_it_was_cancelled_is_stopped(record: Recorder) -> None:
    async def start() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
        record("started")

    with trio.move_on_after(1) as scope:
        await parallel(start_stop(start, record.does("stop")), nop()).run(body)
    assert scope.cancelled_caught
    assert record.trace == ["started", "stop", "stop cancelled"]


@pytest.mark.parametrize("seed", range(20))
def test_a_leaf_that_has_returned_is_not_stopped_under_any_schedule(seed: int) -> None:
    trace: list[str] = []

    async def main() -> None:
        over = trio.Event()

        async def run() -> None:
            await over.wait()
            trace.append("returned")

        async def stop() -> None:
            trace.append("stop" if trace else "stop of what runs")

        async def callback() -> None:
            over.set()

        await parallel(leaf(run, stop), nop()).run(callback)

    with scheduled_by(seed):
        trio.run(main)
    assert "stop" not in trace
