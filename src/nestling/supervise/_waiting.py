"""Who waits for an answer."""

from __future__ import annotations

import trio

from nestling._kernel._outcome import raise_again


class Waiting:
    """Waits until what was wanted is done, or cannot be done."""

    def __init__(self) -> None:
        self._answered = trio.Event()
        self._error: BaseException | None = None

    def answer(self, error: BaseException | None) -> None:
        """Let it go on, or raise ``error``."""
        self._error = error
        self._answered.set()

    async def wait(self) -> None:
        """Wait for the answer.

        Where it has come when the wait is cancelled, it counts: what was wanted is done already,
        and an error is not hidden (law 3). The next checkpoint raises the cancellation again.
        """
        try:
            await self._answered.wait()
        except trio.Cancelled:
            if not self._answered.is_set():
                raise
        error, self._error = self._error, None
        if error is not None:
            try:
                raise_again(error)
            finally:
                del error
