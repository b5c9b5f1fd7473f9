from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, cast

import pytest
import trio

from nestling import InvalidStateError, NotRunningError, chain, leaf, named, parallel, resource
from tests.kernel.recording import failure_of, no_cycles, no_task_left, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

    from nestling import Resource
    from tests.kernel.recording import AsyncFunction, Recorder

    Manager = AbstractAsyncContextManager[str] | AbstractContextManager[str]


class TranslatedError(Exception):
    pass


def opening(record: Recorder, *, leaving: AsyncFunction | None = None) -> Resource[str]:
    @asynccontextmanager
    async def open_pool(value: str) -> AsyncGenerator[str, None]:
        await record.does("enter")()
        try:
            yield value
        finally:
            await (leaving or record.does("exit"))()

    return resource(open_pool, "value")


async def test_an_async_context_manager_is_entered_and_left_around_the_callback(
    record: Recorder,
) -> None:
    await opening(record).run(record.does("callback"))
    assert record.trace == ["enter", "callback", "exit"]


async def test_a_plain_context_manager_will_do_as_well(record: Recorder) -> None:
    @contextmanager
    def open_file(path: str, mode: str) -> Generator[str, None, None]:
        record("enter")
        yield path + mode
        record("exit")

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        record(file.value)

    file = resource(open_file, "file ", "rw")
    await file.run(callback)
    assert record.trace == ["enter", "file rw", "exit"]


async def test_its_value_is_there_while_it_runs(record: Recorder) -> None:
    async def leaving() -> None:
        no_value()

    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        record(pool.value)

    def no_value() -> None:
        with pytest.raises(NotRunningError, match="resource 'open_pool' has no value: it is not"):
            _ = pool.value

    pool = opening(record, leaving=leaving)
    no_value()
    await pool.run(callback)
    no_value()
    assert record.trace == ["enter", "value"]


async def test_in_a_group_its_value_is_there_while_it_runs(record: Recorder) -> None:
    async def callback() -> None:
        await trio.lowlevel.checkpoint()
        record(first.value + second.value)

    first, second = opening(record), opening(record)
    await parallel(first, second).run(callback)
    assert record.trace == ["enter", "enter", "valuevalue", "exit", "exit"]


async def test_an_error_of_entering_comes_out_and_nothing_is_left_to_do(record: Recorder) -> None:
    @asynccontextmanager
    async def refused() -> AsyncGenerator[None, None]:
        await trio.lowlevel.checkpoint()
        if record.trace == []:
            raise OSError("refused")
        yield

    error = await failure_of(resource(refused), record.does("callback"))
    assert isinstance(error, OSError)
    assert record.trace == []


async def test_an_error_of_leaving_comes_out(record: Recorder) -> None:
    pool = opening(record, leaving=record.does("exit", fails=OSError("unclean")))
    error = await failure_of(pool, record.does("callback"))
    assert isinstance(error, OSError)
    assert notes_of(error) == []


async def test_law_3_the_callback_error_comes_before_that_of_leaving(record: Recorder) -> None:
    pool = opening(record, leaving=record.does("exit", fails=OSError("unclean")))
    error = await failure_of(pool, record.does("callback", fails=KeyError("key")))
    assert isinstance(error, KeyError)
    assert notes_of(error) == ["resource 'open_pool' failed as well: OSError: unclean"]


async def test_law_3_the_callback_error_is_bare_although_a_nursery_wraps_it(
    record: Recorder,
) -> None:
    @asynccontextmanager
    async def with_nursery() -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            yield

    error = await failure_of(resource(with_nursery), record.does("callback", fails=KeyError("key")))
    assert isinstance(error, KeyError)
    assert notes_of(error) == []


async def test_law_3_what_a_nursery_adds_to_the_callback_error_is_noted(record: Recorder) -> None:
    async def child() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise OSError("child")

    @asynccontextmanager
    async def with_nursery() -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            await trio.lowlevel.checkpoint()
            yield

    r = resource(with_nursery)
    error = await failure_of(r, record.does("callback", takes=1, fails=KeyError("key")))
    assert isinstance(error, KeyError)
    (note,) = notes_of(error)
    assert note.startswith("resource 'with_nursery' failed as well: ExceptionGroup")
    assert "OSError: child" in note


@pytest.mark.parametrize("steps", [1, 2])
async def test_the_context_manager_may_translate_the_callback_error(
    record: Recorder, steps: int
) -> None:
    @asynccontextmanager
    async def translating() -> AsyncGenerator[None, None]:
        try:
            yield
        except KeyError as error:
            if steps == 1:
                raise TranslatedError("in words") from error
            step = LookupError("between")
            step.__cause__ = error
            raise TranslatedError("in words") from step

    error = await failure_of(resource(translating), record.does("callback", fails=KeyError("key")))
    assert isinstance(error, TranslatedError)
    assert notes_of(error) == []


