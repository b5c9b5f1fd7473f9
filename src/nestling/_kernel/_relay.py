"""A provider in the current task, below a callback that depends on it (law 1).

For what must be run by a plain ``await``, since it is code of which nothing is known but that it
calls back: it may hold scopes and nurseries of its own around the callback. A shield around all of
it keeps a cancellation from outside away from its nurseries while its dependents run; a task
outside of the shield waits for that cancellation and relays it, to the callback first.

=========  ====================  ===============================================================
phase      event                 what is done
=========  ====================  ===============================================================
starting   cancelled             reaches the provider: nobody depends on it yet
starting   it calls back         the shield is raised; the callback is entered
running    cancelled             the callback is cancelled
running    the callback is over  without grace: the shield drops
                                 with grace: it stays; the callback's cancellation ends here, so
                                 that the provider stops gracefully
stopping   cancelled             without grace: reaches the provider
                                 with grace: the provider has until ``deadline``
any        an interrupt          the provider is cancelled, and the interrupt comes out
=========  ====================  ===============================================================
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from nestling._kernel._interrupts import called_back, protected
from nestling._kernel._node import Callback, settle
from nestling._kernel._outcome import (
    error_among,
    forces,
    is_error,
    raise_again,
    without_cancelled,
)

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Run = Callable[[Callback], Awaitable[object]]


class Relay:
    """One run of a provider, without grace. What has grace overrides the four hooks."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.scope = trio.CancelScope()
        self.callback_error: BaseException | None = None
        self._callback_scope = trio.CancelScope()
        self._watch_scope = trio.CancelScope()

    def entered(self) -> None:
        """The callback is about to be entered."""

    def left(self) -> None:
        """The callback is over."""
        self.scope.shield = False
        self._watch_scope.cancel(f"{self.title} needs no shield any more")

    def cancelled(self, reason: str) -> None:
        """A cancellation has come from outside."""
        self._callback_scope.cancel(reason)

    @property
    def callback_cancelled(self) -> bool:
        """Whether the callback was cancelled from outside; it may have returned all the same."""
        return self._callback_scope.cancel_called

    @property
    def stops_gracefully(self) -> bool:
        """After a callback that was cancelled, the provider is not cancelled, too."""
        return False

    def outcome(self, raised: BaseException | None) -> list[tuple[str, BaseException | None]]:
        """Order the errors that there are: the first comes out."""
        return [("the callback", self._lost(raised)), (self.title, raised)]

    def _lost(self, raised: BaseException | None) -> BaseException | None:
        """Return the callback's error, if it is to come out although ``raised`` does not hold it.

        A provider may handle an error of its callback, as any code may, by an ``except`` of its
        own. But a cancellation must not hide one, and an interrupt cannot be handled.
        """
        error = self.callback_error
        hidden = raised is not None and not is_error(raised)
        return error if hidden or forces(error) else None

    async def run(self, run: Run, f: Callback) -> None:
        """Await ``run(callback)`` in the current task, with ``f`` in the callback.

        ``run`` lets interrupts in itself, where it calls what is not the kernel's.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        raised: BaseException | None = None
        interrupt: BaseException | None = None
        try:
            try:
                async with trio.open_nursery() as self._nursery:
                    try:
                        with self.scope:
                            await run(partial(self._callback, f))
                    except BaseException as exception:
                        raised = exception
                    self._watch_scope.cancel(f"{self.title} has ended")
            except BaseExceptionGroup as group:
                # The watching task raises nothing: it is an interrupt that came at the end.
                interrupt = error_among(group)
            error = settle([*self.outcome(raised), ("waiting for the end", interrupt)])
            if error is not None:
                raise_again(error)
            if raised is not None:
                raise_again(raised)
            if self.callback_cancelled:
                await trio.lowlevel.checkpoint_if_cancelled()
        finally:
            del raised, interrupt
            error = self.callback_error = None

    @protected
    async def _callback(self, f: Callback) -> None:
        # A cancellation during the start-up is remembered: no dependent is started any more.
        await self._checkpoint_if_cancelled()
        self.entered()
        self._nursery.start_soon(self._watch, name=f"the relay of {self.title}")
        self.scope.shield = True
        try:
            with self._callback_scope:
                await called_back(f)
        except BaseException as exception:
            self._over(exception)
            raise
        self._over(None)
        if self._callback_scope.cancelled_caught and not self.stops_gracefully:
            await self._checkpoint_if_cancelled()

    async def _checkpoint_if_cancelled(self) -> None:
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
        except BaseException as exception:
            # It may be an interrupt, in whose place the provider raises a cancellation.
            self._remember(exception)
            raise

    def _remember(self, exception: BaseException | None) -> None:
        self.callback_error = without_cancelled(exception)
        if forces(exception):
            self.scope.cancel(f"{self.title} is forced to stop by {type(exception).__name__}")

    def _over(self, exception: BaseException | None) -> None:
        self._remember(exception)
        self.left()

    @protected
    async def _watch(self) -> None:
        try:
            with self._watch_scope:
                await trio.sleep_forever()
        except trio.Cancelled as exception:
            # Not swallowed: the scope that it belongs to is further out, and is seen again there.
            self.cancelled(exception.reason or str(exception))
