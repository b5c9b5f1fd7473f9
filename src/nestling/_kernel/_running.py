"""`running`: a runnable around the body of an ``async with`` statement."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from nestling._kernel._checks import check_name
from nestling._kernel._deadlock import tasks_around
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._node import settle
from nestling._kernel._outcome import error_among, is_error, raise_again
from nestling._kernel._process import Process
from nestling._kernel._runnable import Runnable
from nestling._kernel._states import State

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

if TYPE_CHECKING:
    from types import TracebackType


def running(r: Runnable, *, name: str | None = None) -> AbstractAsyncContextManager[Process]:
    """Run ``r`` around the body of an ``async with`` statement.

    Starts it, runs the body as its callback, and stops it gracefully. A node that ends early
    cancels the body. Errors come out as from ``r.run(body)``: bare, where that is bare.

    The process may be stopped before the body is left. By the body's own task: the body then goes
    on without it. By another task: the body is cancelled, but not waited for, since it may wait for
    that very task. By a task in a nursery of the body: the body is cancelled once the process has
    ended.

    Args:
        r: what is run.
        name: names the node, as `named` does.

    Example::

        async with running(chain(db, http)) as process:
            await test_client.get("/")
    """
    accept(r, "r of running()")
    if name is not None:
        check_name(name, "name of running()")
    return _Running(r, name)


class _Running(AbstractAsyncContextManager[Process]):
    """`_around_body`, entered and left in steps that no interrupt can keep from being made."""

    def __init__(self, r: Runnable, name: str | None) -> None:
        self._manager = _around_body(r, name)

    @protected
    async def __aenter__(self) -> Process:
        return await self._manager.__aenter__()

    @protected
    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return await self._manager.__aexit__(kind, error, traceback)


@asynccontextmanager
async def _around_body(r: Runnable, name: str | None) -> AsyncGenerator[Process, None]:
    raised: BaseException | None = None
    error: BaseException | None = None
    interrupt: BaseException | None = None
    process: _AroundBody | None = None
    try:
        try:
            async with trio.open_nursery() as nursery:
                process = _AroundBody(nursery, r, name=name)
                try:
                    await process.start()
                    with process.body:
                        yield process
                except BaseException as exception:
                    raised = exception
                process.leave_body(raised)
        except BaseExceptionGroup as group:
            # What the process fails with is in its ``error``: this came while waiting for its end.
            interrupt = error_among(group)
        error = process.error if process is not None else None
        took_over = process is not None and process.took_over
        body = ("the body", None if took_over else raised)
        chosen = settle([body, ("the run", error), ("waiting", interrupt)])
        if chosen is not None:
            raise_again(chosen)
        if raised is not None and not is_error(raised):
            raise_again(raised)
        # What was forced from outside after the body was left is not to look like a plain stop.
        await trio.lowlevel.checkpoint_if_cancelled()
    finally:
        # Whoever keeps an error keeps this frame, and the process keeps its error.
        raised = error = interrupt = chosen = process = None
        body = ("", None)


class _AroundBody(Process):
    """A process whose callback is a body that runs in another task.

    =====================================  =====================================================
    event                                  what is done
    =====================================  =====================================================
    the body is left                       the callback ends as the body did
    the node ends early                    the body is cancelled; the callback ends when it is left
    cancelled from outside                 reaches the body first: the process is shielded until
                                           it is left
    ``stop()`` by the body's task          the callback returns at once: the body goes on
    ``stop()`` by a task below the body    the callback returns at once; the body is cancelled when
                                           the process has ended
    ``stop()`` by another task             the callback returns at once; the body is cancelled
    =====================================  =====================================================
    """

    def __init__(self, nursery: trio.Nursery, r: Runnable, *, name: str | None = None) -> None:
        super().__init__(nursery, r, name=name)
        self.body = trio.CancelScope()
        self.took_over = False
        self._body_task = trio.lowlevel.current_task()
        self._body_goes_on = False
        self._left = False
        self._body_error: BaseException | None = None

    @protected
    async def stop(self) -> None:
        if self._state is State.RUNNING:
            self._tell_body(trio.lowlevel.current_task())
        stopping = super().stop()
        del self
        await stopping

    def _tell_body(self, stopper: trio.lowlevel.Task) -> None:
        if stopper is self._body_task:
            self._body_goes_on = True
        elif not self._is_below_body(stopper):
            self.body.cancel(f"{self._name!r} is asked to stop")

    def _is_below_body(self, task: trio.lowlevel.Task) -> bool:
        """Tell whether ``task`` runs in a nursery of the body, so that it is cancelled with it."""
        below: trio.lowlevel.Task | None = None
        for around in tasks_around(task):
            if around is self._body_task:
                nurseries = around.child_nurseries
                own = nurseries.index(self._nursery)
                return below is not None and below.parent_nursery in nurseries[own + 1 :]
            below = around
        return False

    def leave_body(self, raised: BaseException | None) -> None:
        """End the callback as the body has ended."""
        self._left = True
        self._scope.shield = False
        if self._state is not State.STOPPED:
            self._body_error = raised if is_error(raised) else None
            self._stopping = True
            self._asked.set()

    async def callback(self) -> None:
        self._scope.shield = True
        cancelled: trio.Cancelled | None = None
        error: BaseException | None = None
        try:
            try:
                await super().callback()
            except trio.Cancelled as exception:
                cancelled = exception
                self.body.cancel(f"{self._name!r} has ended")
                with trio.CancelScope(shield=True):
                    await self._asked.wait()
            error, self._body_error = self._body_error, None
            if error is not None:
                self.took_over = True
                raise_again(error)
            if cancelled is not None:
                raise_again(cancelled)
        finally:
            del self, error, cancelled

    def _end(self) -> None:
        if not self._left and not self._body_goes_on:
            self.body.cancel(f"{self._name!r} has ended")
        super()._end()
