"""Hypothesis strategies: compositions of probes, and what is to happen to them.

No two waits of what is drawn end at the same time, so that the model knows what has to happen: each
is some whole seconds and a fraction of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import attrs

from nestling._kernel._chain import chain
from nestling._kernel._deferred import deferred
from nestling._kernel._errors import MissingExtraError
from nestling._kernel._named import named
from nestling._kernel._nop import nop
from nestling._kernel._parallel import parallel
from nestling._kernel._runnable import Runnable
from nestling._kernel._sequential import sequential
from nestling._kernel._timeouts import timeouts
from nestling.testing._body import Body, How
from nestling.testing._model import model
from nestling.testing._play import play
from nestling.testing._probe import KINDS, Kind, Probe

try:
    from hypothesis import strategies as st
except ImportError as _missing:
    raise MissingExtraError("testing", "hypothesis") from _missing

T = TypeVar("T")
T2 = TypeVar("T2")
Draw = Callable[[st.SearchStrategy[Any]], Any]

MOST_PROBES = 8
MOST_LEVELS = 4


class ProbeInterrupt(BaseException):
    """What a probe is interrupted by: no `Exception`, so that it forces (law 4)."""


@attrs.frozen
class Case:
    """A composition, and what is to happen to it.

    Attributes:
        composition: of probes.
        body: its callback.
        cancel_at: when it is cancelled from outside, in seconds.
        seed: of the schedule.
        how: by `run` or around the body of `running`.
    """

    composition: Runnable
    body: Body
    cancel_at: float
    seed: int
    how: How

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Let Hypothesis print it as it can be written in a test."""
        del cycle
        printer.text(repr(self))

    def problems(self) -> list[str]:
        """Run it, and say what contradicts the model."""
        r, body, cancel_at, how = self.composition, self.body, self.cancel_at, self.how
        expected = model(r, body, cancel_at=cancel_at, how=how)
        played = play(r, body, cancel_at=cancel_at, seed=self.seed, how=how)
        return played.problems(expected)


