"""The signal handlers of a run.

They are set by `signal.signal` and not read by trio, since the third signal has to end the process
also where trio's loop is blocked, in a ``time.sleep`` or an endless loop of some service.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import cast

import trio

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import InvalidStateError
from nestling.app._states import SignalAction, action_at

STDERR = 2
_UNCATCHABLE = {getattr(signal, name, None) for name in ("SIGKILL", "SIGSTOP")}


def check_signals(signals: object) -> tuple[int, ...]:
    """Return ``signals`` as the numbers of signals that can be handled, each once."""
    if not isinstance(signals, Iterable) or isinstance(signals, (str, bytes)):
        raise TypeError(
            f"signals of run() must be an iterable of signals, not {describe_value(signals)}"
        )
    numbers: list[int] = []
    for number in cast("Iterable[object]", signals):
        if isinstance(number, bool) or not isinstance(number, int):
            raise TypeError(
                f"each of signals of run() must be a signal such as SIGTERM, "
                f"not {describe_value(number)}"
            )
        if number not in signal.valid_signals() or number in _UNCATCHABLE:
            raise ValueError(
                f"each of signals of run() must be a signal that can be handled, not {number!r}"
            )
        numbers.append(int(number))
    return tuple(dict.fromkeys(numbers))


def signal_name(number: int) -> str:
    """Return the name of a signal; a real-time signal has only a number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class SignalHandlers:
    """Handles the signals of a run while its ``with`` statement lasts.

    Args:
        signals: their numbers.
        receive: called for the first and the second signal, in the middle of whatever runs.
        report: writes the stuck report, given the frame that the signal has interrupted.
    """

    def __init__(
        self,
        signals: tuple[int, ...],
        receive: Callable[[SignalAction, int], None],
        report: Callable[[FrameType | None, int], str],
    ) -> None:
        self._signals = signals
        self._receive = receive
        self._report = report
        # Handlers interrupt each other; ``next()`` is the one step that cannot be interrupted.
        self._numbers = itertools.count(1)
        self._previous: dict[int, object] = {}

    def __enter__(self) -> None:
        if not self._signals:
            return
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError(
                "signals can be handled in the main thread only: pass signals=() in other threads"
            )
        for number in self._signals:
            if isinstance(getattr(signal.getsignal(number), "__self__", None), SignalHandlers):
                raise InvalidStateError(
                    f"another run handles {signal_name(number)}: pass signals=() to a run inside "
                    f"or beside it"
                )
        try:
            for number in self._signals:
                self._previous[number] = signal.signal(number, self._handle)
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        for number, previous in self._previous.items():
            # None: it was not set from Python, and cannot be set again from here.
            handler = signal.SIG_DFL if previous is None else previous
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    @trio.lowlevel.enable_ki_protection
    def _handle(self, number: int, frame: FrameType | None) -> None:
        action = action_at(next(self._numbers))
        if action in {"stop", "force"}:
            self._receive(action, number)
            return
        try:
            if action == "report and exit":
                write_to_stderr(self._report(frame, number))
        finally:
            os._exit(128 + number)


def write_to_stderr(text: str) -> None:
    """Write past `sys.stderr`, whose buffer may be in use by what a signal has interrupted."""
    left = text.encode(errors="backslashreplace")
    with suppress(OSError):
        while left:
            left = left[os.write(STDERR, left) :]
