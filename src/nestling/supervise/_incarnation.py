"""One run of a runnable in tasks of its own, below a shield, which others decide about.

==========  ==================================  ==================================================
phase       event                               what is done
==========  ==================================  ==================================================
starting    it is ready                         told: it runs
starting    asked to stop                       its start is cancelled
running     something inside of it has ended    told: it cannot run; it waits to be asked
running     asked to stop                       it stops gracefully, in the way that its plan says
any         forced                              it is cancelled; a stop function runs cancelled
any         its last task is over               told: it has ended
==========  ==================================  ==================================================

No cancellation from outside reaches it by itself: whoever decides forces it, once its dependents
are gone (law 1).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import cast

import trio

from nestling._kernel._deadlock import tasks_around
from nestling._kernel._errors import ExitedBeforeRunningError, UnexpectedReturnError
from nestling._kernel._interrupts import protected, surely
from nestling._kernel._member import Member, Plan, plan_of_any, return_from_callback
from nestling._kernel._node import Node
from nestling._kernel._outcome import summary, without_cancelled
from nestling._kernel._runnable import Composed
from nestling.supervise._happenings import CannotRun, Ended, Happening, Ran

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Tell = Callable[[Happening], None]


def plan_of(r: Composed) -> Plan:
    """Return how to run ``r`` in one task, or in one and another for its stop function."""
    plan = r.plan()
    if plan.foreground is not None:
        return plan
    return plan_of_any(r.run, r.label or r.kind, r.kind)


class Incarnation:
    """One run of a runnable.

    Args:
        name: under which it is told of.
        plan: how it is run, see `plan_of`.
        parent: the node in which it runs.
        nursery: where its tasks run.
        tell: is told what happens to it.
    """

    __slots__ = (
        "_cancelled",
        "_forced",
        "_member",
        "_name",
        "_nursery",
        "_scope",
        "_stop_scope",
        "_stop_task",
        "_task",
        "_tell",
        "_waits",
        "stopping",
    )

    def __init__(
        self, name: str, plan: Plan, parent: Node | None, nursery: trio.Nursery, tell: Tell
    ) -> None:
        self.stopping = False
        self._name = name
        self._nursery = nursery
        self._tell = tell
        self._member = Member(plan, self)
        self._scope = trio.CancelScope(shield=True)
        self._stop_scope: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None
        self._stop_task: trio.lowlevel.Task | None = None
        self._forced: str | None = None
        self._waits = False
        self._cancelled = False
        self._member.enter(parent)

    def start(self) -> None:
        """Start it."""
        plan = self._member.plan
        self._member.live = 1
        self._nursery.start_soon(self._foreground, name=plan.name or plan.label)
        if plan.ready:
            self.member_runs(self._member)

    def ask(self) -> None:
        """Ask it to stop; if it is still starting, cancel that. A second time does nothing."""
        if not self.stopping:
            self.stopping = True
            if self._member.phase == "starting":
                self._scope.cancel(f"the start of {self._name!r} is given up")
            else:
                self._stop()

    def force(self, reason: str) -> None:
        """Cancel it."""
        if self._forced is None:
            self._forced = reason
            self._scope.cancel(reason)
            if self._stop_scope is not None:
                self._stop_scope.cancel(reason)
            self.ask()

    def is_around(self, task: trio.lowlevel.Task) -> bool:
        """Tell whether ``task`` runs inside of it."""
        return any(each in (self._task, self._stop_task) for each in tasks_around(task))

    def member_runs(self, member: Member) -> None:
        """Note that it is ready."""
        member.phase = "running"
        if member.node is not None:
            member.node.running()
        if self.stopping:
            # Its start was cancelled, and it has not noticed, or was too far to be cancelled.
            self._stop()
        else:
            self._tell(Ran(self._name))

    def member_ends(self, member: Member, *, returned: bool) -> None:
        """Note that something inside of it has ended."""
        del member, returned  # what has come of it is told at its end
        self._waits = True
        self._tell(CannotRun(self._name))

    def _stop(self) -> None:
        member, plan = self._member, self._member.plan
        if member.phase != "running":
            return
        member.phase = "stopping"
        if member.node is not None:
            member.node.stopping()
        if self._waits:
            return_from_callback(member)
        elif plan.stop is not None and not member.returned:
            member.live += 1
            self._stop_scope = trio.CancelScope(shield=True)
            if self._forced is not None:
                self._stop_scope.cancel(self._forced)
            self._nursery.start_soon(self._call_stop, self._stop_scope, name=plan.label)
        elif not member.live:
            self._end()
        elif plan.ask is not None:
            plan.ask(member)
        else:
            self._scope.cancel(f"{self._name!r} is stopped")

    @protected
    async def _foreground(self) -> None:
        member = self._member
        member.enter_node()
        self._task = trio.lowlevel.current_task()
        assert member.plan.foreground is not None
        try:
            with self._scope:
                await member.plan.foreground(member)
            if not self.stopping:
                self._returned()
        except BaseException as exception:
            member.failure = without_cancelled(exception)
            self._cancelled = _holds_cancelled(exception)
        member.live -= 1
        if member.phase == "running" and not self._cancelled and member.failure is None:
            member.returned = member.plan.on_return != "stay"
            if not member.returned:
                return  # a finite job is done, and stays
        self._end()

    def _returned(self) -> None:
        member = self._member
        if member.phase == "starting" and member.plan.is_node:
            raise ExitedBeforeRunningError(f"{self._name!r} ended before it was running")
        if member.phase == "running" and member.plan.on_return == "fail":
            raise UnexpectedReturnError(f"{self._name!r} returned before it was stopped")

    @protected
    async def _call_stop(self, scope: trio.CancelScope) -> None:
        member = self._member
        member.enter_node()
        self._stop_task = trio.lowlevel.current_task()
        assert member.plan.stop is not None
        try:
            with scope:
                await surely(member.plan.stop)
            if scope.cancelled_caught:
                self._scope.cancel(f"the stop function of {self._name!r} was cancelled")
        except BaseException as exception:
            member.stop_failure = without_cancelled(exception)
            self._scope.cancel(f"the stop function failed: {summary(exception)}")
        member.live -= 1
        self._end()

    def _end(self) -> None:
        member = self._member
        if not member.live and member.phase != "ended":
            self._task = self._stop_task = None
            member.end()
            ended = Ended(self._name, member.take_error(), self._cancelled)
            self._tell(ended)


def _holds_cancelled(exception: BaseException) -> bool:
    if not isinstance(exception, BaseExceptionGroup):
        return isinstance(exception, trio.Cancelled)
    group = cast("BaseExceptionGroup[BaseException]", exception)
    return any(map(_holds_cancelled, group.exceptions))
