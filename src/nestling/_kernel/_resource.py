"""`resource`: a context manager as a runnable."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Callable
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from typing import TYPE_CHECKING, TypeVar, cast

import trio

from nestling._kernel._checks import describe_value, label_of
from nestling._kernel._functions import check_call, is_generator_function, without_partial
from nestling._kernel._interrupts import interruptible, surely
from nestling._kernel._node import Callback
from nestling._kernel._outcome import has_cause
from nestling._kernel._provider import where
from nestling._kernel._relay import Relay
from nestling._kernel._valued import Valued

if TYPE_CHECKING:
    from typing_extensions import TypeVarTuple, Unpack

    Arguments = TypeVarTuple("Arguments")

T = TypeVar("T")


def resource(
    factory: Callable[
        [Unpack[Arguments]], AbstractAsyncContextManager[T] | AbstractContextManager[T]
    ],
    *args: Unpack[Arguments],
) -> Resource[T]:
    """Make a runnable of a function that returns an async, or a plain, context manager.

    ``factory(*args)`` is entered to start, and left to stop, wholly inside one task. The context
    manager sees an error of the callback, and may translate it (``raise ... from``) or handle it.
    What depends on it runs below a shield, as in a `runnable`.

    Returns:
        A `Resource`, whose ``value`` is what the context manager gave.

    Example::

        @asynccontextmanager
        async def open_pool(url):
            ...

        db = resource(open_pool, "sqlite:///shop.db")
        ...
        async with db.value.connection() as connection:
            ...

    Raises, when it runs, what entering raises; the callback's error, or else what leaving raises.
    """
    expected = "factory of resource() must be a function that returns a context manager"
    made: object = factory
    if isinstance(made, (AbstractAsyncContextManager, AbstractContextManager)):
        raise TypeError(f"{expected}, not what such a function has returned: do not call it")
    if not callable(factory):
        raise TypeError(f"{expected}, not {describe_value(factory)}")
    inside = without_partial(factory)
    if is_generator_function(inside):
        name = "asynccontextmanager" if inspect.isasyncgenfunction(inside) else "contextmanager"
        raise TypeError(f"{expected}: decorate {describe_value(inside)} with contextlib.{name}")
    if inspect.iscoroutinefunction(inside):
        raise TypeError(
            f"{expected}, but {describe_value(inside)} is an async function; "
            f"deferred() takes one that returns a resource"
        )
    check_call(factory, "factory of resource():", *args)
    return Resource(factory, args)


class Resource(Valued[T]):
    """A context manager as a runnable; made by `resource`."""

    kind = "resource"

    def __init__(
        self,
        factory: Callable[..., AbstractAsyncContextManager[T] | AbstractContextManager[T]],
        args: tuple[object, ...],
    ) -> None:
        super().__init__()
        self._factory = factory
        self._args = args

    @property
    def label(self) -> str:
        return label_of(self._factory)

    async def run_here(self, f: Callback) -> None:
        with self.only_run():
            await _ResourceRelay(where(self.kind, self.label)).run(self._enter, f)

    async def _make(self) -> AbstractAsyncContextManager[T]:
        return _as_async(self._factory(*self._args), self.label)

    async def _enter(self, f: Callback) -> None:
        async with await interruptible(self._make) as value:
            self.hold(value)
            try:
                await f()
            finally:
                self.forget()


class _Interruptible(AbstractAsyncContextManager[T]):
    """A context manager that is entered and left open to KeyboardInterrupt, and never only one."""

    def __init__(self, manager: AbstractAsyncContextManager[T]) -> None:
        self._manager = manager

    async def __aenter__(self) -> T:
        return await interruptible(self._manager.__aenter__)

    async def __aexit__(self, *details: object) -> bool | None:
        leaving = surely(self._manager.__aexit__, *details)
        del details  # whoever keeps an error keeps this frame: let it not keep the error in turn
        return await leaving


class _ResourceRelay(Relay):
    def outcome(self, raised: BaseException | None) -> list[tuple[str, BaseException | None]]:
        error = self.callback_error
        if raised is None or error is None or has_cause(raised, error):
            return super().outcome(raised)
        return [("the callback", error), (self.title, raised)]


def _as_async(
    manager: AbstractAsyncContextManager[T] | AbstractContextManager[T], label: str
) -> AbstractAsyncContextManager[T]:
    if isinstance(manager, AbstractAsyncContextManager):
        return _Interruptible(manager)
    if isinstance(cast("object", manager), AbstractContextManager):
        return _entered(manager)
    made: object = manager
    if inspect.iscoroutine(made):
        made.close()
    place = where("resource", label)
    raise TypeError(
        f"the factory of {place} must return a context manager, not {describe_value(manager)}"
    )


# What `contextlib` does around the generator is protected; what the manager does is not.
@asynccontextmanager
@trio.lowlevel.disable_ki_protection
async def _entered(manager: AbstractContextManager[T]) -> AsyncGenerator[T, None]:
    with manager as value:
        yield value
