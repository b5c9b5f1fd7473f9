"""One run of a controller and of all its dependents: does what `decide` says."""

from __future__ import annotations

from collections.abc import Iterable

import trio

from nestling._kernel._group import raise_all
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Member, Plan, return_from_callback
from nestling._kernel._node import Node, child_node, enter_node
from nestling._kernel._outcome import Returned, add_signature, forces, is_error
from nestling._kernel._process import Process
from nestling._kernel._runnable import Composed
from nestling._kernel._states import State
from nestling.supervise._closing import Closing
from nestling.supervise._controller_state import ControllerState, Phase, Place, decide
from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CannotRun,
    Ended,
    Force,
    Happening,
    Ran,
    Start,
)
from nestling.supervise._incarnation import Incarnation, Tell
from nestling.supervise._supervised_run import SupervisedRun


class Launched(Process):
    """A process below a shield, of which a controller decides when it stops.

    A part of it that returns ends all of it at once: it is simply over. If a part fails, the others
    are held until they are asked to stop, since what depends on the controller depends on them.

    =================  =============================================================================
    it ends            who gets its error
    =================  =============================================================================
    while it starts    who has launched it
    stopped by a call  who has called `stop`
    otherwise          the controller
    by an interrupt    the controller, in any case; and the others all the same
    =================  =============================================================================

    Args:
        r: what is run.
        name: under which it is told of.
        nursery: where its task runs.
        node: the node in which it runs.
        tell: is told what happens to it.
    """

    def __init__(
        self, r: Composed, name: str, nursery: trio.Nursery, node: Node | None, tell: Tell
    ) -> None:
        super().__init__(nursery, r)
        self._told_as = name
        self._node = node
        self._tell = tell
        self._has_caller = True
        # What needs no callback of its own is made of nothing that would be left.
        self._has_parts = r.plan().ask is return_from_callback
        self._scope.shield = True

    def hand_out(self) -> None:
        """Note that who has launched it has got it, and waits for it no more."""
        self._has_caller = False
        if self._state is not State.STOPPED:
            self._tell(Ran(self._told_as))

    def ask(self) -> None:
        """Ask it to stop; if it is still starting, cancel that."""
        action = self._step("stop", "stop").action
        self._stopping = True
        if action == "cancel":
            self._scope.cancel(f"the start of {self._told_as!r} is given up")
        else:
            self._asked.set()

    async def callback(self) -> None:
        try:
            try:
                await super().callback()
            except trio.Cancelled as cancelled:
                failed = not isinstance(cancelled.reason, Returned)
                if failed and self._has_parts and not self._stopping:
                    self._tell(CannotRun(self._told_as))
                    with trio.CancelScope(shield=True):
                        await self._asked.wait()
                raise
        finally:
            del self

    def force(self, reason: str) -> None:
        """Cancel it."""
        self._give_up(reason)

    def _keep(self, error: BaseException) -> None:
        if self._has_caller:
            super()._keep(error)

    async def _wait_or_cancel(
        self, event: trio.Event, reason: str, *, starts: bool = False
    ) -> None:
        self._has_caller = True
        waiting = super()._wait_or_cancel(event, reason, starts=starts)
        del self  # whoever keeps an error keeps this frame: let it not keep the process in turn
        await waiting

    @protected
    async def _run(self) -> None:
        enter_node(self._node)
        running = super()._run()
        cancelled = False
        try:
            try:
                await running
            except BaseException as exception:
                # Not raised into the nursery: an error is told, and so is a stray Cancelled.
                cancelled = not is_error(exception)
            error = None if self._has_caller and not forces(self._error) else self._error
            self._tell(Ended(self._told_as, error, cancelled))
        finally:
            error = None
            del self


class ControllerRun(SupervisedRun):
    """One run of a controller.

    What was bound is closed as an incarnation: it is shielded, forced and told of as such.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.state = ControllerState()
        self._launched: dict[str, Launched] = {}
        self._bound: dict[Place, list[object]] = {}
        self._closings: dict[Place, Closing] = {}
        self._nodes: dict[Place, Node | None] = {}
        self._do[Ask] = lambda action: self._launched[action.name].ask()
        self._do[Force] = self._force

    def depend(self, around: Place, name: str | None) -> Place:
        """Add a dependent; while it runs, that runs as well."""
        place = self.state.depend(around, name)
        if self.state.mode == "up":
            self._open(place)
        return place

    def bind(self, place: Place, resources: Iterable[object]) -> None:
        """Close resources when what was launched at a place is gone."""
        closing = self._closings.get(place)
        for resource in resources:
            if closing is None:
                self._bound.setdefault(place, []).append(resource)
                place.holds = True
            else:
                closing.add(resource)

    def launch(self, place: Place, r: Composed) -> Launched:
        """Make a process at a place, which is not started yet."""
        name = self.state.launch(place, r.label or r.kind)
        process = Launched(r, name, self._nursery, self._nodes[place], self.tell)
        self._launched[name] = process
        return process

    def decide(self, happening: Happening, now: float) -> list[Action]:
        if isinstance(happening, Began):
            for place in self.state.root.outermost_first():
                self._open(place)
        elif isinstance(happening, Ended):
            self._launched.pop(happening.name, None)
            self._sign(happening)
        del now  # nothing waits
        actions = decide(self.state, happening)
        changes, self.state.changes = self.state.changes, []
        for place, phase in changes:
            self._report(place, phase)
        return actions

    def plan_of(self, name: str) -> Plan:
        place = self.state.places[name]

        async def close(_: Member) -> None:
            async with Closing(*self._bound[place]) as self._closings[place]:
                pass

        return Plan(label="closing", kind="closing", foreground=close, ready=True)

    def raise_failures(self) -> None:
        failures = self.state.take_failures()
        if failures:
            raise_all(failures, "below the controller")

    def _open(self, place: Place) -> None:
        node = self._parent
        if place.around is not None:
            node = child_node(self._nodes[place.around], place.label, "controller")
            node.claimed = True
            node.starting()
            node.running()
        self._nodes[place] = node

    def _report(self, place: Place, phase: Phase) -> None:
        node = self._nodes[place]
        if node is None or place.around is None:
            return
        if phase == "stopping":
            node.stopping()
        elif phase == "over":
            node.stopped()

    def _sign(self, ended: Ended) -> None:
        """Leave the names of dependents on what comes out of them."""
        place = self.state.places[ended.name]
        while place.around is not None and ended.error is not None:
            add_signature(ended.error, place.label)
            place = place.around

    def _start(self, action: Start) -> None:
        node = self._nodes[self.state.places[action.name]]
        closing = Incarnation(
            action.name, self.plan_of(action.name), node, self._nursery, self.tell
        )
        self._incarnations[action.name] = closing
        closing.start()

    def _force(self, action: Force) -> None:
        forced = self._launched.get(action.name) or self._incarnations[action.name]
        forced.force(action.reason)
