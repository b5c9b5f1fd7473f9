"""The life-cycle events of the run tree.

Every node goes ``Starting, Running, Stopping, Stopped``, or ``Starting, Stopped`` where it never
ran. Under supervision a node of the same path may follow: `Restarting` announces it. The events
are values: frozen, and complete in themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from nestling._kernel._node import Node


@attrs.frozen(eq=False)
class Event:
    """What happened to one node.

    Attributes:
        node: the node, one object for each run; tells apart nodes of the same path.
        time: seconds on trio's clock.
    """

    node: Node = attrs.field(repr=lambda node: repr(node.path))
    time: float

    @property
    def path(self) -> str:
        """The path of the node in the run tree, such as ``shop/http``."""
        return self.node.path

    @property
    def kind(self) -> str:
        """What the node runs: ``leaf``, ``resource``, ``chain``, ..."""
        return self.node.kind


class Starting(Event):
    """The node's run was entered."""

    __slots__ = ()


class Running(Event):
    """The node has called back: it is ready, and its dependents may start."""

    __slots__ = ()


@attrs.frozen(eq=False)
class Stopping(Event):
    """The node's callback is over, and with it the node's last dependent.

    Attributes:
        error: what ended the callback: an error or `trio.Cancelled`, or None for a graceful stop.
        by_itself: the node is one of several that run side by side, and has failed or returned
            before it was asked to stop: what depends on all of them may still be there.
    """

    error: BaseException | None = None
    by_itself: bool = False


@attrs.frozen(eq=False)
class Stopped(Event):
    """Nothing of the node is left.

    Attributes:
        error: the node's own failure, or None. An error that only passed through, since a
            dependent raised it, belongs to the dependent and is not repeated here.
        suppressed: further errors of the node, which another error hid from its callers.
    """

    error: BaseException | None = None
    suppressed: tuple[BaseException, ...] = ()


@attrs.frozen(eq=False)
class Restarting(Event):
    """A node has failed or ended, and is to be started anew.

    Its node is that of no run: those before it have stopped, and the next one has not started.

    Attributes:
        attempt: how many times it was started anew, counted since it was last healthy.
        delay: seconds until it starts, at the earliest: what depends on it stops first.
        error: what it failed with, or None.
    """

    attempt: int
    delay: float
    error: BaseException | None = None


Observer = Callable[[Event], object]
"""Whatever wants to see the events. It is called in the middle of the run: it must not block."""
