"""The reference model: what a composition of probes has to do, told without trio.

Written from the laws, one part of a composition after the other, as a simulation in which time is a
number and a wait an entry in a list. It shares nothing with the kernel but the structure of what is
composed. A *part* is one run of one runnable; its *rest* is what depends on it.

==============  ================================================================================
a part          is entered once; enters its rest when it runs; is told when the rest is over; can
                be cancelled from outside at any time; tells when it is done
a rest          is entered once, and can be cancelled; tells when it is over
law 1           a part stops only when it is told that its rest is over; a cancellation goes to
                the rest first
law 2           *pending*: it was cancelled, so that it is forced to stop once the rest is over
law 3, law 4    `first_of`: which of several errors comes out
==============  ================================================================================
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Protocol

import attrs

from nestling.testing._probe import ProbeEvent

Label = str | tuple["Label", ...]
"""What an error is known by; that of a group are those of its members. An interrupt has a ``!``."""


@attrs.frozen
class Outcome:
    """How something has ended: with an error, cancelled, both, or neither."""

    error: Label | None = None
    cancelled: bool = False

    @property
    def forces(self) -> bool:
        """Whether it is an interrupt that comes out (law 4)."""
        return is_interrupt(self.error)


def is_interrupt(error: Label | None) -> bool:
    """Tell whether law 4 holds for an error."""
    return isinstance(error, str) and error.startswith("!")


def first_of(*errors: Label | None) -> Label | None:
    """Return the error that comes out: the first interrupt, else the first error (law 3, law 4)."""
    there = [error for error in errors if error is not None]
    return next(filter(is_interrupt, there), there[0] if there else None)


Over = Callable[[Outcome], None]


class Timer:
    """Something that is to happen later."""

    def __init__(self, do: Callable[[], None]) -> None:
        self.do: Callable[[], None] | None = do

    def cancel(self) -> None:
        """Let it not happen."""
        self.do = None


class Simulation:
    """The time, what is to happen, and what has happened."""

    def __init__(self) -> None:
        self.now = 0.0
        self.events: list[ProbeEvent] = []
        self.errors: list[str] = []
        self._later: list[tuple[float, int, Timer]] = []
        self._number = itertools.count()

    def after(self, seconds: float, do: Callable[[], None]) -> Timer:
        """Do something after a while: at once, if that is none, and never, if it is endless."""
        timer = Timer(do)
        if seconds == 0:
            do()
        elif seconds < math.inf:
            heapq.heappush(self._later, (self.now + seconds, next(self._number), timer))
        return timer

    def log(self, name: str, what: str) -> None:
        """Note what happens to a probe now."""
        self.events.append(ProbeEvent(self.now, name, what))

    def fails(self, label: str) -> str:
        """Note that something fails now."""
        self.errors.append(label)
        return label

    def run(self) -> None:
        """Let all happen that is to happen."""
        while self._later:
            self.now, _, timer = heapq.heappop(self._later)
            if timer.do is not None:
                timer.do()


class Rest(Protocol):
    """What depends on a part."""

    def enter(self, over: Over) -> None:
        """Begin; call ``over`` at the end."""

    def cancel(self, *, final: bool = False) -> None:
        """Be cancelled from outside; ``final`` if no grace is left."""


class Part(Protocol):
    """One run of one runnable."""

    def enter(self) -> None:
        """Begin."""

    def cancel(self, *, final: bool = False) -> None:
        """Be cancelled from outside; ``final`` if no grace is left."""


MakePart = Callable[[Simulation, Rest, Over], Part]


@attrs.define
class RestOfChain:
    """A dependent, as the rest of its provider."""

    simulation: Simulation
    make: MakePart
    rest: Rest
    part: Part | None = None

    def enter(self, over: Over) -> None:
        self.part = self.make(self.simulation, self.rest, over)
        self.part.enter()

    def cancel(self, *, final: bool = False) -> None:
        assert self.part is not None
        self.part.cancel(final=final)


def chain_of(makes: Sequence[MakePart], simulation: Simulation, rest: Rest, done: Over) -> Part:
    """Make the part of a chain: each is the rest of the one before."""
    if not makes:
        return NopPart(rest, done)
    for make in reversed(makes[1:]):
        rest = RestOfChain(simulation, make, rest)
    return makes[0](simulation, rest, done)


@attrs.define
class NopPart:
    """Nothing but its rest."""

    rest: Rest
    done: Over
    pending: bool = False

    def enter(self) -> None:
        self.rest.enter(lambda outcome: self.done(Outcome(outcome.error, self.pending)))

    def cancel(self, *, final: bool = False) -> None:
        self.pending = True
        self.rest.cancel(final=final)
