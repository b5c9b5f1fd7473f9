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
from functools import partial
from typing import Literal, Protocol

import attrs

from nestling.testing._probe import Probe, ProbeEvent

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


@attrs.define
class ProbePart:
    """A probe above its rest."""

    simulation: Simulation
    probe: Probe
    rest: Rest
    done: Over
    state: Literal["starting", "running", "ended", "stopping", "gone"] = "starting"
    pending: bool = False
    callback: Outcome = Outcome()
    stop_error: str | None = None
    failure: str | None = None
    wait: Timer | None = None
    life: Timer | None = None

    def enter(self) -> None:
        self._log("starting")
        self.wait = self.simulation.after(self.probe.start, self._started)

    def _started(self) -> None:
        if self.probe.fails_in == "start":
            self.failure = self._fail()
            self._log("stopped, failed")
            self._finish()
            return
        self._log("running")
        self.state = "running"
        self.life = self.simulation.after(self.probe.lasts, self._life_over)
        self.rest.enter(self._over)

    def _life_over(self) -> None:
        if self.probe.fails_in == "run":
            self.failure = self._fail()
            self._log("stopped, failed")
        else:
            self._log("stopped, returned")
            if self.probe.on_return == "fail":
                self.failure = self.simulation.fails("UnexpectedReturnError")
        self.state = "ended"
        if self.failure is not None or self.probe.on_return != "stay":
            self.rest.cancel()

    def cancel(self, *, final: bool = False) -> None:
        self.pending = True
        if self.state == "starting":
            self._end_cancelled()
        elif self.state in {"running", "ended"}:
            self.rest.cancel(final=final)
        elif self.state == "stopping" and self.probe.like not in {"leaf", "service"}:
            self._end_cancelled()

    def _over(self, outcome: Outcome) -> None:
        self.callback = outcome
        if self.state == "ended":
            self._finish()
            return
        assert self.life is not None
        self.life.cancel()
        self.state = "stopping"
        self._log("stopping")
        if self.probe.like in {"leaf", "service"}:
            self.simulation.after(self.probe.ignore, self._cancelled_leaf)
        elif self.pending or outcome.forces:
            self._end_cancelled()
        else:
            self.wait = self.simulation.after(self.probe.stop, self._stopped)

    def _cancelled_leaf(self) -> None:
        if self.probe.fails_in == "stop":
            self.failure = self._fail()
            self._log("stopped, failed")
        else:
            self._log("stopped, cancelled")
        self._finish()

    def _stopped(self) -> None:
        if self.probe.fails_in != "stop":
            self._log("stopped")
            self._finish()
            return
        self.stop_error = self._fail()
        if self.probe.like == "polite leaf":
            self._end_cancelled()  # its foreground is not told to stop any more
            return
        self._log("stopped, failed")
        self._finish()

    def _end_cancelled(self) -> None:
        """Be cancelled; only once, since what ignores a cancellation ignores the next, too."""
        if self.state == "gone":
            return
        self.state = "gone"
        if self.wait is not None:
            self.wait.cancel()
        self.simulation.after(self.probe.ignore, self._gone)

    def _gone(self) -> None:
        self._log("stopped, cancelled")
        self._finish()

    def _finish(self) -> None:
        self.state = "gone"
        error = first_of(self.callback.error, self.stop_error, self.failure)
        if self.probe.like == "runnable":
            # Its own code runs around the callback: its error takes the place of the callback's.
            error = first_of(self.stop_error, self.failure, self.callback.error)
        self.done(Outcome(error, self.pending))

    def _fail(self) -> str:
        return self.simulation.fails(label_of(self.probe))

    def _log(self, what: str) -> None:
        self.simulation.log(self.probe.name, what)


def label_of(probe: Probe) -> str:
    """Return what the error of a probe is known by."""
    error = probe.new_error()
    return f"{'' if isinstance(error, Exception) else '!'}{error}"


@attrs.define
class MemberRest:
    """What a member of a group runs around: it waits until the group tells it."""

    group: GroupPart
    over: Over | None = None
    told: bool = False
    cancelled: bool = False

    def enter(self, over: Over) -> None:
        self.over = over
        self.group.member_runs()

    def cancel(self, *, final: bool = False) -> None:
        del final
        self.cancelled = True
        if self.group.state == "stopping":
            self.tell()
        else:
            self.group.member_ends()

    def tell(self) -> None:
        """Let it be over."""
        if self.over is not None and not self.told:
            self.told = True
            self.over(Outcome(cancelled=self.cancelled))


@attrs.define(eq=False)
class Member:
    """One member of a group."""

    rest: MemberRest
    part: Part | None = None
    outcome: Outcome | None = None

    @property
    def gone(self) -> bool:
        """Whether there is nothing of it left, or never was."""
        return self.outcome is not None or self.part is None


Order = Literal["together", "forward", "reverse"]
"""How the members of a group stop."""


