from __future__ import annotations

from typing import get_args

import pytest

from nestling import State
from nestling._kernel._states import STEPS, Action, Event, Step, diagram, step

EVENTS: tuple[Event, ...] = get_args(Event)
ACTIONS: tuple[Action, ...] = get_args(Action)


def test_the_values_of_the_states_are_their_names_in_lower_case() -> None:
    assert [state.value for state in State] == ["initial", "starting", "running", "stopped"]
    assert [state.name for state in State] == ["INITIAL", "STARTING", "RUNNING", "STOPPED"]


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("event", EVENTS)
def test_each_event_in_each_state_does_what_the_table_says(state: State, event: Event) -> None:
    expected = {
        (State.INITIAL, "start"): Step(State.STARTING, "spawn"),
        (State.INITIAL, "stop"): Step(State.STOPPED, "none"),
        (State.STARTING, "stop"): Step(State.STARTING, "cancel"),
        (State.STARTING, "called back"): Step(State.RUNNING, "none"),
        (State.STARTING, "ended"): Step(State.STOPPED, "none"),
        (State.RUNNING, "stop"): Step(State.RUNNING, "return from callback"),
        (State.RUNNING, "ended"): Step(State.STOPPED, "none"),
    }
    assert step(state, event) == expected.get((state, event))


def test_no_event_leads_out_of_stopped() -> None:
    assert not [event for state, event in STEPS if state is State.STOPPED]


def test_each_state_but_the_first_is_reached_and_each_event_and_action_is_used() -> None:
    assert {target.state for target in STEPS.values()} == set(State) - {State.INITIAL}
    assert {event for _, event in STEPS} == set(EVENTS)
    assert {target.action for target in STEPS.values()} == set(ACTIONS)


def test_the_diagram_is_drawn_from_the_table() -> None:
    assert diagram() == (
        "stateDiagram-v2\n"
        "    [*] --> initial\n"
        "    initial --> starting: start / spawn\n"
        "    initial --> stopped: stop\n"
        "    starting --> starting: stop / cancel\n"
        "    starting --> running: called back\n"
        "    starting --> stopped: ended\n"
        "    running --> running: stop / return from callback\n"
        "    running --> stopped: ended\n"
        "    stopped --> [*]\n"
    )
