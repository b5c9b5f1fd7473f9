"""The steps of all tasks of a run, counted."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.abc

from nestling.testing._clock import JumpingClock

Before = Callable[[int, trio.lowlevel.Task], object]


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks, from zero, and tells the clock of them.

    Args:
        clock: that of the run.
        before: called before each step, with its number and its task.
    """

    def __init__(self, clock: JumpingClock, before: Before | None = None) -> None:
        self.count = 0
        self.problem: BaseException | None = None
        self._clock = clock
        self._before = before

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        self._clock.stepped()
        if self._before is not None:
            try:
                self._before(self.count, task)
            except BaseException as problem:
                # trio would disable the instrument, and go on without a word.
                self.problem = problem
                self._before = None
        self.count += 1
