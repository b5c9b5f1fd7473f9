from __future__ import annotations

import pytest

from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._node import Node
from nestling._kernel._tree import RunTree


def tree_of(*events: Event) -> RunTree:
    tree = RunTree()
    for event in events:
        tree(event)
    return tree


SHOP, DB, HTTP = Node("shop", "chain"), Node("shop/db", "leaf"), Node("shop/http", "leaf")


def test_it_knows_the_live_nodes_their_phases_and_since_when() -> None:
    tree = tree_of(
        Starting(SHOP, 1), Starting(DB, 2), Running(DB, 3), Starting(HTTP, 4), Stopping(DB, 5)
    )
    assert tree.live == {SHOP: ("starting", 1), DB: ("stopping", 5), HTTP: ("starting", 4)}
    assert list(tree.live) == [SHOP, DB, HTTP]


def test_a_node_that_has_stopped_is_gone() -> None:
    assert tree_of(Starting(DB, 1), Stopped(DB, 2)).live == {}


def test_a_node_that_was_never_seen_may_stop() -> None:
    assert tree_of(Stopped(DB, 2)).live == {}


def test_events_of_other_kinds_are_let_pass() -> None:
    assert tree_of(Event(DB, 1)).live == {}


def test_what_it_hands_out_is_a_copy() -> None:
    tree = tree_of(Starting(DB, 1))
    tree.live.clear()
    assert tree.live == {DB: ("starting", 1)}


def test_two_runs_of_one_path_are_two_nodes() -> None:
    again = Node("shop/db", "leaf")
    tree = tree_of(Starting(DB, 1), Starting(again, 2), Stopped(DB, 3))
    assert tree.live == {again: ("starting", 2)}


@pytest.mark.parametrize(
    ("phases", "expected"),
    [
        (("starting",), ("shop/http",)),
        (("running",), ("shop/db",)),
        (("starting", "running"), ("shop/db", "shop/http")),
        (("stopping",), ()),
    ],
)
def test_it_waits_for_the_innermost_nodes_in_the_phases_asked_for(
    phases: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    tree = tree_of(Starting(SHOP, 1), Starting(DB, 2), Running(DB, 3), Starting(HTTP, 4))
    assert tree.waited_for(*phases) == expected  # type: ignore[arg-type]


def test_a_node_that_waits_for_none_below_is_waited_for_itself() -> None:
    assert tree_of(Starting(SHOP, 1)).waited_for("starting") == ("shop",)
    # A node whose path only begins alike is not below.
    shopping = Node("shopping", "leaf")
    tree = tree_of(Starting(SHOP, 1), Starting(shopping, 2))
    assert tree.waited_for("starting") == ("shop", "shopping")
