"""The states of a `Process`, as one table. The diagram in the documentation is drawn from it.

A call or an event without an entry is an error of the caller.
"""

from __future__ import annotations

from enum import Enum
from typing import Literal, NamedTuple


class State(Enum):
    """How far a `Process` has come."""

    INITIAL = "initial"
    STARTING = "starting"
    RUNNING = "running"
    STOPPED = "stopped"


Event = Literal["start", "stop", "called back", "ended"]
Action = Literal["spawn", "cancel", "return from callback", "none"]


class Step(NamedTuple):
    """Where an event leads to, and what is to be done."""

    state: State
    action: Action = "none"


STEPS: dict[tuple[State, Event], Step] = {
    (State.INITIAL, "start"): Step(State.STARTING, "spawn"),
    (State.INITIAL, "stop"): Step(State.STOPPED),
    (State.STARTING, "stop"): Step(State.STARTING, "cancel"),
    (State.STARTING, "called back"): Step(State.RUNNING),
    (State.STARTING, "ended"): Step(State.STOPPED),
    (State.RUNNING, "stop"): Step(State.RUNNING, "return from callback"),
    (State.RUNNING, "ended"): Step(State.STOPPED),
}


def step(state: State, event: Event) -> Step | None:
    """Return what ``event`` leads to in ``state``; None where it is not allowed."""
    return STEPS.get((state, event))


def diagram() -> str:
    """Draw the table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.INITIAL.value}"]
    for (state, event), target in STEPS.items():
        action = "" if target.action == "none" else f" / {target.action}"
        lines.append(f"    {state.value} --> {target.state.value}: {event}{action}")
    lines.append(f"    {State.STOPPED.value} --> [*]")
    return "\n".join(lines) + "\n"
