"""What a supervisor decides: a pure function of its state and of what has happened.

========  ========================  ==============================================================
a child   event                     what is done
========  ========================  ==============================================================
down      its turn has come         it is started; the next one when it runs
starting  it fails, the first time  the supervisor gives up its start
alive     it ends, and is not to    a temporary one is removed; a significant one may end the
          be started anew           supervisor
alive     it ends, and is           too many restarts: the supervisor ends. Else it waits, and by
                                    the strategy others are taken down, the last first, one after
                                    the other; when the delay is over, all come up again in order
leaving   its turn has come         it is asked; the next one when it has ended
waiting   its delay is over         it is started, in its turn
any       the supervisor ends       before it ran: it stops; else its callback is cancelled first
any       a stop is asked for       nothing starts; all are asked, the last first, in turn
any       cancelled                 the same, but they are forced
========  ========================  ==============================================================

Which children go down with one that failed:

===============  ==========================
one_for_one      none
rest_for_one     those that started after it
one_for_all      all
===============  ==========================

The semantics are those of the supervisors of Erlang/OTP; the delays before restarts are added.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Literal

import attrs

from nestling._kernel._errors import InvalidStateError, UnexpectedReturnError
from nestling._kernel._outcome import add_note, forces, summary
from nestling.supervise._backoff import Delays
from nestling.supervise._child import Child
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
    Reply,
    Restart,
    Start,
    StartWanted,
    StopAsked,
    StopWaiting,
    StopWanted,
)
from nestling.supervise._intensity import Intensity, Series, next_delay

Strategy = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown = Literal["never", "any", "all"]
Phase = Literal["down", "waiting", "starting", "running", "ending", "stopping"]
ALIVE = frozenset({"starting", "running", "ending", "stopping"})


@attrs.define(eq=False)
class Place:
    """Where a child runs, again and again.

    Attributes:
        number: its place in the order.
        since: when its phase began.
        restarts: how often it was started anew.
        error: what it has failed with last.
        ran: it has been running, ever.
        leaving: it is to be taken down.
        ended_itself: something inside of it has ended, before it was asked to stop.
        forget: it is removed when it has ended.
        start_replies: who waits for it to run.
        stop_replies: who waits for it to stop.
    """

    spec: Child
    number: int
    phase: Phase = "down"
    since: float = 0
    restarts: int = 0
    error: BaseException | None = None
    ran: bool = False
    leaving: bool = False
    ended_itself: bool = False
    forget: bool = False
    series: Series | None = None
    start_replies: list[object] = attrs.field(factory=list[object])
    stop_replies: list[object] = attrs.field(factory=list[object])

    @property
    def name(self) -> str:
        """The name of the child."""
        return self.spec.name

    def move_to(self, phase: Phase, now: float) -> None:
        """Change the phase."""
        self.phase, self.since = phase, now


@attrs.define(eq=False)
class SupervisorState:
    """The state of one run of a supervisor.

    Attributes:
        places: by name, in the order in which they start.
        coming: those that are to be started, one after the other.
        leaving: those that are to be taken down, the last one first.
        waiting: how many wait before a restart.
    """

    strategy: Strategy
    auto_shutdown: AutoShutdown
    backoff: Delays
    intensity: Intensity
    places: dict[str, Place] = attrs.field(factory=dict[str, Place])
    mode: Literal["up", "ending", "stopping", "forcing", "over"] = "up"
    ready: bool = False
    coming: deque[Place] = attrs.field(factory=deque[Place])
    leaving: list[Place] = attrs.field(factory=list[Place])
    alive: int = 0
    waiting: int = 0
    failures: list[tuple[str, BaseException]] = attrs.field(factory=list[tuple[str, BaseException]])
    interrupted: bool = False
    why: str = ""
    _numbers: int = 0

    def add(self, spec: Child) -> Place:
        """Add a child, which is down."""
        self._numbers += 1
        place = Place(spec, self._numbers)
        self.places[spec.name] = place
        return place

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """Return what it has failed with; keep nothing that holds an error."""
        failures, self.failures = self.failures, []
        self.intensity.take_failures()
        for place in self.places.values():
            place.error = None
        return failures


def decide(state: SupervisorState, happening: Happening, now: float) -> list[Action]:
    """Take notice of what has happened, and return what is to be done.

    Args:
        state: is changed.
        happening: what has happened.
        now: seconds on trio's clock.
    """
    actions: list[Action] = []
    match happening:
        case Began():
            state.coming.extend(state.places.values())
            actions = _go_on(state, now)
        case Ran(name):
            actions = _ran(state, state.places[name], now)
        case CannotRun(name):
            actions = _cannot_run(state, state.places[name], now)
        case Ended(name):
            actions = _ended(state, state.places[name], happening, now)
        case Due(name):
            actions = _due(state, state.places[name], now)
        case StartWanted(name, reply):
            actions = _start_wanted(state, state.places[name], reply, now)
        case StopWanted(name):
            actions = _stop_wanted(state, state.places[name], happening, now)
        case StopAsked():
            actions = _stop_all(state, now)
        case Cancelled(reason):
            state.mode, state.why = "forcing", reason
            actions = _stop_all(state, now)
    return actions


# One child ----------------------------------------------------------------------------------------


def _start(state: SupervisorState, place: Place, now: float) -> list[Action]:
    place.move_to("starting", now)
    state.alive += 1
    return [Start(place.name)]


def _ran(state: SupervisorState, place: Place, now: float) -> list[Action]:
    place.move_to("running", now)
    place.ran = True
    if place.series is not None:
        place.series.runs(now)
    return [*_replies(place.start_replies), *_go_on(state, now)]


def _due(state: SupervisorState, place: Place, now: float) -> list[Action]:
    place.move_to("down", now)
    state.waiting -= 1
    if state.strategy == "one_for_one":
        return _start(state, place, now)
    return _go_on(state, now)


def _cannot_run(state: SupervisorState, place: Place, now: float) -> list[Action]:
    place.move_to("ending", now)
    place.ended_itself = True
    return _ask(place, now) if state.mode == "up" else []


def _ended(state: SupervisorState, place: Place, ended: Ended, now: float) -> list[Action]:
    asked = (place.phase == "stopping" and not place.ended_itself) or place.leaving
    place.ended_itself = place.leaving = False
    place.move_to("down", now)
    place.error = ended.error or place.error
    state.alive -= 1
    actions = _replies(place.stop_replies, ended.error)
    if state.mode != "up":
        actions += _replies(place.start_replies, _stops(place))
    if forces(ended.error):
        actions += _fails(state, place, ended.error, now)
    elif state.mode != "up":
        if ended.error is not None:
            state.failures.append((place.name, ended.error))
    elif place.forget:
        pass
    elif place.start_replies:
        actions += _replies(place.start_replies, ended.error or _returned(place.name))
        place.forget = not place.ran
        state.coming.remove(place)
    elif not asked:
        actions += _ended_by_itself(state, place, ended, now)
    if place.forget or (place.spec.restart == "temporary" and state.mode == "up"):
        place.forget = True
        state.places.pop(place.name, None)
    return [*actions, *_go_on(state, now)]


def _ended_by_itself(
    state: SupervisorState, place: Place, ended: Ended, now: float
) -> list[Action]:
    error, name, restart = ended.error, place.name, place.spec.restart
    if ended.cancelled:
        return _end_all(state, f"{name!r} was cancelled", now)
    if error is not None and not place.ran and not state.ready:
        return _fails(state, place, error, now)
    if restart == "permanent" or (restart == "transient" and error is not None):
        return _start_anew(state, place, error, now)
    if place.spec.significant and _shuts_down(state, place):
        if error is not None:
            return _fails(state, place, error, now)
        return _end_all(state, f"{name!r}, which is significant, has ended", now)
    return []


def _start_anew(
    state: SupervisorState, place: Place, error: BaseException | None, now: float
) -> list[Action]:
    name = place.name
    if place.series is None:
        place.series = Series(state.backoff)
    failure = error if isinstance(error, Exception) else _returned(name)
    delay = next_delay(place.series, state.intensity, now, failure, f"supervisor of {name!r}")
    if isinstance(delay, Exception):
        return _fails(state, place, delay, now)
    place.restarts += 1
    place.move_to("waiting", now)
    state.waiting += 1
    _take_down(state, place)
    return [Restart(name, place.series.attempt, delay, error)]


def _returned(name: str) -> Exception:
    return UnexpectedReturnError(f"{name!r} returned before it was stopped")


def _shuts_down(state: SupervisorState, ended: Place) -> bool:
    if state.auto_shutdown == "any":
        return True
    return state.auto_shutdown == "all" and not any(
        place.phase != "down"
        for place in state.places.values()
        if place.spec.significant and place is not ended
    )


def _ask(place: Place, now: float) -> list[Action]:
    if place.phase == "stopping":
        return []
    place.move_to("stopping", now)
    return [Ask(place.name)]


# What is wanted -----------------------------------------------------------------------------------


def _start_wanted(state: SupervisorState, place: Place, reply: object, now: float) -> list[Action]:
    if state.mode != "up":
        if not place.ran:
            del state.places[place.name]
        return [Reply(reply, _stops(place))]
    place.start_replies.append(reply)
    if place not in state.coming:
        state.coming.append(place)
    return _go_on(state, now)


def _stops(place: Place) -> Exception:
    return InvalidStateError(f"cannot start {place.name!r}: its supervisor stops")


def _stop_wanted(
    state: SupervisorState, place: Place, wanted: StopWanted, now: float
) -> list[Action]:
    place.forget = place.forget or wanted.forget
    actions: list[Action] = []
    if place.phase == "waiting":
        place.move_to("down", now)
        state.waiting -= 1
        actions.append(StopWaiting(place.name))
    if place in state.coming:
        state.coming.remove(place)
        why = InvalidStateError(f"{place.name!r} was stopped before it was running")
        actions += _replies(place.start_replies, why)
    if place.phase == "down":
        if place.forget or place.spec.restart == "temporary":
            place.forget = True
            state.places.pop(place.name, None)
        return [*actions, Reply(wanted.reply), *_go_on(state, now)]
    place.stop_replies.append(wanted.reply)
    place.ended_itself = False
    return [*actions, *_ask(place, now)]


def _replies(waiting: list[object], error: BaseException | None = None) -> list[Action]:
    replies: list[Action] = [Reply(each, error) for each in waiting]
    waiting.clear()
    return replies


# Several children ---------------------------------------------------------------------------------


def _take_down(state: SupervisorState, failed: Place) -> None:
    """Let those leave, and come again, that go down with ``failed``."""
    if state.strategy == "one_for_one":
        return
    after = failed.number if state.strategy == "rest_for_one" else 0
    affected = [place for place in state.places.values() if place.number > after]
    for place in affected:
        place.leaving = place.phase in ALIVE
    state.leaving = _in_order({*state.leaving, *(each for each in affected if each.leaving)})
    again = (each for each in affected if each.spec.restart != "temporary")
    state.coming = deque(_in_order({*state.coming, failed, *again}))


def _in_order(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.number)


def _go_on(state: SupervisorState, now: float) -> list[Action]:
    """Take the next one down; or else start the next one; or else say that this is done."""
    if state.mode in {"ending", "over"}:
        return []
    while state.leaving and state.leaving[-1].phase not in ALIVE:
        state.leaving.pop()
    if state.leaving:
        return _take_next_down(state, state.leaving[-1], now)
    if state.mode != "up":
        return _finish(state)
    while state.coming and state.coming[0].phase in {"running", "ending"}:
        state.coming.popleft()
    # Those that go down together come up together.
    held = state.waiting and state.strategy != "one_for_one"
    if state.coming and not held and state.coming[0].phase == "down":
        return _start(state, state.coming[0], now)
    if state.coming or state.ready:
        return []
    state.ready = True
    return [CallBack()]


def _finish(state: SupervisorState) -> list[Action]:
    if state.alive:
        return []
    state.mode = "over"
    return [Finish()]


def _take_next_down(state: SupervisorState, place: Place, now: float) -> list[Action]:
    if state.mode != "forcing":
        return _ask(place, now)
    if place.phase == "stopping":
        return []
    place.move_to("stopping", now)
    return [Force(place.name, state.why)]


def _fails(
    state: SupervisorState, place: Place, error: BaseException | None, now: float
) -> list[Action]:
    assert error is not None
    if state.mode == "up" and not state.ready and isinstance(error, Exception):
        add_note(error, _how_far(state, place))
    state.failures.append((place.name, error))
    state.interrupted = state.interrupted or forces(error)
    if state.mode == "up":
        return _end_all(state, f"{place.name!r} failed: {summary(error)}", now)
    if state.interrupted and state.mode == "stopping":
        return _stop_all(state, now)
    return []


def _how_far(state: SupervisorState, failed: Place) -> str:
    """Tell what had started when a start failed, and what never will."""
    others = [place for place in state.places.values() if place is not failed]
    ran = [repr(place.name) for place in others if place.ran]
    never = [repr(place.name) for place in others if not place.ran]
    parts = [
        f"{', '.join(names)} {what}"
        for names, what in ((ran, "ran"), (never, "was not started"))
        if names
    ]
    return f"when {failed.name!r} failed to start: {'; '.join(parts) or 'nothing else was there'}"


def _end_all(state: SupervisorState, reason: str, now: float) -> list[Action]:
    if state.ready:
        state.mode = "ending"
        return [CancelCallback(f"stops, since {reason}")]
    return _stop_all(state, now)


def _stop_all(state: SupervisorState, now: float) -> list[Action]:
    if state.mode != "forcing":
        state.mode = "forcing" if state.interrupted else "stopping"
        state.why = state.why or "forced to stop by an interrupt"
    actions: list[Action] = []
    for place in state.places.values():
        place.leaving = place.phase in ALIVE
        if place.phase == "waiting":
            place.move_to("down", now)
            actions.append(StopWaiting(place.name))
        elif place.phase == "stopping" and state.mode == "forcing":
            actions.append(Force(place.name, state.why))
        if place.phase == "down":
            actions += _replies(place.start_replies, _stops(place))
    state.coming.clear()
    state.leaving = [place for place in state.places.values() if place.leaving]
    return [*actions, *_go_on(state, now)]
