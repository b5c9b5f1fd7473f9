"""`Body`: the callback of a composition, scripted."""

from __future__ import annotations

from typing import Literal

import attrs
import trio

from nestling.testing._probe import note, wait

How = Literal["run", "running"]
"""How a composition is run: by its method, or around the body of a `running`."""


@attrs.frozen
class Body:
    """What a composition is run around.

    Attributes:
        seconds: how long it takes; ``math.inf`` for one that waits to be cancelled.
        fail: what it raises then, or None.
        ignore: seconds for which it ignores a cancellation.
        name: how it is called in events.
    """

    seconds: float = 1
    fail: BaseException | None = None
    ignore: float = 0
    name: str = "body"

    async def __call__(self) -> None:
        """Be the callback."""
        note(self.name, "starting")
        try:
            await wait(self.seconds)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await wait(self.ignore)
            note(self.name, "stopped, cancelled")
            raise
        if self.fail is not None:
            note(self.name, "stopped, failed")
            raise self.fail
        note(self.name, "stopped")
