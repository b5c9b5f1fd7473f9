"""`every`: a job that is done again and again.

========  =====================  =================================================================
phase     event                  what is done
========  =====================  =================================================================
a round   it returns             the next one is waited for, or begins at once if it is due
a round   it fails               ``on_error`` takes the error; without it, the runnable fails
a round   a stop is asked for    nothing: the round ends by itself, and is the last one
a round   forced                 it is cancelled
a wait    it is over             the next round begins
a wait    a stop, or forced      it ends at once, and there is no other round
========  =====================  =================================================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from nestling._kernel._checks import check_number, check_seconds, label_of
from nestling._kernel._functions import check_async
from nestling._kernel._interrupts import interruptible, protected, surely
from nestling._kernel._outcome import without_cancelled
from nestling._kernel._runnable import Runnable
from nestling._kernel._worker import WorkerHandle, worker
from nestling.supervise._chance import CHANCE
from nestling.supervise._on_error import OnError, check_on_error, hand_over


def every(
    seconds: float,
    fn: Callable[[], Awaitable[object]],
    *,
    jitter: float = 0,
    on_error: OnError | None = None,
) -> Runnable:
    """Do a job again and again: a round at once, and then one every so many seconds.

    Rounds never overlap. One that takes longer than that is followed by the next at once, and those
    that were missed are not made up for. A graceful stop lets the current round finish; between two
    rounds it ends the wait at once.

    Args:
        seconds: from the start of a round to the start of the next one.
        fn: one round.
        jitter: the largest part of the seconds that chance takes away or adds, from 0 to 1.
        on_error: takes the error of a round, after which it goes on; it may be async. Without it,
            an error ends the runnable; and so does an error of ``on_error`` itself. It never gets
            a KeyboardInterrupt, a SystemExit, or a group with one inside.

    Example::

        every(60, remove_expired, jitter=0.1, on_error=log.warning)

    Raises, when it runs, the callback's error, or else that of a round.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    check_async(fn, "fn of every()")
    asked = f"every({label_of(fn)!r})"
    check_seconds(seconds, f"seconds of {asked}")
    check_number(jitter, f"jitter of {asked}", least=0, most=1)
    check_on_error(on_error, f"on_error of {asked}")
    return worker(_Rounds(seconds, fn, jitter, on_error))


class _Rounds:
    """What a `worker` does for `every`; it appears under the name of what is done."""

    def __init__(
        self,
        seconds: float,
        fn: Callable[[], Awaitable[object]],
        jitter: float,
        on_error: OnError | None,
    ) -> None:
        self.__name__ = label_of(fn)
        self._seconds = seconds
        self._fn = fn
        self._jitter = jitter
        self._on_error = on_error

    @protected
    async def __call__(self, handle: WorkerHandle) -> None:
        handle.ready()
        due = trio.current_time()
        while not handle.stopping.is_set():
            await self._round()
            part = CHANCE.uniform(1 - self._jitter, 1 + self._jitter)
            due = max(due + self._seconds * part, trio.current_time())
            with handle.until_stopping():
                await trio.sleep_until(due)

    async def _round(self) -> None:
        error: BaseException | None = None
        try:
            await interruptible(self._fn)
        except BaseException as raised:
            error = without_cancelled(raised)
            if self._on_error is None or not isinstance(error, Exception):
                raise
            # A cancellation beside it is not lost: the next checkpoint raises it again.
            await surely(hand_over, self._on_error, error, "the round")
        finally:
            error = None
