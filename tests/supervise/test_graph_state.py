"""What a graph decides, held against a world that knows the laws and nothing of how it decides."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, strategies as st

from nestling.supervise._graph_state import GraphState
from nestling.supervise._happenings import Ask, Began, Ran, Start, StopWanted
from tests.drawing import choosing, drawn
from tests.supervise.graph_world import hold_graph_against_laws


@drawn(500)
@given(st.data())
def test_a_graph_keeps_the_laws_in_any_order_of_what_happens(data: st.DataObject) -> None:
    hold_graph_against_laws(choosing(data))


@pytest.mark.parametrize("seed", range(500))
def test_a_graph_keeps_the_laws_whatever_chance_lets_happen(seed: int) -> None:
    hold_graph_against_laws(random.Random(seed).choice)


def test_what_was_asked_to_stop_does_not_run_although_it_was_ready_before() -> None:
    graph = GraphState()
    graph.add(("db", (), None))
    assert graph.decide(Began(), 0) == [Start("db")]
    assert graph.decide(StopWanted("db", "reply"), 0) == [Ask("db")]
    assert graph.decide(Ran("db"), 0) == []
    assert graph.places["db"].phase == "stopping"
