"""`timeouts` in the reference model, see `_simulation`."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

import attrs

from nestling.testing._simulation import MakePart, Outcome, Over, Rest, Simulation, Timer, first_of


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
