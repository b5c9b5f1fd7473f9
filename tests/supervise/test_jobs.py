from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nestling import (
    InvalidStateError,
    Process,
    Runnable,
    StopTimeoutError,
    chain,
    leaf,
    named,
    nop,
    parallel,
    running,
    sequential,
    start_stop,
    timeouts,
)
from nestling._kernel._node import current_node
from nestling.observe import describe
from nestling.supervise import Backoff, Jobs, RestartPolicy, restart
from nestling.testing import certify, override, record
from tests.kernel.ctrl_c import at_each_call
from tests.kernel.recording import (
    Marker,
    Recorder,
    failure_of,
    leaves_of,
    no_cycles,
    no_task_left,
    notes_of,
)
from tests.supervise.pressing import Pressed, ctrl_c_here, run_and_press

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

if TYPE_CHECKING:
    from typing_extensions import assert_type


def lost() -> OSError:
    return OSError("lost")


def take(error: Exception) -> None:
    """Take an error."""


async def double(number: int) -> int:
    await trio.sleep(1)
    return 2 * number


# Stops


async def test_a_graceful_stop_waits_for_all_jobs() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        jobs.start_soon(recorder.does("a", takes=3))
        jobs.start_soon(recorder.does("b", takes=2))
        await recorder.does("callback", takes=1)()

    await jobs.run(callback)
    assert sorted(recorder.trace[:3]) == ["a", "b", "callback"]
    assert recorder.trace[3:] == ["callback done", "b done", "a done"]
    assert trio.current_time() == 3


async def test_without_jobs_a_stop_takes_no_time() -> None:
    recorder = Recorder()
    await Jobs().run(recorder.does("callback"))
    assert (recorder.trace, trio.current_time()) == (["callback"], 0)


async def test_jobs_that_jobs_start_during_the_stop_are_waited_for_as_well() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def job(left: int) -> None:
        await recorder.does(f"job {left}", takes=1)()
        if left:
            jobs.start_soon(job, left - 1)

    async def callback() -> None:
        jobs.start_soon(job, 2)
        await trio.sleep(0.5)
        recorder("stop")

    await jobs.run(callback)
    assert recorder.trace == [
        "job 2",
        "stop",
        "job 2 done",
        "job 1",
        "job 1 done",
        "job 0",
        "job 0 done",
    ]
    assert trio.current_time() == 3


async def test_a_job_may_wait_for_another_one_during_the_stop() -> None:
    jobs = Jobs()
    results: list[int] = []

    async def job() -> None:
        await trio.sleep(1)
        results.append(await jobs.run(double, 4))

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        jobs.start_soon(job)

    await jobs.run(callback)
    assert (results, trio.current_time()) == ([8], 2)


async def test_a_forced_stop_cancels_the_jobs_but_the_dependents_first_law_1() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        jobs.start_soon(recorder.forever("job"))
        await wait_all_tasks_blocked()
        await recorder.forever("callback", last=1)()

    with trio.move_on_after(1) as scope:
        await jobs.run(callback)
    assert scope.cancelled_caught
    assert recorder.trace == [
        "job",
        "callback",
        "callback cancelled",
        "callback gone",
        "job cancelled",
    ]


async def test_forcing_a_graceful_stop_takes_effect_at_once_law_2() -> None:
    recorder = Recorder()
    jobs = Jobs()
    async with trio.open_nursery() as nursery:
        process = Process(nursery, jobs)
        await process.start()
        jobs.start_soon(recorder.forever("job"))
        with trio.move_on_after(2) as scope:
            await process.stop()
        assert scope.cancelled_caught
        assert trio.current_time() == 2
    assert recorder.trace == ["job", "job cancelled"]
    assert process.error is None


async def test_what_a_job_starts_when_it_is_cancelled_is_cancelled_and_waited_for() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def job() -> None:
        try:
            await trio.sleep_forever()
        finally:
            jobs.start_soon(recorder.forever("cleaning", last=2))

    async def callback() -> None:
        jobs.start_soon(job)
        await trio.sleep_forever()

    with trio.move_on_after(1), no_task_left():
        await jobs.run(callback)
    assert recorder.trace == ["cleaning", "cleaning cancelled", "cleaning gone"]
    assert trio.current_time() == 3


