from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio

from nestling import (
    CallbackReusedError,
    ExitedBeforeRunningError,
    InvalidStateError,
    Runnable,
    chain,
    leaf,
    named,
    nop,
    parallel,
    runnable,
)
from tests.kernel.recording import failure_of, no_cycles, no_task_left, notes_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from nestling import Callback
    from tests.kernel.recording import Recorder


def alone(r: Runnable) -> Runnable:
    return r


def in_parallel(r: Runnable) -> Runnable:
    return parallel(r, nop())


def in_chain(r: Runnable) -> Runnable:
    return chain(nop(), r)


either_way = pytest.mark.parametrize("around", [alone, in_parallel])


def test_the_protocol_is_there_at_run_time() -> None:
    class Server:
        async def run(self, f: Callback, /) -> None:
            await f()

    assert isinstance(Server(), Runnable)
    assert isinstance(nop(), Runnable)
    assert not isinstance(5, Runnable)


async def test_a_function_becomes_a_runnable_by_a_decorator(record: Recorder) -> None:
    @runnable
    async def certificates(f: Callback) -> None:
        record("set up")
        await f()
        record("tear down")

    assert repr(certificates) == "runnable(certificates)"
    await certificates.run(record.does("callback"))
    assert record.trace == ["set up", "callback", "tear down"]


