"""A clock that jumps when nothing is left to do, but waits for threads and for what they hand over.

`trio.testing.MockClock` with an autojump jumps while a worker thread still works. Here the time
stands still until the thread is done, so that what uses threads and the network can be run on it.
"""

from __future__ import annotations

import math
import time

import trio
import trio.abc

from nestling._kernel._errors import NestlingError

POLLS = 2
"""How often the network is asked for news before the clock jumps."""

MOST_SECONDS_IDLE = 5.0
"""Real seconds after which a run that waits for nothing but the network has hung."""


class HangError(NestlingError):
    """A run has hung: every task waits, and nothing is left that could wake one."""


class JumpingClock(trio.abc.Clock):
    """Time that passes only where all wait for it. Made for one run.

    Args:
        idle: real seconds to wait for the network and for threads, where nothing else is left.

    Attributes:
        hung: why the run has to end, if so.
        waits_for_threads: worker threads have been at work when it was last idle.
    """

    def __init__(self, idle: float = MOST_SECONDS_IDLE) -> None:
        self._now = 0.0
        self._polls = 0
        self._idle = idle
        self._idle_since = math.inf
        self.hung: str = ""
        self.waits_for_threads: bool = False

    def start_clock(self) -> None:
        """Begin at zero."""

    def current_time(self) -> float:
        """Return the time; in trio's own loop, raise if all has to end."""
        if self.hung and not trio.lowlevel.in_trio_task():
            raise HangError(self.hung)
        return self._now

    def stepped(self) -> None:
        """Take note that a task has run: what it has done may bring news."""
        self._polls = 0
        self._idle_since = math.inf

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Say for how long to wait for news, now that no task can run; jump if for none."""
        self._polls += 1
        if self._polls <= POLLS and deadline > self._now:
            return 0
        threads = trio.to_thread.current_default_thread_limiter().borrowed_tokens
        self.waits_for_threads = threads > 0
        if self.waits_for_threads:
            return self._wait_for_news()
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0
        return self._wait_for_news()

    def give_up(self, problem: str) -> None:
        """Let the run end now, since it has a ``problem``."""
        self.hung = self.hung or problem

    def _wait_for_news(self) -> float:
        if self._idle_since == math.inf:
            self._idle_since = time.monotonic()
        if time.monotonic() - self._idle_since > self._idle:
            self.give_up("it hangs: all tasks wait, and nothing is left that could wake one")
            raise HangError(self.hung)
        return min(0.01, self._idle)
