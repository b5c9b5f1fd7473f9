"""`chain`: each runnable runs inside the callback of the one before."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextvars import ContextVar
from functools import partial

import trio

from nestling._kernel._foreign import accept_all
from nestling._kernel._interrupts import called_back, protected
from nestling._kernel._node import Callback, claim, settle
from nestling._kernel._nop import nop
from nestling._kernel._outcome import error_among, raise_again
from nestling._kernel._runnable import Composed, Runnable

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

LEVELS_IN_A_TASK = 32
"""How deep chains nest in one task.

A task can hold only so many nested nurseries and frames, and each of its wake-ups costs time for
each of its frames. So every so many levels a chain goes on in a child task.
"""

# The levels in the task of that id. A task inherits the variable from the one that spawned it, but
# not the levels.
_depth: ContextVar[tuple[int, int]] = ContextVar("nestling_depth", default=(0, 0))
# The same for the callbacks of chains that are called within one another.
_callbacks: ContextVar[tuple[int, int]] = ContextVar("nestling_callbacks", default=(0, 0))


def chain(*runnables: Runnable) -> Runnable:
    """Nest runnables: the next runs in the callback of the one before.

    So what comes later depends on what comes before. The next is not started before the one before
    runs, and the one before is neither stopped nor cancelled before the next has ended: also when
    something fails, when a deadline passes, and when the whole chain is cancelled.

    Chains may be of any length. The callback is called in the task in which the chain is run,
    unless it is nested more than 32 levels deep: the levels below run in a child task.

    Without arguments it is `nop`; with one argument it is that argument itself.

    Example::

        chain(database, cache, parallel(http, mailer))
    """
    members = accept_all("chain", runnables)
    if len(runnables) == 1:
        return runnables[0]
    flat = [level for member in members for level in _levels(member)]
    return Chain(tuple(flat)) if members else nop()


def _levels(member: Composed) -> tuple[Composed, ...]:
    return member.parts if isinstance(member, Chain) else (member,)


class Chain(Composed):
    kind = "chain"

    def __init__(self, members: tuple[Composed, ...]) -> None:
        self._members = members

    @property
    def parts(self) -> tuple[Composed, ...]:
        return self._members

    @property
    def needs(self) -> Iterable[tuple[int, int]]:
        return ((level, outer) for level in range(len(self._members)) for outer in range(level))

    def with_parts(self, *parts: Runnable) -> Runnable:
        return chain(*parts)

    @protected
    async def run(self, f: Callback, /) -> None:
        claim()
        await self._run_level(0, f)

    @protected
    async def _run_level(self, level: int, f: Callback) -> None:
        task = id(trio.lowlevel.current_task())
        task_of_depth, depth = _depth.get()
        if task_of_depth != task:
            depth = 0
        elif depth == LEVELS_IN_A_TASK:
            await _in_child_task(partial(self._run_level, level, f))
            return
        token = _depth.set((task, depth + 1))
        try:
            last = level + 1 == len(self._members)
            below = partial(_call_back, f) if last else partial(self._run_level, level + 1, f)
            await self._members[level].run(below)
        finally:
            _depth.reset(token)


@protected
async def _call_back(f: Callback) -> None:
    # What is around a chain may wrap its callback: where chains nest, the wraps nest in turn.
    task = id(trio.lowlevel.current_task())
    task_of_depth, depth = _callbacks.get()
    if task_of_depth != task:
        depth = 0
    elif depth == LEVELS_IN_A_TASK:
        await _in_child_task(f)
        return
    token = _callbacks.set((task, depth + 1))
    try:
        await called_back(f)
    finally:
        _callbacks.reset(token)


async def _in_child_task(run: Callback) -> None:
    """Await ``run()`` in a task of its own; what it raises comes out as from a plain await."""
    outcome: BaseException | None = None
    interrupt: BaseException | None = None

    @trio.lowlevel.enable_ki_protection
    async def child() -> None:
        nonlocal outcome
        try:
            await run()
        except BaseException as exception:
            outcome = exception

    try:
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child, name="chain")
        except BaseExceptionGroup as group:
            # The child raises nothing: it is an interrupt that came while waiting for it.
            interrupt = error_among(group)
        error = settle([("waiting", interrupt), ("a dependent", outcome)])
        if error is not None:
            raise_again(error)
        if outcome is not None:
            raise_again(outcome)
    finally:
        del outcome, interrupt
        error = None
