"""`play`: one run of a composition of probes, under one schedule."""

from __future__ import annotations

import math

import attrs
import trio

from nestling._kernel._runnable import Runnable
from nestling._kernel._running import running
from nestling.testing._body import Body, How
from nestling.testing._clock import JumpingClock
from nestling.testing._model import Prediction
from nestling.testing._probe import ProbeEvent, journal
from nestling.testing._steps import Steps
from nestling.testing._trio_internals import scheduled_by


@attrs.define
class Played:
    """What has happened in a run.

    Attributes:
        events: what has happened to the probes and the body, in order.
        raised: the error that came out.
        cancelled: a cancellation came out.
        tasks_left: how many tasks were left.
    """

    events: list[ProbeEvent] = attrs.field(factory=list[ProbeEvent])
    raised: BaseException | None = None
    cancelled: bool = False
    tasks_left: int = 0

    def problems(self, expected: Prediction) -> list[str]:
        """Say what contradicts the laws."""
        problems = expected.problems(self.events) + expected.problems_of_error(self.raised)
        if self.raised is None and self.cancelled != expected.cancelled:
            problems.append(f"a cancellation has {'' if expected.cancelled else 'not '}to come out")
        if self.tasks_left:
            problems.append(f"{self.tasks_left} tasks are left")
        return problems


def play(
    r: Runnable,
    body: Body | None = None,
    *,
    cancel_at: float = math.inf,
    seed: int = 0,
    how: How = "run",
) -> Played:
    """Run ``r`` around ``body``, in a trio run of its own, under the schedule of ``seed``.

    Args:
        r: the composition.
        body: its callback; by default one that takes a second.
        cancel_at: when all of it is cancelled from outside, in seconds from the start.
        seed: the same seed gives the same schedule.
        how: by its method ``run``, or around the body of a `running`.

    Example::

        shop = chain(Probe("db", stop=1), Probe("http"))
        assert play(shop, seed=7).problems(model(shop)) == []
    """
    played = Played()
    clock = JumpingClock()

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        with trio.move_on_at(cancel_at) as scope:
            try:
                await _run(r, body or Body(), how)
            except trio.Cancelled:
                raise
            except BaseException as raised:
                played.raised = raised
        played.cancelled = scope.cancelled_caught
        played.tasks_left = trio.lowlevel.current_statistics().tasks_living - before

    with scheduled_by(seed), journal() as played.events:
        trio.run(main, clock=clock, instruments=[Steps(clock)])
    return played


async def _run(r: Runnable, body: Body, how: How) -> None:
    if how == "run":
        await r.run(body)
    else:
        async with running(r):
            await body()
