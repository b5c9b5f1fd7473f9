"""`sequential`: members that start one after the other, and stop one after the other."""

from __future__ import annotations

from contextlib import suppress
from typing import Literal

import attrs
import trio

from nestling._kernel._checks import check_choice
from nestling._kernel._foreign import accept_all
from nestling._kernel._group import Group
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Member, Plan
from nestling._kernel._node import Callback
from nestling._kernel._nop import nop
from nestling._kernel._runnable import Composed, Runnable

StopOrder = Literal["forward", "reverse"]


def sequential(*runnables: Runnable, stop_order: StopOrder = "forward") -> Runnable:
    """Run several runnables, started and stopped one after the other.

    What `parallel` promises holds here, too. Each member is started when the one before runs; after
    a failure none is started. They are stopped in the same order, each when the one before has
    ended, or in ``"reverse"``. In contrast to a `chain`, the members do not depend on one another:
    when the run is cancelled, it reaches all of them at once.

    Without arguments it is `nop`; with one argument it is that argument itself.

    Example::

        sequential(migrate, warm_up_cache, stop_order="reverse")
    """
    members = accept_all("sequential", runnables)
    check_choice(stop_order, "stop_order of sequential()", ("forward", "reverse"))
    if len(runnables) == 1:
        return runnables[0]
    plans = tuple([member.plan() for member in members])
    return Sequential(members, plans, stop_order) if members else nop()


@attrs.frozen(repr=False, eq=False)
class Sequential(Composed):
    kind = "sequential"

    _members: tuple[Composed, ...]
    _plans: tuple[Plan, ...]
    stop_order: StopOrder

    @property
    def parts(self) -> tuple[Composed, ...]:
        return self._members

    def with_parts(self, *parts: Runnable) -> Runnable:
        return sequential(*parts, stop_order=self.stop_order)

    @protected
    async def run(self, f: Callback, /) -> None:
        await _SequentialRun(self.kind, self._plans, self.stop_order).run(f)

    def __repr__(self) -> str:
        members = ", ".join(map(repr, self.parts))
        order = "" if self.stop_order == "forward" else f", stop_order={self.stop_order!r}"
        return f"sequential({members}{order})"


class _SequentialRun(Group):
    def __init__(self, kind: str, plans: tuple[Plan, ...], stop_order: StopOrder) -> None:
        super().__init__(kind, plans)
        self._stop_order = stop_order
        self._turn: trio.Event | None = None

    async def start(self) -> None:
        for member in self.members:
            self.begin(member, alone=True)
            if member.phase == "starting":
                self._turn = trio.Event()
                await self._turn.wait()
            if self.aborted:
                return

    def member_runs(self, member: Member) -> None:
        super().member_runs(member)
        self._next()

    def abort(self) -> None:
        super().abort()
        self._next()

    def _next(self) -> None:
        if self._turn is not None:
            self._turn.set()

    def give_up(self) -> None:
        self.together.cancel_scope.cancel(f"{self.where} gives up its start")
        for member in self.members:
            if member.phase == "starting":
                self.begin_to_stop(member)

    async def stop(self) -> None:
        in_order = self.members if self._stop_order == "forward" else reversed(self.members)
        for member in in_order:
            self.begin_to_stop(member)
            if member.live:
                member.gone = trio.Event()
                # Once it is cancelled there is no order left: all are told at once.
                with suppress(trio.Cancelled):
                    await member.gone.wait()
