"""What the tests of the kernel record with: one list of what has happened, in order."""

from __future__ import annotations

import gc
import math
import sys
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, cast

import trio

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from nestling import Runnable

AsyncFunction = Callable[[], Awaitable[None]]


class Recorder:
    """Makes functions and runnables that record what they do.

    Attributes:
        trace: what has happened, in order.
        reasons: for each name whose function was cancelled, the reason of the cancellation.
    """

    def __init__(self) -> None:
        self.trace: list[str] = []
        self.reasons: dict[str, str] = {}

    def __call__(self, what: str) -> None:
        """Record ``what``."""
        self.trace.append(what)

    def does(
        self,
        name: str,
        *,
        takes: float | trio.Event = 0,
        fails: BaseException | None = None,
        last: float = 0,
    ) -> AsyncFunction:
        """Make an async function that records its ``name``.

        It then waits for ``takes``, seconds or an event, and if that was any time at all, records
        ``name done``; then it raises ``fails``, if given. When it is cancelled it records
        ``name cancelled``, and holds on for ``last`` seconds below a shield.
        """

        async def function() -> None:
            self(name)
            try:
                if isinstance(takes, trio.Event):
                    await takes.wait()
                elif takes > 0:
                    await trio.sleep(takes)
                else:
                    await trio.lowlevel.checkpoint()
            except trio.Cancelled as cancelled:
                self(f"{name} cancelled")
                self.reasons[name] = cancelled.reason or ""
                if last:
                    with trio.CancelScope(shield=True):
                        await trio.sleep(last)
                    self(f"{name} gone")
                raise
            if takes != 0:
                self(f"{name} done")
            if fails is not None:
                raise fails

        return function

    def forever(self, name: str, *, last: float = 0) -> AsyncFunction:
        """Make an async function that records its ``name``, and never returns by itself."""
        return self.does(name, takes=math.inf, last=last)


async def failure_of(r: Runnable, f: AsyncFunction) -> BaseException:
    """Run ``r`` around ``f``, and return what comes out. It has to fail."""
    try:
        await r.run(f)
    except BaseException as exception:
        if isinstance(exception, trio.Cancelled):
            raise
        return exception.with_traceback(None)
    raise AssertionError(f"{r!r} has not failed")


def notes_of(exception: BaseException) -> list[str]:
    """Return the notes of ``exception``, on every Python."""
    return list(cast("list[str]", getattr(exception, "__notes__", [])))


def leaves_of(exception: BaseException) -> list[BaseException]:
    """Return the exceptions in the (nested) group ``exception``."""
    if isinstance(exception, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", exception)
        return [leaf for member in group.exceptions for leaf in leaves_of(member)]
    return [exception]


class Marker:
    """Something in a frame, of which can be seen when it is gone."""


@contextmanager
def no_cycles() -> Generator[Callable[[], Marker], None, None]:
    """Check that all markers made inside are gone afterwards without the garbage collector.

    Where one is a local variable of a function that raises, this checks that no reference cycle
    holds the traceback of what it raised. Such a function must not call `trio.sleep`, which makes a
    cycle of its own.
    """
    markers: list[weakref.ref[Marker]] = []

    def mark() -> Marker:
        marker = Marker()
        markers.append(weakref.ref(marker))
        return marker

    gc.collect()
    gc.disable()
    try:
        yield mark
        assert markers
        assert [ref() for ref in markers] == [None] * len(markers)
    finally:
        gc.enable()


@contextmanager
def no_task_left() -> Generator[None, None, None]:
    """Check that there are as many tasks after as before."""
    before = trio.lowlevel.current_statistics().tasks_living
    yield
    assert trio.lowlevel.current_statistics().tasks_living == before
