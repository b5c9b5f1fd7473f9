"""One run of what is supervised: a thin loop around a pure function that decides.

What happens is told to it, which asks what is to be done, and does it. It all
runs below the task of one provider (see ``_kernel/_provider.py``), so the callback depends on all
of it; and each incarnation is below a shield of its own, so that the order of what is stopped is
decided here as well where it is cancelled from outside.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

import trio

from nestling._kernel._events import Restarting
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback, Node, child_node, claim, current_node, settle
from nestling._kernel._outcome import raise_again, summary
from nestling._kernel._provider import Provider
from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CallBack,
    CancelCallback,
    Cancelled,
    Due,
    Ended,
    Finish,
    Force,
    Happening,
    Restart,
    Start,
    StopAsked,
    StopWaiting,
)
from nestling.supervise._incarnation import Incarnation


class SupervisedRun(ABC):
    """One run of several nodes; ``kind`` is that of the node in which it runs."""

    def __init__(self, kind: str) -> None:
        self._provider = Provider(self._provide, kind, "", stop=self._ask)
        self._incarnations: dict[str, Incarnation] = {}
        self._waits: dict[str, trio.CancelScope] = {}
        self._happened = deque[Happening]()
        self._deciding = False
        self._broke: list[tuple[str, BaseException]] = []
        self.has_begun = False
        self._over = trio.Event()
        self._watch_scope = trio.CancelScope()
        self._do: dict[type, Callable[[Any], object]] = {
            Start: self._start,
            Ask: lambda action: self._incarnations[action.name].ask(),
            Force: lambda action: self._incarnations[action.name].force(action.reason),
            Restart: self._restart,
            StopWaiting: lambda action: self._waits.pop(action.name).cancel("it is stopped"),
            CallBack: lambda _: self._provider.ready(),
            CancelCallback: lambda action: self._provider.cancel_callback(action.reason),
            Finish: lambda _: self._over.set(),
        }

    @abstractmethod
    def decide(self, happening: Happening, now: float) -> Iterable[Action]:
        """Take notice of what has happened; return what is to be done."""

    @abstractmethod
    def plan_of(self, name: str) -> Plan:
        """Return how a node is run."""

    @abstractmethod
    def raise_failures(self) -> None:
        """Raise what came of it, if that is an error; keep none."""

    async def run(self, f: Callback) -> None:
        """Start the nodes, call ``f``, stop the nodes."""
        claim()
        self._provider.may_end_early()
        try:
            await self._provider.run(f)
        finally:
            self._incarnations.clear()

    def tell(self, happening: Happening) -> None:
        """Decide about what has happened; and then about what happens by that, in turn."""
        self._happened.append(happening)
        if self._deciding:
            return
        self._deciding = True
        while self._happened:
            happening = self._happened.popleft()
            try:
                if not self._broke:
                    for action in self.decide(happening, trio.current_time()):
                        self._do[type(action)](action)
            except BaseException as problem:
                self._break(problem)
            if self._broke and isinstance(happening, Ended) and happening.error is not None:
                self._broke.append((happening.name, happening.error))
        self._deciding = False

    @property
    def broke(self) -> bool:
        """Whether all of it was ended, since it cannot be decided any more what is to be done."""
        return bool(self._broke)

    def _break(self, problem: BaseException) -> None:
        """End all of it at once: nobody can tell any more what is to be done, and in which order.

        That is a defect, here or in a policy of the user's own. It is to come out, and not to
        become a hang.
        """
        self._broke.append(("deciding", problem))
        reason = f"forced, since deciding what is to be done has failed: {summary(problem)}"
        self._provider.cancel_callback(reason)
        for incarnation in [*self._incarnations.values()]:
            incarnation.force(reason)
        for wait in self._waits.values():
            wait.cancel(reason)
        self._over.set()

    async def _provide(self) -> None:
        self._parent = current_node()
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._watch, name="the watch for a cancellation")
            with trio.CancelScope(shield=True):
                self.has_begun = True
                self.tell(Began())
                await self._over.wait()
            self._watch_scope.cancel("all have ended")
        try:
            self.raise_failures()
        except BaseException as failures:
            if not self._broke:
                raise
            self._broke.append(("before that", failures))
        self._raise_what_broke()

    def _raise_what_broke(self) -> None:
        broke, self._broke = self._broke, []
        error = settle(broke)
        try:
            if error is not None:
                raise_again(error)
        finally:
            broke.clear()
            del error

    @protected
    async def _ask(self) -> None:
        self.tell(StopAsked())

    @protected
    async def _watch(self) -> None:
        try:
            with self._watch_scope:
                await trio.sleep_forever()
        except trio.Cancelled as exception:
            # Not swallowed: the scope that it belongs to is further out, and is seen again there.
            self.tell(Cancelled(exception.reason or str(exception)))

    def _start(self, action: Start) -> None:
        plan = self.plan_of(action.name)
        incarnation = Incarnation(action.name, plan, self._parent, self._nursery, self.tell)
        self._incarnations[action.name] = incarnation
        incarnation.start()

    def _restart(self, action: Restart) -> None:
        node = self._node_of(action.name)
        if node.observer is not None:
            now = trio.current_time()
            node.emit(Restarting(node, now, action.attempt, action.delay, action.error))
        scope = trio.CancelScope(shield=True)
        self._waits[action.name] = scope
        self._nursery.start_soon(
            self._wait, action.name, action.delay, scope, name=f"{action.name}, before its restart"
        )

    def _node_of(self, name: str) -> Node:
        plan = self.plan_of(name)
        return child_node(self._parent, plan.name or plan.label, plan.kind)

    @protected
    async def _wait(self, name: str, delay: float, scope: trio.CancelScope) -> None:
        with scope:
            await trio.sleep(delay)
        if not scope.cancelled_caught:
            del self._waits[name]
            self.tell(Due(name))
