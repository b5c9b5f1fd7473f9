"""`record`: the trace of a real composition."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from nestling._kernel._node import current_node, enter_node, leave_node, watching_node
from nestling.testing._trace import Trace


@contextmanager
def record() -> Generator[Trace, None, None]:
    """Record what happens to all nodes that are run inside, in this task and in those it starts.

    It works inside of a trio run, and around one.

    Example::

        with record() as trace:
            async with running(shop):
                ...
        trace.assert_order("db running", "http starting", "http stopped", "db stopping")
    """
    trace = Trace()
    token = enter_node(watching_node(current_node(), trace))
    try:
        yield trace
    finally:
        leave_node(token)
