"""A provider in a task of its own, below a callback that depends on it (law 1, law 3, law 4).

Everything that has a foreground runs this way: a leaf, a service, a worker, a group of members.

=========  ========================  ===========================================================
phase      event                     what is done
=========  ========================  ===========================================================
starting   the provider is ready     it is shielded; the callback is entered
starting   the provider ends         the callback is not entered
starting   cancelled from outside    reaches the provider at once: nobody depends on it yet
running    the provider fails        the callback is cancelled
running    the provider returns      as ``on_return`` says
running    cancelled from outside    reaches the callback; the provider is shielded
running    the callback is over      the shield drops; then the stop
stopping   the stop is graceful      the stop function is awaited, or the provider is cancelled
stopping   the stop function fails   the provider is cancelled
stopping   cancelled from outside    reaches the stop function and the provider at once
stopping   forced by an interrupt    the provider is cancelled; the stop function runs cancelled
=========  ========================  ===========================================================

A provider that has ended by itself is not stopped: its stop function is not called. But a finite
job that is done stays running (``on_return="stay"``), and is stopped like any other.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from typing import Literal

import trio

from nestling._kernel._errors import ExitedBeforeRunningError, UnexpectedReturnError
from nestling._kernel._interrupts import called_back, protected, surely
from nestling._kernel._node import Callback, Node, current_node, suppress
from nestling._kernel._outcome import (
    Returned,
    error_among,
    first_error,
    forces,
    is_error,
    is_same,
    note_suppressed,
    raise_again,
    set_cause,
    summary,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

OnReturn = Literal["stop", "stay", "fail"]


def where(kind: str, label: str) -> str:
    """Name a runnable and its place in the run tree, for reasons and errors."""
    return _title(kind, label, current_node())


def _title(kind: str, label: str, node: Node | None) -> str:
    title = f"{kind} {label!r}" if label else kind
    named = node is not None and node.path not in {"", label}
    return f"{title} in {node.path!r}" if node is not None and named else title


class Provider:
    """One run of a provider.

    Args:
        provide: the foreground, awaited in a task of its own; it lets interrupts in itself.
        kind: what it is, and
        label: what it is called, or "", for reasons and errors.
        stop: makes the foreground return; None stands for cancelling it.
        on_return: what it means if the foreground returns before it is stopped.
        ready: it is ready at once; otherwise `ready` has to be called.
    """

    __slots__ = (
        "_begun",
        "_callback_scope",
        "_ended",
        "_failed_first",
        "_failure",
        "_kind",
        "_label",
        "_may_end_early",
        "_node",
        "_on_return",
        "_provide",
        "_ready",
        "_scope",
        "_settled",
        "_stop",
        "_stopping",
    )

    def __init__(
        self,
        provide: Callable[[], Awaitable[object]],
        kind: str,
        label: str,
        *,
        stop: Callable[[], Awaitable[object]] | None = None,
        on_return: OnReturn = "stop",
        ready: bool = False,
    ) -> None:
        self._provide = provide
        self._kind = kind
        self._label = label
        self._stop = stop
        self._on_return = on_return
        self._ready = ready
        self._settled = None if ready else trio.Event()
        self._scope = trio.CancelScope(shield=ready)
        self._callback_scope = trio.CancelScope()
        self._stopping = False
        self._begun = False
        self._may_end_early = False
        self._ended = False
        self._failed_first = False
        self._failure: BaseException | None = None

    def ready(self) -> None:
        """Let the callback be entered. Does nothing once the start-up was given up."""
        if self._settled is not None and not self._stopping:
            self._ready = True
            self._scope.shield = True
            self._settled.set()

    def may_end_early(self) -> None:
        """Let it end before it was ready, without that being an error."""
        self._may_end_early = True

    def cancel_callback(self, reason: str) -> None:
        """Cancel the callback, since what it depends on has failed or ended."""
        self._failed_first = self._failed_first or not self._stopping
        self._callback_scope.cancel(type(reason)(f"{self._where} {reason}"))

    def force(self, reason: str) -> None:
        """Cancel the provider, since one of its parts was interrupted."""
        self._scope.cancel(f"{self._where} {reason}")

    @property
    def _where(self) -> str:
        # Whichever task asks: not all of them run in this node.
        return _title(self._kind, self._label, self._node)

    async def run(self, f: Callback) -> None:
        """Run the provider; call ``f`` when it is ready; stop it when ``f`` is over."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._node = current_node()
        callback = stop = interrupt = None
        try:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._foreground, name=self._label or self._kind)
                    callback = await self._call(f)
                    self._stopping = True
                    self._scope.shield = False
                    stop = await self._ask_to_stop(callback)
            except BaseExceptionGroup as group:
                # No task raises into this nursery: it is an interrupt that came while waiting.
                interrupt = error_among(group)
            await self._finish(callback, stop, interrupt)
        finally:
            # Whoever keeps a raised error keeps this frame: let it not keep the error in turn.
            del callback, stop, interrupt
            self._failure = None

    @protected
    async def _foreground(self) -> None:
        self._begun = True
        try:
            with self._scope:
                await self._provide()
        except BaseException as exception:
            self._failure = exception
        self._ended = True
        if is_error(self._failure):
            assert self._failure is not None
            self.cancel_callback(f"has failed: {summary(self._failure)}")
        elif self._failure is None and not self._stopping and self._ready:
            self._returned()
        if self._settled is not None:
            self._settled.set()

    def _returned(self) -> None:
        if self._on_return == "fail":
            self._failure = UnexpectedReturnError(f"{self._where} returned before it was stopped")
        reason = Returned("has returned") if self._failure is None else "has returned"
        if self._on_return != "stay":
            self.cancel_callback(reason)

    async def _call(self, f: Callback) -> BaseException | None:
        try:
            if self._settled is not None:
                await self._settled.wait()
                # A cancellation during the start-up is remembered: no dependent is started.
                await trio.lowlevel.checkpoint_if_cancelled()
            if self._ready and not (self._settled is not None and self._ended_by_itself):
                with self._callback_scope:
                    await called_back(f)
        except BaseException as exception:
            return exception
        return None

    async def _ask_to_stop(self, callback: BaseException | None) -> BaseException | None:
        forced = type(callback).__name__ if forces(callback) else None
        # Not kept while the stop function runs: what that raises keeps this frame.
        del callback
        if forced is not None:
            reason = f"{self._where} is forced to stop by {forced}"
            self._scope.cancel(reason)
            with trio.CancelScope() as scope:
                scope.cancel(reason)
                return await self._call_stop()
        if self._stop is None:
            self._scope.cancel(f"{self._where} is stopped")
            return None
        return await self._call_stop()

    async def _call_stop(self) -> BaseException | None:
        while not self._begun:
            # What has not begun cannot be stopped: it would not notice.
            await trio.lowlevel.cancel_shielded_checkpoint()
        if self._stop is not None and not self._ended_by_itself:
            try:
                await surely(self._stop)
            except BaseException as exception:
                problem = f"the stop function of {self._where} failed: {summary(exception)}"
                self._scope.cancel(problem)
                return exception
        return None

    @property
    def _ended_by_itself(self) -> bool:
        """Whether it has ended without being cancelled, and does not stay running either."""
        if not self._ended:
            return False
        return self._on_return != "stay" if self._failure is None else is_error(self._failure)

    async def _finish(
        self,
        callback: BaseException | None,
        stop: BaseException | None,
        interrupt: BaseException | None,
    ) -> None:
        failure, error = self._failure, None
        others: list[tuple[str, BaseException]] = []
        try:
            error, others = first_error(
                [
                    ("the callback", callback),
                    ("the stop function", stop),
                    (f"the {self._kind}", failure),
                    ("waiting for the end", interrupt),
                ]
            )
            if error is not None:
                followed = self._failed_first and is_same(error, callback) and is_error(failure)
                if followed and failure is not None and set_cause(error, failure):
                    others = [pair for pair in others if not is_same(pair[1], failure)]
                note_suppressed(error, others)
                suppress(other for _, other in others)
                raise_again(error)
            if callback is not None:
                raise_again(callback)
            await trio.lowlevel.checkpoint_if_cancelled()
            # A Cancelled without a cancelled scope around: somebody has kept it and raised it here.
            if stop is not None:
                raise_again(stop)
            if failure is not None:
                raise_again(failure)
            if not self._ready and not self._may_end_early:
                raise ExitedBeforeRunningError(f"{self._where} ended before it was running")
        finally:
            del callback, stop, interrupt, failure, error, others
