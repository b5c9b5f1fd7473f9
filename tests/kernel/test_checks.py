from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest
import trio

from nestling import (
    Process,
    chain,
    leaf,
    named,
    nop,
    parallel,
    runnable,
    running,
    sequential,
    service,
    start_stop,
    timeouts,
    worker,
)
from nestling._kernel._checks import (
    check_async,
    check_choice,
    check_keyword,
    check_name,
    check_nursery,
    check_seconds,
    describe_value,
    label_of,
)
from tests.kernel.recording import failure_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

    from nestling import Callback, Runnable
    from tests.kernel.recording import AsyncFunction, Recorder


async def fine() -> None:
    await trio.lowlevel.checkpoint()


async def one_argument(argument: object) -> None:
    del argument


async def two_arguments(a: object, b: object) -> None:
    del a, b


async def a_default(argument: object = None) -> None:
    del argument


async def any_arguments(*arguments: object) -> None:
    del arguments


async def a_keyword(*, keyword: object) -> None:
    del keyword


async def a_keyword_with_a_default(*, keyword: object = None) -> None:
    del keyword


def sync() -> None:
    pass


def unannotated() -> None:
    pass


unannotated.__annotations__ = {}


def returns_awaitable() -> Awaitable[None]:
    return fine()


def returns_coroutine() -> Coroutine[Any, Any, None]:
    return fine()


def generator() -> Generator[None, None, None]:
    yield


async def async_generator() -> AsyncGenerator[None, None]:
    yield


def wrapping(function: AsyncFunction) -> Callable[[], Any]:
    @wraps(function)
    def wrapper() -> object:
        return function()

    return wrapper


class Methods:
    async def method(self) -> None:
        pass

    async def with_argument(self, argument: object) -> None:
        del argument

    def sync(self) -> None:
        pass

    @classmethod
    async def of_class(cls) -> None:
        pass

    @staticmethod
    async def static() -> None:
        pass

    async def __call__(self) -> None:
        pass


# Async functions ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function",
    [
        fine,
        a_default,
        any_arguments,
        a_keyword_with_a_default,
        partial(one_argument, 5),
        lambda: fine(),  # noqa: PLW0108
        returns_awaitable,
        returns_coroutine,
        pytest.param(wrapping(fine), id="wrapping"),
        Methods().method,
        Methods.of_class,
        Methods.static,
        Methods(),
        AsyncMock(),
        trio.sleep_forever,
    ],
)
def test_what_may_be_an_async_function_is_believed(function: object) -> None:
    check_async(function, "run")


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (None, r"run must be an async function, not None \(NoneType\)"),
        (5, r"not 5 \(int\)"),
        (sync, "'sync' is a sync function: write 'async def', or annotate it if it returns"),
        (unannotated, "'unannotated' is a sync function"),
        (Methods().sync, r"'Methods.sync' is a sync function"),
        (generator, "'generator' is a generator function"),
        (async_generator, "'async_generator' is a generator function"),
        (one_argument, "run is called with no argument, but 'one_argument' takes one argument; "),
        (Methods().with_argument, "'Methods.with_argument' takes one argument"),
        (two_arguments, "takes 2 arguments; use functools.partial or a lambda"),
        (a_keyword, "'a_keyword' needs the keyword 'keyword'; use functools.partial"),
    ],
)
def test_what_cannot_be_an_async_function_is_refused(function: object, problem: str) -> None:
    with pytest.raises(TypeError, match=problem):
        check_async(function, "run")


def test_a_coroutine_is_refused_and_closed() -> None:
    """It is not left behind to be never awaited, which would be a warning, and so an error."""
    with pytest.raises(TypeError, match="it is a coroutine: pass 'fine' itself, without calling"):
        check_async(fine(), "run")


def test_the_number_of_arguments_is_checked_where_it_is_known() -> None:
    check_async(one_argument, "fn", arity=1)
    check_async(any_arguments, "fn", arity=3)
    check_async(one_argument, "fn", arity=None)
    with pytest.raises(TypeError, match="called with one argument, but 'fine' takes no argument"):
        check_async(fine, "fn", arity=1)


def test_a_required_keyword_is_looked_for() -> None:
    async def takes_all(**keywords: object) -> None:
        del keywords

    for function in (a_keyword, takes_all, wrapping(fine), partial(fine), Methods()):
        check_keyword(function, "async_fn", "keyword")
    with pytest.raises(TypeError, match="async_fn 'fine' must take the argument 'keyword'"):
        check_keyword(fine, "async_fn", "keyword")


