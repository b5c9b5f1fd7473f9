"""`timeouts`: bounds for the start, the graceful stop, and the grace after a cancellation.

========  ==========================  ============================================================
phase     event                       deadline
========  ==========================  ============================================================
starting                              entry + ``start``; past it: cancelled, `StartTimeoutError`
running                               none
stopping  the callback is over        its end + ``stop``; past it: forced, `StopTimeoutError`
stopping  cancelled, without grace    at once, by the cancellation itself
stopping  cancelled, with grace       the earlier of its end + ``stop`` and its end + ``grace``
========  ==========================  ============================================================

``its end`` is when the callback is over: each is one absolute deadline. A grace never outlasts the
deadline of a `timeouts` further out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextvars import ContextVar
from functools import partial
from typing import Literal

import attrs
import trio

from nestling._kernel._checks import check_seconds
from nestling._kernel._errors import StartTimeoutError, StopTimeoutError
from nestling._kernel._events import Event
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import called_back, protected
from nestling._kernel._node import (
    Callback,
    child_node,
    current_node,
    enter_node,
    leave_node,
    settle,
    watching_node,
)
from nestling._kernel._outcome import is_same, raise_again
from nestling._kernel._relay import Relay, Run
from nestling._kernel._runnable import Runnable, Wrapper
from nestling._kernel._tree import RunTree


def timeouts(
    r: Runnable, *, start: float = math.inf, stop: float = math.inf, grace: float = 0
) -> Runnable:
    """Bound how long a runnable may take to start and to stop.

    Args:
        r: what is bounded.
        start: seconds until its callback is entered. After that the start-up is cancelled, and
            `StartTimeoutError` raised.
        stop: seconds that a graceful stop may take. After that it is forced, and
            `StopTimeoutError` raised, which names every node that had not stopped.
        grace: seconds for which it may stop gracefully although it was cancelled from outside.
            After that it is forced, and `StopTimeoutError` raised.

    A node that ignores even the forced stop cannot be killed: it is waited for. With a grace, what
    depends on ``r`` runs below a shield, as in a `runnable`.

    Example::

        timeouts(chain(db, http), start=10, stop=30)
    """
    inner = accept(r, "r of timeouts()")
    asked = f"timeouts({inner.label or inner.kind!r})"
    bounds = {"start": start, "stop": stop, "grace": grace}
    checked = {name: check_seconds(value, f"{name} of {asked}") for name, value in bounds.items()}
    return Timeouts(inner, inner.kind, **checked)


@attrs.frozen(repr=False, eq=False)
class Timeouts(Wrapper):
    start: float
    stop: float
    grace: float

    def with_parts(self, *parts: Runnable) -> Runnable:
        return timeouts(*parts, start=self.start, stop=self.stop, grace=self.grace)

    @protected
    async def run(self, f: Callback, /) -> None:
        await _Timed(self).run(self.inner.run, f)

    def __repr__(self) -> str:
        bounds = f"start={self.start:g}, stop={self.stop:g}, grace={self.grace:g}"
        return f"timeouts({self.inner!r}, {bounds})"


class _Timed:
    """One run under deadlines."""

    def __init__(self, bounds: Timeouts) -> None:
        self.bounds = bounds
        self.outer = _around.get()
        self.phase: Literal["starting", "running", "stopping"] = "starting"
        self.scope = trio.CancelScope()
        self.over = math.inf
        self._allowed = bounds.stop
        self._gave_way = False
        self._callback_error: BaseException | None = None
        self._tree = RunTree()
        self._stuck: tuple[str, ...] | None = None
        self._parent = current_node()
        label = bounds.label or bounds.kind
        named_around = self._parent is not None and not self._parent.claimed
        if self._parent is not None and named_around:
            self._path = self._parent.path
        else:
            self._path = child_node(self._parent, label, bounds.kind).path

    async def run(self, run: Run, f: Callback) -> None:
        """Await ``run(f)`` under the deadlines."""
        raised: BaseException | None = None
        token = enter_node(watching_node(self._parent, self._observe))
        around = _around.set(self)
        self.scope.deadline = trio.current_time() + self.bounds.start
        try:
            try:
                if self.bounds.grace > 0:
                    await _GraceRelay(self).run(run, partial(self._callback, f))
                else:
                    with self.scope:
                        await run(partial(self._callback, f))
            except BaseException as exception:
                raised = exception
            finally:
                _around.reset(around)
                leave_node(token)
            error = settle(self._errors(raised))
            if error is not None:
                raise_again(error)
            if raised is not None:
                raise_again(raised)
        finally:
            raised = error = self._callback_error = None

    @protected
    async def _callback(self, f: Callback) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        self.phase = "running"
        self.scope.deadline = math.inf
        token = enter_node(self._parent)
        around = _around.set(self.outer)
        try:
            await called_back(f)
        except BaseException as exception:
            self._callback_error = exception
            raise
        finally:
            _around.reset(around)
            leave_node(token)
            self.phase = "stopping"
            self.over = trio.current_time()
            self.scope.deadline = self.over + self._allowed

    def limit_grace(self) -> None:
        """It was cancelled from outside: from now on its grace is counted."""
        around = list(self._timed_around())
        if any(timed.expired for timed in around):
            self._gave_way = True
            self.scope.cancel(f"a deadline around {self._path!r} has passed")
            return
        self._allowed = min(self._allowed, self.bounds.grace)
        self.scope.deadline = self.over + self._allowed
        # A cancellation reaches here only once, so that of a later deadline would go unseen.
        earliest = min((timed.scope.deadline for timed in around), default=math.inf)
        if earliest <= self.scope.deadline:
            self._gave_way = True
            self.scope.deadline = earliest

    def _timed_around(self) -> Iterator[_Timed]:
        timed = self.outer
        while timed is not None:
            yield timed
            timed = timed.outer

    @property
    def expired(self) -> bool:
        """Whether one of the deadlines has passed, and what is left is being forced."""
        if self.phase == "running" or self._gave_way or not self.scope.cancel_called:
            return False
        return trio.current_time() >= self.scope.deadline  # else an interrupt has forced it

    def _observe(self, event: Event) -> None:
        if self._stuck is None and trio.current_time() >= self.scope.deadline:
            self._stuck = self._who_is_stuck()
        self._tree(event)

    def _who_is_stuck(self) -> tuple[str, ...]:
        if self.phase == "starting":
            return self._tree.waited_for("starting")
        return self._tree.waited_for("starting", "running", "stopping")

    def _errors(self, raised: BaseException | None) -> list[tuple[str, BaseException | None]]:
        """Order the errors that there are: the first comes out."""
        what_runs = ("what was forced", raised)
        if not self.expired:
            return [what_runs]
        stuck = self._stuck or ()
        if self.phase == "starting":
            late = StartTimeoutError(self._path, self.bounds.start, stuck)
            return [("the start", late), what_runs]
        timeout = ("the stop", StopTimeoutError(self._path, self._allowed, stuck))
        if is_same(raised, self._callback_error):
            return [what_runs, timeout]
        return [timeout, what_runs]


_around: ContextVar[_Timed | None] = ContextVar("nestling_timed", default=None)


class _GraceRelay(Relay):
    """What `_Timed` needs if it has a grace: a shield, and a relay for cancellations."""

    def __init__(self, timed: _Timed) -> None:
        super().__init__("the grace of timeouts")
        self.scope = timed.scope
        self._timed = timed

    def left(self) -> None:
        # From outside, that is: what is bounded may cancel its callback as well.
        if self.callback_cancelled:
            self._timed.limit_grace()

    def cancelled(self, reason: str) -> None:
        super().cancelled(reason)
        if self._timed.phase == "stopping":
            self._timed.limit_grace()

    @property
    def stops_gracefully(self) -> bool:
        return not self.scope.cancel_called
