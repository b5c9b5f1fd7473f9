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
from typing import TYPE_CHECKING, Literal

import attrs
import trio

from nestling._kernel._interrupts import protected
from nestling._kernel._node import Callback, Node

if TYPE_CHECKING:
    from nestling._kernel._group import Group


@attrs.frozen(kw_only=True)
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


@attrs.define(eq=False)
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
    group: Group
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

    @protected
    async def callback(self) -> None:
        """Be the callback of a member that is run by its ``run`` method."""
        self.asked = trio.Event()
        self.ready()
        try:
            await self.asked.wait()
        except trio.Cancelled:
            # Something in the member has ended. Before its providers stop, what depends on the
            # group has to be gone.
            if not self.group.stopping:
                self.group.member_ends(self)
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
