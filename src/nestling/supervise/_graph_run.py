"""One run of a graph."""

from __future__ import annotations

from collections.abc import Iterable

from nestling._kernel._errors import InvalidGraphError, InvalidStateError
from nestling._kernel._group import raise_all
from nestling._kernel._member import Plan
from nestling.supervise._graph_node import GraphNode
from nestling.supervise._graph_state import GraphState
from nestling.supervise._incarnation import plan_of
from nestling.supervise._run_of_places import RunOfPlaces


class GraphRun(RunOfPlaces):
    """One run of a graph: of nodes, each with how it is run."""

    def __init__(self, kind: str, nodes: Iterable[tuple[GraphNode, Plan]]) -> None:
        self._nodes = GraphState()
        super().__init__(kind, self._nodes)
        self._add(*nodes)

    def _add(self, *nodes: tuple[GraphNode, Plan]) -> None:
        for each, plan in nodes:
            self.let_run(each.name, plan)
        self._nodes.add(*((each.name, each.requires, each.restart) for each, _ in nodes))

    def raise_failures(self) -> None:
        failures = self._state.take_failures()
        if failures:
            raise_all(failures, f"of {len(self._nodes.places)} nodes")

    async def add_node(self, node: GraphNode) -> None:
        places = self._nodes.places
        if node.name in places:
            raise InvalidGraphError(f"cannot add node {node.name!r}: there is one of that name")
        for name in node.requires:
            if name not in places:
                known = ", ".join(map(repr, places)) or "none"
                raise InvalidGraphError(
                    f"cannot add node {node.name!r}: it requires {name!r}; there are {known}"
                )
            if places[name].forget:
                raise InvalidGraphError(
                    f"cannot add node {node.name!r}: it requires {name!r}, which is being removed"
                )
        for around in self.starting_around():
            if self._nodes.requires(node.requires, around):
                raise InvalidStateError(
                    f"cannot add node {node.name!r} from inside of {around!r}, which is starting, "
                    f"and which it requires: the one would wait for the other; "
                    f"do it when {around!r} is ready"
                )
        self._add((node, plan_of(node.runnable)))
        await self.start_new(node.name)

    async def remove_node(self, name: str) -> None:
        place = self._nodes.places.get(name)
        if place is None:
            known = ", ".join(map(repr, self._nodes.places)) or "none"
            raise InvalidGraphError(f"there is no node {name!r} to remove; there are {known}")
        if place.dependents:
            by = ", ".join(repr(each.name) for each in place.dependents)
            raise InvalidGraphError(f"cannot remove node {name!r}: it is required by {by}")
        await self.stop(name, forget=True)