async def test_a_job_that_never_ends_is_told_by_its_path_when_the_stop_is_too_late() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        await trio.sleep(1)
        jobs.start_soon(recorder.forever("job"))

    with pytest.raises(StopTimeoutError, match="'jobs'") as caught:
        await timeouts(named("jobs", jobs), stop=5).run(callback)
    assert caught.value.stuck == ("jobs",)
    assert trio.current_time() == 6
    assert recorder.trace == ["job", "job cancelled"]


# Waiting for all


async def test_a_wait_can_be_cut_short_and_tried_again() -> None:
    recorder = Recorder()
    jobs = Jobs()
    async with running(jobs):
        jobs.start_soon(recorder.does("job", takes=3))
        for seconds, cut_short in ((1, True), (1, True), (9, False)):
            with trio.move_on_after(seconds) as scope:
                await jobs.wait()
            assert scope.cancelled_caught is cut_short
        assert trio.current_time() == 3
        assert recorder.trace == ["job", "job done"]
        jobs.start_soon(recorder.does("another", takes=1))
        await jobs.wait()
        assert trio.current_time() == 4


async def test_a_wait_goes_on_while_jobs_start_others() -> None:
    jobs = Jobs()

    async def job(left: int) -> None:
        await trio.sleep(1)
        if left:
            jobs.start_soon(job, left - 1)

    async with running(jobs):
        jobs.start_soon(job, 3)
        await jobs.wait()
        assert trio.current_time() == 4


async def test_a_wait_is_over_at_once_where_nothing_runs_and_is_a_checkpoint() -> None:
    jobs = Jobs()
    await jobs.wait()
    async with running(jobs):
        await jobs.wait()
        with trio.CancelScope() as scope:
            scope.cancel()
            await jobs.wait()
        assert scope.cancelled_caught
    await jobs.wait()


async def test_a_job_cannot_wait_for_its_own_end() -> None:
    jobs = Jobs()
    problems: list[str] = []

    async def waits() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits_below)

    async def waits_below() -> None:
        try:
            await jobs.wait()
        except InvalidStateError as error:
            problems.append(str(error))

    async with running(jobs):
        jobs.start_soon(waits)
    (problem,) = problems
    assert problem == (
        "job 'waits' cannot wait until no job runs: it would wait for its own end; "
        "wait in another task"
    )


# Waiting for one


async def test_what_a_job_returns_is_the_result_of_run() -> None:
    jobs = Jobs()
    async with running(jobs):
        assert await jobs.run(double, 4) == 8
        assert await jobs.run(partial(double, 5)) == 10
    assert trio.current_time() == 2


async def test_what_a_job_raises_comes_out_of_run_and_ends_nothing() -> None:
    taken: list[Exception] = []
    recorder = Recorder()
    for jobs in (Jobs(), Jobs(on_error=taken.append)):
        async with running(jobs):
            jobs.start_soon(recorder.does("other", takes=2))
            error = lost()
            with pytest.raises(OSError, match="lost") as caught:
                await jobs.run(recorder.does("job", takes=1, fails=error))
            assert caught.value is error
            await trio.sleep(9)
    assert taken == []
    assert recorder.trace.count("other done") == 2


async def test_a_job_outlives_its_request() -> None:
    recorder = Recorder()
    jobs = Jobs()
    async with running(jobs):
        with trio.move_on_after(1) as scope:
            await jobs.run(recorder.does("job", takes=3))
        assert scope.cancelled_caught
        assert trio.current_time() == 1
    assert (recorder.trace, trio.current_time()) == (["job", "job done"], 3)


async def test_no_job_is_started_for_a_request_that_is_cancelled_already() -> None:
    recorder = Recorder()
    jobs = Jobs()
    async with running(jobs):
        with trio.CancelScope() as scope:
            scope.cancel()
            await jobs.run(recorder.does("job"))
        assert scope.cancelled_caught
    assert recorder.trace == []


