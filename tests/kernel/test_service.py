from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
import trio

from nestling import (
    ExitedBeforeRunningError,
    InvalidStateError,
    NotRunningError,
    Service,
    UnexpectedReturnError,
    chain,
    named,
    parallel,
    service,
)
from tests.kernel.recording import failure_of, no_cycles, notes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestling import Runnable
    from tests.kernel.recording import Recorder


def alone(r: Runnable) -> Runnable:
    return r


def in_parallel(r: Runnable) -> Runnable:
    return parallel(r, service(ready))


async def ready(*, task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


either_way = pytest.mark.parametrize("around", [alone, in_parallel])


def serving(record: Recorder, value: object = None) -> Service:
    async def serve(*, task_status: trio.TaskStatus[object]) -> None:
        record("serve")
        await trio.sleep(1)
        task_status.started(value)
        record("started")
        await record.forever("serving", last=1)()

    return service(serve)


@either_way
async def test_the_callback_waits_for_started(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    await around(serving(record)).run(record.does("callback"))
    assert record.trace == [
        "serve",
        "started",
        "serving",
        "callback",
        "serving cancelled",
        "serving gone",
    ]


@either_way
async def test_its_value_is_what_started_was_called_with_while_it_runs(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    server = serving(record, value="port 8000")

    def no_value() -> None:
        with pytest.raises(NotRunningError, match="service 'serve' has no value: it is not run"):
            _ = server.value

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        record(f"value: {server.value}")

    no_value()
    await around(server).run(callback)
    no_value()
    assert "value: port 8000" in record.trace


@either_way
async def test_the_value_of_a_finite_job_stays_until_its_node_stops(
    around: Callable[[Runnable], Runnable],
) -> None:
    async def load(*, task_status: trio.TaskStatus[str]) -> None:
        task_status.started("loaded")

    loader = service(load, on_return="stay")

    async def callback() -> None:
        await trio.sleep(1)
        assert loader.value == "loaded"
        with pytest.raises(InvalidStateError, match="it is running"):
            await loader.run(trio.sleep_forever)

    await around(loader).run(callback)
    with pytest.raises(NotRunningError):
        _ = loader.value


async def test_none_is_a_value_as_any_other(record: Recorder) -> None:
    server = serving(record)

    async def callback() -> None:
        assert server.value is None

    await server.run(callback)


async def test_arguments_are_passed_on(record: Recorder) -> None:
    async def serve(host: str, port: int, *, task_status: trio.TaskStatus[str]) -> None:
        task_status.started(f"{host}:{port}")
        await trio.sleep_forever()

    async def callback() -> None:
        record(server.value)

    server = service(serve, "localhost", 80)
    await server.run(callback)
    assert record.trace == ["localhost:80"]


async def test_it_runs_any_function_made_for_nursery_start() -> None:
    async def handler(stream: trio.SocketStream) -> None:
        del stream

    tcp = service(trio.serve_tcp, handler, 0)

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        assert all(isinstance(listener, trio.SocketListener) for listener in tcp.value)

    await tcp.run(callback)


@either_way
async def test_a_failure_before_started_starts_no_dependent(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        del task_status
        raise OSError("port taken")

    error = await failure_of(around(service(serve)), record.does("callback"))
    assert record.trace == []
    if around is alone:
        assert isinstance(error, OSError)
    else:
        with pytest.RaisesGroup(OSError, match="1 of 2 members failed: 'serve'"):
            raise error


@either_way
async def test_a_return_before_started_is_a_failure_to_start(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        del task_status

    error = await failure_of(around(service(serve)), record.does("callback"))
    assert record.trace == []
    if around is alone:
        assert isinstance(error, ExitedBeforeRunningError)
        assert str(error) == "service 'serve' ended before it was running"
    else:
        with pytest.RaisesGroup(ExitedBeforeRunningError):
            raise error


@either_way
async def test_started_twice_is_an_error_as_in_trio(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        task_status.started()

    error = await failure_of(around(service(serve)), record.forever("callback"))
    if around is alone:
        assert isinstance(error, RuntimeError)
    else:
        with pytest.RaisesGroup(RuntimeError):
            raise error


@pytest.mark.parametrize("on_return", ["stop", "stay", "fail"])
async def test_on_return_says_what_a_return_means(
    record: Recorder, on_return: Literal["stop", "stay", "fail"]
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(1)

    server = service(serve, on_return=on_return)
    if on_return == "fail":
        assert isinstance(
            await failure_of(server, record.does("callback", takes=2)), UnexpectedReturnError
        )
    else:
        await server.run(record.does("callback", takes=2))
    assert record.trace == [
        "callback",
        f"callback {'done' if on_return == 'stay' else 'cancelled'}",
    ]


@either_way
async def test_law_2_a_cancellation_while_it_starts_starts_no_dependent(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    with trio.move_on_after(0.5) as scope:
        await around(serving(record)).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["serve"]
    assert trio.current_time() == 0.5


@either_way
async def test_law_2_started_after_the_start_was_given_up_starts_no_dependent(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            task_status.started()
            record("started")
            await record.forever("serving")()

    with trio.move_on_after(0.5) as scope:
        await around(service(serve)).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["started", "serving", "serving cancelled"]


@either_way
async def test_law_2_started_in_the_moment_of_a_cancellation_runs_nothing_to_its_end(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    with trio.CancelScope() as scope:

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await trio.lowlevel.checkpoint()
            scope.cancel("now")
            task_status.started()
            await record.forever("serving")()

        await around(service(serve)).run(record.does("callback", takes=1))
    assert scope.cancelled_caught
    assert "callback done" not in record.trace
    assert record.trace[-1] == "serving cancelled"


@either_way
async def test_law_1_a_cancelled_callback_is_gone_before_the_service_is_cancelled(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    with trio.move_on_after(2) as scope:
        await around(serving(record)).run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    assert record.trace == [
        "serve",
        "started",
        "serving",
        "callback",
        "callback cancelled",
        "callback gone",
        "serving cancelled",
        "serving gone",
    ]


async def test_law_3_the_failure_is_the_cause_of_an_error_that_followed_from_it() -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep(1)
        raise OSError("gone")

    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError

    error = await failure_of(service(serve), callback)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, OSError)
    assert notes_of(error) == []


async def test_law_3_a_failure_while_it_stops_comes_out() -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        try:
            await ready(task_status=task_status)
        finally:
            raise OSError("cannot close")

    with pytest.raises(OSError, match="cannot close"):
        await service(serve).run(trio.lowlevel.checkpoint)


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            marker = mark()
            task_status.started()
            raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await service(serve).run(trio.sleep_forever)
        del caught


async def test_law_7_it_calls_back_in_the_task_that_runs_it(record: Recorder) -> None:
    async def callback() -> None:
        assert trio.lowlevel.current_task() is task
        record("callback")

    task = trio.lowlevel.current_task()
    await serving(record).run(callback)
    assert "callback" in record.trace


async def test_law_8_the_stop_names_the_node_and_the_cause(record: Recorder) -> None:
    await named("web", serving(record)).run(record.does("callback"))
    assert record.reasons["serving"] == "service 'serve' in 'web' is stopped"


async def test_law_9_it_can_run_again_with_another_value(record: Recorder) -> None:
    count = 0

    async def serve(*, task_status: trio.TaskStatus[int]) -> None:
        nonlocal count
        count += 1
        task_status.started(count)
        await trio.sleep_forever()

    async def callback() -> None:
        record(f"value: {server.value}")

    server = service(serve)
    await server.run(callback)
    await server.run(callback)
    assert record.trace == ["value: 1", "value: 2"]


async def test_law_9_two_runs_at_the_same_time_are_refused_and_the_first_goes_on(
    record: Recorder,
) -> None:
    server = serving(record, value="first")

    async def callback() -> None:
        error = await failure_of(named("second", server), record.does("never"))
        assert isinstance(error, InvalidStateError)
        assert str(error) == (
            "cannot run service 'serve' in 'second': it is running, and has only one value; "
            "make another service for another run"
        )
        assert server.value == "first"

    await server.run(callback)
    assert "never" not in record.trace
    await server.run(record.does("again"))
    assert "again" in record.trace


async def test_law_9_in_a_group_two_runs_at_the_same_time_are_refused(record: Recorder) -> None:
    server = serving(record)
    with pytest.RaisesGroup(InvalidStateError):
        await parallel(server, server).run(record.does("callback"))
    assert "callback" not in record.trace


async def test_law_9_a_status_of_a_run_that_is_over_does_nothing(record: Recorder) -> None:
    kept: list[trio.TaskStatus[str]] = []

    async def serve(*, task_status: trio.TaskStatus[str]) -> None:
        kept.append(task_status)
        if len(kept) == 1:
            return
        await trio.sleep_forever()

    server = service(serve)
    await failure_of(server, record.does("callback"))
    kept[0].started("too late")
    with pytest.raises(NotRunningError):
        _ = server.value
    with trio.move_on_after(1):
        await server.run(record.does("callback"))
    assert record.trace == []


async def test_in_a_chain_a_dependent_uses_its_value(record: Recorder) -> None:
    first = serving(record, value="url")

    async def dependent(*, task_status: trio.TaskStatus[None]) -> None:
        record(f"uses {first.value}")
        await ready(task_status=task_status)

    await chain(first, service(dependent)).run(record.does("callback"))
    assert record.trace == [
        "serve",
        "started",
        "serving",
        "uses url",
        "callback",
        "serving cancelled",
        "serving gone",
    ]


async def test_one_that_returns_at_once_when_it_has_started_starts_no_dependent(
    record: Recorder,
) -> None:
    async def quick(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.sleep(1)
        task_status.started()

    await service(quick).run(record.does("callback"))
    assert record.trace == []
