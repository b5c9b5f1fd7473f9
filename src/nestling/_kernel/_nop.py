"""`nop`: nothing, as a runnable; what a group of none is."""

from __future__ import annotations

import trio

from nestling._kernel._interrupts import called_back, protected
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback, claim
from nestling._kernel._runnable import Composed, Runnable


def nop() -> Runnable:
    """Make a runnable that does nothing but await its callback.

    Example::

        debugger = remote_debugger() if settings.debug else nop()
    """
    return Nop()


class Nop(Composed):
    kind = "nop"

    @protected
    async def run(self, f: Callback, /) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        claim()
        await called_back(f)

    def plan(self) -> Plan:
        return Plan(label=self.kind, kind=self.kind, is_node=False)