async def test_the_error_of_a_job_whose_request_has_gone_goes_the_way_of_others() -> None:
    taken: list[Exception] = []
    error = lost()
    recorder = Recorder()

    async def callback(jobs: Jobs) -> None:
        with trio.move_on_after(1):
            await jobs.run(recorder.does("job", takes=2, fails=error))
        await trio.sleep(9)

    jobs = Jobs(on_error=taken.append)
    await jobs.run(partial(callback, jobs))
    assert (taken, trio.current_time()) == ([error], 10)
    jobs = Jobs()
    assert await failure_of(jobs, partial(callback, jobs)) is error
    assert trio.current_time() == 12


async def test_who_waits_for_a_job_that_a_forced_stop_cancels_is_told_so() -> None:
    jobs = Jobs()
    problems: list[str] = []

    async def outside() -> None:
        try:
            await jobs.run(trio.sleep, 99)
        except InvalidStateError as error:
            problems.append(str(error))

    async with trio.open_nursery() as nursery:
        process = Process(nursery, jobs)
        await process.start()
        nursery.start_soon(outside)
        await wait_all_tasks_blocked()
        with trio.move_on_after(1):
            await process.stop()
    assert problems == ["job 'sleep' was cancelled by a forced stop of the jobs"]


# Errors


async def test_a_failure_cancels_the_callback_and_lets_the_others_finish() -> None:
    recorder = Recorder()
    error = lost()
    jobs = Jobs()

    async def callback() -> None:
        jobs.start_soon(recorder.does("fails", takes=1, fails=error))
        await wait_all_tasks_blocked()
        jobs.start_soon(recorder.does("goes on", takes=3))
        await wait_all_tasks_blocked()
        await recorder.forever("callback")()

    assert await failure_of(named("jobs", jobs), callback) is error
    assert recorder.trace == [
        "fails",
        "goes on",
        "callback",
        "fails done",
        "callback cancelled",
        "goes on done",
    ]
    assert recorder.reasons["callback"] == (
        "jobs in 'jobs' stops, since job 'function' failed: OSError: lost"
    )
    assert notes_of(error) == ["in 'function'", "in 'jobs'"]


async def test_all_errors_of_jobs_come_out_one_of_them_bare_law_3() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        for seconds in (2, 1, 3):
            error = OSError(str(seconds))
            jobs.start_soon(recorder.does("job", takes=seconds, fails=error))
        await trio.sleep_forever()

    error = await failure_of(jobs, callback)
    assert str(error) == "1"
    assert notes_of(error) == [
        "in 'function'",
        "job 'function' failed as well: OSError: 2",
        "job 'function' failed as well: OSError: 3",
    ]
    assert trio.current_time() == 3


async def test_a_failure_during_the_stop_comes_out() -> None:
    recorder = Recorder()
    error = lost()
    jobs = Jobs()

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        jobs.start_soon(recorder.does("job", takes=1, fails=error))

    assert await failure_of(jobs, callback) is error


async def test_the_callbacks_error_comes_out_with_those_of_jobs_as_notes_law_3() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        jobs.start_soon(recorder.does("job", takes=2, fails=lost()))
        await trio.sleep(1)
        raise ValueError("callback")

    error = await failure_of(jobs, callback)
    assert str(error) == "callback"
    assert notes_of(error) == ["the jobs failed as well: OSError: lost"]


