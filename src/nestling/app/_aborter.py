"""`Aborter`: a run is stopped from within, from anywhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

import trio

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import NotRunningError
from nestling._kernel._outcome import summary


class Aborter:
    """Stops the run that it was handed to; only the first call counts.

    Its methods may be called from any task and any thread: before the run, which then starts
    nothing; during it, which stops it gracefully; and after it, which does nothing.

    Attributes:
        aborted: set once it was called. Where another thread called, it is set a moment later.

    Example::

        aborter = Aborter()
        threading.Timer(60, aborter.abort).start()
        run(shop, aborter=aborter)
    """

    aborted: trio.Event

    def __init__(self) -> None:
        self.aborted = trio.Event()
        # Reentrant, since a signal handler may call while its own thread is in here.
        self._lock = threading.RLock()
        self._called = False
        self._error: BaseException | None = None
        self._token = _token()
        self._listeners: list[Callable[[], None]] = []

    def __repr__(self) -> str:
        if not self._called:
            return "<Aborter>"
        return f"<Aborter: aborted{f' by {summary(self._error)}' if self._error else ''}>"

    @property
    def error(self) -> BaseException | None:
        """What the first call gave as the reason: the run raises it."""
        return self._error

    def abort(self) -> None:
        """Stop the run gracefully."""
        self._abort(None)

    def abort_on_error(self, exc: BaseException | None) -> None:
        """Stop the run gracefully, and let it raise ``exc``. Does nothing if that is None."""
        if _check_error(exc) is not None:
            self._abort(exc)

    def _abort(self, error: BaseException | None) -> None:
        with self._lock:
            if self._called:
                return
            self._called = True
            self._error = error
            token = self._token
        if token is None or token is _token():
            self._deliver()
            return
        try:
            token.run_sync_soon(self._deliver)
        except trio.RunFinishedError:
            self._deliver()

    def _deliver(self) -> None:
        self.aborted.set()
        for listener in tuple(self._listeners):
            listener()

    @contextmanager
    def reachable(self, listener: Callable[[], None]) -> Generator[None, None, None]:
        """Call ``listener``, in the current trio run, when this is called, or if it was before.

        Inside of the body the function `abort` means this aborter.
        """
        with self._lock:
            self._token = _token()
            self._listeners.append(listener)
            called = self._called
        if called:
            listener()
        context = _innermost.set(self)
        try:
            yield
        finally:
            _innermost.reset(context)
            self._listeners.remove(listener)


_innermost: ContextVar[Aborter | None] = ContextVar("nestling_aborter", default=None)


def abort(exc: BaseException | None = None) -> None:
    """Stop the innermost run around the caller gracefully, from any task or worker thread of it.

    Args:
        exc: what the run is to raise, or None.

    Raises:
        NotRunningError: there is no run around the caller.

    Example::

        async def watch_disk():
            while await free_space() > 0:
                await trio.sleep(60)
            abort(OSError("the disk is full"))
    """
    _check_error(exc)
    aborter = _innermost.get()
    if aborter is None:
        raise NotRunningError("abort() stops the run around its caller, and there is none")
    if exc is None:
        aborter.abort()
    else:
        aborter.abort_on_error(exc)


def _check_error(exc: object) -> object:
    if exc is not None and not isinstance(exc, BaseException):
        raise TypeError(f"exc must be an exception or None, not {describe_value(exc)}")
    return exc


def _token() -> trio.lowlevel.TrioToken | None:
    """Return the token of the trio run of this thread, if there is one."""
    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
