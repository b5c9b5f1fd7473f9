"""What a graph decides: a pure function of its state and of what has happened.

A place is where a node runs, again and again. ``up`` stands for a graph that starts or runs.

========  ======================  ================================================================
a place   event                   what is done
========  ======================  ================================================================
down      all it requires run     up: it is started
starting  it runs                 its dependents may start; after the last, the callback is entered
alive     it ends by itself       up: as its policy says, it waits before a restart, and what
                                  requires it is taken down from the top; or else the graph ends
running   something in it ended   the same; it is asked once its dependents are gone
leaving   its last dependent is   it is asked
          gone
stopping  it ends                 up: it starts again when all that it requires run again
waiting   its delay is over       it is down: it starts once what it requires runs, and its last
                                  dependent is gone
any       the graph ends          before it ran: it stops; else its callback is cancelled first
any       a stop is asked for     nothing starts; each is asked when its last dependent is gone
any       cancelled               the same, but they are forced, also those asked before
========  ======================  ================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from nestling._kernel._errors import UnexpectedReturnError
from nestling._kernel._outcome import add_note, forces, summary
from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CallBack,
    CancelCallback,
    Cancelled,
    CannotRun,
    Due,
    Ended,
    Finish,
    Force,
    Happening,
    Ran,
    Restart,
    Start,
    StartWanted,
    StopAsked,
    StopWaiting,
    StopWanted,
)
from nestling.supervise._intensity import Intensity, Series, next_delay
from nestling.supervise._policy import RestartPolicy

Phase = Literal["down", "waiting", "starting", "running", "ending", "stopping"]
ALIVE = frozenset({"starting", "running", "ending", "stopping"})


@attrs.define(eq=False)
class Place:
    """Where a node runs, again and again.

    Attributes:
        requires: what it needs.
        dependents: what needs it.
        missing: how many of those that it requires do not run.
        holding: how many of its dependents are alive, or hold it for others that are.
        holds: it is counted so in what it requires.
        leaving: it is taken down, since something that it requires starts anew.
        ended_itself: something inside of it has ended, before it was asked to stop.
    """

    name: str
    policy: RestartPolicy | None
    requires: list[Place] = attrs.field(factory=list["Place"])
    dependents: list[Place] = attrs.field(factory=list["Place"])
    phase: Phase = "down"
    missing: int = 0
    holding: int = 0
    holds: bool = False
    leaving: bool = False
    ended_itself: bool = False
    series: Series | None = None
    intensity: Intensity | None = None


@attrs.define(eq=False)
class GraphState:
    """The state of one run of a graph.

    Attributes:
        mode: ``up``; ``ending``: the callback is cancelled; ``stopping``; ``forcing``; ``over``.
        ready: the callback is entered.
        failures: what has failed in the end.
        interrupted: one of the failures forces all of it (law 4).
        why: the reason for forcing.
        gave_up: the place for which the start was given up.
        how_far: how far the start had come then.
    """

    places: dict[str, Place]
    mode: Literal["up", "ending", "stopping", "forcing", "over"] = "up"
    ready: bool = False
    alive: int = 0
    not_running: int = 0
    failures: list[tuple[str, BaseException]] = attrs.field(factory=list[tuple[str, BaseException]])
    interrupted: bool = False
    why: str = ""
    gave_up: Place | None = None
    how_far: str = ""

    @classmethod
    def of(cls, nodes: Iterable[tuple[str, Iterable[str], RestartPolicy | None]]) -> GraphState:
        """Return the state before anything has happened: names, requirements, policies."""
        listed = [(Place(name, policy), requires) for name, requires, policy in nodes]
        places = {place.name: place for place, _ in listed}
        for place, requires in listed:
            place.requires = [places[name] for name in requires]
            place.missing = len(place.requires)
            for provider in place.requires:
                provider.dependents.append(place)
        return cls(places, not_running=len(places))

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """Return what has failed in the end; keep nothing that holds an error."""
        failures, self.failures = self.failures, []
        for place in self.places.values():
            place.intensity = None
        return failures


def decide(state: GraphState, happening: Happening, now: float) -> list[Action]:
    """Take notice of what has happened, and return what is to be done.

    Args:
        state: is changed.
        happening: what has happened.
        now: seconds on trio's clock.
    """
    actions: list[Action] = []
    match happening:
        case Began():
            for place in state.places.values():
                actions += _maybe_start(state, place)
        case Ran(name):
            actions = _ran(state, state.places[name], now)
        case CannotRun(name):
            actions = _cannot_run(state, state.places[name])
        case Ended(name):
            actions = _ended(state, state.places[name], happening, now)
        case Due(name):
            state.places[name].phase = "down"
            actions = _maybe_start(state, state.places[name])
        case StopAsked():
            actions = _stop_all(state)
        case Cancelled(reason):
            state.mode, state.why = "forcing", reason
            actions = _stop_all(state)
        case StartWanted() | StopWanted():
            raise AssertionError("nodes of a graph are not started or stopped alone")
    return actions


# One place ----------------------------------------------------------------------------------------


def _maybe_start(state: GraphState, place: Place) -> list[Action]:
    if state.mode != "up" or place.phase != "down" or place.missing or place.holding:
        return []
    place.phase = "starting"
    state.alive += 1
    place.holds = True
    for provider in place.requires:
        provider.holding += 1
    return [Start(place.name)]


def _ran(state: GraphState, place: Place, now: float) -> list[Action]:
    place.phase = "running"
    if place.series is not None:
        place.series.runs(now)
    actions: list[Action] = []
    state.not_running -= 1
    if not state.not_running and not state.ready:
        state.ready = True
        actions.append(CallBack())
    for dependent in place.dependents:
        dependent.missing -= 1
        actions += _maybe_start(state, dependent)
    return actions


def _runs_no_more(state: GraphState, place: Place) -> None:
    if place.phase == "running":
        state.not_running += 1
        for dependent in place.dependents:
            dependent.missing += 1


def _cannot_run(state: GraphState, place: Place) -> list[Action]:
    _runs_no_more(state, place)
    place.phase = "ending"
    place.ended_itself = True
    if state.mode != "up":
        return []
    if place.policy is None:
        return _end_all(state, place, f"{place.name!r} is ending")
    return [*_take_down(place.dependents, state), *_let_go(state, place)]


def _ended(state: GraphState, place: Place, ended: Ended, now: float) -> list[Action]:
    by_itself = place.phase != "stopping" or place.ended_itself
    _runs_no_more(state, place)
    place.phase = "down"
    place.leaving = place.ended_itself = False
    state.alive -= 1
    actions: list[Action] = []
    failed = ended.error is not None
    if state.mode == "up" and (by_itself or failed or ended.cancelled):
        actions += _start_anew_or_end(state, place, ended, now)
    elif ended.error is not None:
        actions += _fails(state, place, ended.error)
    if not place.holding:
        actions += _let_go(state, place)
    return [*actions, *_finish(state)]


def _start_anew_or_end(state: GraphState, place: Place, ended: Ended, now: float) -> list[Action]:
    policy, error, name = place.policy, ended.error, place.name
    if policy is not None and not ended.cancelled and policy.applies_to(error):
        if place.series is None or place.intensity is None:
            place.series = Series(policy.backoff)
            place.intensity = Intensity(policy.limit, policy.period)
        failure = error if isinstance(error, Exception) else _returned(name)
        delay = next_delay(place.series, place.intensity, now, failure, repr(name))
        if not isinstance(delay, Exception):
            place.phase = "waiting"
            attempt = place.series.attempt
            return [Restart(name, attempt, delay, error), *_take_down(place.dependents, state)]
        error = delay
    if error is not None:
        return _fails(state, place, error)
    how = "was cancelled" if ended.cancelled else "has returned"
    return _end_all(state, place, f"{name!r} {how}")


def _returned(name: str) -> Exception:
    return UnexpectedReturnError(f"{name!r} returned before it was stopped")


def _fails(state: GraphState, place: Place, error: BaseException) -> list[Action]:
    state.failures.append((place.name, error))
    state.interrupted = state.interrupted or forces(error)
    actions: list[Action] = []
    if state.mode == "up":
        actions = _end_all(state, place, f"{place.name!r} failed: {summary(error)}")
    if place is state.gave_up and isinstance(error, Exception):
        add_note(error, state.how_far)
    if state.interrupted and state.mode == "stopping":
        state.mode, state.why = "forcing", f"forced to stop by {type(error).__name__}"
        actions += _stop_all(state)
    return actions


def _how_far(state: GraphState, failed: Place) -> str:
    """Tell what had started when a start failed, and what never will."""
    phases: dict[str, list[str]] = {"running": [], "starting": [], "down": []}
    for place in state.places.values():
        if place is not failed and place.phase in phases:
            phases[place.phase].append(repr(place.name))
    told = {"running": "ran", "starting": "was starting", "down": "was not started"}
    parts = [f"{', '.join(names)} {told[phase]}" for phase, names in phases.items() if names]
    return f"when {failed.name!r} failed to start: {'; '.join(parts) or 'nothing else was there'}"


def _let_go(state: GraphState, place: Place) -> list[Action]:
    """Go on with a place of which no dependent is left: stop it; or let go what it requires."""
    if place.holding:
        return []
    if place.phase in ALIVE:
        if state.mode == "up":
            return _ask(state, place) if place.leaving or place.phase == "ending" else []
        return [] if state.mode == "ending" else _stop(state, place)
    actions: list[Action] = []
    if place.holds:
        place.holds = False
        for provider in place.requires:
            provider.holding -= 1
            actions += _let_go(state, provider)
    return [*actions, *_maybe_start(state, place)]


def _ask(state: GraphState, place: Place) -> list[Action]:
    if place.phase not in {"starting", "running", "ending"}:
        return []
    _runs_no_more(state, place)
    place.phase = "stopping"
    return [Ask(place.name)]


# Several places -----------------------------------------------------------------------------------


def _take_down(places: Iterable[Place], state: GraphState) -> list[Action]:
    """Take places down, and first all that depends on them."""
    actions: list[Action] = []
    todo = list(places)
    while todo:
        place = todo.pop()
        if place.phase in ALIVE and not place.leaving:
            place.leaving = True
            todo += place.dependents
            if not place.holding:
                actions += _ask(state, place)
    return actions


def _end_all(state: GraphState, place: Place, reason: str) -> list[Action]:
    if state.ready:
        state.mode = "ending"
        return [CancelCallback(f"stops, since {reason}")]
    state.gave_up, state.how_far = place, _how_far(state, place)
    return _stop_all(state)


def _stop_all(state: GraphState) -> list[Action]:
    if state.mode != "forcing":
        state.mode = "forcing" if state.interrupted else "stopping"
        state.why = state.why or "forced to stop by an interrupt"
    actions: list[Action] = []
    for place in state.places.values():
        if place.phase == "waiting":
            place.phase = "down"
            actions.append(StopWaiting(place.name))
        elif not place.holding:
            actions += _stop(state, place)
    return [*actions, *_finish(state)]


def _stop(state: GraphState, place: Place) -> list[Action]:
    if state.mode == "forcing" and place.phase in ALIVE:
        _runs_no_more(state, place)
        place.phase = "stopping"
        return [Force(place.name, state.why)]
    return _ask(state, place)


def _finish(state: GraphState) -> list[Action]:
    if state.alive or state.mode not in {"stopping", "forcing"}:
        return []
    state.mode = "over"
    return [Finish()]
