"""Who waits for an answer.

==================================  ==============================================================
it waits, and                       outcome
==================================  ==============================================================
the answer comes                    it goes on, or raises the error that the answer is
it is cancelled, or interrupted     that comes out
the answer comes, and before it     the answer counts: what was wanted is done, and an error is not
goes on it is cancelled             hidden (law 3); the next checkpoint raises the cancellation
                                    again
the answer comes, and before it     the interrupt comes out, which nobody raises again (law 4), with
goes on it is interrupted           a note of an error that the answer is
==================================  ==============================================================
"""

from __future__ import annotations

import trio

from nestling._kernel._node import settle
from nestling._kernel._outcome import raise_again, without_cancelled


class Waiting:
    """Waits until what was wanted is done, or cannot be done."""

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._error: BaseException | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the answer is there."""
        return self._answered.is_set()

    def answer(self, error: BaseException | None) -> None:
        """Let it go on, or raise ``error``."""
        self._error = error
        self._answered.set()

    async def wait(self) -> None:
        """Wait for the answer."""
        interrupt: BaseException | None = None
        try:
            await self._answered.wait()
        except BaseException as exception:
            if not self._answered.is_set():
                raise
            interrupt = without_cancelled(exception)
        error = settle([("the wait", interrupt), ("what it waited for", self._error)])
        self._error = None
        try:
            if error is not None:
                raise_again(error)
        finally:
            del error, interrupt
