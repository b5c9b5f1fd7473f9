"""How a supervisor is made, and a count of restarts that is not its own."""

from __future__ import annotations

import math
from collections import Counter

import attrs

from nestling import RestartLimitError, UnexpectedReturnError
from nestling.supervise._happenings import Restart
from nestling.supervise._intensity import Intensity
from nestling.supervise._supervisor_state import AutoShutdown, Strategy, SupervisorState


@attrs.frozen
class Rules:
    """How a supervisor is made; ``delays`` are those of each child, before it is given up."""

    strategy: Strategy
    auto_shutdown: AutoShutdown
    limit: float
    period: float
    delays: tuple[float, ...]

    def state(self) -> SupervisorState:
        """Return what decides."""
        return SupervisorState(
            self.strategy,
            self.auto_shutdown,
            lambda: iter(self.delays),
            Intensity(self.limit, self.period),
        )


class Count:
    """The restarts of all children, each with what it follows: None for a return."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._restarts: list[tuple[float, BaseException | None]] = []
        self._attempts = Counter[str]()

    def is_too_often(self, name: str, error: BaseException | None, now: float) -> bool:
        """Count one restart more."""
        self._restarts.append((now, error))
        if len(self._in_window(now)) > self._rules.limit:
            return True
        self._attempts[name] += 1
        return self._attempts[name] > len(self._rules.delays)

    def _in_window(self, now: float) -> list[BaseException | None]:
        return [error for time, error in self._restarts if now - time <= self._rules.period]

    def check_restart(self, restart: Restart) -> None:
        attempt = self._attempts[restart.name]
        assert (restart.attempt, restart.delay) == (attempt, self._rules.delays[attempt - 1])

    def check_limit(self, gave_up: RestartLimitError, now: float) -> None:
        """Check that all failures in the window are there; without a limit, the last one."""
        failures = self._in_window(now)[-1 if math.isinf(self._rules.limit) else 0 :]
        assert len(gave_up.exceptions) == len(failures)
        assert all(map(stands_for, gave_up.exceptions, failures))


def stands_for(error: BaseException, ended_with: BaseException | None) -> bool:
    """Tell whether ``error`` is what something has ended with, or stands for its return."""
    if ended_with is None:
        return isinstance(error, UnexpectedReturnError)
    return error is ended_with
