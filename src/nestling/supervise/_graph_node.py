"""`node`: what a `graph` runs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from nestling._kernel._checks import check_name, describe_value
from nestling._kernel._foreign import accept
from nestling._kernel._named import named
from nestling._kernel._runnable import Composed, Runnable
from nestling.supervise._policy import RestartPolicy, check_policy


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
