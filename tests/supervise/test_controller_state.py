"""What a controller decides, without trio: each row of the tables of its state."""

from __future__ import annotations

import pytest

from nestling.supervise._controller_state import ControllerState, Place, decide
from nestling.supervise._happenings import (
    Ask,
    Cancelled,
    CannotRun,
    Due,
    Ended,
    Ran,
    Start,
    StopAsked,
)
from tests.supervise.driver import Driver


class Tree(Driver):
    """A controller that runs, driven without trio."""

    def __init__(self) -> None:
        self.state = ControllerState()
        super().__init__(lambda happening, now: decide(self.state, happening))
        self.begin()
        self.trace.clear()

    def starts(self, place: Place, name: str) -> str:
        """Let something start."""
        key = self.state.launch(place, name)
        self.live.add(key)
        return key

    def runs(self, place: Place, *names: str) -> None:
        """Launch things that run."""
        for name in names:
            self.tell(Ran(self.starts(place, name)))

    def binds(self, *places: Place) -> None:
        """Bind something at places, which can be closed without an error."""
        for place in places:
            place.holds = True
            closing = place.path_of("closing")
            self.outcomes[closing] = [Ended(closing)]


@pytest.fixture
def tree() -> Tree:
    return Tree()


def test_a_stop_takes_dependents_down_first_then_what_was_launched_then_what_was_bound(
    tree: Tree,
) -> None:
    root = tree.state.root
    web = tree.state.depend(root, "web")
    inner, jobs = tree.state.depend(web, None), tree.state.depend(root, None)
    tree.runs(root, "a", "b")
    tree.runs(web, "c")
    tree.runs(inner, "d", "e")
    tree.runs(jobs, "f")
    tree.binds(root, web)
    tree.stop()
    assert tree.trace == [
        "ask web/dependent[0]/d",
        "ask web/dependent[0]/e",
        "ask dependent[1]/f",
        "ask web/c",
        "start web/closing",
        "ask a",
        "ask b",
        "start closing",
        "finish",
    ]


def test_a_force_goes_the_same_way() -> None:
    tree = Tree()
    root = tree.state.root
    web = tree.state.depend(root, "web")
    tree.runs(root, "a")
    tree.runs(web, "c")
    root.holds = web.holds = True
    tree.tell(Cancelled("why"))
    assert tree.trace == [
        "force web/c",
        "start web/closing",
        "force web/closing",
        "force a",
        "start closing",
        "force closing",
        "finish",
    ]


def test_a_force_during_a_stop_reaches_what_is_stopping_and_what_is_being_closed(
    tree: Tree,
) -> None:
    root = tree.state.root
    web, jobs = tree.state.depend(root, "web"), tree.state.depend(root, "jobs")
    web.holds = True
    tree.runs(jobs, "f")
    tree.runs(root, "a")
    begun = decide(tree.state, StopAsked())  # and nothing of it is done yet
    assert begun == [Start("web/closing"), Ask("jobs/f")]
    tree.live.add("web/closing")
    tree.tell(Cancelled("why"))
    assert tree.trace == ["force web/closing", "force jobs/f", "force a", "finish"]


def test_what_still_starts_is_given_up_wherever_it_is_when_the_stop_begins(tree: Tree) -> None:
    root = tree.state.root
    web = tree.state.depend(root, "web")
    tree.starts(root, "a")
    tree.runs(root, "b")
    tree.runs(web, "c")
    tree.stop()
    assert tree.trace == ["ask a", "ask web/c", "ask b", "finish"]


def test_what_still_starts_is_given_up_when_something_has_failed(tree: Tree) -> None:
    root = tree.state.root
    tree.starts(root, "a")
    tree.runs(root, "b", "c")
    tree.end("b", OSError("lost"))
    assert tree.trace == ["b ends", "cancel", "ask a"]
    assert not tree.state.may_grow
    tree.stop()
    assert tree.trace[3:] == ["ask c", "finish"]
    ((name, error),) = tree.state.take_failures()
    assert (name, str(error)) == ("b", "lost")
    assert not tree.state.failures


def test_what_ends_by_itself_is_forgotten(tree: Tree) -> None:
    root = tree.state.root
    tree.runs(root, "a")
    tree.starts(root, "b")
    tree.end("a")
    tree.end("b")
    tree.stop()
    assert tree.trace == ["a ends", "b ends", "finish"]
    assert not tree.state.places


def test_what_can_run_no_more_is_held_until_its_turn_has_come(tree: Tree) -> None:
    root = tree.state.root
    tree.runs(root, "a", "b")
    tree.runs(tree.state.depend(root, "web"), "c")
    tree.tell(CannotRun("a"))
    assert tree.trace == ["cancel"]
    tree.stop()
    assert tree.trace == ["cancel", "ask web/c", "ask a", "ask b", "finish"]


def test_what_can_run_no_more_before_it_was_handed_out_is_let_go_at_once(tree: Tree) -> None:
    tree.starts(tree.state.root, "a")
    tree.tell(CannotRun("a"))
    assert tree.trace == ["ask a"]
    assert tree.state.may_grow


def test_a_stray_cancellation_ends_it_without_an_error(tree: Tree) -> None:
    tree.runs(tree.state.root, "a", "b")
    tree.live.discard("a")
    tree.tell(Ended("a", cancelled=True))
    assert tree.trace == ["cancel"]
    tree.stop()
    assert tree.trace == ["cancel", "ask b", "finish"]
    assert not tree.state.failures


def test_an_interrupt_forces_the_rest_be_it_before_the_stop_or_in_it() -> None:
    before, during = Tree(), Tree()
    for tree in (before, during):
        tree.runs(tree.state.root, "a", "b")
        tree.runs(tree.state.depend(tree.state.root, "web"), "c")
    before.end("a", KeyboardInterrupt())
    assert before.trace == ["a ends", "cancel"]
    before.stop()
    assert before.trace[2:] == ["force web/c", "force b", "finish"]
    during.stop_errors["web/c"] = KeyboardInterrupt()
    during.stop()
    assert during.trace == ["ask web/c", "force a", "force b", "finish"]


def test_what_fails_in_the_stop_is_kept_in_order_and_changes_nothing(tree: Tree) -> None:
    root = tree.state.root
    tree.runs(tree.state.depend(root, "web"), "c")
    tree.runs(root, "a")
    tree.stop_errors = {"a": OSError("a"), "web/c": OSError("c")}
    tree.stop()
    assert tree.trace == ["ask web/c", "ask a", "finish"]
    assert [name for name, _ in tree.state.take_failures()] == ["web/c", "a"]


def test_what_has_the_same_name_is_told_apart(tree: Tree) -> None:
    root = tree.state.root
    tree.runs(root, "a", "a", "a", "closing")
    assert list(root.launched) == ["a", "a (2)", "a (3)", "closing"]
    tree.end("a (2)")
    tree.runs(root, "a")
    assert "a (4)" in root.launched


def test_what_does_not_happen_to_a_controller_is_refused(tree: Tree) -> None:
    with pytest.raises(AssertionError, match="does not happen to a controller"):
        tree.tell(Due("a"))