class GroupPart:
    """The members of a `parallel` or a `sequential`, above their common rest."""

    def __init__(
        self,
        order: Order,
        makes: Sequence[MakePart],
        simulation: Simulation,
        rest: Rest,
        done: Over,
    ) -> None:
        self.simulation = simulation
        self.makes = makes
        self.rest = rest
        self.done = done
        self.order = order
        self.state: Literal["starting", "running", "stopping", "gone"] = "starting"
        self.pending = False
        self.forcing = False
        self.final = False
        self.callback = Outcome()
        self.members = [Member(MemberRest(self)) for _ in makes]
        self.entered = 0
        self.running = 0

    def enter(self) -> None:
        for _ in self.members if self.order == "together" else self.members[:1]:
            self._enter_next()

    def _enter_next(self) -> None:
        number = self.entered
        member = self.members[number]
        self.entered += 1
        member.part = self.makes[number](
            self.simulation, member.rest, partial(self._member_done, member)
        )
        member.part.enter()

    def member_runs(self) -> None:
        """A member has entered its rest."""
        self.running += 1
        if self.running == len(self.members):
            self.state = "running"
            self.rest.enter(self._over)
        elif self.order != "together" and self.state == "starting":
            self._enter_next()

    def member_ends(self) -> None:
        """A member wants its rest to end: so the rest of all has to end first."""
        if self.state == "starting":
            self._stop()
        elif self.state == "running":
            self.rest.cancel()

    def _member_done(self, member: Member, outcome: Outcome) -> None:
        member.outcome = outcome
        if self.state == "stopping":
            if outcome.forces:
                self._force()
            elif not self.forcing:
                self._tell_next()
        else:
            self.member_ends()

    def _over(self, outcome: Outcome) -> None:
        self.callback = outcome
        self._stop()

    def cancel(self, *, final: bool = False) -> None:
        self.pending = True
        self.final = self.final or final
        if self.state == "running":
            self.rest.cancel(final=final)
        elif self.state == "starting":
            self._stop()
        else:
            self._force()

    def _stop(self) -> None:
        starting = self.state == "starting"
        self.state = "stopping"
        interrupted = any(member.outcome and member.outcome.forces for member in self.members)
        if self.pending or self.callback.forces or interrupted:
            self._force()
            return
        if starting:
            for member in self.members:
                if not member.gone and member.rest.over is None:
                    assert member.part is not None
                    member.part.cancel()
        for member in self.members:
            if member.rest.cancelled:
                member.rest.tell()  # what ends there waits for nothing but the dependents
        self._tell_next()

    def _force(self) -> None:
        # All at once: none of them stops gracefully because another one is gone at once.
        self.forcing = True
        for member in self.members:
            if not member.gone:
                assert member.part is not None
                member.part.cancel(final=self.final)
        self.forcing = False
        self._tell_next()

    def _tell_next(self) -> None:
        """Stop those whose turn it is."""
        for member in self.members if self.order != "reverse" else reversed(self.members):
            if not member.gone:
                member.rest.tell()
                if self.order != "together" and not member.gone:
                    return
        if self.state == "stopping" and all(member.gone for member in self.members):
            self.state = "gone"
            self._finish()

    def _finish(self) -> None:
        outcomes = [member.outcome for member in self.members if member.outcome]
        errors = tuple(outcome.error for outcome in outcomes if outcome.error is not None)
        interrupt = next(filter(is_interrupt, errors), None)
        together = interrupt or errors or None
        self.done(Outcome(first_of(self.callback.error, together), self.pending))


@attrs.frozen
class BoundedRest:
    """The rest of what is under deadlines."""

    bounds: TimeoutsPart

    def enter(self, over: Over) -> None:
        self.bounds.started(over)

    def cancel(self, *, final: bool = False) -> None:
        self.bounds.rest.cancel(final=final)


@attrs.frozen
class Bounds:
    """The deadlines of a `timeouts`, in seconds."""

    start: float
    stop: float
    grace: float


class TimeoutsPart:
    """A part under deadlines."""

    def __init__(
        self,
        bounds: Bounds,
        make: MakePart,
        simulation: Simulation,
        rest: Rest,
        done: Over,
    ) -> None:
        self.simulation = simulation
        self.rest = rest
        self.done = done
        self.bounds = bounds
        self.state: Literal["starting", "running", "stopping"] = "starting"
        self.pending = False
        self.final = False
        self.callback = Outcome()
        self.over_at = math.inf
        self.late: str | None = None
        self.timer: Timer | None = None
        self.inner_over: Over | None = None
        self.inner = make(simulation, BoundedRest(self), self._done)

    def enter(self) -> None:
        self.timer = self.simulation.after(
            self.bounds.start, partial(self._late, "StartTimeoutError")
        )
        self.inner.enter()

    def started(self, over: Over) -> None:
        """What is bounded runs."""
        self._forget_timer()
        self.state = "running"
        self.inner_over = over
        self.rest.enter(self._over)

    def cancel(self, *, final: bool = False) -> None:
        self.final = self.final or final
        self.pending = True
        if self.bounds.grace == 0 or self.state == "starting":
            self.inner.cancel(final=final)
        elif self.state == "running":
            self.rest.cancel(final=final)
        elif self.final:
            self._forget_timer()
            self.inner.cancel(final=True)
        else:
            self._bound(min(self.bounds.stop, self.bounds.grace))

    def _over(self, outcome: Outcome) -> None:
        self.state = "stopping"
        self.callback = outcome
        self.over_at = self.simulation.now
        assert self.inner_over is not None
        if not (self.pending and self.bounds.grace):
            self._bound(self.bounds.stop)
            self.inner_over(outcome)
        elif self.final:
            self.inner.cancel(final=True)
            self.inner_over(Outcome(outcome.error))
        else:
            # The cancellation ends here: what is bounded stops gracefully, for a while.
            self._bound(min(self.bounds.stop, self.bounds.grace))
            self.inner_over(Outcome(outcome.error))

    def _bound(self, seconds: float) -> None:
        self._forget_timer()
        left = max(self.over_at + seconds - self.simulation.now, 0)
        self.timer = self.simulation.after(left, partial(self._late, "StopTimeoutError"))

    def _forget_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()

    def _late(self, error: str) -> None:
        self.late = self.simulation.fails(error)
        self.inner.cancel(final=True)

    def _done(self, outcome: Outcome) -> None:
        self._forget_timer()
        error = outcome.error
        passed_on = error is not None and error == self.callback.error
        pair = (error, self.late) if passed_on else (self.late, error)
        self.done(Outcome(first_of(*pair), self.pending))
