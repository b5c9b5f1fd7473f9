"""Ring 1: what is started anew, what grows while it runs, and what requires one another."""

from nestling.supervise._backoff import Backoff as Backoff
from nestling.supervise._child import Child as Child, child as child
from nestling.supervise._graph import Graph as Graph, graph as graph
from nestling.supervise._graph_node import GraphNode as GraphNode, node as node
from nestling.supervise._policy import RestartPolicy as RestartPolicy
from nestling.supervise._restart import restart as restart
from nestling.supervise._supervisor import (
    ChildStatus as ChildStatus,
    Supervisor as Supervisor,
    UnknownChildError as UnknownChildError,
)

__all__ = [
    "Backoff",
    "Child",
    "ChildStatus",
    "Graph",
    "GraphNode",
    "RestartPolicy",
    "Supervisor",
    "UnknownChildError",
    "child",
    "graph",
    "node",
    "restart",
]
