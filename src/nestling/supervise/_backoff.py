"""`Backoff`: how long to wait before each restart."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs

from nestling._kernel._checks import check_number, check_seconds
from nestling.supervise._chance import CHANCE

Delays = Callable[[], Iterator[float]]
"""Makes the delays of a series of restarts, in seconds. Where they end, it is given up."""


@attrs.frozen
class Backoff:
    """Delays that grow from restart to restart, and start anew after some health.

    Called, it makes an iterator of the delays of one series: that is all that `RestartPolicy` and
    `Supervisor` ask of what they are given in its place. The delays of what is not a `Backoff`
    start anew after as long as its attribute ``reset_after`` says, or else never.

    Attributes:
        initial: seconds before the first restart.
        factor: how many times as long as the last one each delay is; at least 1.
        maximum: seconds that no delay exceeds, but for the jitter.
        jitter: the largest part of a delay that chance takes away or adds, from 0 to 1: so that
            what has failed together does not come back together.
        reset_after: seconds of running after which the delays start anew.

    Example::

        Backoff(initial=0.1, factor=2, maximum=3, jitter=0)    # 0.1, 0.2, 0.4, ..., 3, 3, ...
    """

    initial: float = 0.1
    factor: float = 2
    maximum: float = 60
    jitter: float = 0.5
    reset_after: float = 60

    def __attrs_post_init__(self) -> None:
        check_seconds(self.initial, "initial of Backoff()")
        check_number(self.factor, "factor of Backoff()", least=1)
        check_seconds(self.maximum, "maximum of Backoff()")
        check_number(self.jitter, "jitter of Backoff()", least=0, most=1)
        check_seconds(self.reset_after, "reset_after of Backoff()")

    def __call__(self) -> Iterator[float]:
        """Yield the delays of one series, in seconds, without end."""
        delay = float(self.initial)
        while True:
            delay = min(delay, self.maximum)
            yield delay * CHANCE.uniform(1 - self.jitter, 1 + self.jitter)
            delay *= self.factor
