"""`parallel`: members that start all at once, and stop all at once."""

from __future__ import annotations

import attrs

from nestling._kernel._foreign import accept_all
from nestling._kernel._group import Group
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback
from nestling._kernel._nop import nop
from nestling._kernel._runnable import Composed, Runnable


def parallel(*runnables: Runnable) -> Runnable:
    """Run several runnables at the same time.

    Starts all at once, calls back when all run, stops all at once. If one fails to start, those
    that are still starting are cancelled, and those that run are stopped gracefully. If one ends
    before the callback has returned, the callback is cancelled, and then the others are stopped
    gracefully.

    Without arguments it is `nop`; with one argument it is that argument itself.

    Raises, when it runs, the callback's error, bare; or else an `ExceptionGroup` of the members'
    errors, also where only one has failed, whose message counts and names them.

    Example::

        parallel(named("http", http), named("mailer", mailer))
    """
    members = accept_all("parallel", runnables)
    if len(runnables) == 1:
        return runnables[0]
    plans = tuple([member.plan() for member in members])
    return Parallel(members, plans) if members else nop()


@attrs.frozen(repr=False, eq=False)
class Parallel(Composed):
    kind = "parallel"

    _members: tuple[Composed, ...]
    _plans: tuple[Plan, ...]

    @property
    def parts(self) -> tuple[Composed, ...]:
        return self._members

    def with_parts(self, *parts: Runnable) -> Runnable:
        return parallel(*parts)

    @protected
    async def run(self, f: Callback, /) -> None:
        await _ParallelRun(self.kind, self._plans).run(f)


class _ParallelRun(Group):
    async def start(self) -> None:
        for member in self.members:
            self.begin(member, alone=False)
        if self.not_running:
            await self.settled.wait()

    def give_up(self) -> None:
        self.together.cancel_scope.cancel(f"{self.where} stops its members")
        for member in self.members:
            self.begin_to_stop(member)
