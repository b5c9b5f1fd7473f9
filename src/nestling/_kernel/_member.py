"""How a group runs a member, said as data.

The general way to run a member is a task in which ``run`` waits in its callback. Many runnables
can do with less, and say so by a `Plan`: a `start_stop` needs no task while it runs, a `leaf` needs
one without a nursery of its own. A group knows nothing about kinds of runnables; it does what the
plans say.

===========  =========================================  ==========================================
a plan with  means                                      such as
===========  =========================================  ==========================================
start        awaited first; then the member runs        start_stop
foreground   runs in a task                             leaf, service, worker, and all others
ready        runs as soon as its foreground has begun   leaf
ask          called to stop it; then it ends by itself  worker, and all others
stop         awaited to stop it                         start_stop, leaf
none         stopped by cancelling the foreground       leaf without ``stop``, service
===========  =========================================  ==========================================
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal, Protocol

import attrs
import trio

from nestling._kernel._interrupts import protected
from nestling._kernel._node import Callback, Node, child_node, enter_node
from nestling._kernel._outcome import Returned, add_signature, first_error, note_suppressed


class Runner(Protocol):
    """Who runs a member, and is told how it fares.

    Attributes:
        stopping: what depends on the member is gone.
    """

    stopping: bool

    def member_runs(self, member: Member) -> None:
        """Note that a member is running."""
        ...

    def member_ends(self, member: Member, *, returned: bool) -> None:
        """Note that a member can no longer run, and waits for its dependents to be gone.

        Args:
            member: has been running.
            returned: something inside of it has returned, and nothing has failed.
        """
        ...


@attrs.frozen(kw_only=True, repr=False, eq=False)
class Plan:
    """What a group has to do for one member; the table above explains it.

    Attributes:
        label: what the member is called where it has no name.
        kind: what it is.
        name: the name that `named` gave it.
        is_node: the group makes its node; otherwise the member does that itself.
        on_return: what it means if the foreground returns before it is stopped.
    """

    label: str
    kind: str
    name: str | None = None
    is_node: bool = True
    start: Callable[[], Awaitable[object]] | None = None
    foreground: Callable[[Member], Awaitable[object]] | None = None
    ready: bool = False
    ask: Callable[[Member], None] | None = None
    stop: Callable[[], Awaitable[object]] | None = None
    on_return: Literal["stop", "stay", "fail"] = "stop"

    @property
    def ends_by_cancellation(self) -> bool:
        """To stop its foreground, it is cancelled, and nothing else is done."""
        return self.ask is None and self.stop is None


@attrs.define(repr=False, eq=False)
class Member:
    """One run of one member in a group.

    Attributes:
        phase: how far it has come. A finite job that is done is still running.
        live: how many of its tasks run, its start not counted.
        node: its node in the run tree, where the group has to make one.
        scope: around the foreground, where it may have to be cancelled alone.
        failure: what its start or its foreground raised.
        stop_failure: what its stop function raised.
        returned: its foreground has returned by itself: there is nothing to stop any more.
        asked: set when a member without a cheaper plan is to return from its callback.
        gone: set when it has ended, where somebody waits for that.
        custom: whatever the plan's functions keep for the run.
    """

    plan: Plan
    group: Runner
    phase: Literal["waiting", "starting", "running", "stopping", "ended"] = "waiting"
    live: int = 0
    node: Node | None = None
    scope: trio.CancelScope | None = None
    failure: BaseException | None = None
    stop_failure: BaseException | None = None
    returned: bool = False
    asked: trio.Event | None = None
    gone: trio.Event | None = None
    custom: object = None

    def ready(self) -> None:
        """Tell the group that the member runs."""
        self.group.member_runs(self)

    def enter(self, parent: Node | None) -> None:
        """Make its node, if it needs one, and report that it starts."""
        self.phase = "starting"
        plan = self.plan
        if plan.is_node and (plan.name is not None or (parent is not None and parent.watchers)):
            self.node = child_node(parent, plan.name or plan.label, plan.kind)
            self.node.claimed = True
            self.node.starting()

    def end(self) -> None:
        """Report that nothing of it is left."""
        if self.node is not None:
            error, others = self.errors()
            if self.phase == "running":
                self.node.stopping(error, by_itself=error is not None or self.returned)
            self.node.suppressed.extend(other for _, other in others)
            self.node.stopped(error)
        self.phase = "ended"

    def enter_node(self) -> None:
        """Let the rest of the current task run in the member's node."""
        if self.node is not None:
            enter_node(self.node)

    def errors(self) -> tuple[BaseException | None, list[tuple[str, BaseException]]]:
        """Choose the error of the member, as `leaf` and `start_stop` would, among all of them."""
        if self.failure is None and self.stop_failure is None:
            return None, []
        return first_error(
            [
                ("the stop function", self.stop_failure),
                (f"the {self.plan.kind}", self.failure),
            ]
        )

    def take_error(self) -> BaseException | None:
        """Return its error, signed and with notes of the others; keep none."""
        error, others = self.errors()
        if error is not None:
            note_suppressed(error, others)
            if self.plan.name is not None:
                add_signature(error, self.plan.name)
        self.failure = self.stop_failure = None
        return error

    @protected
    async def callback(self) -> None:
        """Be the callback of a member that is run by its ``run`` method."""
        self.asked = trio.Event()
        self.ready()
        try:
            await self.asked.wait()
        except trio.Cancelled as cancelled:
            # Something in the member has ended. Before its providers stop, what depends on the
            # group has to be gone.
            if not self.group.stopping:
                self.group.member_ends(self, returned=isinstance(cancelled.reason, Returned))
                with trio.CancelScope(shield=True):
                    await self.asked.wait()
            raise


def plan_of_any(run: Callable[[Callback], Awaitable[object]], label: str, kind: str) -> Plan:
    """Say how to run a member of which nothing more is known than the protocol."""
    return Plan(
        label=label,
        kind=kind,
        is_node=False,
        foreground=lambda member: run(member.callback),
        ask=return_from_callback,
    )


def return_from_callback(member: Member) -> None:
    """Stop a member that waits in `Member.callback`."""
    assert member.asked is not None
    member.asked.set()
