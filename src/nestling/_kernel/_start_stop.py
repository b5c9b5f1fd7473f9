"""`start_stop`: two functions, and nothing that runs in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio

from nestling._kernel._checks import label_of
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import called_back, interruptible, surely
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback, settle
from nestling._kernel._outcome import forces, raise_again
from nestling._kernel._provider import where
from nestling._kernel._runnable import Composed, Primitive

AsyncFunction = Callable[[], Awaitable[object]]


def start_stop(start: AsyncFunction, stop: AsyncFunction) -> Composed:
    """Make a runnable of a pair of functions.

    Awaits ``start()``, then the callback, then ``stop()``: always, once ``start`` has returned. If
    ``start`` raises, there is nothing to stop and its error comes out.

    Raises, when it runs, the callback's error, or else that of ``stop``; bare, never in a group.

    Example::

        pool = start_stop(pool.open, pool.close)
    """
    check_async(start, "start of start_stop()")
    check_async(stop, f"stop of start_stop({label_of(start)!r})")
    return _StartStop(start, stop)


@attrs.frozen(repr=False, eq=False)
class _StartStop(Primitive):
    kind = "start_stop"

    _start: AsyncFunction
    _stop: AsyncFunction

    @property
    def label(self) -> str:
        return label_of(self._start)

    async def run_here(self, f: Callback) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        await interruptible(self._start)
        callback: BaseException | None = None
        stop: BaseException | None = None
        try:
            # A cancellation during the start-up is remembered: no dependent is started any more.
            await trio.lowlevel.checkpoint_if_cancelled()
            await called_back(f)
        except BaseException as exception:
            callback = exception
        with trio.CancelScope() as scope:
            if forces(callback):
                name = where(self.kind, self.label)
                scope.cancel(f"{name} is forced to stop by {type(callback).__name__}")
            try:
                await surely(self._stop)
            except BaseException as exception:
                stop = exception
        try:
            error = settle([("the callback", callback), ("the stop function", stop)])
            if error is not None:
                raise_again(error)
            for cancelled in (callback, stop):
                if cancelled is not None:
                    raise_again(cancelled)
        finally:
            callback = stop = error = cancelled = None

    def plan(self) -> Plan:
        return Plan(
            label=self.label,
            kind=self.kind,
            start=self._start,
            stop=self._stop,
        )
