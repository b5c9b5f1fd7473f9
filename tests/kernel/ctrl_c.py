"""Ctrl-C in the kernel's own code, before any line of it."""

from __future__ import annotations

import itertools
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

import nestling
from nestling.testing._trio_internals import scheduled_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

T = TypeVar("T")

KERNEL = str(Path(nestling.__file__).parent / "_kernel")
CALLERS = {"_functions.py", "_interrupts.py"}


@attrs.frozen
class Line:
    """A line of the kernel's code.

    A line of what calls other functions counts once for each place from which that is called.
    """

    code: CodeType
    number: int
    callers: tuple[tuple[CodeType, int], ...]

    @classmethod
    def of(cls, frame: FrameType) -> Line:
        """Return the line that ``frame`` has come to."""
        callers: list[tuple[CodeType, int]] = []
        around = frame.f_back
        inner: FrameType = frame
        while around is not None and Path(inner.f_code.co_filename).name in CALLERS:
            callers.append((around.f_code, around.f_lineno))
            inner, around = around, around.f_back
        return cls(frame.f_code, frame.f_lineno, tuple(callers))

    def __str__(self) -> str:
        return f"{self.code.co_filename}:{self.number}"


@contextmanager
def _traced(
    follows: Callable[[CodeType], bool], reach: Callable[[FrameType], None]
) -> Generator[None, None, None]:
    def trace(frame: FrameType, event: str, argument: object) -> Any:
        del event, argument
        return trace_line if follows(frame.f_code) else None

    def trace_line(frame: FrameType, event: str, argument: object) -> Any:
        del argument
        # Only there does trio keep an interrupt.
        if event == "line" and trio.lowlevel.in_trio_run():
            reach(frame)
        return trace_line

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def lines_of(run: Callable[[], object]) -> Counter[Line]:
    """Count how often ``run`` reaches which lines of the kernel."""
    reached = Counter[Line]()

    def follows(code: CodeType) -> bool:
        return code.co_filename.startswith(KERNEL)

    def reach(frame: FrameType) -> None:
        reached[Line.of(frame)] += 1

    with scheduled_by(0), _traced(follows, reach):
        run()
    return reached


def with_ctrl_c(run: Callable[[], T], line: Line, time: int) -> T:
    """Call ``run`` with Ctrl-C before ``line``, when that is reached for that ``time``."""
    reached = 0

    def reach(frame: FrameType) -> None:
        nonlocal reached
        if frame.f_lineno == line.number and Line.of(frame) == line:
            reached += 1
            if reached == time:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)

    with scheduled_by(0), _traced(lambda code: code is line.code, reach):
        result = run()
    assert reached == time, line
    return result


class Sweep:
    """Ctrl-C before each line that any of several runs reaches, in turn.

    In the first ``most`` runs that reach the line: before the first time there, and before the
    last.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._runs_of_line = Counter[Line]()

    def strikes(self, run: Callable[[], T]) -> Iterator[tuple[Line, T]]:
        """Call ``run`` with Ctrl-C before the lines that it reaches; yield what it returns."""
        for line, times in lines_of(run).items():
            self._runs_of_line[line] += 1
            if self._runs_of_line[line] <= self._most:
                for time in sorted({1, times}):
                    yield line, with_ctrl_c(run, line, time)


def at_each_call(run: Callable[[], T], *files: str) -> Iterator[tuple[str, T]]:
    """Call ``run`` with Ctrl-C as each function of those files begins, in turn.

    That is where CPython looks for signals. Yields the function's name, and what ``run`` returns.
    """
    for number in itertools.count(1):
        begun, result = _with_ctrl_c_at_call(run, number, files)
        if len(begun) < number:
            return
        yield begun[-1].f_code.co_name, result


def _with_ctrl_c_at_call(
    run: Callable[[], T], number: int, files: tuple[str, ...]
) -> tuple[list[FrameType], T]:
    begun: list[FrameType] = []

    def profile(frame: FrameType, event: str, argument: object) -> None:
        del argument
        here = frame.f_code.co_filename.startswith(files) and trio.lowlevel.in_trio_run()
        # A coroutine that goes on is called as well.
        if event == "call" and here and frame not in begun:
            begun.append(frame)
            if len(begun) == number:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    sys.setprofile(profile)
    try:
        return begun, run()
    finally:
        sys.setprofile(None)
