"""One run of an application: signals, an aborter and deadlines around one runnable."""

from __future__ import annotations

import inspect
import logging
import math
import sys
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import cast

import trio

from nestling._kernel._checks import check_seconds, describe_value
from nestling._kernel._errors import StopTimeoutError
from nestling._kernel._events import Event as NodeEvent, Observer
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._node import (
    child_node,
    current_node,
    enter_node,
    leave_node,
    settle,
    watching_node,
)
from nestling._kernel._outcome import error_among, raise_again
from nestling._kernel._timeouts import timeouts
from nestling._kernel._tree import RunTree
from nestling.app._aborter import Aborter
from nestling.app._signals import SignalHandlers, check_signals, signal_name
from nestling.app._states import ENDINGS, Ending, Event, SignalAction, State, step
from nestling.app._stuck import StuckWarnings, stuck_report

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

_log = logging.getLogger("nestling")


class Application:
    """One run, as `nestling.app.run` describes it, which also tells how it came to its end.

    Args:
        stays: keeps running until it is asked to stop; otherwise it stops as soon as it runs.
    """

    def __init__(
        self,
        r: object,
        *,
        signals: object,
        start_timeout: object,
        stop_timeout: object,
        aborter: object,
        observers: object,
        stays: bool = True,
    ) -> None:
        composed = accept(r, "r of run()")
        self._path = composed.label or composed.kind
        asked = f"run({self._path!r})"
        self._stop_timeout = check_seconds(stop_timeout, f"stop_timeout of {asked}")
        self._runnable = timeouts(
            composed,
            start=check_seconds(start_timeout, f"start_timeout of {asked}"),
            stop=self._stop_timeout,
        )
        self._handlers = SignalHandlers(check_signals(signals), self._receive, self._report)
        self._aborter = _check_aborter(aborter)
        self._tree = RunTree()
        self._stuck_warnings = StuckWarnings(self._tree)
        self._observers: tuple[Observer, ...] = (
            self._tree,
            self._stuck_warnings,
            *_check_observers(observers),
        )
        self._state = State.STARTING
        self._asked = trio.Event()
        if not stays:
            self._asked.set()
        self._scope = trio.CancelScope()
        self._stop_deadline = math.inf
        self._timer = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._received: deque[tuple[Event, int]] = deque()
        self.ending = Ending.ENDED

    def run(self) -> None:
        """Run in a trio run of its own."""
        # Around all of it: a signal is not lost while trio comes up.
        with self._handlers:
            trio.run(self._run)

    async def run_until_signal(self) -> None:
        """Run in the current trio run."""
        with self._handlers:
            await self._run()

    @protected
    async def _run(self) -> None:
        raised: BaseException | None = None
        interrupt: BaseException | None = None
        aborter = self._aborter
        self._path = child_node(current_node(), self._path, "").path
        self._token = trio.lowlevel.current_trio_token()
        try:
            try:
                async with trio.open_nursery() as self._nursery:
                    self._nursery.start_soon(
                        self._stuck_warnings.run, name="nestling: stuck warnings"
                    )
                    with aborter.reachable(self._abort):
                        self._take_received()
                        try:
                            await self._run_watched()
                        except BaseException as exception:
                            raised = exception
                    self.ending, self._state = ENDINGS[self._state], State.OVER
                    self._stuck_warnings.end()
                    self._timer.cancel("the run is over")
            except BaseExceptionGroup as group:
                # The other task raises nothing: it is an interrupt that came at the end.
                interrupt = error_among(group)
            if stop_timed_out(raised):
                self.ending = Ending.FORCED
            errors: tuple[tuple[str, BaseException | None], ...] = (
                ("the aborter", aborter.error),
                ("the run", raised),
                ("waiting for the end", interrupt),
            )
            error = settle(errors)
            if error is not None:
                raise_again(error)
            if raised is not None:
                raise_again(raised)
        finally:
            # Whoever keeps an error keeps this frame, and the aborter keeps its error.
            del raised, interrupt, aborter, self._aborter
            error, errors = None, ()

    async def _run_watched(self) -> None:
        token = enter_node(watching_node(current_node(), self._observe))
        try:
            with self._scope:
                await trio.lowlevel.checkpoint_if_cancelled()
                await self._runnable.run(self._callback)
        finally:
            leave_node(token)

    @protected
    async def _callback(self) -> None:
        self._take("called back")
        try:
            await self._asked.wait()
        finally:
            self._stop_deadline = trio.current_time() + self._stop_timeout
            if self._stop_timeout < math.inf:
                self._nursery.start_soon(self._wait_for_timeout, name="nestling: stop timeout")

    async def _wait_for_timeout(self) -> None:
        with self._timer:
            await trio.sleep_until(self._stop_deadline)
            self._log_timeout()

    def _log_timeout(self) -> None:
        """Log who is forced by the deadline, before the first of them has noticed."""
        if trio.current_time() >= self._stop_deadline and self._state is not State.FORCED:
            self._stop_deadline = math.inf
            self._log_forced()

    def _observe(self, event: NodeEvent) -> None:
        self._log_timeout()
        for observer in self._observers:
            _show(event, observer)

    def _take(self, event: Event, reason: str = "") -> None:
        before = self._state
        taken = step(before, event)
        self._state = taken.state
        if taken.state is not before and event == "stop":
            _log.info("%s: asked to stop by %s", self._path, reason, extra={"path": self._path})
        elif taken.state is not before and event == "force":
            self._log_forced()
        if taken.action == "cancel":
            verb = "forced" if event == "force" else "asked"
            self._scope.cancel(f"{self._path!r} is {verb} to stop by {reason}")
        elif taken.action == "return from callback":
            self._asked.set()

    def _abort(self) -> None:
        self._take("stop", "its aborter")

    def _receive(self, action: SignalAction, number: int) -> None:
        """Take a signal in its handler, where nothing may be done but leave word."""
        assert action in {"stop", "force"}
        self._received.append(("stop" if action == "stop" else "force", number))
        if self._token is not None:
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._take_received)

    def _take_received(self) -> None:
        while self._received:
            event, number = self._received.popleft()
            self._take(event, signal_name(number))

    def _log_forced(self) -> None:
        paths = self._tree.waited_for("starting", "running", "stopping")
        names = ", ".join(paths) or "nothing is left"
        _log.warning("%s: forced: %s", self._path, names, extra={"path": self._path})

    def _report(self, frame: FrameType | None, number: int) -> str:
        name = signal_name(number)
        try:
            report = stuck_report(self._tree, frame)
        except Exception as problem:
            report = f"(no report: {problem!r})\n"
        return f"nestling: {name} ends the process; not stopped:\n{report or '(nothing)'}"