class _Drawing:
    """One composition that is being drawn."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self.probes = 0
        self._waits = 0

    def seconds(self, least: int = 0, most: int = 3) -> float:
        """Draw a wait that ends when no other does."""
        whole: int = self.draw(st.integers(least, most))
        self._waits += 1
        return whole + 2.0 ** -(self._waits + 1)

    def perhaps(self, make: Callable[[], T], otherwise: T2, *, one_in: int = 3) -> T | T2:
        """Draw whether to ``make`` something; the simplest is not to."""
        return make() if self.draw(st.integers(0, one_in - 1)) == one_in - 1 else otherwise

    def runnable(self, levels: int) -> Runnable:
        """Draw a composition of so many levels at the most."""
        if levels == 0 or self.probes >= MOST_PROBES:
            return self.probe()
        makers = [self._chain, self._parallel, self._sequential, self._wrapped]
        if levels < MOST_LEVELS:
            makers = [self._probe, self._probe, *makers]
        maker: Callable[[int], Runnable] = self.draw(st.sampled_from(makers))
        return maker(levels - 1)

    def _members(self, levels: int) -> list[Runnable]:
        # The simplest first, which is what shrinking comes to; but two are drawn most often.
        none = [] if levels + 1 == MOST_LEVELS else [0]
        number: int = self.draw(st.sampled_from([*none, 1, 2, 2, 2, 3, 3, 4]))
        return [self.runnable(levels) for _ in range(number)]

    def _probe(self, levels: int) -> Runnable:
        del levels
        return self.probe()

    def _chain(self, levels: int) -> Runnable:
        return chain(*self._members(levels))

    def _parallel(self, levels: int) -> Runnable:
        return parallel(*self._members(levels))

    def _sequential(self, levels: int) -> Runnable:
        order = self.draw(st.sampled_from(["forward", "reverse"]))
        return sequential(*self._members(levels), stop_order=order)

    def _wrapped(self, levels: int) -> Runnable:
        wrap = self.draw(st.sampled_from(["named", "deferred", "nop", "timeouts"]))
        if wrap == "nop":
            return nop()
        inner = self.runnable(levels)
        if wrap == "named":
            return named("named", inner)
        if wrap == "deferred":
            return deferred(lambda: inner)
        return self._bounded(inner)

    def _bounded(self, inner: Runnable) -> Runnable:
        return timeouts(
            inner,
            start=self.perhaps(lambda: self.seconds(0, 5), math.inf),
            stop=self.perhaps(lambda: self.seconds(0, 5), math.inf),
            grace=self.perhaps(lambda: self.seconds(0, 5), 0),
        )

    def probe(self) -> Probe:
        """Draw a probe."""
        self.probes += 1
        kind: Kind = self.draw(st.sampled_from(KINDS))
        name = f"p{self.probes}"
        phases = _PHASES[kind]
        fails_in = self.perhaps(lambda: self.draw(st.sampled_from(phases[1])), None, one_in=4)
        fail = None if fails_in is None else (fails_in, self.error(f"{name} fails in {fails_in}"))
        lasts = math.inf
        if "run" in phases[0]:
            lasts = self.perhaps(lambda: self.seconds(0, 6), math.inf)
        if fails_in == "run":
            lasts = self.seconds(0, 6)
        may_stay = lasts < math.inf and kind != "polite leaf"
        returns = ["stop", "fail", "stay"] if may_stay else ["stop"]
        return Probe(
            name,
            kind=kind,
            start=self._phase("start", kind, fails_in),
            run=lasts,
            stop=self._phase("stop", kind, fails_in),
            fail=fail,
            ignore=0
            if kind == "polite leaf" and fails_in == "stop"
            else self.perhaps(self.seconds, 0),
            on_return=self.draw(st.sampled_from(returns)),
        )

    def _phase(self, phase: str, kind: Kind, fails_in: str | None) -> float:
        if phase not in _PHASES[kind][0]:
            return 0
        if phase in {fails_in, "stop"}:
            # A stop that takes no time may or may not be over before an interrupt forces it.
            return self.seconds()
        return self.perhaps(self.seconds, 0, one_in=2)

    def error(self, text: str) -> BaseException:
        """Draw an error: mostly an exception, and sometimes an interrupt."""
        return self.perhaps(lambda: ProbeInterrupt(text), _error(text), one_in=6)

    def body(self) -> Body:
        """Draw a callback."""
        return Body(
            seconds=self.seconds(0, 8),
            fail=self.perhaps(lambda: self.error("the body fails"), None),
            ignore=self.perhaps(self.seconds, 0),
        )


def _error(text: str) -> BaseException:
    return RuntimeError(text)


# Of each kind: the phases that take time, and those in which it can fail.
_PHASES: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "worker": (("start", "run", "stop"), ("start", "run", "stop")),
    "leaf": (("run",), ("run", "stop")),
    "polite leaf": (("run", "stop"), ("run", "stop")),
    "start_stop": (("start", "stop"), ("start", "stop")),
    "service": (("start", "run"), ("start", "run", "stop")),
    "resource": (("start", "stop"), ("start", "stop")),
    "runnable": (("start", "stop"), ("start", "stop")),
}


@st.composite
def compositions(draw: Draw) -> Runnable:
    """Draw a composition of probes: all combinators, nested, with all kinds of failures.

    Example::

        @given(compositions())
        def test_it_is_described(r):
            assert render(describe(r))
    """
    return _Drawing(draw).runnable(MOST_LEVELS)


@st.composite
def cases(draw: Draw) -> Case:
    """Draw a composition of probes, and what is to happen to it.

    Example::

        @given(cases())
        def test_the_laws_hold(case):
            assert case.problems() == []
    """
    drawing = _Drawing(draw)
    composition = drawing.runnable(MOST_LEVELS)
    return Case(
        composition,
        drawing.body(),
        drawing.perhaps(lambda: drawing.seconds(0, 9), math.inf),
        draw(st.integers(0, 2**32 - 1)),
        draw(st.sampled_from(["run", "running"])),
    )