async def test_a_failure_that_the_callback_has_failed_from_is_its_cause_law_3() -> None:
    recorder = Recorder()
    jobs = Jobs()
    failure = lost()

    async def callback() -> None:
        jobs.start_soon(recorder.does("job", takes=1, fails=failure))
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("callback")

    error = await failure_of(jobs, callback)
    assert str(error) == "callback"
    assert error.__cause__ is failure


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_on_error_takes_the_failures_and_nothing_else_happens(is_async: bool) -> None:
    taken: list[Exception] = []

    async def take(error: Exception) -> None:
        await trio.sleep(3)
        taken.append(error)

    jobs = Jobs(on_error=take if is_async else taken.append)
    recorder = Recorder()
    errors = [lost(), ExceptionGroup("two", [lost(), ValueError()])]
    async with running(jobs):
        for error in errors:
            jobs.start_soon(recorder.does("job", takes=1, fails=error))
        await trio.sleep(2)
    assert sorted(taken, key=id) == sorted(errors, key=id)
    assert trio.current_time() == (4 if is_async else 2)


async def test_an_error_of_on_error_is_one_of_the_jobs_with_a_note_of_what_it_took() -> None:
    def fail(error: Exception) -> None:
        raise ValueError("no log")

    recorder = Recorder()
    jobs = Jobs(on_error=fail)

    async def callback() -> None:
        jobs.start_soon(recorder.does("job", takes=1, fails=lost()))
        await trio.sleep_forever()

    error = await failure_of(jobs, callback)
    assert str(error) == "no log"
    assert notes_of(error) == ["job 'function' failed as well: OSError: lost", "in 'function'"]


async def test_on_error_may_start_another_job() -> None:
    recorder = Recorder()

    def again(error: Exception) -> None:
        jobs.start_soon(recorder.does("again", takes=1))

    jobs = Jobs(on_error=again)
    async with running(jobs):
        jobs.start_soon(recorder.does("job", takes=1, fails=lost()))
    assert recorder.trace == ["job", "job done", "again", "again done"]


async def test_a_cancellation_hides_no_error_law_8() -> None:
    taken: list[Exception] = []

    async def job() -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    async def callback(jobs: Jobs) -> None:
        jobs.start_soon(job)
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        jobs = Jobs(on_error=taken.append)
        await jobs.run(partial(callback, jobs))
    assert scope.cancelled_caught
    assert [str(leaf) for error in taken for leaf in leaves_of(error)] == ["unflushed"]
    with trio.move_on_after(1):
        jobs = Jobs()
        error = await failure_of(jobs, partial(callback, jobs))
        assert [str(leaf) for leaf in leaves_of(error)] == ["unflushed"]


# Interrupts


@pytest.mark.parametrize(
    "interrupt",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        BaseExceptionGroup("two", [lost(), KeyboardInterrupt()]),
    ],
    ids=["KeyboardInterrupt", "SystemExit", "grouped"],
)
@pytest.mark.parametrize("stopping", [False, True], ids=["running", "stopping"])
async def test_an_interrupt_of_a_job_forces_and_on_error_does_not_get_it_law_4(
    interrupt: BaseException, stopping: bool
) -> None:
    taken: list[Exception] = []
    recorder = Recorder()
    jobs = Jobs(on_error=taken.append)

    async def callback() -> None:
        jobs.start_soon(recorder.forever("other"))
        await wait_all_tasks_blocked()
        jobs.start_soon(recorder.does("struck", takes=1, fails=interrupt))
        await wait_all_tasks_blocked()
        if not stopping:
            await recorder.forever("callback", last=1)()

    # trio may make a group anew on its way.
    assert leaves_of(await failure_of(jobs, callback)) == leaves_of(interrupt)
    assert recorder.trace == [
        "other",
        "struck",
        *(
            ["callback", "struck done", "callback cancelled", "callback gone"]
            if not stopping
            else []
        ),
        *(["struck done"] if stopping else []),
        "other cancelled",
    ]
    assert taken == []


async def test_an_interrupt_comes_before_all_errors_law_4() -> None:
    recorder = Recorder()
    jobs = Jobs()
    interrupt = SystemExit(3)

    async def callback() -> None:
        jobs.start_soon(recorder.does("job", takes=2, fails=lost()))
        jobs.start_soon(recorder.does("struck", takes=3, fails=interrupt))
        await trio.sleep(1)
        raise ValueError("callback")

    assert await failure_of(jobs, callback) is interrupt
    assert notes_of(interrupt) == [
        "in 'function'",
        "job 'function' failed as well: OSError: lost",
        "the callback failed as well: ValueError: callback",
    ]


