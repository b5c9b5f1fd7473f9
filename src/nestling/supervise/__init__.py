"""Ring 1: what is started anew, what grows while it runs, and what requires one another.

Beside them, what a service often needs: jobs that a stop waits for, a job that is done again and
again, and things to close.
"""

from nestling.supervise._backoff import Backoff as Backoff
from nestling.supervise._child import Child as Child, child as child
from nestling.supervise._closing import Closing as Closing, closing as closing
from nestling.supervise._controller import Controller as Controller
from nestling.supervise._every import every as every
from nestling.supervise._graph import Graph as Graph, graph as graph
from nestling.supervise._graph_node import GraphNode as GraphNode, node as node
from nestling.supervise._jobs import Jobs as Jobs
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
    "Closing",
    "Controller",
    "Graph",
    "GraphNode",
    "Jobs",
    "RestartPolicy",
    "Supervisor",
    "UnknownChildError",
    "child",
    "closing",
    "every",
    "graph",
    "node",
    "restart",
]
