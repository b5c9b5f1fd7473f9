"""Looking at the tasks of a run: where they wait, and in which node."""

from __future__ import annotations

import inspect
import textwrap
import traceback
from collections.abc import Iterable, Iterator, Mapping
from types import FrameType

import outcome
import trio

from nestling._kernel._node import current_node
from nestling.testing._trio_internals import next_step_of

_OF_CERTIFY = frozenset({"nestling.testing._faulty_run", "nestling.testing._tasks"})

MOST_TASKS = 5
"""Of how many tasks the place is told."""


async def short_body() -> None:
    """Be the callback: a checkpoint, and a wait in which all that goes on comes to rest."""
    await trio.lowlevel.checkpoint()
    await trio.sleep(0.001)


_BODY = short_body.__code__


def tasks_below(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    """Yield the tasks in the nurseries of ``task``, and in those of these."""
    todo = [task]
    while todo:
        for nursery in todo.pop().child_nurseries:
            yield from nursery.child_tasks
            todo += nursery.child_tasks


def path_of(task: trio.lowlevel.Task) -> str:
    """Return the path of the node in which a task runs that does not run just now."""
    node = task.context.run(current_node)
    return "" if node is None else node.path


def waits_in_own_code(task: trio.lowlevel.Task) -> bool:
    """Tell whether a task waits in code of the composition, and not of the kernel."""
    return next_step_of(task) is not None and is_in_own_code(task)


def is_in_own_code(task: trio.lowlevel.Task) -> bool:
    """Tell whether it is code of the composition that has called what a task waits in."""
    return waits_in(task) is not None


def waits_for_thread(task: trio.lowlevel.Task) -> bool:
    """Tell whether a task waits for what a worker thread does."""
    return any(
        frame.f_globals.get("__name__") == "trio._threads" for frame, _ in task.iter_await_frames()
    )


def stack_of(task: trio.lowlevel.Task) -> str:
    """Return the stack of a task: what is not of the kernel or of trio, if there is such."""
    frames = list(task.iter_await_frames())
    own = [(frame, line) for frame, line in frames if _is_own_frame(frame)]
    if not own and any(frame.f_code is _BODY for frame, _ in frames):
        return "  in the callback, where it waits\n"
    return "".join(traceback.StackSummary.extract(iter(own or frames[-1:])).format())


def waits_in_composition(task: trio.lowlevel.Task) -> bool:
    """Tell whether a task waits in code of the composition, and not in the default callback."""
    return is_in_own_code(task) and any(
        _is_own_frame(frame) for frame, _ in task.iter_await_frames()
    )


def _is_own_frame(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    own = module.partition(".")[0] not in {"trio", "outcome", "contextlib"} and _is_own(module)
    return own and module not in _OF_CERTIFY


def waits_in(task: trio.lowlevel.Task) -> FrameType | None:
    """Return the frame of trio's function that code of the composition waits for."""
    called: FrameType | None = None
    frames = [frame for frame, _ in task.iter_await_frames()]
    for frame in reversed(frames):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] in {"trio", "outcome"}:
            called = frame
        elif module != "contextlib":
            return called if _is_own(module) else None
    return None


def _is_own(module: str) -> bool:
    return not is_of_nestling(module)


def is_of_nestling(module: str) -> bool:
    """Tell whether a module is one of those that keep the laws, and is not certified itself."""
    if module.partition(".")[0] != "nestling":
        return False
    return not module.startswith(("nestling.testing.", "nestling.adapters."))


def has_begun(task: trio.lowlevel.Task) -> bool:
    """Tell whether a task has taken a step."""
    return inspect.getcoroutinestate(task.coro) != inspect.CORO_CREATED


def raises_in_own_code(task: trio.lowlevel.Task) -> bool:
    """Tell whether what a task waits for in code of the composition is about to raise."""
    return isinstance(next_step_of(task), outcome.Error) and is_in_own_code(task)


def places_of(tasks: Iterable[trio.lowlevel.Task]) -> str:
    """Tell where those of ``tasks`` wait that wait in code of the composition."""
    return listed({title_of(task): stack_of(task) for task in tasks if is_in_own_code(task)})


def listed(stacks: Mapping[str, str]) -> str:
    """Tell where tasks wait, by their titles; of only so many."""
    shown = list(stacks.items())[:MOST_TASKS]
    text = "".join(f"{title}:\n{textwrap.indent(stack, '  ')}" for title, stack in shown)
    return text + (f"and {len(stacks) - MOST_TASKS} more\n" if len(stacks) > MOST_TASKS else "")


def title_of(task: trio.lowlevel.Task) -> str:
    """Name a task, and the node in which it runs."""
    path = path_of(task)
    return f"task {task.name!r} in node {path!r}" if path else f"task {task.name!r}"