async def test_an_interrupt_of_an_awaited_job_is_raised_where_it_is_awaited_law_4() -> None:
    recorder = Recorder()
    jobs = Jobs()
    interrupt = SystemExit(3)

    async def callback() -> None:
        jobs.start_soon(recorder.forever("other"))
        await jobs.run(recorder.does("struck", takes=1, fails=interrupt))

    assert await failure_of(jobs, callback) is interrupt
    assert recorder.trace[-2:] == ["struck done", "other cancelled"]


@pytest.mark.parametrize("at", [1, 3], ids=["running", "stopping"])
def test_ctrl_c_forces_law_4(at: float) -> None:
    taken: list[Exception] = []
    recorder = Recorder()
    jobs = Jobs(on_error=taken.append)

    async def callback() -> None:
        jobs.start_soon(recorder.forever("job"))
        await trio.sleep(2)

    pressed = run_and_press(jobs, callback, at=at)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert (pressed.ended, taken) == (at, [])
    assert recorder.trace == ["job", "job cancelled"]


def test_ctrl_c_in_the_code_of_a_job_is_not_given_to_on_error_law_4() -> None:
    taken: list[Exception] = []
    recorder = Recorder()
    jobs = Jobs(on_error=taken.append)

    async def struck() -> None:
        await trio.sleep(1)
        ctrl_c_here()

    async def callback() -> None:
        jobs.start_soon(recorder.forever("job"))
        jobs.start_soon(struck)
        await trio.sleep_forever()

    pressed = run_and_press(jobs, callback)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert (pressed.ended, taken) == (1, [])
    assert recorder.trace == ["job", "job cancelled"]


def test_ctrl_c_while_a_result_is_waited_for_forces_the_job_law_4() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        await jobs.run(recorder.forever("job"))

    pressed = run_and_press(jobs, callback, at=1)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert pressed.ended == 1
    assert recorder.trace == ["job", "job cancelled"]


@pytest.mark.parametrize("on_error", [None, take], ids=["without", "on_error"])
def test_ctrl_c_at_any_call_forces_and_leaves_no_job_law_4(
    on_error: Callable[[Exception], None] | None,
) -> None:
    async def fails() -> None:
        await trio.sleep(1)
        raise OSError("lost")

    def run() -> tuple[list[str], Pressed]:
        recorder = Recorder()
        jobs = Jobs(on_error=on_error)

        async def callback() -> None:
            with trio.move_on_after(1):
                await jobs.run(recorder.does("job", takes=2))
            jobs.start_soon(fails)
            await jobs.wait()
            await trio.sleep(9)

        return recorder.trace, run_and_press(jobs, callback)

    struck = list(at_each_call(run, str(inspect.getsourcefile(Jobs))))
    assert {"run", "start", "_provide", "_work", "_ask", "result"} <= {name for name, _ in struck}
    for name, (trace, pressed) in struck:
        assert isinstance(pressed.error, KeyboardInterrupt), name
        assert trace in ([], ["job", "job cancelled"], ["job", "job done"]), name


# What runs when


async def test_jobs_start_only_while_they_run() -> None:
    jobs = Jobs()
    message = "cannot start job 'double': the jobs do not run yet, or have stopped"
    for _ in range(2):
        with pytest.raises(InvalidStateError, match=message):
            jobs.start_soon(double, 1)
        with pytest.raises(InvalidStateError, match=message):
            await jobs.run(double, 1)
        async with running(jobs):
            jobs.start_soon(double, 1)


async def test_a_run_without_arguments_is_a_job_while_the_jobs_run() -> None:
    recorder = Recorder()
    jobs = Jobs()

    async def callback() -> None:
        await jobs.run(recorder.does("job", takes=1))
        recorder("callback done")

    await jobs.run(callback)
    assert recorder.trace == ["job", "job done", "callback done"]