def _show(event: NodeEvent, observer: Observer) -> None:
    """Show ``event`` to one observer: if that fails, the others see the event all the same."""
    try:
        observer(event)
    except Exception:
        _log.exception("an observer failed at %r", event)


def _check_aborter(aborter: object) -> Aborter:
    if aborter is None:
        return Aborter()
    if not isinstance(aborter, Aborter):
        raise TypeError(
            f"aborter of run() must be an Aborter or None, not {describe_value(aborter)}"
        )
    return aborter


def _check_observers(observers: object) -> tuple[Observer, ...]:
    # Loaded only for a run: what is imported for its types alone pays nothing for it.
    from nestling.observe._log import LogEvents, log_events

    if not isinstance(observers, Iterable):
        raise TypeError(
            f"observers of run() must be an iterable of callables, not {describe_value(observers)}"
        )
    checked: list[Observer] = []
    for observer in cast("Iterable[object]", observers):
        if not callable(observer) or inspect.iscoroutinefunction(observer):
            raise TypeError(
                f"each of observers of run() must be a plain function of an event, "
                f"not {describe_value(observer)}"
            )
        checked.append(observer)
    logs = any(isinstance(observer, LogEvents) for observer in checked)
    return tuple(checked if logs else [log_events(), *checked])


def stop_timed_out(error: BaseException | None) -> bool:
    """Tell whether a `StopTimeoutError` is in ``error``: some stop was forced by its deadline."""
    if isinstance(error, BaseExceptionGroup):
        parts = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return any(map(stop_timed_out, parts))
    return isinstance(error, StopTimeoutError)
