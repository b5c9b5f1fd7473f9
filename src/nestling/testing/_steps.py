"""The steps of all tasks of a run, counted."""

from __future__ import annotations

from collections.abc import Callable

import trio
import trio.abc

from nestling.testing._clock import JumpingClock

MOST_STEPS = 50_000
"""Steps of a run after which it does not end."""

Before = Callable[[int, trio.lowlevel.Task], object]


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks, from zero, and tells the clock of them.

    Args:
        clock: that of the run.
        before: called before each step, with its number and its task.
        most: how many steps there may be; a run that takes more does not end.

    Attributes:
        tasks: all that have taken a step, and have not ended.
    """

    def __init__(
        self, clock: JumpingClock, before: Before | None = None, most: int = MOST_STEPS
    ) -> None:
        self.count = 0
        self.problem: BaseException | None = None
        self._clock = clock
        self._before = before
        self._most = most
        self.tasks: dict[trio.lowlevel.Task, None] = {}

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
        self.tasks[task] = None
        self.count += 1
        if self.count > self._most:
            self._clock.give_up(f"it does not end: task {task.name!r} goes on and on")

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Forget a task that has ended."""
        self.tasks.pop(task, None)
