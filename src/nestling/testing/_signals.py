"""Ctrl-C in a run that is struck by it on purpose: the real one is told from the other."""

from __future__ import annotations

import inspect
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any, cast


class Signals:
    """Stands before trio's handler of SIGINT while it is entered.

    Attributes:
        real: somebody has pressed Ctrl-C.
    """

    def __init__(self) -> None:
        self.real = False
        self._handler: Callable[[int, FrameType | None], Any] | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self._handler = cast("Any", signal.getsignal(signal.SIGINT))
            signal.signal(signal.SIGINT, self._receive)

    def __exit__(self, *details: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Let trio's handler stand alone again. For a run that has hung: nobody leaves that."""
        handler, self._handler = self._handler, None
        if handler is not None and signal.getsignal(signal.SIGINT) == self._receive:
            signal.signal(signal.SIGINT, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.real = True
        assert self._handler is not None
        self._handler(number, frame)

    def inject(self) -> None:
        """Do what a signal does, but do not take it for a real one."""
        assert self._handler is not None
        self._handler(signal.SIGINT, inspect.currentframe())


@contextmanager
def default_ctrl_c() -> Generator[None, None, None]:
    """Let trio see to SIGINT, which it does only where nobody else does, or ignores it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
