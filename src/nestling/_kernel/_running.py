"""`running`: a runnable around the body of an ``async with`` statement."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import trio

from nestling._kernel._node import settle
from nestling._kernel._outcome import is_error, raise_again
from nestling._kernel._process import Process
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
    the node ends early        the body is cancelled; the callback ends when the body is left
    cancelled from outside     reaches the body first: the process is shielded until it is left
    ``process.stop()``         the callback returns at once, as in any process
    =========================  =============================================================
    """

    def __init__(self, nursery: trio.Nursery, r: Runnable, *, name: str | None = None) -> None:
        super().__init__(nursery, r, name=name)
        self.body = trio.CancelScope()
        self.took_over = False
        self._left = False
        self._body_error: BaseException | None = None

    def leave_body(self, raised: BaseException | None) -> None:
        """End the callback as the body has ended."""
        self._left = True
        self._scope.shield = False
        if self._state is not State.STOPPED:
            self._body_error = raised if is_error(raised) else None
            self._stopping = True
            self._asked.set()

    async def _callback(self) -> None:
        if self._left:
            return
        self._scope.shield = True
        try:
            await super()._callback()
        except trio.Cancelled:
            self.body.cancel(f"{self._name!r} has ended")
            with trio.CancelScope(shield=True):
                await self._asked.wait()
            if self._body_error is None:
                raise
        error, self._body_error = self._body_error, None
        if error is not None:
            self.took_over = True
            try:
                raise_again(error)
            finally:
                del error
