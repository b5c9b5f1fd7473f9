"""What has happened in a run, in order, and questions about that order."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Literal, cast, get_args

import attrs
import trio

from nestling._kernel._checks import check_choice, describe_value
from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._node import Node
from nestling._kernel._outcome import summary

Phase = Literal["starting", "running", "stopping", "stopped"]
PHASES: tuple[Phase, ...] = get_args(Phase)

_PHASE_OF: dict[type[Event], Phase] = {
    Starting: "starting",
    Running: "running",
    Stopping: "stopping",
    Stopped: "stopped",
}


@attrs.frozen
class Step:
    """What a question is about: a node, by name or path, and one of its events."""

    node: str
    phase: Phase

    @classmethod
    def parse(cls, text: str) -> Step:
        """Read ``"http stopped"`` or ``"shop/http stopped"``.

        Raises:
            TypeError: it is no string.
            ValueError: it is not of that form.
        """
        if not isinstance(cast("object", text), str):
            raise TypeError(f"an event is written as a string, not {describe_value(text)}")
        node, _, phase = text.rpartition(" ")
        if not node or phase not in PHASES:
            phases = ", ".join(PHASES)
            raise ValueError(
                f"an event is written as a name or a path and one of {phases}, not {text!r}"
            )
        return cls(node, phase)

    def matches(self, event: Event) -> bool:
        """Tell whether ``event`` is the one that is meant: a part of a path stands for its end."""
        if _PHASE_OF.get(type(event)) != self.phase:
            return False
        return event.path == self.node or event.path.endswith(f"/{self.node}")

    def __str__(self) -> str:
        return f"{self.node} {self.phase}"


class Trace:
    """The events of a run, in order. It is an observer: call it with an event to add that.

    An event is written as the name of a node, or its path, or the end of its path, and one of
    ``starting``, ``running``, ``stopping``, ``stopped``::

        trace.assert_order("db running", "shop/http starting")
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._events = list(events)
        self._asked: tuple[Step, ...] = ()
        self._asked_at = 0

    def __call__(self, event: Event) -> None:
        """Add an event."""
        self._events.append(event)

    @property
    def events(self) -> tuple[Event, ...]:
        """All events so far."""
        return tuple(self._events)

    def names(self, phase: Phase) -> list[str]:
        """Return the names of the nodes that came to ``phase``, in that order.

        Raises:
            ValueError: there is no such phase.
        """
        check_choice(phase, "phase of names()", PHASES)
        return [event.node.name for event in self._events if _PHASE_OF.get(type(event)) == phase]

    def order(self, *events: str) -> bool:
        """Tell whether all of ``events`` have happened, and in this order.

        Where each has happened several times, the order must hold in each round: of the first
        times, of the second times, and so on. Where they have happened unequally often, it must
        hold for some of them.

        Raises:
            ValueError: one of them is not the name of an event, or none is given.
        """
        self._asked, self._asked_at = _parse(events), len(self._events)
        return not self._offending(self._asked)

    def assert_order(self, *events: str) -> None:
        """Do nothing if `order` holds for ``events``.

        Raises:
            AssertionError: it does not; the message is the table of what has happened, in which the
                offending lines are marked.
            ValueError: one of them is not the name of an event, or none is given.
        """
        __tracebackhide__ = True
        if not self.order(*events):
            raise AssertionError(self.explain())

    def live(self) -> tuple[Node, ...]:
        """Return the nodes that have started and not stopped."""
        live: dict[Node, None] = {}
        for event in self._events:
            if isinstance(event, Stopped):
                live.pop(event.node, None)
            elif type(event) in _PHASE_OF:
                live[event.node] = None
        return tuple(live)

    def clear(self) -> None:
        """Forget all events."""
        self._events.clear()
        self._asked = ()

    def explain(self) -> str:
        """Describe the last question to `order`, with its answer and the table of all events.

        The answer is that of when it was asked; what has happened since is below a line.
        """
        steps = self._asked
        if not steps:
            return self.table()
        offending = self._offending(steps)
        wanted = " -> ".join(map(str, steps))
        if not offending:
            return f"the order holds: {wanted}\n\n{self.table(self._marked(steps))}"
        never = [str(step) for step in steps if not self._at(step)]
        problem = f"never happened: {', '.join(never)}" if never else "see the lines marked with >"
        return f"the order does not hold: {wanted}\n{problem}\n\n{self.table(offending)}"

    def table(self, marked: Collection[int] = ()) -> str:
        """Draw the events, a line for each; ``marked`` are the places of those to be marked."""
        if not self._events:
            return "(no event)"
        width = max(len(event.path) for event in self._events)
        lines = [
            f"{'>' if place in marked else ' '} {line}"
            for place, line in enumerate(_lines(self._events, width))
        ]
        if self._asked and self._asked_at < len(lines):
            lines.insert(self._asked_at, "  ---------- asked here")
        return "\n".join(lines)

    def __repr__(self) -> str:
        return f"<Trace of {len(self._events)} events>"

    def __str__(self) -> str:
        return self.table()

    def _at(self, step: Step) -> list[int]:
        before = enumerate(self._events[: self._asked_at])
        return [place for place, event in before if step.matches(event)]

    def _marked(self, steps: Sequence[Step]) -> set[int]:
        return {place for step in steps for place in self._at(step)}

    def _offending(self, steps: Sequence[Step]) -> set[int] | None:
        """Return the places that contradict the order of ``steps``; None if nothing does."""
        places = [self._at(step) for step in steps]
        if not all(places):
            return self._marked(steps) or {-1}
        if len({len(each) for each in places}) == 1 and len(set(steps)) == len(steps):
            rounds = zip(*places, strict=True)
            wrong = [each for each in rounds if list(each) != sorted(set(each))]
            return {place for each in wrong for place in each} or None
        return None if _in_some_order(places) else self._marked(steps)


def _parse(events: Sequence[str]) -> tuple[Step, ...]:
    if not events:
        raise ValueError("name the events whose order is asked for")
    return tuple(Step.parse(event) for event in events)


def _in_some_order(places: Sequence[Sequence[int]]) -> bool:
    last = -1
    for each in places:
        later = [place for place in each if place > last]
        if not later:
            return False
        last = later[0]
    return True


def _lines(events: Sequence[Event], width: int) -> Iterator[str]:
    start = events[0].time
    for event in events:
        phase = _PHASE_OF.get(type(event), type(event).__name__.lower())
        error: BaseException | None = getattr(event, "error", None)
        told = "" if error is None else f"  {_in_short(error)}"
        yield f"{event.time - start:10.3f}  {event.path:<{width}}  {phase}{told}"


def _in_short(error: BaseException) -> str:
    """Describe an error; of a cancellation only the reason, for trio's text of it is long."""
    if isinstance(error, trio.Cancelled):
        return f"Cancelled: {error.reason}" if error.reason else "Cancelled"
    return summary(error)
