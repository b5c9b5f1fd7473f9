"""`graph`: nodes that require one another."""

from __future__ import annotations

import graphlib
from collections.abc import Iterable
from typing import cast

import attrs

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import InvalidGraphError, InvalidStateError
from nestling._kernel._foreign import accept
from nestling._kernel._interrupts import protected
from nestling._kernel._node import Callback
from nestling._kernel._runnable import Composed, Runnable
from nestling.supervise._graph_node import GraphNode
from nestling.supervise._graph_run import GraphRun
from nestling.supervise._incarnation import plan_of


def graph(*nodes: GraphNode) -> Graph:
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

    While it runs, nodes can be added and removed, see `Graph.add` and `Graph.remove`.

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
    return Graph(nodes)


def _check_order(nodes: Iterable[GraphNode]) -> None:
    sorter = graphlib.TopologicalSorter({each.name: each.requires for each in nodes})
    try:
        sorter.prepare()
    except graphlib.CycleError as problem:
        circle = " requires ".join(map(repr, reversed(cast("list[str]", problem.args[1]))))
        raise InvalidGraphError(f"the nodes of graph() require one another: {circle}") from None


class Graph(Composed):
    """Nodes that require one another; made by `graph`."""

    kind = "graph"

    def __init__(self, nodes: tuple[GraphNode, ...]) -> None:
        self._nodes = nodes
        self._planned = [(each, plan_of(each.runnable)) for each in nodes]
        self._runs: list[GraphRun] = []

    @property
    def parts(self) -> tuple[Composed, ...]:
        return tuple([each.runnable for each in self._nodes])

    @property
    def needs(self) -> Iterable[tuple[int, int]]:
        numbers = {each.name: number for number, each in enumerate(self._nodes)}
        return (
            (numbers[each.name], numbers[name]) for each in self._nodes for name in each.requires
        )

    def with_parts(self, *parts: Runnable) -> Runnable:
        pairs = zip(self._nodes, parts, strict=True)
        return graph(*[attrs.evolve(each, runnable=accept(part, "a node")) for each, part in pairs])

    @protected
    async def run(self, f: Callback, /) -> None:
        run = GraphRun(self.kind, self._planned)
        self._runs.append(run)
        try:
            await run.run(f)
        finally:
            self._runs.remove(run)

    @protected
    async def add(self, node: GraphNode) -> None:
        """Add a node to the run of this graph, and wait until it runs.

        It starts when all that it requires run, and stays as long as the run. Where the graph is
        still starting, it is not ready before that node is. If this call is cancelled, the node is
        stopped and removed again.

        Raises:
            InvalidGraphError: there is a node of that name; or it requires one that is not there,
                is being removed, or did not come to run.
            InvalidStateError: the graph does not run, or it stops, or it runs more than once; or
                the node was removed before it was running.
            BaseException: what the node has failed with. It is not there then.
        """
        if not isinstance(cast("object", node), GraphNode):
            raise TypeError(f"node of add() must be made by node(), not {describe_value(node)}")
        await self._run_to("add a node").add_node(node)

    @protected
    async def remove(self, name: str) -> None:
        """Stop a node of the run of this graph, and forget it: its name is free again.

        If this call is cancelled, that is done all the same.

        Raises:
            InvalidGraphError: there is no such node; or others require it: remove these first.
            InvalidStateError: the graph does not run, or runs more than once; or this is called
                from inside of the node, which would wait for its own end.
            BaseException: what the node has failed with while it stopped.
        """
        await self._run_to("remove a node").remove_node(name)

    def _run_to(self, call: str) -> GraphRun:
        runs = [run for run in self._runs if run.has_begun]
        if len(runs) != 1:
            how_often = "runs more than once" if runs else "does not run"
            raise InvalidStateError(f"cannot {call}: the graph {how_often}")
        return runs[0]
