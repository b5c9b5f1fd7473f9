"""What a test leaves behind: nodes that have not stopped, and tasks.

Looked at is what the test itself has started:

- at the end of an async test's body, before pytest-trio cancels its fixture ``nursery`` and all
  that the test has left in it: the tasks in nurseries of the test's own task, and of the tasks in
  those, and the nodes that run there;
- when the test is over, with all its trio runs: nodes.

Not a leak is what had been there when the body began; what runs in the nursery of a fixture, since
that is for the fixture to end; what the test has cancelled by the scope of a nursery; and what ends
by itself within a few steps. Tasks of the system and threads are not looked at. Neither are tests
that fail anyway before the end of their body, nor those with the marker, each run of which is
checked by `certify` (law 6).
"""

from __future__ import annotations

import functools
import textwrap
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import contextmanager

import attrs
import trio

from nestling._kernel._events import Event, Restarting, Stopped
from nestling._kernel._node import Node, current_node, enter_node, leave_node, watching_node
from nestling.testing._tasks import stack_of, tasks_below, title_of

STEPS_TO_END = 100
"""How many steps what is about to end has for that."""

MOST_TASKS = 10
"""How many tasks are shown."""

_ADVICE = (
    "Stop it in the test: what comes after, as pytest-trio's cancelling of its fixture 'nursery', "
    "hides it."
)


@attrs.frozen
class _Life:
    """What is known of a node that has not stopped: its last event, and the task it started in."""

    last: Event
    task: trio.lowlevel.Task


class Watch:
    """Sees what a test leaves behind. It is an observer of all nodes.

    Attributes:
        left: what was left at the end of the body, described; "" if nothing.
    """

    def __init__(self) -> None:
        self.left = ""
        self._lives: dict[Node, _Life] = {}
        self._start = 0.0
        self._node: Node | None = None

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Stopped):
            self._lives.pop(event.node, None)
        if isinstance(event, (Stopped, Restarting)):
            return
        known = self._lives.get(event.node)
        task = trio.lowlevel.current_task() if known is None else known.task
        self._lives[event.node] = _Life(event, task)

    @contextmanager
    def installed(self) -> Generator[None, None, None]:
        """Watch all nodes that are run inside."""
        self._node = watching_node(current_node(), self)
        token = enter_node(self._node)
        try:
            yield
        finally:
            leave_node(token)

    def around(self, test: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        """Return ``test`` with a look at what is left when it returns."""

        @functools.wraps(test)
        async def watched(*args: object, **keywords: object) -> object:
            __tracebackhide__ = True
            if not trio.lowlevel.in_trio_task():  # asyncio runs it
                return await test(*args, **keywords)
            token = enter_node(self._node)  # anyio runs the test in a context from elsewhere
            body = _Body(trio.lowlevel.current_task(), self._lives)
            self._start = trio.current_time()
            try:
                result = await test(*args, **keywords)
            finally:
                leave_node(token)
            if await body.leaves_something():
                self.left = self.left or self._describe(body.nodes(), body.tasks())
            return result

        return watched

    def never_stopped(self) -> str:
        """Describe the nodes that have not stopped, now that the test is over; "" if all have."""
        if not self._lives:
            return ""
        lines = [f"nestling: the test is over, and {_count(self._lives, 'node')} never stopped"]
        return "\n".join([*lines, *map(self._line, self._lives)])

    def _describe(self, nodes: Sequence[Node], tasks: Sequence[trio.lowlevel.Task]) -> str:
        counts = [
            _count(found, what) for found, what in ((nodes, "node"), (tasks, "task")) if found
        ]
        lines = [f"nestling: left behind at the end of the test: {' and '.join(counts)}"]
        lines += map(self._line_with_time, nodes)
        lines += map(_task_lines, tasks[:MOST_TASKS])
        if len(tasks) > MOST_TASKS:
            lines.append(f"  and {_count(tasks[MOST_TASKS:], 'more task')}")
        return "\n".join([*lines, _ADVICE])

    def _line(self, node: Node) -> str:
        state = type(self._lives[node].last).__name__.lower()
        return f"  node {node.path!r} ({node.kind}): {state}"

    def _line_with_time(self, node: Node) -> str:
        since = self._lives[node].last.time - self._start
        return f"{self._line(node)} since second {since:.3f} of the test"


class _Body:
    """The body of an async test: a task, and what had been there when it began."""

    def __init__(self, task: trio.lowlevel.Task, lives: dict[Node, _Life]) -> None:
        self._task = task
        self._lives = lives
        self._tasks_before = set(tasks_below(task))
        self._nodes_before = set(lives)

    def tasks(self) -> list[trio.lowlevel.Task]:
        """Return the tasks that the body has started and nobody has ended or cancelled."""
        return [
            task
            for task in tasks_below(self._task)
            if task not in self._tasks_before and self._is_own(task)
        ]

    def nodes(self) -> list[Node]:
        """Return the nodes of which that holds."""
        return [
            node
            for node, life in self._lives.items()
            if node not in self._nodes_before and self._is_own(life.task)
        ]

    async def leaves_something(self) -> bool:
        """Tell whether something is left that does not end by itself in a moment."""
        with trio.CancelScope(shield=True):
            for _ in range(STEPS_TO_END):
                if not self.tasks() and not self.nodes():
                    return False
                await trio.lowlevel.checkpoint()
        return True

    def _is_own(self, task: trio.lowlevel.Task) -> bool:
        while task is not self._task:
            nursery = task.parent_nursery
            if nursery is None or nursery.cancel_scope.cancel_called:
                return False
            task = nursery.parent_task
        return True


def _task_lines(task: trio.lowlevel.Task) -> str:
    return f"  {title_of(task)}, at\n{textwrap.indent(stack_of(task).rstrip(), '  ')}"


def _count(found: Sequence[object] | dict[Node, _Life], what: str) -> str:
    return f"{len(found)} {what}{'' if len(found) == 1 else 's'}"