async def test_an_error_that_is_raised_without_from_is_no_translation(record: Recorder) -> None:
    @asynccontextmanager
    async def failing() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            raise TranslatedError("by accident")

    error = await failure_of(resource(failing), record.does("callback", fails=KeyError("key")))
    assert isinstance(error, KeyError)
    assert notes_of(error) == ["resource 'failing' failed as well: TranslatedError: by accident"]


async def test_the_context_manager_may_handle_the_callback_error(record: Recorder) -> None:
    @asynccontextmanager
    async def handling() -> AsyncGenerator[None, None]:
        try:
            yield
        except KeyError:
            record("handled")

    await resource(handling).run(record.does("callback", fails=KeyError()))
    assert record.trace == ["callback", "handled"]


async def test_a_plain_context_manager_may_handle_the_callback_error(record: Recorder) -> None:
    @contextmanager
    def handling() -> Generator[None, None, None]:
        try:
            yield
        except KeyError:
            record("handled")

    await resource(handling).run(record.does("callback", fails=KeyError()))
    assert record.trace == ["callback", "handled"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_law_4_the_context_manager_cannot_handle_an_interrupt(
    record: Recorder, error: BaseException
) -> None:
    @asynccontextmanager
    async def handling() -> AsyncGenerator[None, None]:
        try:
            yield
        except BaseException:
            await record.does("exit")()
            return

    assert await failure_of(resource(handling), record.does("callback", fails=error)) is error
    assert record.trace == ["callback", "exit", "exit cancelled"]
    assert record.reasons["exit"] == (
        f"resource 'handling' is forced to stop by {type(error).__name__}"
    )


async def test_law_8_a_context_manager_that_swallows_a_cancellation_cannot_hide_it(
    record: Recorder,
) -> None:
    @asynccontextmanager
    async def swallowing() -> AsyncGenerator[None, None]:
        try:
            yield
        except BaseException:
            record("swallowed")

    with trio.move_on_after(1) as scope:
        await resource(swallowing).run(record.forever("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["callback", "callback cancelled", "swallowed"]


async def test_law_3_an_error_is_not_hidden_by_a_cancellation_on_leaving(record: Recorder) -> None:
    error: BaseException | None = None
    with trio.CancelScope() as scope:

        async def callback() -> None:
            await trio.lowlevel.checkpoint()
            scope.cancel("late")
            raise KeyError("key")

        error = await failure_of(opening(record), callback)
    assert isinstance(error, KeyError)
    assert record.trace == ["enter", "exit", "exit cancelled"]


async def test_law_3_a_cancellation_in_a_group_hides_no_error(record: Recorder) -> None:
    async def mixed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("mixed")

    with pytest.RaisesGroup(OSError) as caught, trio.move_on_after(1):
        await opening(record).run(mixed)
    assert notes_of(caught.value) == []


async def test_law_1_a_nursery_in_the_context_manager_is_not_cancelled_before_the_callback_is_gone(
    record: Recorder,
) -> None:
    @asynccontextmanager
    async def with_background() -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record.forever("background"))
            yield
            nursery.cancel_scope.cancel("left")

    with no_task_left(), trio.move_on_after(1) as scope:
        await resource(with_background).run(record.forever("callback", last=2))
    assert scope.cancelled_caught
    assert sorted(record.trace[:2]) == ["background", "callback"]
    assert record.trace[2:] == ["callback cancelled", "callback gone", "background cancelled"]
    assert trio.current_time() == 3


async def test_law_1_a_background_task_that_crashes_cancels_the_callback(record: Recorder) -> None:
    @asynccontextmanager
    async def with_background() -> AsyncGenerator[None, None]:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(record.does("background", takes=1, fails=OSError("crash")))
            yield

    with pytest.RaisesGroup(OSError):
        await resource(with_background).run(record.forever("callback"))
    assert record.trace[-2:] == ["background done", "callback cancelled"]


async def test_law_2_a_cancellation_that_entering_does_not_see_starts_no_dependent(
    record: Recorder,
) -> None:
    with trio.CancelScope() as scope:

        @contextmanager
        def entering() -> Generator[None, None, None]:
            record("enter")
            scope.cancel("while it is entered")
            try:
                yield
            finally:
                record("exit")

        await resource(entering).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == ["enter", "exit"]


async def test_law_2_a_graceful_stop_may_wait_and_can_be_forced(record: Recorder) -> None:
    pool = opening(record, leaving=record.forever("exit"))
    with trio.move_on_after(2) as scope:
        await pool.run(record.does("callback", takes=1))
    assert scope.cancelled_caught
    assert record.trace == ["enter", "callback", "callback done", "exit", "exit cancelled"]
    assert trio.current_time() == 2


async def test_law_2_a_callback_that_ignores_a_cancellation_is_followed_by_a_forced_stop(
    record: Recorder,
) -> None:
    async def callback() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)

    with trio.move_on_after(1) as scope:
        await opening(record).run(callback)
    assert scope.cancelled_caught
    assert record.trace == ["enter", "exit", "exit cancelled"]


async def test_law_2_cancelled_before_it_is_run_it_enters_nothing(record: Recorder) -> None:
    pool = opening(record)
    with trio.CancelScope() as scope:
        scope.cancel("enough")
        await pool.run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []
    await pool.run(record.does("callback"))
    assert record.trace == ["enter", "callback", "exit"]


async def no_manager() -> str:
    return "never awaited, if it were not closed"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("factory", "shown"),
    [
        (lambda: "text", r"'text' \(str\)"),
        (lambda: no_manager(), "'no_manager'"),  # noqa: PLW0108
        (lambda: None, r"None \(NoneType\)"),
    ],
)
async def test_a_factory_that_returns_no_context_manager_is_told_so(
    record: Recorder, factory: Callable[[], object], shown: str
) -> None:
    r = resource(cast("Callable[[], Manager]", factory))
    with pytest.raises(TypeError, match=f"must return a context manager, not {shown}"):
        await r.run(record.does("callback"))
    assert record.trace == []


