"""Faults, and where in a run they can strike.

=============  ===============================================================================
fault          how it strikes, and where
=============  ===============================================================================
``cancel``     the scope around the run is cancelled: before any step of any task
``error``      what a function waits for raises: before a step of a task that waits in code of the
               composition (not of the kernel) for trio, and for nothing that would be lost: for
               time, an event, a socket, a checkpoint
``interrupt``  KeyboardInterrupt: where an error can strike, as if the signal had come in that step;
               elsewhere as a real signal, which trio hands to the main task
=============  ===============================================================================
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Literal, get_args

import attrs
import outcome
import trio

from nestling._kernel._node import current_node
from nestling.testing._trio_internals import next_step_of, raise_in_next_step

FaultKind = Literal["cancel", "error", "interrupt"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

CANCELLED = "cancelled from outside by certify()"
"""The reason of the cancellations that are faults."""


class InjectedError(Exception):
    """An error that `certify` has put into a run."""


@attrs.frozen(order=True)
class Fault:
    """One fault.

    Attributes:
        step: the number of the step, of all tasks, before which it strikes; from zero.
        kind: what it is.
    """

    step: int
    kind: FaultKind

    def __str__(self) -> str:
        return f"{self.kind} at step {self.step}"


@attrs.frozen
class Point:
    """A scheduling point: a step of a task.

    Attributes:
        step: its number, from zero.
        task: the name of the task.
        path: the node in which the task runs, or "".
        kinds: the faults that can strike there.
    """

    step: int
    task: str
    path: str
    kinds: tuple[FaultKind, ...]


def point_at(step: int, task: trio.lowlevel.Task) -> Point:
    """Describe the point before a step of ``task``."""
    kinds: list[FaultKind] = ["cancel"]
    if may_raise(task):
        kinds.append("error")
    if "error" in kinds or _gets_signals():
        kinds.append("interrupt")
    return Point(step, task.name, path_of(task), tuple(kinds))


def path_of(task: trio.lowlevel.Task) -> str:
    """Return the path of the node in which a task runs that does not run just now."""
    node = task.context.run(current_node)
    return "" if node is None else node.path


def _gets_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def strike(
    kind: FaultKind,
    task: trio.lowlevel.Task,
    scope: trio.CancelScope,
    signalled: Callable[[], object],
    number: int,
) -> BaseException | None:
    """Let a fault strike before the next step of ``task``. Returns what is raised, if known.

    ``signalled`` does what a signal does.
    """
    if kind == "cancel":
        scope.cancel(CANCELLED)
        return None
    if not may_raise(task):
        if kind == "interrupt":
            signalled()
        return None
    error: BaseException = KeyboardInterrupt()
    if kind == "error":
        error = InjectedError(f"injected error {number}")
    raise_in_next_step(task, error)
    return error


def is_cancelled_by_fault(task: trio.lowlevel.Task) -> bool:
    """Tell whether the next step of ``task`` gets the cancellation that is a fault."""
    sent = next_step_of(task)
    if not isinstance(sent, outcome.Error) or not isinstance(sent.error, trio.Cancelled):
        return False
    return sent.error.reason == CANCELLED


def waits_in_own_code(task: trio.lowlevel.Task) -> bool:
    """Tell whether a task waits in code of the composition, and not of the kernel."""
    return next_step_of(task) is not None and is_in_own_code(task)


def is_in_own_code(task: trio.lowlevel.Task) -> bool:
    """Tell whether it is code of the composition that has called what a task waits in."""
    return _waiting(task) is not None


def may_raise(task: trio.lowlevel.Task) -> bool:
    """Tell whether the next step of ``task`` can begin with an error, and nothing else is lost."""
    sent = next_step_of(task)
    if isinstance(sent, outcome.Error):
        if not isinstance(sent.error, trio.Cancelled):
            return False  # an error that has come before, or Ctrl-C
    elif sent is None or sent.value is not None:
        return False
    waiting = _waiting(task)
    return waiting is not None and _loses_nothing(waiting)


def stack_of(task: trio.lowlevel.Task) -> str:
    """Return the stack of a task: what is not of the kernel or of trio, if there is such."""
    frames = list(task.iter_await_frames())
    own = [(frame, line) for frame, line in frames if _is_own_frame(frame)]
    return "".join(traceback.StackSummary.extract(iter(own or frames[-1:])).format())


def _is_own_frame(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    own = module.partition(".")[0] not in {"trio", "outcome", "contextlib"} and _is_own(module)
    return own and module != "nestling.testing._faulty_run"


def _waiting(task: trio.lowlevel.Task) -> FrameType | None:
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
    if module.partition(".")[0] != "nestling":
        return True
    return module.startswith(("nestling.testing.", "nestling.adapters."))


def _loses_nothing(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    if module in {"trio._timeouts", "trio._socket", "trio._highlevel_socket"}:
        return True
    if module == "trio._sync":
        return isinstance(frame.f_locals.get("self"), trio.Event)
    return module == "trio._core._run" and "checkpoint" in frame.f_code.co_name
