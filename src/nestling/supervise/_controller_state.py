"""What a controller decides: a pure function of its state and of what has happened.

A place is a controller, or a dependent of one, and so on: all of them are one run, and one tree.

What was launched there:

========  =======================  ================================================================
it is     event                    what is done
========  =======================  ================================================================
starting  it runs                  it is handed out to who has launched it
starting  a part of it has failed  it is stopped: nothing depends on it yet
starting  it ends, or fails        it is forgotten: who has launched it gets the error
starting  the run ends, or stops   its start-up is cancelled: nothing depends on it yet
running   it ends                  it is forgotten
running   a part of it has failed  the run ends; the other parts are held until their turn comes
running   it fails                 the run ends: its callback is cancelled, and no launch begins
stopping  it fails                 its error is kept
any       it was interrupted       the run ends, and is forced (law 4)
========  =======================  ================================================================

A place, once a stop is asked for, be it gracefully or forced:

========  ==============================  ========================================================
it is     event                           what is done
========  ==============================  ========================================================
up        its last dependent is over      all that was launched is asked to stop, at once; or else
                                          forced
stopping  all that was launched is gone   what was bound is closed, in reverse
closing   all is closed                   it is over; so is the run, if it is the root
stopping  forced                          all that was launched is cancelled
closing   forced                          what is not closed yet is closed in a cancelled scope
========  ==============================  ========================================================
"""

from __future__ import annotations

from typing import Literal

import attrs

from nestling._kernel._outcome import forces, summary
from nestling.supervise._happenings import (
    Action,
    Ask,
    Began,
    CallBack,
    CancelCallback,
    Cancelled,
    CannotRun,
    Ended,
    Finish,
    Force,
    Happening,
    Ran,
    Start,
    StopAsked,
)

Phase = Literal["up", "stopping", "closing", "over"]


@attrs.define(eq=False)
class Place:
    """A controller in the tree of one run.

    Attributes:
        name: its path below the root, which has none itself.
        around: the one that it is a dependent of.
        dependents: those that are not over.
        launched: how far each has come that was launched here and is not gone.
        holds: something was bound here.
        closing: under which name it is told that what was bound is closed.
        made: how many dependents were made here.
    """

    name: str = ""
    around: Place | None = None
    phase: Phase = "up"
    dependents: list[Place] = attrs.field(factory=list["Place"])
    launched: dict[str, Literal["starting", "running", "stopping"]] = attrs.field(
        factory=dict[str, Literal["starting", "running", "stopping"]]
    )
    holds: bool = False
    closing: str = ""
    made: int = 0

    @property
    def label(self) -> str:
        """The last part of its path."""
        return self.name.rpartition("/")[2]

    def path_of(self, name: str) -> str:
        """Return the path of what is called ``name`` here."""
        return f"{self.name}/{name}" if self.name else name

    def outermost_first(self) -> list[Place]:
        """Return this one, and all below that are not over."""
        found: list[Place] = []
        todo = [self]
        while todo:
            found.append(todo.pop())
            todo += found[-1].dependents
        return found

    def innermost_first(self) -> list[Place]:
        """Return all below that are not over, and this one."""
        return self.outermost_first()[::-1]


@attrs.define(eq=False)
class ControllerState:
    """The state of one run.

    Attributes:
        root: the place of the controller that is run.
        mode: ``down``; ``up``; ``ending``: the callback is cancelled; ``stopping``; ``forcing``;
            ``over``.
        failures: what has failed, and under which name.
        interrupted: one of the failures forces all of it (law 4).
        why: the reason for forcing.
        changes: which places have come to which phase, until somebody takes notice.
        places: for each name under which is told of something, the place where that is.
        namesakes: how often a name was taken.
    """

    root: Place = attrs.field(factory=Place)
    mode: Literal["down", "up", "ending", "stopping", "forcing", "over"] = "down"
    failures: list[tuple[str, BaseException]] = attrs.field(factory=list[tuple[str, BaseException]])
    interrupted: bool = False
    why: str = ""
    changes: list[tuple[Place, Phase]] = attrs.field(factory=list[tuple[Place, Phase]])
    places: dict[str, Place] = attrs.field(factory=dict[str, Place])
    namesakes: int = 1

    @property
    def may_grow(self) -> bool:
        """Whether the stop has not begun."""
        return self.mode in {"down", "up"}

    def depend(self, around: Place, name: str | None) -> Place:
        """Add a dependent."""
        default = f"dependent[{around.made}]"
        around.made += 1
        place = Place(around.path_of(name or default), around)
        around.dependents.append(place)
        return place

    def launch(self, place: Place, name: str) -> str:
        """Add what starts; return under which name it is told of, which is no other's."""
        key = self.unique(place, name)
        place.launched[key] = "starting"
        return key

    def unique(self, place: Place, name: str) -> str:
        """Return a name for something at a place that nothing else has: the path, or like it."""
        path = key = place.path_of(name)
        while key in self.places:
            self.namesakes += 1
            key = f"{path} ({self.namesakes})"
        self.places[key] = place
        return key

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """Return what has failed in the end, and keep none of it."""
        failures, self.failures = self.failures, []
        return failures


