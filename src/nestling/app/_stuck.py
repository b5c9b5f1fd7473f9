"""Who is stuck: warnings while a run waits for a node, and a report with stacks."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from types import FrameType

import trio

from nestling._kernel._events import Event, Starting, Stopping
from nestling._kernel._node import Node, current_node
from nestling._kernel._tree import RunTree

FIRST_WARNING = 3
"""Seconds after which a node that starts or stops is called stuck."""

NEXT_WARNING = 5
"""Seconds until it is called so again."""

_log = logging.getLogger("nestling")


class StuckWarnings:
    """Logs a warning for each node that takes long to start or to stop, again and again.

    A node that only waits for one below it is not blamed.
    """

    def __init__(self, tree: RunTree) -> None:
        self._tree = tree
        # In the order of their times: what changes its phase moves to the end.
        self._since: dict[Node, float] = {}
        self._not_empty = trio.Event()
        self._scope = trio.CancelScope(shield=True)

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        self._since.pop(event.node, None)
        if isinstance(event, (Starting, Stopping)):
            self._since[event.node] = event.time
            self._not_empty.set()

    async def run(self) -> None:
        """Log until `end`, cancelled or not: a run that is cancelled may be stuck as well."""
        again = 0.0
        with self._scope:
            while True:
                if not self._since:
                    # No timer while nothing starts or stops: a jumping clock would race along.
                    self._not_empty = trio.Event()
                    await self._not_empty.wait()
                oldest = next(iter(self._since.values()), trio.current_time())
                await trio.sleep_until(max(oldest + FIRST_WARNING, again))
                if self._warn():
                    again = trio.current_time() + NEXT_WARNING

    def end(self) -> None:
        """Stop the logging."""
        self._scope.cancel("the run is over")

    def _warn(self) -> bool:
        now, warned = trio.current_time(), False
        blamed = set(self._tree.waited_for("starting", "stopping"))
        for node, (phase, since) in self._tree.live.items():
            if node in self._since and node.path in blamed and now - since >= FIRST_WARNING:
                _log.warning(
                    "%s: stuck: %s for %.0f s",
                    node.path,
                    phase,
                    now - since,
                    extra={"path": node.path},
                )
                warned = True
        return warned


def stuck_report(tree: RunTree, interrupted: FrameType | None) -> str:
    """Describe each live node: its path, its phase, since when, and the stacks of its tasks.

    Args:
        tree: whose nodes.
        interrupted: the frame of the task that runs in this moment, if one does.
    """
    live = tree.live
    if not live:
        return ""
    by_node: dict[Node, list[trio.lowlevel.Task]] = {}
    by_path: dict[str, list[trio.lowlevel.Task]] = {}
    running = _running_task()
    for task in _all_tasks():
        node = current_node() if task is running else task.context.run(current_node)
        if node in live:
            by_node.setdefault(node, []).append(task)
        elif node is not None:
            # A node that stands in for one which was made further out has the same path.
            by_path.setdefault(node.path, []).append(task)
    now = trio.current_time()
    lines: list[str] = []
    for node, (phase, since) in live.items():
        lines.append(f"{node.path}: {phase} for {now - since:.1f} s\n")
        for task in by_node.get(node, []) + by_path.get(node.path, []):
            lines.append(f"  task {task.name!r}\n")
            frames = (
                _frames_above(task, interrupted) if task is running else task.iter_await_frames()
            )
            stack = traceback.StackSummary.extract(iter(frames))
            lines += [f"  {line}" for entry in stack.format() for line in entry.splitlines(True)]
    return "".join(lines)


def _frames_above(
    task: trio.lowlevel.Task, interrupted: FrameType | None
) -> list[tuple[FrameType, int]]:
    """Return the frames of the task that runs: those of the coroutine are not linked meanwhile."""
    frames: list[tuple[FrameType, int]] = []
    outermost = getattr(task.coro, "cr_frame", None)
    for frame, line in traceback.walk_stack(interrupted):
        frames.insert(0, (frame, line))
        if frame is outermost:
            break
    return frames


def _running_task() -> trio.lowlevel.Task | None:
    try:
        return trio.lowlevel.current_task()
    except RuntimeError:
        return None


def _all_tasks() -> Iterator[trio.lowlevel.Task]:
    root = trio.lowlevel.current_root_task()
    todo = [] if root is None else [root]
    while todo:
        task = todo.pop()
        yield task
        for nursery in task.child_nurseries:
            todo += nursery.child_tasks
