"""What a run does when it is asked to stop, and what the process does at each signal.

The signals are counted by their handlers, which may interrupt each other and run while trio is
blocked; so they are no states, but a number:

==========  ===========================================================================
the signal  what is done
==========  ===========================================================================
first       the run is asked to stop
second      the run is asked to force its stop
third       the stuck report is written, then the process ends
any more    the process ends: the report is itself stuck, on a pipe that nobody reads
==========  ===========================================================================

What the run makes of these requests stands in `STEPS`. A `StopTimeoutError` is no event here:
`timeouts` of the kernel forces by itself, and the signals keep their meaning.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal

import attrs


class State(Enum):
    """How far a run has come."""

    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    FORCED = "forced"
    OVER = "over"


class Ending(Enum):
    """How a run came to its end, errors apart."""

    ENDED = "ended"
    STOPPED = "stopped"
    FORCED = "forced"


Event = Literal["called back", "stop", "force"]
Action = Literal["none", "return from callback", "cancel"]
SignalAction = Literal["stop", "force", "report and exit", "exit"]


@attrs.frozen
class Step:
    """The next state, and what is to be done."""

    state: State
    action: Action = "none"


STEPS: dict[tuple[State, Event], Step] = {
    (State.STARTING, "called back"): Step(State.RUNNING),
    (State.STARTING, "stop"): Step(State.STOPPING, "cancel"),
    (State.STARTING, "force"): Step(State.FORCED, "cancel"),
    (State.RUNNING, "stop"): Step(State.STOPPING, "return from callback"),
    (State.RUNNING, "force"): Step(State.FORCED, "cancel"),
    (State.STOPPING, "called back"): Step(State.STOPPING),
    (State.STOPPING, "stop"): Step(State.STOPPING),
    (State.STOPPING, "force"): Step(State.FORCED, "cancel"),
    (State.FORCED, "called back"): Step(State.FORCED),
    (State.FORCED, "stop"): Step(State.FORCED),
    (State.FORCED, "force"): Step(State.FORCED),
    (State.OVER, "stop"): Step(State.OVER),
    (State.OVER, "force"): Step(State.OVER),
}

ENDINGS: dict[State, Ending] = {
    State.STARTING: Ending.ENDED,
    State.RUNNING: Ending.ENDED,
    State.STOPPING: Ending.STOPPED,
    State.FORCED: Ending.FORCED,
}


def step(state: State, event: Event) -> Step:
    """Return what ``event`` leads to in ``state``."""
    return STEPS[state, event]


def action_at(number: int) -> SignalAction:
    """Return what the signal of that number, counted from one, asks for."""
    actions: dict[int, SignalAction] = {1: "stop", 2: "force", 3: "report and exit"}
    return actions.get(number, "exit")
