"""The two tables: what a signal asks for, and what a run makes of it."""

from __future__ import annotations

import pytest

from nestling.app._states import ENDINGS, STEPS, Ending, State, Step, action_at, step


def test_the_first_signal_stops_the_second_forces_the_third_reports_and_more_only_exit() -> None:
    actions = [action_at(number) for number in range(1, 6)]
    assert actions == ["stop", "force", "report and exit", "exit", "exit"]


def test_a_stop_cancels_the_start_up_and_lets_the_callback_of_a_running_run_return() -> None:
    assert step(State.STARTING, "stop") == Step(State.STOPPING, "cancel")
    assert step(State.RUNNING, "stop") == Step(State.STOPPING, "return from callback")


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING, State.STOPPING])
def test_a_force_cancels_whatever_still_lives(state: State) -> None:
    assert step(state, "force") == Step(State.FORCED, "cancel")


@pytest.mark.parametrize("state", [State.STOPPING, State.FORCED, State.OVER])
def test_a_stop_after_a_stop_changes_nothing(state: State) -> None:
    assert step(state, "stop") == Step(state)


def test_every_state_has_an_entry_for_every_request() -> None:
    requests = {(state, request) for state in State for request in ("stop", "force")}
    assert requests <= set(STEPS)


def test_each_state_in_which_a_run_can_end_says_how_it_ended() -> None:
    assert ENDINGS == {
        State.STARTING: Ending.ENDED,
        State.RUNNING: Ending.ENDED,
        State.STOPPING: Ending.STOPPED,
        State.FORCED: Ending.FORCED,
    }