@pytest.mark.parametrize("around", [in_parallel, in_chain])
async def test_an_object_of_your_own_can_be_composed(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    class Server:
        async def run(self, f: Callback, /) -> None:
            record("set up")
            await f()
            record("tear down")

    await around(Server()).run(record.does("callback"))
    assert record.trace == ["set up", "callback", "tear down"]


# Law 10: the guard -------------------------------------------------------------------------------


@either_way
async def test_law_10_a_second_call_back_is_an_error_that_names_the_runnable(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    @runnable
    async def eager(f: Callback) -> None:
        await f()
        await f()

    error = await failure_of(around(named("web", eager)), record.does("callback"))
    if around is in_parallel:
        with pytest.RaisesGroup(CallbackReusedError):
            raise error
    else:
        assert isinstance(error, CallbackReusedError)
        assert str(error) == "runnable 'eager' in 'web' called back a second time"
    assert record.trace == ["callback"]


async def test_law_10_a_second_call_back_while_the_first_runs_is_an_error(
    record: Recorder,
) -> None:
    @runnable
    async def eager(f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(f)
            nursery.start_soon(f)

    with pytest.RaisesGroup(CallbackReusedError):
        await eager.run(record.forever("callback"))
    assert record.trace.count("callback") <= 1


@either_way
async def test_law_10_a_return_without_a_call_back_is_a_failure_to_start(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    @runnable
    async def lazy(f: Callback) -> None:
        del f

    error = await failure_of(around(lazy), record.does("callback"))
    if around is in_parallel:
        with pytest.RaisesGroup(ExitedBeforeRunningError):
            raise error
    else:
        assert isinstance(error, ExitedBeforeRunningError)
        assert str(error) == "runnable 'lazy' returned without having called back"
    assert record.trace == []


@either_way
async def test_law_10_a_call_back_after_the_run_is_an_error(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    kept: list[Callback] = []

    @runnable
    async def late(f: Callback) -> None:
        kept.append(f)
        if len(kept) > 1:
            await f()

    await failure_of(around(late), record.does("first"))
    with pytest.raises(CallbackReusedError, match="'late' called back after its run had ended"):
        await kept[0]()
    await around(late).run(record.does("second"))
    with pytest.raises(CallbackReusedError, match="'late' called back after its run had ended"):
        await kept[1]()
    assert record.trace == ["second"]


async def test_law_10_a_return_while_the_callback_runs_is_an_error(record: Recorder) -> None:
    async with trio.open_nursery() as nursery:

        @runnable
        async def careless(f: Callback) -> None:
            nursery.start_soon(f)
            await trio.sleep(1)

        error = await failure_of(careless, record.forever("callback"))
        nursery.cancel_scope.cancel("enough")
    assert isinstance(error, InvalidStateError)
    assert str(error) == "runnable 'careless' returned while its callback was running"


async def test_law_10_a_call_back_that_fails_is_not_to_be_tried_again(record: Recorder) -> None:
    @runnable
    async def stubborn(f: Callback) -> None:
        try:
            await f()
        except KeyError:
            await f()

    error = await failure_of(stubborn, record.does("callback", fails=KeyError()))
    assert isinstance(error, CallbackReusedError)


@either_way
async def test_law_8_who_swallows_a_cancellation_is_not_blamed_for_not_calling_back(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    @runnable
    async def swallowing(f: Callback) -> None:
        del f
        with trio.move_on_after(5):
            await trio.sleep_forever()
        try:
            await trio.sleep_forever()
        except trio.Cancelled:
            record("swallowed")

    with trio.move_on_after(7) as scope:
        await around(swallowing).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["swallowed"]


@either_way
async def test_law_9_it_can_run_again(
    record: Recorder, around: Callable[[Runnable], Runnable]
) -> None:
    @runnable
    async def good(f: Callback) -> None:
        await f()

    r = around(good)
    await r.run(record.does("callback"))
    await r.run(record.does("callback"))
    assert record.trace == ["callback", "callback"]


# Law 1: a shield around what holds nurseries of its own -------------------------------------------


def with_background(record: Recorder) -> Runnable:
    @runnable
    async def provider(f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record.forever("background", last=1))
            await trio.sleep(1)
            await f()
            nursery.cancel_scope.cancel("the provider stops")

    return provider


async def test_law_1_its_nurseries_are_not_cancelled_before_its_dependents_are_gone(
    record: Recorder,
) -> None:
    with no_task_left(), trio.move_on_after(2) as scope:
        await with_background(record).run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    assert record.trace == [
        "background",
        "callback",
        "callback cancelled",
        "callback gone",
        "background cancelled",
        "background gone",
    ]


async def test_law_1_in_a_chain_each_level_goes_after_those_inside(record: Recorder) -> None:
    def level(name: str) -> Runnable:
        @runnable
        async def provider(f: Callback) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(record.forever(name, last=1))
                await trio.sleep(1)
                await f()

        return provider

    server = leaf(record.forever("leaf", last=1))
    with no_task_left(), trio.move_on_after(5) as scope:
        await chain(level("a"), level("b"), server, level("c")).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert sorted(record.trace[:4]) == ["a", "b", "c", "leaf"]
    assert record.trace[4:] == [
        "callback",
        "callback cancelled",
        "c cancelled",
        "c gone",
        "leaf cancelled",
        "leaf gone",
        "b cancelled",
        "b gone",
        "a cancelled",
        "a gone",
    ]


async def test_law_1_a_callback_in_a_task_of_its_own_is_gone_first_as_well(
    record: Recorder,
) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record.forever("background", last=1))
            async with trio.open_nursery() as inner:
                inner.start_soon(f)

    with no_task_left(), trio.move_on_after(1) as scope:
        await provider.run(record.forever("callback", last=1))
    assert scope.cancelled_caught
    assert sorted(record.trace[:2]) == ["background", "callback"]
    assert record.trace[2:] == [
        "callback cancelled",
        "callback gone",
        "background cancelled",
        "background gone",
    ]


async def test_law_1_a_deadline_that_passes_while_it_starts_reaches_it_at_once(
    record: Recorder,
) -> None:
    with trio.move_on_after(0.5) as scope:
        await with_background(record).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["background", "background cancelled", "background gone"]


async def test_law_1_a_crash_inside_it_cancels_its_dependents_first(record: Recorder) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record.does("crash", takes=1, fails=OSError("crash")))
            try:
                await f()
            finally:
                record("tear down")

    with pytest.RaisesGroup(OSError):
        await provider.run(record.forever("callback", last=1))
    assert sorted(record.trace[:2]) == ["callback", "crash"]
    assert record.trace[2:] == ["crash done", "callback cancelled", "callback gone", "tear down"]


async def test_law_2_a_graceful_stop_is_not_cancelled_and_can_be_forced(record: Recorder) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        await f()
        await record.does("tear down", takes=2)()
        await record.forever("drain")()

    with trio.move_on_after(5) as scope:
        await provider.run(record.does("callback", takes=1))
    assert scope.cancelled_caught
    assert record.trace == [
        "callback",
        "callback done",
        "tear down",
        "tear down done",
        "drain",
        "drain cancelled",
    ]
    assert trio.current_time() == 5


async def test_law_2_a_cancellation_that_its_start_does_not_see_starts_no_dependent(
    record: Recorder,
) -> None:
    with trio.CancelScope() as scope:

        @runnable
        async def provider(f: Callback) -> None:
            scope.cancel("while it starts")
            try:
                await f()
            finally:
                record("tear down")

        await provider.run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["tear down"]


async def test_law_2_cancelled_before_it_is_run_it_starts_nothing(record: Recorder) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("enough")
        await with_background(record).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_law_2_a_cancellation_in_the_moment_of_the_return_forces_the_stop(
    record: Recorder,
) -> None:
    with trio.CancelScope() as scope:

        @runnable
        async def provider(f: Callback) -> None:
            await f()
            await record.forever("tear down")()

        async def callback() -> None:
            await trio.sleep(1)
            scope.cancel("now")

        await provider.run(callback)
    assert scope.cancelled_caught
    assert record.trace == ["tear down", "tear down cancelled"]
    assert trio.current_time() == 1


async def test_law_8_a_provider_that_swallows_a_cancellation_cannot_hide_it(
    record: Recorder,
) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        try:
            await f()
        except trio.Cancelled:
            record("swallowed")

    with trio.move_on_after(1) as scope:
        await provider.run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["callback", "callback cancelled", "swallowed"]


async def test_law_8_a_cancellation_from_outside_keeps_its_reason(record: Recorder) -> None:
    with trio.CancelScope() as scope:

        async def callback() -> None:
            await trio.sleep(1)
            scope.cancel("lunch")
            await record.forever("callback")()

        await with_background(record).run(callback)
    assert scope.cancelled_caught
    assert record.reasons == {"callback": "lunch", "background": "lunch"}


async def test_law_8_a_cancellation_without_a_reason_is_relayed_with_what_is_known(
    record: Recorder,
) -> None:
    with trio.move_on_after(2):
        await with_background(record).run(record.forever("callback"))
    assert record.reasons["callback"] != ""
    with trio.CancelScope() as scope:

        async def callback() -> None:
            await trio.sleep(1)
            scope.cancel()
            await record.forever("no reason")()

        await with_background(record).run(callback)
    assert record.reasons["no reason"] != ""


# Law 3: errors -----------------------------------------------------------------------------------


async def test_law_3_an_error_of_the_callback_comes_out(record: Recorder) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        await f()

    error = OSError()
    assert await failure_of(provider, record.does("callback", fails=error)) is error


async def test_a_provider_may_handle_an_error_of_its_callback(record: Recorder) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        try:
            await f()
        except OSError:
            record("handled")

    await provider.run(record.does("callback", fails=OSError()))
    assert record.trace == ["callback", "handled"]


async def test_law_3_a_cancellation_does_not_hide_the_error_of_the_callback(
    record: Recorder,
) -> None:
    error: BaseException | None = None
    with trio.CancelScope() as scope:

        @runnable
        async def provider(f: Callback) -> None:
            try:
                await f()
            except OSError:
                scope.cancel("while it is handled")
                await record.forever("handling")()

        error = await failure_of(provider, record.does("callback", fails=OSError("lost?")))
    assert isinstance(error, OSError)
    assert record.trace == ["callback", "handling", "handling cancelled"]


async def test_law_3_an_error_of_the_provider_after_its_callback_comes_out(
    record: Recorder,
) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        await f()
        raise OSError("tear down")

    assert isinstance(await failure_of(provider, record.does("callback")), OSError)


async def test_law_3_a_mixed_group_of_the_callback_hides_no_error(record: Recorder) -> None:
    async def mixed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("mixed")

    with (
        pytest.RaisesGroup(OSError, flatten_subgroups=True) as caught,
        trio.move_on_after(2),
    ):
        await with_background(record).run(mixed)
    assert notes_of(caught.value) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_law_4_an_interrupt_is_bare_although_a_nursery_wraps_it(
    record: Recorder, error: BaseException
) -> None:
    async def callback() -> None:
        await trio.sleep(1)
        raise error

    assert await failure_of(with_background(record), callback) is error
    assert record.trace == ["background", "background cancelled", "background gone"]
    assert notes_of(error) == []


async def test_law_4_an_interrupt_cannot_be_handled_and_forces_the_stop(record: Recorder) -> None:
    @runnable
    async def provider(f: Callback) -> None:
        try:
            await f()
        except SystemExit:
            await record.does("tear down")()
            record("not cancelled")

    error = await failure_of(provider, record.does("callback", fails=SystemExit(3)))
    assert isinstance(error, SystemExit)
    assert record.trace == ["callback", "tear down", "tear down cancelled"]
    assert record.reasons == {"tear down": "runnable 'provider' is forced to stop by SystemExit"}


async def test_law_6_no_reference_cycle_keeps_the_error() -> None:
    with no_cycles() as mark:

        async def callback() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        @runnable
        async def provider(f: Callback) -> None:
            marker = mark()
            await f()
            del marker

        with pytest.raises(OSError, match="Marker") as caught:
            await provider.run(callback)
        del caught


async def test_law_7_it_calls_back_in_the_task_that_runs_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    @runnable
    async def provider(f: Callback) -> None:
        tasks.append(trio.lowlevel.current_task())
        await f()

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    await provider.run(callback)
    assert tasks == [trio.lowlevel.current_task()] * 2
