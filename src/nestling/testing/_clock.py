"""A clock that jumps when nothing is left to do, but waits for threads and for what they hand over.

`trio.testing.MockClock` with an autojump jumps while a worker thread still works. Here the time
stands still until the thread is done, so that what uses threads and the network can be run on it.

==============================  ====================================================================
all tasks wait, and             what it does
==============================  ====================================================================
a worker thread is at work      waits for it; after some real seconds without news, it has hung
some wait for a time            jumps to that
some wait for the network or a  waits for news; after some real seconds without, it has hung
signal, or there are threads
none of that                    it has hung
==============================  ====================================================================
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import trio
import trio.abc

from nestling._kernel._errors import NestlingError
from nestling.testing._tasks import waits_for_thread

POLLS = 2
"""How often the network is asked for news before the clock jumps."""

MOST_SECONDS_IDLE = 5.0
"""Real seconds after which a run that waits for nothing but the network has hung."""


SECONDS_TO_DELIVER = 0.05
"""Real seconds that a thread of trio, which is done, may need to say so."""


class HangError(NestlingError):
    """A run has hung: every task waits, and nothing is left that could wake one."""


class JumpingClock(trio.abc.Clock):
    """Time that passes only where all wait for it. Made for one run.

    Args:
        idle: real seconds to wait for the network and for threads, where nothing else is left.
        give_up: called with the problem when the run has hung, each time; returns whether it has
            brought the tasks to go on. Otherwise, or without it, trio raises `HangError`.

    Attributes:
        hung: why the run has to end, if so.
        has_ended: trio was made to end it.
        tasks: those of the run, as far as they are known to who counts its steps.
    """

    def __init__(
        self, idle: float = MOST_SECONDS_IDLE, give_up: Callable[[str], bool] | None = None
    ) -> None:
        self._now = 0.0
        self._polls = 0
        self._idle = idle
        self._idle_since = math.inf
        self._give_up = give_up
        self.hung: str = ""
        self.has_ended: bool = False
        self.tasks: Collection[trio.lowlevel.Task] = ()
        self._waits_for_threads = False

    def start_clock(self) -> None:
        """Begin at zero."""

    def current_time(self) -> float:
        """Return the time; in trio's own loop, raise if all has to end."""
        if self.has_ended and not trio.lowlevel.in_trio_task():
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
        self._waits_for_threads = self._threads_are_at_work()
        if self._waits_for_threads:
            return self._wait_for_news()
        if deadline < math.inf:
            self._now = max(self._now, deadline)
            return 0
        return self._wait_for_news()

    def end(self, problem: str) -> None:
        """Bring the run to its end, since it has a ``problem``."""
        self.hung = self.hung or problem
        if self._give_up is None or not self._give_up(self.hung):
            self.has_ended = True

    def _threads_are_at_work(self) -> bool:
        if trio.to_thread.current_default_thread_limiter().borrowed_tokens:
            return True
        return threading.active_count() > 1 and any(map(waits_for_thread, self.tasks))

    def _patience(self) -> float:
        """Return for how many real seconds news may still come."""
        if self._waits_for_threads or _threads_besides():
            return self._idle
        if _waits_for_signals() or _waits_for_network():
            return self._idle
        return min(SECONDS_TO_DELIVER, self._idle) if threading.active_count() > 1 else -1

    def _wait_for_news(self) -> float:
        if self._idle_since == math.inf:
            self._idle_since = time.monotonic()
        idle = time.monotonic() - self._idle_since
        if idle <= self._patience() and not self.hung:
            return min(0.01, self._idle)
        self.end("it hangs: all tasks wait, and nothing is left that could wake one")
        if self.has_ended:
            raise HangError(self.hung)
        return 0


def _waits_for_signals() -> bool:
    if threading.current_thread() is not threading.main_thread():
        return False
    handlers = [signal.getsignal(number) for number in signal.valid_signals()]
    return any(getattr(each, "__module__", "") == "trio._signals" for each in handlers)


def _threads_besides() -> bool:
    """Tell whether there are threads that may be at work, and not only idle ones of trio."""
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    return not all(each.name.startswith("Trio thread ") for each in others)


def _waits_for_network() -> bool:
    waiting: Any = trio.lowlevel.current_statistics().io_statistics
    if waiting.backend != "epoll":
        return True
    # One waits for what other threads tell trio.
    return bool(waiting.tasks_waiting_read > 1 or waiting.tasks_waiting_write)
