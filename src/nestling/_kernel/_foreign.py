"""Runnables that the kernel did not make: run with suspicion (law 10), below a shield (law 1).

===========  ====================  =============================================================
the guard    event                 what is done
===========  ====================  =============================================================
waiting      it calls back         the callback is entered
waiting      its run returns       `ExitedBeforeRunningError`
entered      it calls back again   `CallbackReusedError`
entered      its run returns       `InvalidStateError`: its dependents still run
over         it calls back again   `CallbackReusedError`
over         its run returns       all is well
ended        it calls back         `CallbackReusedError`
===========  ====================  =============================================================
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Literal, cast

import attrs
import trio

from nestling._kernel._checks import describe_value, label_of
from nestling._kernel._errors import (
    CallbackReusedError,
    ExitedBeforeRunningError,
    InvalidStateError,
)
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import interruptible, protected
from nestling._kernel._member import Member, Plan, return_from_callback
from nestling._kernel._node import Callback
from nestling._kernel._provider import where
from nestling._kernel._relay import Relay
from nestling._kernel._runnable import Composable, Composed, Primitive, Runnable

RunFunction = Callable[[Callback], Awaitable[object]]


def runnable(fn: RunFunction) -> Runnable:
    """Make a runnable of an async function that calls its callback itself.

    For what does not fit `leaf`, `start_stop`, `service`, `worker` or `resource`. Usable as a
    decorator. ``fn(f)`` is to await ``f()`` once, when it is ready, and to tear down afterwards.

    A cancellation from outside reaches ``f`` first, and ``fn`` when that is over. A shield sees to
    that, so that `trio.current_effective_deadline` does not show ``f`` the deadlines further out;
    they hold all the same.

    Example::

        @runnable
        async def certificates(f):
            async with renewal() as renew:
                await renew()
                await f()

    Raises, when it runs, what ``fn`` raises; `ExitedBeforeRunningError` if it returns without
    having called back, and `CallbackReusedError` if it calls back twice, or after its end.
    """
    check_async(fn, "fn of runnable()", arity=1)
    return Foreign(fn, label_of(fn))


def accept(value: object, argument: str) -> Composed:
    """Return ``value`` as something that the kernel can compose, or refuse it.

    Args:
        value: what was handed over.
        argument: as what, such as ``r of named('db')``.

    Raises:
        TypeError: ``value`` is not a runnable.
    """
    if isinstance(value, Composed):
        return value
    if isinstance(value, Composable):
        return value.composed
    expected = f"{argument} must be a runnable, an object with 'async def run(self, f)'"
    if inspect.iscoroutine(value) or inspect.isgenerator(value):
        value.close()
        raise TypeError(f"{expected}, not what a call of {value.__qualname__!r} has returned")
    if isinstance(value, type):
        raise TypeError(f"{expected}, not the class {describe_value(value)}: pass an instance")
    run = getattr(value, "run", None)
    if not callable(run):
        hint = "; make one of a function by leaf(), service() or runnable()"
        raise TypeError(f"{expected}, not {describe_value(value)}{hint if callable(value) else ''}")
    name = type(value).__name__
    check_async(run, f"{argument} must be a runnable: {name}.run", arity=1)
    return Foreign(cast("RunFunction", run), name)


def accept_all(combinator: str, values: Sequence[object]) -> tuple[Composed, ...]:
    """Return all arguments of a combinator as something that the kernel can compose."""
    return tuple(
        [
            value
            if isinstance(value, Composed)
            else accept(value, f"argument {number} of {combinator}()")
            for number, value in enumerate(values, 1)
        ]
    )


@attrs.frozen(repr=False, eq=False)
class Foreign(Primitive):
    """A runnable of which nothing is known but the protocol, which it may break."""

    kind = "runnable"

    _run: RunFunction
    _label: str

    @property
    def label(self) -> str:
        return self._label

    @property
    def owner(self) -> object | None:
        """The object whose ``run`` this is."""
        return getattr(self._run, "__self__", None)

    async def run_here(self, f: Callback) -> None:
        title = where(self.kind, self.label)
        await Relay(title).run(_Guard(title, self._run).run, f)

    def plan(self) -> Plan:
        # No relay: in a group the callback only waits, below the shield of the group.
        return Plan(
            label=self.label,
            kind=self.kind,
            foreground=self._run_as_member,
            ask=return_from_callback,
        )

    async def _run_as_member(self, member: Member) -> None:
        await _Guard(where(self.kind, self.label), self._run).run(member.callback)


class _Guard:
    """Stands between a foreign runnable and its callback for one run."""

    def __init__(self, title: str, function: RunFunction) -> None:
        self.title = title
        self.function = function
        self.state: Literal["waiting", "entered", "over"] = "waiting"
        self.ended = False

    async def run(self, f: Callback) -> None:
        """Await the function with a guarded ``f``, and look at what it has done."""
        try:
            await interruptible(self.function, partial(self._call_back, f))
        finally:
            self.ended = True
        if self.state == "waiting":
            # What swallowed a cancellation is not to blame for it.
            await trio.lowlevel.checkpoint_if_cancelled()
            raise ExitedBeforeRunningError(f"{self.title} returned without having called back")
        if self.state == "entered":
            raise InvalidStateError(f"{self.title} returned while its callback was running")

    @protected
    async def _call_back(self, f: Callback) -> None:
        if self.ended:
            raise CallbackReusedError(f"{self.title} called back after its run had ended")
        if self.state != "waiting":
            raise CallbackReusedError(f"{self.title} called back a second time")
        self.state = "entered"
        try:
            await f()
        finally:
            self.state = "over"
