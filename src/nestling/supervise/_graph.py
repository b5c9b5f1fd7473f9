"""`graph`: nodes that require one another."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from typing import cast

import attrs

from nestling._kernel._checks import check_name, describe_value
from nestling._kernel._errors import InvalidGraphError
from nestling._kernel._foreign import accept
from nestling._kernel._group import raise_all
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan
from nestling._kernel._named import named
from nestling._kernel._node import Callback
from nestling._kernel._nop import nop
from nestling._kernel._runnable import Composed, Runnable
from nestling.supervise._graph_state import GraphState, decide
from nestling.supervise._happenings import Action, Happening
from nestling.supervise._incarnation import plan_of
from nestling.supervise._policy import RestartPolicy, check_policy
from nestling.supervise._supervised_run import SupervisedRun


@attrs.frozen(eq=False)
class GraphNode:
    """A node of a graph; made by `node`.

    Attributes:
        name: unique in the graph.
        runnable: what runs there, under that name.
        requires: the names of what has to run first.
        restart: when it is started anew, or None for never.
    """

    name: str
    runnable: Composed
    requires: tuple[str, ...] = ()
    restart: RestartPolicy | None = None


def node(
    name: str,
    r: Runnable,
    *,
    requires: Iterable[str] = (),
    restart: RestartPolicy | None = None,
) -> GraphNode:
    """Make a node for a `graph`.

    Args:
        name: of the node, unique in its graph.
        r: what runs there.
        requires: the names of the nodes that have to run before it starts, and for as long.
        restart: when it is started anew after it has ended; without it, its end ends the graph.

    Raises:
        TypeError, ValueError: an argument is wrong.
    """
    check_name(name, "name of node()")
    inner = accept(r, f"r of node({name!r})")
    if isinstance(requires, str) or not isinstance(cast("object", requires), Iterable):
        raise TypeError(
            f"requires of node({name!r}) must be a list or a tuple of names, "
            f"not {describe_value(requires)}"
        )
    required = tuple(requires)
    for each in required:
        check_name(each, f"each of requires of node({name!r})")
    if restart is not None:
        check_policy(restart, f"restart of node({name!r})")
    composed = accept(named(name, inner), "a node")
    return GraphNode(name, composed, tuple(dict.fromkeys(required)), restart)


def graph(*nodes: GraphNode) -> Runnable:
    """Run nodes that require one another.

    Starts each as soon as all that it requires run, as much in parallel as that allows, and calls
    back when all run. Stops each when the last that requires it has stopped, be it gracefully or
    forced.

    A node that has ended, and is to be started anew, takes down what requires it first, directly or
    through others: those stop gracefully, the outermost first; bound that by `timeouts` where it
    may take for ever. They start again, in order, when it runs again. Nothing else notices, and
    neither does the callback.

    A node that ends for good ends the graph: its callback is cancelled, and then all others are
    stopped; if it was only starting, at once.

    Without arguments it is `nop`.

    Raises, when it runs, the callback's error, bare; or else an `ExceptionGroup` of the nodes'
    errors, whose message counts and names them. Where the start has failed, a note says what ran,
    what was starting and what was not started.

    Example::

        graph(
            node("db", db, restart=RestartPolicy()),
            node("cache", cache),
            node("http", http, requires=["db", "cache"]),
        )

    Raises:
        InvalidGraphError: two nodes have one name, one requires a node that is not there, or they
            require one another in a circle.
        TypeError: something is not made by `node`.

    That workers name what they require is an idea of the supervisor of Emissary-ingress.
    """
    by_name: dict[str, GraphNode] = {}
    for number, each in enumerate(nodes, 1):
        if not isinstance(cast("object", each), GraphNode):
            raise TypeError(
                f"argument {number} of graph() must be made by node(), not {describe_value(each)}"
            )
        if each.name in by_name:
            raise InvalidGraphError(f"graph() has two nodes that are called {each.name!r}")
        by_name[each.name] = each
    for each in nodes:
        for name in each.requires:
            if name not in by_name:
                raise InvalidGraphError(
                    f"node {each.name!r} requires {name!r}, which is not in the graph"
                )
    _check_order(nodes)
    return Graph(nodes) if nodes else nop()


def _check_order(nodes: Iterable[GraphNode]) -> None:
    sorter = graphlib.TopologicalSorter({each.name: each.requires for each in nodes})
    try:
        sorter.prepare()
    except graphlib.CycleError as problem:
        circle = " requires ".join(map(repr, reversed(cast("list[str]", problem.args[1]))))
        raise InvalidGraphError(f"the nodes of graph() require one another: {circle}") from None


@attrs.frozen(repr=False, eq=False)
class Graph(Composed):
    kind = "graph"

    nodes: tuple[GraphNode, ...]

    @property
    def parts(self) -> tuple[Composed, ...]:
        return tuple([each.runnable for each in self.nodes])

    def with_parts(self, *parts: Runnable) -> Runnable:
        return graph(
            *[
                attrs.evolve(each, runnable=accept(part, "a node"))
                for each, part in zip(self.nodes, parts, strict=True)
            ]
        )

    @protected
    async def run(self, f: Callback, /) -> None:
        await _GraphRun(self).run(f)


class _GraphRun(SupervisedRun):
    def __init__(self, graph: Graph) -> None:
        super().__init__(graph.kind)
        self._plans = {each.name: plan_of(each.runnable) for each in graph.nodes}
        self._state = GraphState.of(
            (each.name, each.requires, each.restart) for each in graph.nodes
        )

    def decide(self, happening: Happening, now: float) -> list[Action]:
        return decide(self._state, happening, now)

    def plan_of(self, name: str) -> Plan:
        return self._plans[name]

    def raise_failures(self) -> None:
        failures = self._state.take_failures()
        if failures:
            raise_all(failures, f"of {len(self._plans)} nodes")
