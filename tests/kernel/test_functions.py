from __future__ import annotations

import time
import types
from collections.abc import Awaitable, Callable
from functools import partial, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, cast
from unittest.mock import AsyncMock

import pytest
import trio

from nestling import leaf, named, start_stop
from nestling._kernel._functions import check_async, check_call

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator

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


def wrapping_with_less(function: Callable[[object, object], Awaitable[None]]) -> AsyncFunction:
    @wraps(function)
    async def wrapper() -> None:
        await function(1, 2)

    return cast("AsyncFunction", wrapper)


def unannotated_wrapper(function: AsyncFunction) -> Any:
    def wrapper(*args, **keywords):  # type: ignore[no-untyped-def]
        return function(*args, **keywords)

    untyped: Any = wrapper  # pyright: ignore[reportUnknownVariableType]
    return untyped


class Delegating:
    def __init__(self, function: Callable[[object], Awaitable[None]]) -> None:
        self.function = function
        update_wrapper(cast("Any", self), function)

    async def __call__(self) -> None:
        await self.function(1)


async def numbers() -> AsyncGenerator[int, None]:
    yield 1


@types.coroutine
def old_style() -> Generator[Any, Any, None]:
    yield


def returns_own_awaitable() -> Awaited:
    return Awaited()


class Methods:
    async def method(self) -> None:
        pass

    async def with_argument(self, argument: object) -> None:
        del argument

    def sync(self) -> None:
        pass

    def awaitable(self) -> Awaitable[None]:
        return self.method()

    @classmethod
    async def of_class(cls) -> None:
        pass

    @staticmethod
    async def static() -> None:
        pass

    async def __call__(self) -> None:
        pass


class Forwarding:
    def __init__(self, function: AsyncFunction) -> None:
        self.function = function

    def __call__(self, *args):  # type: ignore[no-untyped-def]
        return self.function(*args)


class SyncCall:
    def __call__(self) -> None:
        pass


class Awaited:
    def __await__(self) -> Generator[Any, Any, None]:
        return fine().__await__()


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
        Methods().awaitable,
        Methods(),
        Forwarding(fine),
        Awaited,
        AsyncMock(),
        trio.sleep_forever,
        pytest.param(staticmethod(fine), id="staticmethod"),
        pytest.param(wrapping_with_less(two_arguments), id="wrapping with less"),
        pytest.param(update_wrapper(partial(one_argument, 1), one_argument), id="updated partial"),
        pytest.param(Delegating(one_argument), id="delegating"),
        pytest.param(unannotated_wrapper(fine), id="unannotated wrapper"),
        pytest.param(numbers().aclose, id="method of C"),
        old_style,
        returns_own_awaitable,
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
        (partial(sync), "'sync' is a sync function"),
        (SyncCall(), "'SyncCall.__call__' is a sync function"),
        (print, "'print' is a sync function"),
        (time.sleep, "'sleep' is a sync function"),
        (dict, "'dict' is a class"),
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


def test_a_call_is_tried_without_calling() -> None:
    check_call(a_keyword, "fn", keyword=1)
    check_call(wrapping(fine), "fn")
    check_call(partial(two_arguments, 1), "fn", 2)
    check_call(int, "fn", 1, 2, 3)  # has no signature on every Python
    with pytest.raises(TypeError, match=r"fn 'fine' cannot be called as asked: .*'keyword'"):
        check_call(fine, "fn", keyword=1)
    with pytest.raises(TypeError, match=r"'two_arguments' cannot be called as asked: .*too many"):
        check_call(partial(two_arguments, 1), "fn", 2, 3)


async def test_mocks_can_be_composed(record: Recorder) -> None:
    """They have every attribute that they are asked for."""
    mock = AsyncMock()
    await named("mock", leaf(mock, on_return="stay")).run(record.does("callback"))
    await start_stop(mock, mock).run(mock)
    assert mock.await_count == 4
    assert record.trace == ["callback"]
