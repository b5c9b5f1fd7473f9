"""`model`: what a composition of probes has to do, and whether it has done that."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from functools import partial
from typing import cast

import attrs

from nestling._kernel._chain import Chain
from nestling._kernel._checks import check_seconds, describe_value
from nestling._kernel._deferred import Deferred
from nestling._kernel._errors import ExitedBeforeRunningError, NestlingError
from nestling._kernel._foreign import accept
from nestling._kernel._named import Named
from nestling._kernel._nop import Nop
from nestling._kernel._parallel import Parallel
from nestling._kernel._runnable import Composed, Runnable
from nestling._kernel._sequential import Sequential
from nestling._kernel._timeouts import Timeouts
from nestling.testing._body import Body, How
from nestling.testing._probe import Probe, ProbeEvent
from nestling.testing._simulated_group import GroupPart, Order
from nestling.testing._simulated_probe import ProbePart
from nestling.testing._simulated_timeouts import Bounds, TimeoutsPart
from nestling.testing._simulation import (
    Label,
    MakePart,
    NopPart,
    Outcome,
    Over,
    Simulation,
    Timer,
    chain_of,
)
from nestling.testing._told import told_by

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class UnknownToModelError(NestlingError, TypeError):
    """The model knows compositions of probes, and nothing of what else is composed."""


@attrs.frozen
class Prediction:
    """What has to happen.

    Attributes:
        events: what happens to the probes and the body, in order of time. What happens at the same
            time is in no order, but that of its causes.
        error: the error that comes out, by the name of who raised it, or None.
        cancelled: a cancellation comes out, if no error does.
        errors: all errors that are raised: none of them may be lost.
        order: pairs of names: a provider, and what depends on it.
        leaves: the probes of which nobody awaits that they begin.
    """

    events: tuple[ProbeEvent, ...]
    error: Label | None
    cancelled: bool
    errors: tuple[str, ...]
    order: frozenset[tuple[str, str]]
    leaves: frozenset[str]

    def allows(self, events: Sequence[ProbeEvent]) -> bool:
        """Tell whether a trace is one that the laws allow."""
        return not self.problems(events)

    def problems(self, events: Sequence[ProbeEvent]) -> list[str]:
        """Say what in a trace contradicts the laws."""
        for event in events:
            if not isinstance(cast("object", event), ProbeEvent):
                raise TypeError(
                    f"model() speaks of the events of probes, those in Played.events, "
                    f"not of {describe_value(event)}"
                )
        problems = _differences(self.events, events)
        return problems or self._disorder(events)

    def problems_of_error(self, raised: BaseException | None) -> list[str]:
        """Say what contradicts the laws in what came out: an error, or None."""
        label = label_of_error(raised)
        problems: list[str] = []
        if label != self.error:
            problems.append(f"{self.error!r} has to come out, not {label!r}")
        told = told_by(raised)
        lost = [error for error in self.errors if error.lstrip("!") not in told]
        return problems + [f"the error {error!r} is lost" for error in lost]

    def _disorder(self, events: Sequence[ProbeEvent]) -> list[str]:
        """Hold the order of what depends on one another against that of the model (law 1)."""
        expected = {_key(event): place for place, event in enumerate(self.events)}
        problems: list[str] = []
        for place, later in enumerate(events):
            for earlier in events[:place]:
                if earlier.time != later.time or not self._ordered(earlier, later):
                    continue
                if expected[_key(earlier)] > expected[_key(later)]:
                    problems.append(f"{_text(later)} has to come before {_text(earlier)}")
        return problems

    def _ordered(self, one: ProbeEvent, other: ProbeEvent) -> bool:
        if one.name == other.name:
            return True
        pair = (one.name, other.name)
        begins = any(e.name in self.leaves and e.what in _BEGINNING for e in (one, other))
        return not begins and (pair in self.order or pair[::-1] in self.order)


def model(
    r: Runnable, body: Body | None = None, *, cancel_at: float = math.inf, how: How = "run"
) -> Prediction:
    """Say what a composition of probes has to do, by the laws alone.

    The model knows `Probe`, ``nop``, and all that ``chain``, ``parallel``, ``sequential``,
    ``named``, ``timeouts`` and ``deferred`` make of them. It assumes that no two waits end at the
    same time: the laws leave open who is the first of two that fail at once.

    Args:
        r: the composition.
        body: its callback; by default one that takes a second.
        cancel_at: when all of it is cancelled from outside, in seconds from the start.
        how: by its method ``run``, or around the body of a `running`.

    Example::

        expected = model(chain(Probe("db"), Probe("http", run=3, fail=OSError("no"))))
        assert expected.error == "no"

    Raises:
        UnknownToModelError: something is composed that the model does not know.
        ValueError: it would never end: nothing in it ends, and nothing cancels it; or two of its
            probes have one name.
    """
    check_seconds(cancel_at, "cancel_at of model()")
    composed = accept(r, "r of model()")
    body = body or Body()
    _check_names([*_names(composed), body.name])
    simulation = Simulation()
    outcomes: list[Outcome] = []
    part = _make(composed)(simulation, _BodyRest(simulation, body), outcomes.append)
    part.enter()
    simulation.after(cancel_at, lambda: None if outcomes else part.cancel())
    simulation.run()
    if not outcomes:
        raise ValueError(f"nothing ends {composed!r}, and nothing cancels it")
    order = frozenset([*_order(composed), *[(name, body.name) for name in _names(composed)]])
    (outcome,) = outcomes
    error = outcome.error
    entered = any(event.name == body.name for event in simulation.events)
    if how == "running" and not entered and error is None and not outcome.cancelled:
        error = ExitedBeforeRunningError.__name__  # the body of a statement cannot be left out
    return Prediction(
        tuple(simulation.events),
        error,
        outcome.cancelled,
        tuple(simulation.errors),
        order,
        frozenset(_leaves(composed)),
    )


_BEGINNING = ("starting", "running")


@attrs.define
class _BodyRest:
    simulation: Simulation
    body: Body
    over: Over | None = None
    timer: Timer | None = None
    ends: bool = False

    def enter(self, over: Over) -> None:
        self.over = over
        self.simulation.log(self.body.name, "starting")
        self.timer = self.simulation.after(self.body.seconds, self._ended)

    def _ended(self) -> None:
        self.ends = True
        if self.body.fail is None:
            self._tell("stopped", None)
        else:
            self._tell("stopped, failed", self.simulation.fails(name_of(self.body.fail)))

    def cancel(self, *, final: bool = False) -> None:
        del final
        if not self.ends and self.timer is not None:
            self.ends = True
            self.timer.cancel()
            self.simulation.after(self.body.ignore, self._cancelled)

    def _cancelled(self) -> None:
        self._tell("stopped, cancelled", None)

    def _tell(self, what: str, error: str | None) -> None:
        self.simulation.log(self.body.name, what)
        assert self.over is not None
        self.over(Outcome(error, cancelled=what == "stopped, cancelled"))


def _make(r: Composed) -> MakePart:
    """Return what makes the part of ``r``."""
    if isinstance(r, Probe):
        return lambda simulation, rest, done: ProbePart(simulation, r, rest, done)
    if isinstance(r, Nop):
        return lambda _, rest, done: NopPart(rest, done)
    makes = tuple(map(_make, _parts(r)))
    if isinstance(r, (Named, Deferred)):
        return makes[0]
    if isinstance(r, Timeouts):
        bounds = Bounds(r.start, r.stop, r.grace)
        return partial(TimeoutsPart, bounds, makes[0])
    if isinstance(r, (Parallel, Sequential)):
        order: Order = r.stop_order if isinstance(r, Sequential) else "together"
        return partial(GroupPart, order, makes)
    if isinstance(r, Chain):
        return partial(chain_of, makes)
    raise UnknownToModelError(f"the model knows compositions of probes, and nothing of {r!r}")


def _order(r: Composed) -> list[tuple[str, str]]:
    """Return who depends on whom."""
    pairs = [pair for part in _parts(r) for pair in _order(part)]
    if isinstance(r, Chain):
        names = [_names(part) for part in r.parts]
        for place, providers in enumerate(names):
            dependents = [name for later in names[place + 1 :] for name in later]
            pairs += [(provider, dependent) for provider in providers for dependent in dependents]
    return pairs


def _names(r: Composed) -> list[str]:
    return [r.name] if isinstance(r, Probe) else [n for part in _parts(r) for n in _names(part)]


def _check_names(names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(
            f"model() tells probes and the body apart by their names, and there are two {twice!r}"
        )


def _leaves(r: Composed) -> list[str]:
    if isinstance(r, Probe):
        return [r.name] if r.like in {"leaf", "polite leaf"} else []
    return [name for part in _parts(r) for name in _leaves(part)]


def _parts(r: Composed) -> tuple[Composed, ...]:
    if isinstance(r, Deferred):
        return (accept(r.factory(), "what deferred() has built"),)
    return r.parts


def name_of(error: BaseException) -> str:
    """Return what an error is known by."""
    if isinstance(error, NestlingError):
        return type(error).__name__
    return f"{'' if isinstance(error, Exception) else '!'}{error}"


def label_of_error(error: BaseException | None) -> Label | None:
    """Return what an error is known by; of a group, what its members are known by."""
    if error is None:
        return None
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return tuple(label for label in map(label_of_error, members) if label is not None)
    return name_of(error)


def _key(event: ProbeEvent) -> tuple[str, str, float]:
    return event.name, event.what, event.time


def _text(event: ProbeEvent) -> str:
    return f"{event.name!r} {event.what} at {event.time:g}"


def _differences(expected: Sequence[ProbeEvent], actual: Sequence[ProbeEvent]) -> list[str]:
    missing = list(expected)
    surplus: list[ProbeEvent] = []
    for event in actual:
        if event in missing:
            missing.remove(event)
        else:
            surplus.append(event)
    return [f"{_text(event)} is missing" for event in missing] + [
        f"{_text(event)} must not be" for event in surplus
    ]