TWICE: dict[str, Callable[[Jobs], Runnable]] = {
    "named": lambda jobs: chain(jobs, named("again", jobs)),
    "timeouts": lambda jobs: chain(jobs, timeouts(named("again", jobs), stop=1)),
    "chain": lambda jobs: named("again", chain(jobs, jobs)),
}


@pytest.mark.parametrize("compose", TWICE.values(), ids=TWICE)
async def test_they_cannot_run_twice_at_the_same_time_law_9(
    compose: Callable[[Jobs], Runnable],
) -> None:
    recorder = Recorder()
    message = r"cannot run jobs in 'again': they run already; make another Jobs for another run"
    jobs = Jobs()
    with pytest.raises(InvalidStateError, match=message), no_task_left():
        await compose(jobs).run(recorder.does("callback"))
    assert recorder.trace == []
    await jobs.run(recorder.does("callback"))
    assert recorder.trace == ["callback"]


@pytest.mark.parametrize("combine", [parallel, sequential])
async def test_they_are_no_two_members_of_a_group_law_9(
    combine: Callable[..., Runnable],
) -> None:
    recorder = Recorder()
    jobs = Jobs()
    with pytest.RaisesGroup(InvalidStateError):
        await combine(jobs, jobs).run(recorder.does("callback"))
    assert recorder.trace == []


AROUND: dict[str, Callable[[Runnable], Runnable]] = {
    "alone": lambda r: r,
    "chain": lambda r: chain(nop(), r, leaf(trio.sleep_forever)),
    "parallel": lambda r: parallel(r, leaf(trio.sleep_forever)),
    "sequential": lambda r: sequential(leaf(trio.sleep_forever), r),
    "named": partial(named, "jobs"),
    "timeouts": lambda r: timeouts(r, start=1, stop=9),
    "restart": restart,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
async def test_they_run_and_run_again_wherever_they_stand_law_9(
    around: Callable[[Runnable], Runnable],
) -> None:
    recorder = Recorder()
    jobs = Jobs()
    r = around(jobs)
    with no_task_left():
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                process = Process(nursery, r)
                await process.start()
                jobs.start_soon(recorder.does("job", takes=2))
                await trio.sleep(1)
                recorder("stop")
                await process.stop()
    assert recorder.trace == ["job", "stop", "job done"] * 2


async def test_a_failed_process_keeps_the_error_of_the_job() -> None:
    recorder = Recorder()
    jobs = Jobs()
    error = lost()
    async with trio.open_nursery() as nursery:
        process = Process(nursery, jobs)
        await process.start()
        jobs.start_soon(recorder.does("job", takes=1, fails=error))
        await process.wait()
    assert process.error is error


async def test_a_restart_starts_them_anew_after_a_failure() -> None:
    recorder = Recorder()
    jobs = Jobs()
    policy = RestartPolicy(backoff=Backoff(initial=1, jitter=0))
    async with running(restart(jobs, policy)):
        jobs.start_soon(recorder.does("fails", takes=1, fails=lost()))
        await trio.sleep(1.5)
        with pytest.raises(InvalidStateError, match="do not run"):
            jobs.start_soon(recorder.does("lost"))
        await trio.sleep(1)
        jobs.start_soon(recorder.does("job", takes=1))
    assert recorder.trace == ["fails", "fails done", "job", "job done"]


async def test_they_can_be_overridden() -> None:
    recorder = Recorder()
    real, fake = Jobs(), Jobs()
    shop = named("shop", chain(named("jobs", real), nop()))
    async with running(override(shop, {"jobs": fake})):
        fake.start_soon(recorder.does("job"))
        with pytest.raises(InvalidStateError):
            real.start_soon(recorder.does("real"))
    assert recorder.trace == ["job"]


async def test_a_job_runs_in_the_node_of_the_jobs() -> None:
    paths: list[str] = []

    async def job() -> None:
        await trio.lowlevel.checkpoint()
        node = current_node()
        assert node is not None
        paths.append(node.path)

    jobs = Jobs()

    async def client() -> None:
        jobs.start_soon(job)
        await jobs.run(job)
        await jobs.run(named("below", start_stop(job, job)).run, job)

    shop = named("shop", chain(named("jobs", jobs), named("client", leaf(client))))
    await shop.run(trio.sleep_forever)
    assert paths[:2] == ["shop/jobs"] * 2
    assert paths[2:] == ["shop/jobs/below", "shop/jobs", "shop/jobs/below"]


async def test_they_are_one_node_of_the_run_tree() -> None:
    jobs = Jobs()
    with record() as trace:
        async with running(named("shop", chain(jobs, nop()))):
            await jobs.run(double, 1)
    assert trace.names("stopped") == ["jobs", "shop"]
    assert describe(jobs).kind == "jobs"
    assert repr(jobs) == "jobs()"
    assert isinstance(jobs, Runnable)


@pytest.mark.parametrize(
    "part", ["a job", "several", "an awaited job", "on_error", "on_error, of the same error"]
)
async def test_no_cycle_keeps_the_traceback_law_6(part: str) -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        def again(error: Exception) -> None:
            try:
                raise error if "same" in part else OSError("Marker")
            finally:
                del error

        jobs = Jobs(on_error=again if part.startswith("on_error") else None)

        async def callback() -> None:
            if part == "an awaited job":
                await jobs.run(fails)
            for _ in range(3 if part == "several" else 1):
                jobs.start_soon(fails)
            await jobs.wait()

        with pytest.raises(OSError, match=Marker.__name__) as caught:
            await jobs.run(callback)
        del caught


# Bad input


async def test_bad_input_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"on_error of Jobs\(\) must be a function of an error, not"
    ):
        Jobs(on_error=cast("Any", "log"))
    with pytest.raises(TypeError, match=r"on_error of Jobs\(\) is called with one argument, but"):
        Jobs(on_error=cast("Any", lambda: None))
    jobs = Jobs()
    async with running(jobs):
        with pytest.raises(TypeError, match=r"fn of start_soon\(\) of Jobs must be .* a coroutine"):
            jobs.start_soon(cast("Any", double(1)))
        with pytest.raises(TypeError, match=r"fn of start_soon\(\) of Jobs is called with no arg"):
            jobs.start_soon(cast("Any", double))
        with pytest.raises(TypeError, match=r"fn of run\(\) of Jobs is called with 2 arguments"):
            await jobs.run(cast("Any", double), 1, 2)
        with pytest.raises(TypeError, match=r"fn of run\(\) of Jobs must be an async function"):
            await jobs.run(cast("Any", print), 1)


