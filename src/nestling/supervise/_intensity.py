"""How often restarts may follow each other, and how long each waits: decided without a clock."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator

import attrs

from nestling._kernel._checks import check_seconds
from nestling._kernel._errors import RestartLimitError
from nestling.supervise._backoff import Delays


@attrs.define
class Intensity:
    """A window that slides along: at most ``limit`` restarts in the last ``period`` seconds.

    The idea, and the name, are those of the supervisors of Erlang/OTP.
    """

    limit: float
    period: float
    _restarts: deque[tuple[float, Exception]] = attrs.field(
        factory=deque[tuple[float, Exception]], init=False
    )

    def allows(self, now: float, failure: Exception) -> bool:
        """Count a restart, and tell whether it is not one too many."""
        self._restarts.append((now, failure))
        while now - self._restarts[0][0] > self.period:
            self._restarts.popleft()
        if math.isinf(self.limit):
            self._restarts.clear()
        return len(self._restarts) <= self.limit

    def take_failures(self) -> list[Exception]:
        """Return what the restarts in the window have followed; keep none of it."""
        failures = [failure for _, failure in self._restarts]
        self._restarts.clear()
        return list({id(failure): failure for failure in failures}.values())


@attrs.define
class Series:
    """The restarts of one node: how long each waits.

    Attributes:
        attempt: the number of the last one, since the node was last healthy.
    """

    _delays: Delays
    attempt: int = attrs.field(default=0, init=False)
    _iterator: Iterator[float] | None = attrs.field(default=None, init=False)
    _running_since: float = attrs.field(default=math.inf, init=False)

    def runs(self, now: float) -> None:
        """Note that the node runs from now on."""
        self._running_since = now

    def next(self, now: float) -> float | None:
        """Return the delay before the next restart, in seconds; None where there is no more.

        Raises what the delays raise.
        """
        health, self._running_since = now - self._running_since, math.inf
        if self._iterator is None or health >= getattr(self._delays, "reset_after", math.inf):
            self._iterator = self._delays()
            self.attempt = 0
        delay = next(self._iterator, None)
        if delay is None:
            return None
        self.attempt += 1
        return check_seconds(delay, "each delay of a backoff")


def next_delay(
    series: Series, intensity: Intensity, now: float, failure: Exception, title: str
) -> float | BaseException:
    """Return the seconds before the next restart; or with what error it is given up.

    Args:
        series: the restarts of the node.
        intensity: those that count together with them.
        now: seconds on trio's clock.
        failure: what the node has failed with.
        title: what is given up.
    """
    if not intensity.allows(now, failure):
        limit = f"more than {intensity.limit:g} in {intensity.period:g} s"
        return _gave_up(f"{title}: too many restarts, {limit}", intensity, failure)
    try:
        delay = series.next(now)
    except BaseException as problem:
        problem.__cause__ = failure
        return problem
    if delay is None:
        return _gave_up(f"{title}: no more restarts", intensity, failure)
    return delay


def _gave_up(message: str, intensity: Intensity, last: Exception) -> RestartLimitError:
    # Without a limit, none are counted.
    error = RestartLimitError(message, intensity.take_failures() or [last])
    error.__cause__ = error.exceptions[-1]
    return error
