"""`running`: a runnable around the body of an ``async with`` statement."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from nestling._kernel._checks import check_name
from nestling._kernel._foreign import accept
from nestling._kernel._node import settle
from nestling._kernel._outcome import is_error, raise_again
from nestling._kernel._process import Process, tasks_around
from nestling._kernel._runnable import Runnable
from nestling._kernel._states import State

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


@asynccontextmanager
async def running(r: Runnable, *, name: str | None = None) -> AsyncGenerator[Process, None]:
    """Run ``r`` around the body of an ``async with`` statement.

    Starts it, runs the body as its callback, and stops it gracefully. A node that ends early
    cancels the body. Errors come out as from ``r.run(body)``: bare, where that is bare.

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
            interrupt = next((e for e in group.exceptions if is_error(e)), None)
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
        raised = error = interrupt = chosen = None
        body = ("", None)


class _AroundBody(Process):
    """A process whose callback is a body that runs in another task.

    =========================  =============================================================
    event                      what is done
    =========================  =============================================================
    the body is left           the callback ends as the body did
    the node ends early        the body is cancelled; the callback ends when it is left
    cancelled from outside     reaches the body first: the process is shielded until it is left
    ``stop()`` from outside    the body is cancelled; the callback returns when it is left
    ``stop()`` in the body     the callback returns at once: the body waits for its end
    =========================  =============================================================
    """

    def __init__(self, nursery: trio.Nursery, r: Runnable, *, name: str | None = None) -> None:
        super().__init__(nursery, r, name=name)
        self.body = trio.CancelScope()
        self.took_over = False
        self._body_task = trio.lowlevel.current_task()
        self._released = trio.Event()
        self._body_error: BaseException | None = None

    async def stop(self) -> None:
        if self._is_in_body(trio.lowlevel.current_task()):
            self._released.set()
        await super().stop()

    def leave_body(self, raised: BaseException | None) -> None:
        """End the callback as the body has ended."""
        self._scope.shield = False
        if self._state is not State.STOPPED:
            self._body_error = raised if is_error(raised) else None
            self._stopping = True
        self._asked.set()
        self._released.set()

    def _give_up(self, reason: str) -> None:
        if self._is_in_body(trio.lowlevel.current_task()):
            self._released.set()
        super()._give_up(reason)

    async def _callback(self) -> None:
        if self._released.is_set():
            return
        self._scope.shield = True
        cancelled: trio.Cancelled | None = None
        try:
            await super()._callback()
        except trio.Cancelled as exception:
            cancelled = exception
        error: BaseException | None = None
        try:
            if not self._released.is_set():
                verb = "has ended" if cancelled else "is asked to stop"
                self.body.cancel(f"{self._name!r} {verb}")
                with trio.CancelScope(shield=True):
                    await self._released.wait()
            error, self._body_error = self._body_error, None
            if error is not None:
                self.took_over = True
                raise_again(error)
            if cancelled is not None:
                raise_again(cancelled)
        finally:
            del error, cancelled

    def _is_in_body(self, task: trio.lowlevel.Task) -> bool:
        """Tell whether ``task`` is that of the body, or runs in a nursery of the body."""
        below: trio.lowlevel.Task | None = None
        for around in tasks_around(task):
            if around is self._body_task:
                nurseries = around.child_nurseries
                own = nurseries.index(self._nursery)
                return below is None or below.parent_nursery in nurseries[own + 1 :]
            below = around
        return False
