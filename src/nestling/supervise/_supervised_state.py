"""What `graph`, `restart` and `Supervisor` decide alike.

What happens to one run, and what becomes of all of it; ``up`` stands for one that starts or runs:

=========  ==========================  ===========================================================
mode       event                       what is done
=========  ==========================  ===========================================================
up         one is not to start anew    before it ran: all are stopped; else the callback is
           where that ends all         cancelled: ``ending``
ending     the callback is over        all are stopped: ``stopping``, or ``forcing`` after an
                                       interrupt
up         a stop is asked for         the same
any        an interrupt comes of one   ``forcing`` (law 4)
any        cancelled from outside      ``forcing``
stopping,  the last one has ended      ``over``
forcing
=========  ==========================  ===========================================================

And to one node of it that has ended:

==================================  ==============================================================
it has ended                        what is done
==================================  ==============================================================
by an interrupt                     all of it ends (law 4)
while all are stopped               an error of it comes out in the end
and is to be removed                an error of it is told to who asked for that
and somebody waits for its start    the same, unless it was taken down, and comes again; it is
                                    removed, if it never ran
otherwise                           that differs, see `_over` of each
==================================  ==============================================================
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, Literal, TypeVar

from nestling._kernel._errors import InvalidStateError, UnexpectedReturnError
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
    Forget,
    Happening,
    Keep,
    Ran,
    Reply,
    Start,
    StartWanted,
    StopAsked,
    StopWaiting,
    StopWanted,
    Withdrawn,
)
from nestling.supervise._place import Phase, Place

P = TypeVar("P", bound=Place)


class SupervisedState(ABC, Generic[P]):
    """The state of one run of several nodes; `decide` is a function of it and of what happens.

    ``kind`` says what the nodes are in.

    Attributes:
        places: by name, in the order in which they were added.
        mode: see the table above.
        ready: the callback is entered.
        alive: in how many places something runs.
        failures: who has failed in the end, and with what.
        now: when the last thing happened, in seconds on trio's clock.
    """

    kind: ClassVar[str]

    def __init__(self) -> None:
        self.places: dict[str, P] = {}
        self.mode: Literal["up", "ending", "stopping", "forcing", "over"] = "up"
        self.ready = False
        self.alive = 0
        self.failures: list[tuple[str, BaseException]] = []
        self.now = 0.0
        self._interrupted = False
        self._why = ""
        self._gave_up: P | None = None
        self._how_far = ""

    def decide(  # noqa: C901  # a table
        self, happening: Happening, now: float
    ) -> list[Action]:
        """Take notice of what has happened at ``now``, and return what is to be done."""
        self.now = now
        actions: list[Action] = []
        match happening:
            case Ran(name):
                actions = self._ran(self.places[name])
            case Ended(name):
                actions = self._ended(self.places[name], happening)
            case CannotRun(name):
                actions = self._cannot_run(self.places[name])
            case Began():
                actions = self._began()
            case Due(name):
                actions = self._due(self.places[name])
            case StartWanted(name, reply):
                actions = self._start_wanted(self.places[name], reply)
            case StopWanted(name, reply):
                place = self.places.get(name)  # somebody else may have removed it first
                actions = self._stop_wanted(place, happening) if place else [Reply(reply)]
            case Withdrawn(name, reply):
                place = self.places.get(name)
                if place is not None:
                    place.no_longer_waits(reply)
            case StopAsked():
                actions = self._stop_all()
            case Cancelled(reason):
                self.mode, self._why = "forcing", reason
                actions = self._stop_all()
        return actions

    def take_failures(self) -> list[tuple[str, BaseException]]:
        """Return who has failed in the end, and with what; keep nothing that holds an error."""
        failures, self.failures = self.failures, []
        return failures

    # What differs ---------------------------------------------------------------------------------

    @abstractmethod
    def _began(self) -> list[Action]:
        """Start what can start at once."""

    @abstractmethod
    def _up(self, place: P) -> list[Action]:
        """Go on, now that ``place`` runs."""

    @abstractmethod
    def _cannot_run(self, place: P) -> list[Action]:
        """Something inside of ``place`` has ended: it is ready to be asked."""

    @abstractmethod
    def _over(self, place: P, ended: Ended, *, asked: bool) -> list[Action]:
        """Decide what becomes of a place that has ended while all is up.

        Args:
            place: is down.
            ended: says how it has ended.
            asked: it was asked to do so, before anything in it ended.
        """

    @abstractmethod
    def _due(self, place: P) -> list[Action]:
        """The delay before a restart of ``place`` is over."""

    @abstractmethod
    def _down(self, place: P) -> list[Action]:
        """Go on, now that ``place`` is down."""

    @abstractmethod
    def _stop_places(self) -> list[Action]:
        """Ask, or force, those that have their turn."""

    @abstractmethod
    def _removed(self, place: P) -> list[Action]:
        """Go on without a place that was down, and has never a turn again."""

    # One place ------------------------------------------------------------------------------------

    def _move(self, place: P, phase: Phase) -> None:
        place.phase, place.since = phase, self.now

    def _start(self, place: P) -> list[Action]:
        self._move(place, "starting")
        self.alive += 1
        return [Start(place.name)]

    def _ran(self, place: P) -> list[Action]:
        if place.phase != "starting":
            return []  # it was asked to stop before it could be told that it runs
        self._move(place, "running")
        place.ran = True
        if place.series is not None:
            place.series.runs(self.now)
        return (
            [*place.answer_starts(), *self._up(place)] if place.start_replies else self._up(place)
        )

    def _ask(self, place: P) -> list[Action]:
        if not place.is_alive or place.phase == "stopping":
            return []
        self._move(place, "stopping")
        return [Ask(place.name)]

    def _stop(self, place: P) -> list[Action]:
        """Ask a place to stop; or force it, although it was asked before."""
        if self.mode != "forcing" or not place.is_alive:
            return self._ask(place)
        self._move(place, "stopping")
        return [Force(place.name, self._why)]

    def _stop_waiting(self, place: P) -> list[Action]:
        self._move(place, "down")
        return [StopWaiting(place.name)]

    def _ended(self, place: P, ended: Ended) -> list[Action]:
        error = ended.error
        asked = place.phase == "stopping" and not place.ended_itself
        self._move(place, "down")
        self.alive -= 1
        actions = place.answer_stops(error) if place.stop_replies else []
        if self.mode != "up" and place.start_replies:
            actions += place.answer_starts(self._stops(place))
        if error is not None and (forces(error) or self.mode != "up"):
            actions += self._fails(place, error)
        elif self.mode != "up":
            pass
        elif place.forget:
            actions += keep(error)
        elif place.start_replies and not (place.leaving and error is None):
            place.forget = not place.ran
            actions += place.answer_starts(error or returned(place))
        else:
            actions += self._over(place, ended, asked=asked)
        place.leaving = place.ended_itself = False
        if place.forget:
            actions += place.answer_starts(stopped_early(place))
            actions += self._remove(place)
        return [*actions, *self._down(place)] if actions else self._down(place)

    def _remove(self, place: P) -> list[Action]:
        if self.places.pop(place.name, None) is None:
            return []
        return [Forget(place.name), *self._removed(place)]

    # What is wanted -------------------------------------------------------------------------------

    def _start_wanted(self, place: P, reply: object) -> list[Action]:
        if self.mode != "up":
            place.forget = place.forget or not place.ran
            removed = self._remove(place) if place.forget else []
            return [Reply(reply, self._stops(place)), *removed]
        place.start_replies += (reply,)
        return self._down(place)

    def _stop_wanted(self, place: P, wanted: StopWanted) -> list[Action]:
        place.forget = place.forget or wanted.forget
        actions = place.answer_starts(stopped_early(place))
        if place.phase == "waiting":
            actions += self._stop_waiting(place)
        if place.phase == "down":
            removed = self._remove(place) if place.forget else []
            return [*actions, Reply(wanted.reply), *removed, *self._down(place)]
        place.stop_replies += (wanted.reply,)
        place.ended_itself = False
        # Else all are stopped, each when it has its turn.
        return [*actions, *(self._ask(place) if self.mode in {"up", "ending"} else [])]

    def _stops(self, place: P) -> Exception:
        return InvalidStateError(f"cannot start {place.name!r}: its {self.kind} stops")

    # All of it ------------------------------------------------------------------------------------

    def _call_back(self) -> list[Action]:
        self.ready = True
        return [CallBack()]

    def _fails(self, place: P, error: BaseException) -> list[Action]:
        """Let an error come out in the end, and all of it end."""
        self.failures.append((place.name, error))
        self._interrupted = self._interrupted or forces(error)
        actions: list[Action] = []
        if self.mode == "up":
            actions = self._end_all(place, f"{place.name!r} failed: {summary(error)}")
        elif self._interrupted and self.mode == "stopping":
            actions = self._stop_all()
        if place is self._gave_up and isinstance(error, Exception):
            add_note(error, self._how_far)
        return actions

    def _end_all(self, place: P, reason: str) -> list[Action]:
        if self.ready:
            self.mode = "ending"
            return [CancelCallback(f"stops, since {reason}")]
        self._gave_up, self._how_far = place, self._told_how_far(place)
        return self._stop_all()

    def _told_how_far(self, failed: P) -> str:
        """Tell what had started when a start failed, and what never will."""
        told: dict[str, list[str]] = {"ran": [], "was starting": [], "was not started": []}
        for place in self.places.values():
            if place is not failed:
                starts = "was starting" if place.phase == "starting" else "was not started"
                told["ran" if place.ran else starts].append(repr(place.name))
        parts = [f"{', '.join(names)} {what}" for what, names in told.items() if names]
        others = "; ".join(parts) or "nothing else was there"
        return f"when {failed.name!r} failed to start: {others}"

    def _stop_all(self) -> list[Action]:
        if self.mode != "forcing":
            self.mode = "forcing" if self._interrupted else "stopping"
            self._why = self._why or "forced to stop by an interrupt"
        actions: list[Action] = []
        for place in self.places.values():
            if place.phase == "waiting":
                actions += self._stop_waiting(place)
            if place.phase == "down":
                actions += place.answer_starts(self._stops(place))
        return [*actions, *self._stop_places(), *self._finish()]

    def _finish(self) -> list[Action]:
        if self.alive or self.mode not in {"stopping", "forcing"}:
            return []
        self.mode = "over"
        return [Finish()]


def stopped_early(place: Place) -> Exception:
    """Return why nobody is to wait any more for a place to run."""
    return InvalidStateError(f"{place.name!r} was stopped before it was running")


def returned(place: Place) -> Exception:
    """Return what stands for the error of a place that has none, but was to go on."""
    return UnexpectedReturnError(f"{place.name!r} returned before it was stopped")


def keep(error: BaseException | None) -> list[Action]:
    """Let an error go no further, if there is one."""
    return [] if error is None else [Keep(error)]
