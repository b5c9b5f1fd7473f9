"""One run of nodes in places: `graph`, `restart` and `Supervisor` act alike."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import trio

from nestling._kernel._errors import InvalidStateError
from nestling._kernel._kept import kept
from nestling._kernel._member import Plan
from nestling.supervise._happenings import (
    Action,
    Forget,
    Happening,
    Keep,
    Reply,
    StartWanted,
    StopWanted,
    Withdrawn,
)
from nestling.supervise._supervised_run import SupervisedRun
from nestling.supervise._supervised_state import SupervisedState
from nestling.supervise._waiting import Waiting


class RunOfPlaces(SupervisedRun):
    """One run of nodes in places, of which more can come, and some go.

    Args:
        kind: of the node in which it runs.
        state: decides.
    """

    def __init__(self, kind: str, state: SupervisedState[Any]) -> None:
        super().__init__(kind)
        self._state = state
        self._plans: dict[str, Plan] = {}
        self._waiting: dict[Waiting, str] = {}
        self._do |= {
            Reply: lambda action: action.to.answer(action.error),
            Forget: self._forget,
            Keep: lambda action: kept(action.error),
        }

    def decide(self, happening: Happening, now: float) -> Iterable[Action]:
        return self._state.decide(happening, now)

    def plan_of(self, name: str) -> Plan:
        return self._plans[name]

    def let_run(self, name: str, plan: Plan) -> None:
        """Say how to run what is in the place that is called ``name``."""
        self._plans[name] = plan

    async def start(self, name: str) -> None:
        """Start a node that is down, in its turn, and wait until it runs."""
        waiting = Waiting()
        self.tell(StartWanted(name, waiting))
        try:
            await self._wait_for(waiting, f"start {name!r}")
        finally:
            if not waiting.is_answered:
                self.tell(Withdrawn(name, waiting))

    def starting_around(self) -> list[str]:
        """Return the names of those that are starting, and inside of which this is called."""
        task = trio.lowlevel.current_task()
        return [
            name
            for name, place in self._state.places.items()
            if place.phase == "starting" and self._incarnations[name].is_around(task)
        ]

    async def start_new(self, name: str) -> None:
        """Do the same with a node that was just added; if the wait is given up, it is removed."""
        place = self._state.places[name]
        try:
            await self.start(name)
        except (trio.Cancelled, KeyboardInterrupt):
            if self._state.places.get(name) is place:
                with trio.CancelScope(shield=True):
                    await self.stop(name, forget=True)
            raise

    async def stop(self, name: str, *, forget: bool) -> None:
        """Stop a node, and wait until it has stopped.

        Args:
            name: of the node.
            forget: it is removed then.
        """
        incarnation = self._incarnations.get(name)
        if incarnation is not None and incarnation.is_around(trio.lowlevel.current_task()):
            raise InvalidStateError(
                f"cannot stop {name!r} from inside of it: it would wait for its own end; "
                f"return, raise, or stop it from another task"
            )
        waiting = Waiting()
        self.tell(StopWanted(name, waiting, forget))
        await self._wait_for(waiting, f"stop {name!r}")

    async def _wait_for(self, waiting: Waiting, wanted: str) -> None:
        self._waiting[waiting] = wanted
        try:
            if self.broke:
                self._answer_all()
            await waiting.wait()
        finally:
            del self._waiting[waiting]

    def _break(self, problem: BaseException) -> None:
        super()._break(problem)
        self._answer_all()

    def _answer_all(self) -> None:
        for waiting, wanted in self._waiting.items():
            why = f"deciding what its {self._state.kind} is to do has failed, which ends it"
            waiting.answer(InvalidStateError(f"cannot {wanted}: {why}"))

    def _forget(self, action: Forget) -> None:
        del self._plans[action.name]
        self._incarnations.pop(action.name, None)