if TYPE_CHECKING:

    async def types_of_results(jobs: Jobs) -> None:
        assert_type(await jobs.run(double, 1), int)
        assert_type(await jobs.run(trio.lowlevel.checkpoint), None)
        composed: Runnable = jobs
        chain(jobs, composed)


# Certificates


def shop(jobs: Jobs) -> Runnable:
    async def job(left: int) -> None:
        await trio.sleep(0.0004)
        if left:
            jobs.start_soon(job, left - 1)

    async def client() -> None:
        jobs.start_soon(job, 1)
        with trio.move_on_after(0.0002):
            await jobs.run(job, 0)
        await jobs.run(job, 0)
        await jobs.wait()
        await trio.sleep_forever()

    return chain(named("jobs", jobs), named("client", leaf(client)))


async def take_its_time(error: Exception) -> None:
    await trio.sleep(0.0001)


@pytest.mark.parametrize(
    "make",
    [
        Jobs,
        lambda: shop(Jobs()),
        lambda: shop(Jobs(on_error=take)),
        lambda: shop(Jobs(on_error=take_its_time)),
        lambda: parallel(shop(Jobs()), named("others", Jobs())),
        lambda: timeouts(shop(Jobs()), start=9, stop=9, grace=9),
    ],
    ids=["none", "some", "on_error", "async on_error", "in a parallel", "in timeouts"],
)
def test_they_are_safe_at_each_point(make: Callable[[], Runnable]) -> None:
    certify(make, limit=400).check()
