"""What a graph decides: a pure function of its state and of what has happened.

A place is where a node runs, again and again. ``up`` stands for a graph that starts or runs.

========  ======================  ================================================================
a place   event                   what is done
========  ======================  ================================================================
down      all it requires run     up: it is started, unless one of them is to be taken down
starting  it runs                 its dependents may start; after the last, the callback is entered
alive     it ends by itself       up: as its policy says, it waits before a restart, and what
                                  requires it is taken down from the top; or else the graph ends
running   something in it ended   the same; it is asked once its dependents are gone
leaving   its last dependent is   it is asked
          gone
stopping  it ends                 up: it starts again when all that it requires run again
waiting   its delay is over       it is down: it starts once what it requires runs, and its last
                                  dependent is gone
any       all are stopped         nothing starts; each is asked, or forced, when its last dependent
                                  is gone
========  ======================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from nestling._kernel._errors import InvalidGraphError
from nestling.supervise._happenings import Action, Ended, Restart
from nestling.supervise._intensity import Intensity, Series, next_delay
from nestling.supervise._place import Phase, Place
from nestling.supervise._policy import RestartPolicy
from nestling.supervise._supervised_state import SupervisedState, returned


@attrs.define(eq=False)
class NodePlace(Place):
    """Where a node of a graph runs.

    Attributes:
        requires: what it needs.
        dependents: what needs it.
        missing: how many of those that it requires do not run, or not for long.
        holding: how many of its dependents are alive, or hold it for others that are.
        holds: it is counted so in what it requires.
        intensity: counts its restarts, if there were any.
    """

    policy: RestartPolicy | None
    requires: list[NodePlace] = attrs.field(factory=list["NodePlace"], init=False)
    dependents: list[NodePlace] = attrs.field(factory=list["NodePlace"], init=False)
    missing: int = attrs.field(default=0, init=False)
    holding: int = attrs.field(default=0, init=False)
    holds: bool = attrs.field(default=False, init=False)
    intensity: Intensity | None = attrs.field(default=None, init=False)

    @property
    def stays(self) -> bool:
        """Whether it runs, and is not about to be taken down."""
        return self.phase == "running" and not self.leaving


class GraphState(SupervisedState[NodePlace]):
    """The state of one run of a graph."""

    kind = "graph"

    def __init__(self) -> None:
        super().__init__()
        self._missing = 0

    def add(self, *nodes: tuple[str, Iterable[str], RestartPolicy | None]) -> None:
        """Add nodes, which are down: their names, what they require, and their policies."""
        for name, _, policy in nodes:
            self.places[name] = NodePlace(name, policy)
        for name, requires, _ in nodes:
            place = self.places[name]
            place.requires = [self.places[each] for each in requires]
            for provider in place.requires:
                provider.dependents.append(place)
                if not provider.stays:
                    place.missing += 1
        self._missing += len(nodes)

    def requires(self, names: Iterable[str], wanted: str) -> bool:
        """Tell whether one of ``names`` is ``wanted``, or requires it, be it through others."""
        todo = [self.places[name] for name in names]
        seen: set[str] = set()
        while todo:
            place = todo.pop()
            if place.name == wanted:
                return True
            if place.name not in seen:
                seen.add(place.name)
                todo += place.requires
        return False

    def take_failures(self) -> list[tuple[str, BaseException]]:
        for place in self.places.values():
            place.intensity = None
        return super().take_failures()

    def _began(self) -> list[Action]:
        actions = self._maybe_call_back()
        for place in self.places.values():
            actions += self._maybe_start(place)
        return actions

    def _removed(self, place: NodePlace) -> list[Action]:
        self._missing -= 1
        for provider in place.requires:
            provider.dependents.remove(place)
        actions: list[Action] = []
        for dependent in [*place.dependents]:  # they wait for it to run for the first time
            why = f"node {dependent.name!r} requires {place.name!r}, which did not come to run"
            dependent.forget = True
            actions += dependent.answer_starts(InvalidGraphError(why))
            actions += self._remove(dependent)
        return actions

    # One place ------------------------------------------------------------------------------------

    def _maybe_start(self, place: NodePlace) -> list[Action]:
        blocked = place.missing or place.holding or place.forget
        if self.mode != "up" or place.phase != "down" or blocked:
            return []
        place.holds = True
        for provider in place.requires:
            provider.holding += 1
        return self._start(place)

    def _up(self, place: NodePlace) -> list[Action]:
        self._missing -= 1
        actions = self._maybe_call_back()
        for dependent in place.dependents:
            dependent.missing -= 1
            if not dependent.missing:
                actions += self._maybe_start(dependent)
        return actions

    def _maybe_call_back(self) -> list[Action]:
        if self._missing or self.ready or self.mode != "up":
            return []
        return self._call_back()

    def _move(self, place: NodePlace, phase: Phase) -> None:
        if self.mode == "up" and place.stays:  # later on, nothing starts
            self._misses(place)
        place.phase, place.since = phase, self.now

    def _misses(self, place: NodePlace) -> None:
        self._missing += 1
        for dependent in place.dependents:
            dependent.missing += 1

    def _cannot_run(self, place: NodePlace) -> list[Action]:
        self._move(place, "ending")
        place.ended_itself = True
        if self.mode != "up":
            return []
        if place.policy is None and not place.start_replies:
            return self._end_all(place, f"{place.name!r} is ending")
        return [*self._take_down(place.dependents), *self._let_go(place)]

    def _due(self, place: NodePlace) -> list[Action]:
        self._move(place, "down")
        return self._maybe_start(place)

    # A node has ended -----------------------------------------------------------------------------

    def _over(self, place: NodePlace, ended: Ended, *, asked: bool) -> list[Action]:
        error, policy = ended.error, place.policy
        if asked and error is None and not ended.cancelled:
            return []
        if policy is not None and not ended.cancelled and policy.applies_to(error):
            delay = self._delay(place, policy, error)
            if not isinstance(delay, BaseException):
                return self._start_anew(place, delay, error)
            error = delay
        if error is not None:
            return self._fails(place, error)
        how = "was cancelled" if ended.cancelled else "has returned"
        return self._end_all(place, f"{place.name!r} {how}")

    def _delay(
        self, place: NodePlace, policy: RestartPolicy, error: BaseException | None
    ) -> float | BaseException:
        if place.series is None or place.intensity is None:
            place.series = Series(policy.backoff)
            place.intensity = Intensity(policy.limit, policy.period)
        failure = error if isinstance(error, Exception) else returned(place)
        return next_delay(place.series, place.intensity, self.now, failure, repr(place.name))

    def _start_anew(
        self, place: NodePlace, delay: float, error: BaseException | None
    ) -> list[Action]:
        assert place.series is not None
        self._move(place, "waiting")
        restart = Restart(place.name, place.series.attempt, delay, error)
        return [restart, *self._take_down(place.dependents)]

    # Several places -------------------------------------------------------------------------------

    def _down(self, place: NodePlace) -> list[Action]:
        actions = self._let_go(place)
        if not self._missing:
            actions += self._maybe_call_back()
        if not self.alive:
            actions += self._finish()
        return actions

    def _let_go(self, place: NodePlace) -> list[Action]:
        """Go on with a place of which no dependent is left: stop it; or let go what it requires."""
        if place.holding:
            return []
        if place.is_alive:
            if self.mode == "up":
                return self._ask(place) if place.leaving or place.phase == "ending" else []
            return [] if self.mode == "ending" else self._stop(place)
        actions: list[Action] = []
        if place.holds:
            place.holds = False
            for provider in place.requires:
                provider.holding -= 1
                if not provider.holding:
                    actions += self._let_go(provider)
        return [*actions, *self._maybe_start(place)] if self.mode == "up" else actions

    def _take_down(self, places: Iterable[NodePlace]) -> list[Action]:
        """Take places down, and first all that depends on them."""
        actions: list[Action] = []
        todo = list(places)
        while todo:
            place = todo.pop()
            if place.is_alive and not place.leaving:
                if place.stays:
                    self._misses(place)
                place.leaving = True
                todo += place.dependents
                if not place.holding:
                    actions += self._ask(place)
        return actions

    def _stop_places(self) -> list[Action]:
        return [
            action
            for place in self.places.values()
            if not place.holding
            for action in self._stop(place)
        ]
