"""The steps of all tasks of a run, counted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import trio
import trio.abc

from nestling.testing._clock import JumpingClock

MOST_STEPS = 50_000
"""Steps of a run after which it does not end."""

STEPS_TO_END = 1_000
"""Steps for which a run may go on after it was told to end."""

Before = Callable[[int, trio.lowlevel.Task], object]
After = Callable[[int], object]


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks, from zero, and tells the clock of them.

    Args:
        clock: that of the run.
        before: called before each step, with its number and its task.
        after: called after each step, with the number of the next one.
        most: how many steps there may be; a run that takes more does not end.

    Attributes:
        tasks: all that have taken a step, and have not ended.
    """

    def __init__(
        self,
        clock: JumpingClock,
        before: Before | None = None,
        after: After | None = None,
        most: int = MOST_STEPS,
    ) -> None:
        self.count = 0
        self.problem: BaseException | None = None
        self._clock = clock
        self._before = before
        self._after = after
        self._most = most
        self.tasks: dict[trio.lowlevel.Task, None] = {}
        clock.tasks = self.tasks.keys()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """Count a step."""
        self._clock.stepped()
        if self._before is not None:
            self._call(partial(self._before, self.count, task))
        self.tasks[task] = None
        self.count += 1
        if self.count > self._most:
            self._most += STEPS_TO_END
            self._clock.end(f"it does not end: task {task.name!r} goes on and on")

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Tell of the next step."""
        del task
        if self._after is not None:
            self._call(partial(self._after, self.count))

    def _call(self, function: Callable[[], object]) -> None:
        try:
            function()
        except BaseException as problem:
            # trio would disable the instrument, and go on without a word.
            self.problem = problem
            self._before = self._after = None

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """Forget a task that has ended."""
        self.tasks.pop(task, None)
