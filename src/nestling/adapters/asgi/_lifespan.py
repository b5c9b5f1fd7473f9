"""The lifespan of an ASGI application, driven in one task from its start-up to its shutdown.

hypercorn drives lifespans as well, but it takes an exception in the start-up for an application
without lifespan, and skips the shutdown where the server is cancelled. So the real one is driven
here, and hypercorn never learns of it.

========  ==========================  =========================================================
phase     event                       outcome
========  ==========================  =========================================================
called    returns or raises           an application without lifespan: it is served without
called    sends an ``http.`` message  likewise
called    receives                    starting: it is told to start up
starting  ``startup.complete``        running: it is served, and shielded
starting  raises                      the start-up failed: that error
starting  ``startup.failed``          the start-up failed: the error that the application raises
                                      next, else `LifespanError`
starting  returns, or sends an        an application without lifespan, that looked at no type
          ``http.`` message
starting  the time is over            the start-up failed: `LifespanError`; it is cancelled
starting  cancelled from outside      reaches the application
running   returns                     it is served on, and has no shutdown
running   raises                      the server fails: that error
running   stop, graceful              stopping: it is told to shut down
running   stop, forced                stopping: it is told to shut down, in a cancelled scope
stopping  ``shutdown.complete``       ended, when the application returns or receives again
stopping  raises                      the shutdown failed: that error
stopping  ``shutdown.failed``         the shutdown failed: the error that the application raises
                                      next, else `LifespanError`
stopping  the time is over            the shutdown failed: `LifespanError`; it is cancelled
stopping  cancelled from outside      reaches the application
========  ==========================  =========================================================

In each phase, an application that failed or completed and receives once more is at its end, though
it does not know: it is cancelled.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Any

import trio

from nestling._kernel._errors import NestlingError
from nestling._kernel._worker import WorkerHandle

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, MutableMapping

    Message = MutableMapping[str, Any]
    ASGIApp = Callable[[Any, Any, Any], Awaitable[object]]


class LifespanError(NestlingError):
    """The application answered that its start-up or its shutdown has failed, or not at all.

    In contrast, an application that *raises* there comes out with its own error.
    """


class _Phase(Enum):
    CALLED = "called"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"


class Lifespan:
    """One run of an application's lifespan; the foreground of a worker.

    Attributes:
        state: what the application keeps for its requests, which see it as ``scope["state"]``.
    """

    def __init__(
        self,
        app: ASGIApp,
        startup_timeout: float,
        shutdown_timeout: float,
        log: logging.Logger,
    ) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._startup_timeout = startup_timeout
        self._shutdown_timeout = shutdown_timeout
        self._log = log
        self._phase = _Phase.CALLED
        self._stop = trio.Event()
        self._scope = trio.CancelScope()
        self._failure: LifespanError | None = None
        self._completed = False
        self._foreign = False

    async def lifespan(self, handle: WorkerHandle) -> None:
        """Run the application's lifespan until the stop, and through its shutdown."""
        self._handle = handle
        handle.start_soon(self._watch, name="lifespan stop")
        await self._drive()
        failure, self._failure = self._failure, None
        try:
            if failure is not None:
                raise failure
        finally:
            # The traceback of what is raised has this frame, which is not to keep it in turn.
            del failure
        handle.ready()
        await handle.stopping.wait()

    async def _watch(self) -> None:
        # Ends at a graceful stop and when it is cancelled: either way the application is told.
        # It stands outside of the shield, so it learns of a forced stop at once.
        try:
            await self._handle.stopping.wait()
        finally:
            self._stop.set()
            self._scope.shield = False

    async def _drive(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        try:
            with self._scope:
                self._scope.deadline = trio.current_time() + self._startup_timeout
                await self._app(scope, self._receive, self._send)
        except Exception:
            if not self._is_unsupported():
                raise
            self._log.debug("the application has no lifespan", exc_info=True)
        if self._scope.cancel_called and not self._completed and self._failure is None:
            self._failure = self._timed_out()

    def _is_unsupported(self) -> bool:
        if self._failure is not None:
            return False
        return self._phase is _Phase.CALLED or (self._phase is _Phase.STARTING and self._foreign)

    def _timed_out(self) -> LifespanError:
        verb, seconds = ("start up", self._startup_timeout)
        if self._phase is _Phase.STOPPING:
            verb, seconds = ("shut down", self._shutdown_timeout)
        return LifespanError(f"the application did not {verb} within {seconds:g} s")

    async def _receive(self) -> Message:
        if self._completed or self._failure is not None:
            self._scope.cancel("the application's lifespan has ended")
            await trio.sleep_forever()
        if self._phase is _Phase.CALLED:
            self._phase = _Phase.STARTING
            await trio.lowlevel.checkpoint()
            return {"type": "lifespan.startup"}
        if not self._stop.is_set():
            await self._stop.wait()
        # No checkpoint once the stop is there: the message must arrive in a cancelled scope too.
        self._phase = _Phase.STOPPING
        self._scope.deadline = trio.current_time() + self._shutdown_timeout
        return {"type": "lifespan.shutdown"}

    async def _send(self, message: Message) -> None:
        match message["type"]:
            case "lifespan.startup.complete":
                self._running()
            case "lifespan.startup.failed":
                self._fail("start-up", message)
            case "lifespan.shutdown.complete":
                self._completed = True
            case "lifespan.shutdown.failed":
                self._fail("shutdown", message)
            case other:
                self._foreign = True
                raise RuntimeError(f"{other!r} is no message for a lifespan")

    def _running(self) -> None:
        self._phase = _Phase.RUNNING
        self._scope.deadline = float("inf")
        if not self._stop.is_set():
            self._scope.shield = True
        self._handle.ready()

    def _fail(self, stage: str, message: Message) -> None:
        reason = message.get("message") or "it gave no reason"
        self._failure = LifespanError(f"the application's {stage} failed: {reason}")