def test_a_factory_that_is_no_function_is_refused_at_once() -> None:
    with pytest.raises(TypeError, match=r"a function that returns a context manager, not 5 \(int"):
        resource(cast("Callable[[], Manager]", 5))


@pytest.mark.parametrize("part", ["enter", "callback", "exit"])
async def test_law_6_no_reference_cycle_keeps_the_error(part: str) -> None:
    with no_cycles() as mark:

        def fail(mine: str) -> None:
            marker = mark()
            if part == mine:
                raise OSError(marker.__class__)

        @asynccontextmanager
        async def manager() -> AsyncGenerator[None, None]:
            fail("enter")
            yield
            fail("exit")

        async def callback() -> None:
            await trio.lowlevel.checkpoint()
            fail("callback")

        with pytest.raises(OSError, match="Marker") as caught:
            await resource(manager).run(callback)
        del caught


async def test_law_7_all_happens_in_the_task_that_runs_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def function() -> None:
        await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    @asynccontextmanager
    async def manager() -> AsyncGenerator[None, None]:
        await function()
        yield
        await function()

    await resource(manager).run(function)
    assert tasks == [trio.lowlevel.current_task()] * 3


async def test_law_8_a_cancellation_from_outside_keeps_its_reason(record: Recorder) -> None:
    with trio.CancelScope() as scope:

        async def callback() -> None:
            scope.cancel("lunch")
            await record.forever("callback")()

        await opening(record).run(callback)
    assert scope.cancelled_caught
    assert record.reasons == {"callback": "lunch", "exit": "lunch"}


async def test_law_9_two_runs_at_the_same_time_are_refused_and_the_first_goes_on(
    record: Recorder,
) -> None:
    pool = opening(record)

    async def callback() -> None:
        error = await failure_of(named("db", pool), record.does("never"))
        assert isinstance(error, InvalidStateError)
        assert str(error).startswith("cannot run resource 'open_pool' in 'db': it is running")
        assert pool.value == "value"

    await pool.run(callback)
    await pool.run(record.does("again"))
    assert record.trace == ["enter", "exit", "enter", "again", "exit"]


async def test_in_a_chain_dependents_are_gone_before_it_is_left(record: Recorder) -> None:
    with trio.move_on_after(1):
        await chain(opening(record), leaf(record.forever("server", last=1))).run(
            record.forever("callback", last=1)
        )
    assert record.trace == [
        "enter",
        "callback",
        "server",
        "callback cancelled",
        "callback gone",
        "server cancelled",
        "server gone",
        "exit",
        "exit cancelled",
    ]


async def test_a_context_manager_may_be_entered_in_a_nursery_that_is_cancelled_by_the_callback(
    record: Recorder,
) -> None:
    """The callback is cancelled by a scope inside of the context manager, and not from outside."""
    scopes: list[trio.CancelScope] = []

    @asynccontextmanager
    async def with_scope() -> AsyncGenerator[None, None]:
        with trio.CancelScope() as scope:
            scopes.append(scope)
            yield
        record(f"caught: {scope.cancelled_caught}")

    async def callback() -> None:
        scopes[0].cancel("inside")
        await record.forever("callback")()

    await resource(with_scope).run(callback)
    assert record.trace == ["callback", "callback cancelled", "caught: True"]


async def test_law_3_a_group_of_cancellations_is_no_error_of_the_callback(
    record: Recorder,
) -> None:
    async def callback() -> None:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(trio.sleep_forever)
        except BaseExceptionGroup:
            record("grouped")
            raise

    with trio.move_on_after(1) as scope:
        await opening(record).run(callback)
    assert scope.cancelled_caught
    assert record.trace == ["enter", "grouped", "exit", "exit cancelled"]
