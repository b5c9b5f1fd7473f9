"""`deferred`: a runnable that is built when it is run."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import trio

from nestling._kernel._checks import describe_value, label_of
from nestling._kernel._foreign import accept
from nestling._kernel._functions import check_arity
from nestling._kernel._interrupts import interruptible, protected
from nestling._kernel._node import Callback
from nestling._kernel._runnable import Composed, Runnable

Factory = Callable[[], "Runnable | Awaitable[Runnable]"]


def deferred(factory: Factory) -> Runnable:
    """Make a runnable that is built each time it is run.

    For what needs the value of something that has to run first. ``factory()`` returns the real
    runnable, or is async and returns it.

    Example::

        chain(settings, deferred(lambda: asgi_server(app, bind=settings.value.bind)))

    Raises, when it runs, what ``factory`` raises, and `TypeError` if it returns no runnable.
    """
    if not callable(factory):
        raise TypeError(
            f"factory of deferred() must be a function that returns a runnable, "
            f"not {describe_value(factory)}"
        )
    check_arity(factory, "factory of deferred()", 0)
    return Deferred(factory)


class Deferred(Composed):
    kind = "deferred"

    def __init__(self, factory: Factory) -> None:
        self.factory = factory

    @property
    def label(self) -> str:
        return label_of(self.factory)

    @protected
    async def run(self, f: Callback, /) -> None:
        built = await self.build()
        await built.run(f)

    async def build(self) -> Composed:
        """Build what is to be run. For protected code."""
        await trio.lowlevel.checkpoint_if_cancelled()
        made = await interruptible(self._make)
        if inspect.isawaitable(made):
            awaitable = made
            made = await interruptible(lambda: awaitable)
        return accept(made, f"what deferred({self.label!r}) has built")

    async def _make(self) -> Runnable | Awaitable[Runnable]:
        return self.factory()