MAKERS: dict[str, Callable[[AsyncFunction], object]] = {
    "leaf": lambda bad: leaf(bad),  # noqa: PLW0108
    "leaf, stop": lambda bad: leaf(fine, bad),
    "start": lambda bad: start_stop(bad, fine),
    "stop": lambda bad: start_stop(fine, bad),
    "service": lambda bad: service(bad),  # noqa: PLW0108
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("bad", [sync, 5, generator, one_argument], ids=describe_value)
def test_every_primitive_checks_its_functions_when_it_is_made(
    make: Callable[[AsyncFunction], object], bad: AsyncFunction
) -> None:
    with pytest.raises(TypeError):
        make(bad)


def test_functions_with_one_argument_are_checked_when_they_are_handed_over() -> None:
    for make in (worker, runnable):
        with pytest.raises(TypeError, match="fn is called with one argument, but 'fine' takes no"):
            make(cast("Callable[[Any], Awaitable[None]]", fine))


@pytest.mark.parametrize("make", [leaf, worker, service])
def test_on_return_is_checked_when_it_is_handed_over(make: Callable[..., object]) -> None:
    async def function(argument: object = None, task_status: object = None) -> None:
        del argument, task_status

    with pytest.raises(ValueError, match="on_return must be one of 'stop', 'stay', 'fail', not 'x"):
        make(function, on_return="x")


def test_a_service_has_to_take_a_task_status() -> None:
    with pytest.raises(TypeError, match="async_fn 'fine' must take the argument 'task_status'"):
        service(fine)


async def test_mocks_can_be_composed(record: Recorder) -> None:
    """They have every attribute that they are asked for."""
    mock = AsyncMock()
    await named("mock", leaf(mock, on_return="stay")).run(record.does("callback"))
    await start_stop(mock, mock).run(mock)
    assert mock.await_count == 4
    assert record.trace == ["callback"]


async def test_a_plain_function_that_was_believed_and_returns_none_is_named(
    record: Recorder,
) -> None:
    def looks_async() -> object:
        record("called")
        return record.reasons.get("none")

    server = leaf(cast("AsyncFunction", looks_async))
    error = await failure_of(server, record.forever("callback"))
    assert isinstance(error, TypeError)
    assert "looks_async' returned None, not an awaitable" in str(error)


# Runnables ---------------------------------------------------------------------------------------


class SyncRun:
    def run(self, f: Callback) -> None:
        del f


class NoArgument:
    async def run(self) -> None:
        pass


class Good:
    async def run(self, f: Callback, /) -> None:
        await f()


def chained(r: Runnable) -> object:
    return chain(nop(), r)


def named_one(r: Runnable) -> object:
    return named("name", r)


combinators = pytest.mark.parametrize(
    "combine", [chain, parallel, sequential, chained, named_one, timeouts], ids=describe_value
)


@combinators
@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (None, r"takes runnables, objects with 'async def run\(self, f\)', not None \(NoneType\)"),
        ("text", r"not 'text' \(str\)"),
        (fine, r"not 'fine'; make one of a function by leaf\(\), service\(\) or runnable\(\)"),
        (Good, "not the class 'Good': pass an instance"),
        (SyncRun(), "SyncRun.run must be an async function, but 'SyncRun.run' is a sync function"),
        (NoArgument(), "is called with one argument, but 'NoArgument.run' takes no argument"),
        (trio, "module.run must be an async function"),
    ],
    ids=["None", "text", "function", "class", "sync run", "no argument", "module"],
)
def test_what_is_no_runnable_is_refused_when_it_is_composed(
    combine: Callable[[Runnable], object], value: object, problem: str
) -> None:
    with pytest.raises(TypeError, match=problem):
        combine(cast("Runnable", value))


@combinators
def test_a_coroutine_is_refused_as_a_runnable(combine: Callable[[Runnable], object]) -> None:
    coroutine = fine()
    with pytest.raises(TypeError, match="takes runnables"):
        combine(cast("Runnable", coroutine))
    coroutine.close()


@combinators
def test_whatever_has_a_run_method_is_a_runnable(combine: Callable[[Runnable], object]) -> None:
    combine(Good())


async def test_processes_refuse_what_is_no_runnable_as_well() -> None:
    bad = cast("Runnable", 5)
    async with trio.open_nursery() as nursery:
        with pytest.raises(TypeError, match=r"Process\(\) takes runnables"):
            Process(nursery, bad)
    with pytest.RaisesGroup(TypeError, flatten_subgroups=True, allow_unwrapped=True):
        async with running(bad):
            pass


# Names for messages ------------------------------------------------------------------------------


def test_a_value_is_described_by_its_name_or_by_its_type() -> None:
    assert describe_value(fine) == "'fine'"
    assert describe_value(Methods().method) == "'Methods.method'"
    assert describe_value(5) == "5 (int)"


def test_a_long_value_is_cut() -> None:
    assert describe_value("x" * 100) == f"'{'x' * 56}... (str)"


def test_a_label_is_the_name_of_the_function_inside() -> None:
    assert label_of(fine) == "fine"
    assert label_of(partial(partial(one_argument), 5)) == "one_argument"
    assert label_of(Methods().method) == "method"
    assert label_of(Methods()) == "Methods"
    assert label_of(lambda: None) == "<lambda>"
    assert label_of(AsyncMock()) == "AsyncMock"


def test_a_label_has_no_slash() -> None:
    fake = type("Fake", (), {"__name__": "a/b"})()
    assert label_of(fake) == "a_b"


# Other arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 0.5, math.inf])
def test_seconds_are_zero_or_more(value: float) -> None:
    assert check_seconds(value, "stop") == value


@pytest.mark.parametrize("value", [-1, -math.inf, math.nan])
def test_seconds_are_not_negative_and_not_nan(value: float) -> None:
    with pytest.raises(ValueError, match="stop must be zero or more seconds, not "):
        check_seconds(value, "stop")


@pytest.mark.parametrize("value", [None, "5", True, 1j])
def test_seconds_are_a_number(value: object) -> None:
    with pytest.raises(TypeError, match="stop must be a number of seconds, not "):
        check_seconds(value, "stop")


def test_a_name_is_a_string_without_a_slash() -> None:
    assert check_name("db") == "db"
    with pytest.raises(TypeError, match=r"name must be a string, not 5 \(int\)"):
        check_name(5)
    with pytest.raises(ValueError, match="key must be a non-empty string without '/', which"):
        check_name("a/b", "key")


def test_a_choice_is_one_of_its_choices() -> None:
    check_choice("a", "letter", ("a", "b"))
    with pytest.raises(ValueError, match="letter must be one of 'a', 'b', not 'c'"):
        check_choice("c", "letter", ("a", "b"))


async def test_a_nursery_is_one_of_trio() -> None:
    async with trio.open_nursery() as nursery:
        check_nursery(nursery)
    with pytest.raises(TypeError, match="nursery must be a trio nursery, not 'open_nursery'"):
        check_nursery(trio.open_nursery)
