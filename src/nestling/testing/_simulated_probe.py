"""A probe in the reference model, see `_simulation`."""

from __future__ import annotations

from typing import Literal

import attrs

from nestling.testing._probe import Probe
from nestling.testing._simulation import Outcome, Over, Rest, Simulation, Timer, first_of


@attrs.define
class ProbePart:
    """A probe above its rest."""

    simulation: Simulation
    probe: Probe
    rest: Rest
    done: Over
    state: Literal["starting", "running", "ended", "stopping", "gone"] = "starting"
    pending: bool = False
    callback: Outcome = attrs.field(factory=Outcome)
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
