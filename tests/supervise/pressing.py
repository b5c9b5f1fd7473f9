"""Ctrl-C, pressed at a time while something runs."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio
from trio.testing import MockClock

from nestling import Runnable


@attrs.define
class Pressed:
    """What came of a run in which Ctrl-C was pressed: the error, and when the run had ended."""

    error: BaseException | None = None
    ended: float = 0


@trio.lowlevel.enable_ki_protection
async def ctrl_c(at: float) -> None:
    """Press Ctrl-C at that time: where nothing unprotected runs, it strikes the main task."""
    await trio.sleep(at)
    signal.raise_signal(signal.SIGINT)


def ctrl_c_here() -> None:
    """Press Ctrl-C right here, in code that is not protected."""
    signal.raise_signal(signal.SIGINT)
    for _ in range(100):  # On Python 3.10 it is not noticed at once.
        pass


def run_and_press(
    r: Runnable, f: Callable[[], Awaitable[object]], at: float | None = None
) -> Pressed:
    """Run ``r`` around ``f``, and press Ctrl-C at that time, if one is given."""
    pressed = Pressed()

    async def main() -> None:
        if at is not None:
            trio.lowlevel.spawn_system_task(ctrl_c, at)
        # One that struck in the last step comes out of the next checkpoint.
        for step in (partial(r.run, f), trio.lowlevel.checkpoint):
            try:
                await step()
            except BaseException as raised:  # noqa: PERF203  # there are two rounds
                pressed.error = raised
        pressed.ended = trio.current_time()

    trio.run(main, clock=MockClock(autojump_threshold=0))
    return pressed