def decide(state: ControllerState, happening: Happening) -> list[Action]:
    """Take notice of what has happened, and return what is to be done.

    Args:
        state: is changed.
        happening: what has happened.
    """
    match happening:
        case Began():
            state.mode = "up"
            return [CallBack()]
        case Ran(name):
            return _ran(state, name)
        case CannotRun(name):
            return _cannot_run(state, name)
        case Ended(name):
            return _ended(state, happening)
        case StopAsked():
            return _stop_all(state)
        case Cancelled(reason):
            return _force_all(state, reason)
        case _:
            raise AssertionError(f"{happening!r} does not happen to a controller")


# What was launched --------------------------------------------------------------------------------


def _ran(state: ControllerState, name: str) -> list[Action]:
    launched = state.places[name].launched
    if launched.get(name) == "starting":
        launched[name] = "running"
    return []


def _cannot_run(state: ControllerState, name: str) -> list[Action]:
    launched = state.places[name].launched
    if launched[name] == "starting":
        launched[name] = "stopping"
        return [Ask(name)]
    return _end_all(state, f"{name!r} is ending")


def _ended(state: ControllerState, ended: Ended) -> list[Action]:
    place = state.places.pop(ended.name)
    was_running = place.launched.pop(ended.name, "stopping") == "running"
    actions: list[Action] = []
    if ended.error is not None:
        state.failures.append((ended.name, ended.error))
        actions += _fails(state, ended.name, ended.error)
    elif ended.cancelled and was_running:
        actions += _end_all(state, f"{ended.name!r} was cancelled")
    if place.phase == "closing":
        actions += _over(state, place)
    return [*actions, *_go_on(state, place)]


def _fails(state: ControllerState, name: str, error: BaseException) -> list[Action]:
    state.interrupted = state.interrupted or forces(error)
    actions = _end_all(state, f"{name!r} failed: {summary(error)}")
    if state.interrupted and state.mode == "stopping":
        actions += _force_all(state, f"forced to stop by {type(error).__name__}")
    return actions


def _ask(state: ControllerState, place: Place) -> list[Action]:
    """Stop all that was launched at a place, and is not asked to stop yet; or force all of it."""
    if state.mode == "forcing":
        names = list(place.launched)
    else:
        names = [name for name, phase in place.launched.items() if phase != "stopping"]
    place.launched.update(dict.fromkeys(names, "stopping"))
    return [_stop(state, name) for name in names]


def _stop(state: ControllerState, name: str) -> Action:
    return Force(name, state.why) if state.mode == "forcing" else Ask(name)


# Places -------------------------------------------------------------------------------------------


def _go_on(state: ControllerState, place: Place) -> list[Action]:
    """Take a place from phase to phase until there is something to wait for; then those around."""
    actions: list[Action] = []
    here: Place | None = place
    while here is not None and state.mode in {"stopping", "forcing"}:
        if here.phase == "up" and not here.dependents:
            _move(state, here, "stopping")
            actions += _ask(state, here)
        if here.phase == "stopping" and not here.launched:
            actions += _close(state, here) if here.holds else _over(state, here)
        here = here.around if here.phase == "over" else None
    return actions


def _close(state: ControllerState, place: Place) -> list[Action]:
    _move(state, place, "closing")
    place.closing = state.unique(place, "closing")
    begin = Start(place.closing)
    return [begin, Force(place.closing, state.why)] if state.mode == "forcing" else [begin]


def _over(state: ControllerState, place: Place) -> list[Action]:
    _move(state, place, "over")
    if place.around is not None:
        place.around.dependents.remove(place)
        return []
    state.mode = "over"
    return [Finish()]


def _move(state: ControllerState, place: Place, phase: Phase) -> None:
    place.phase = phase
    state.changes.append((place, phase))


# All of it ----------------------------------------------------------------------------------------


def _end_all(state: ControllerState, reason: str) -> list[Action]:
    if state.mode != "up":
        return []
    state.mode = "ending"
    return [CancelCallback(f"stops, since {reason}"), *_give_up_starts(state)]


def _give_up_starts(state: ControllerState) -> list[Action]:
    actions: list[Action] = []
    for place in state.root.innermost_first():
        for name, phase in place.launched.items():
            if phase == "starting":
                place.launched[name] = "stopping"
                actions.append(_stop(state, name))
    return actions


def _stop_all(state: ControllerState) -> list[Action]:
    if state.interrupted:
        return _force_all(state, "forced to stop by an interrupt")
    if state.mode == "forcing":
        return []
    state.mode = "stopping"
    actions = _give_up_starts(state)
    for place in state.root.innermost_first():
        actions += _go_on(state, place)
    return actions


def _force_all(state: ControllerState, reason: str) -> list[Action]:
    if state.mode in {"forcing", "over"}:
        return []
    state.mode, state.why = "forcing", reason
    actions = _give_up_starts(state)
    places = state.root.innermost_first()
    for place in places:
        if place.phase == "stopping":
            actions += _ask(state, place)
        elif place.phase == "closing":
            actions.append(Force(place.closing, reason))
    for place in places:
        actions += _go_on(state, place)
    return actions
