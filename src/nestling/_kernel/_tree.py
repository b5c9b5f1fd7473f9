"""The nodes that live, and how far each has come: an observer that can tell who is stuck."""

from __future__ import annotations

from typing import Literal

from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._node import Node

Phase = Literal["starting", "running", "stopping"]

_PHASES: dict[type[Event], Phase] = {
    Starting: "starting",
    Running: "running",
    Stopping: "stopping",
}


class RunTree:
    """The live nodes of a run, in the order in which they were started."""

    def __init__(self) -> None:
        self._live: dict[Node, tuple[Phase, float]] = {}

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        if isinstance(event, Stopped):
            self._live.pop(event.node, None)
        elif type(event) in _PHASES:
            self._live[event.node] = (_PHASES[type(event)], event.time)

    @property
    def live(self) -> dict[Node, tuple[Phase, float]]:
        """The nodes that have not stopped: what each is doing, and since when."""
        return dict(self._live)

    def waited_for(self, *phases: Phase) -> tuple[str, ...]:
        """Return the paths of the nodes in one of ``phases`` that do not wait for one below them.

        Which of them keep everything waiting: a node around others cannot start or stop before
        those have.
        """
        paths = [node.path for node, (phase, _) in self._live.items() if phase in phases]
        around = {path[:end] for path in paths for end in _slashes(path)}
        return tuple(path for path in paths if path not in around)


def _slashes(path: str) -> list[int]:
    return [position for position, letter in enumerate(path) if letter == "/"]
