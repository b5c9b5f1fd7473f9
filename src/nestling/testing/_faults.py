"""Faults, and where in a run they can strike.

=============  ===============================================================================
fault          how it strikes, and where
=============  ===============================================================================
``cancel``     the scope around the run is cancelled: before any step of any task, and before what
               tasks wait for can come in between
``error``      what a function waits for raises: before a step of a task that waits in code of the
               composition (not of the kernel) for trio, and for nothing that would be lost: for
               time, an event, a socket, a checkpoint
``interrupt``  KeyboardInterrupt: where an error can strike, as if the signal had come in that step;
               elsewhere as a real signal, which trio hands to the main task
=============  ===============================================================================
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import Literal, get_args

import attrs
import outcome
import trio

from nestling.testing._tasks import path_of, waits_in
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


def _gets_signals() -> bool:
    return threading.current_thread() is threading.main_thread()


def strike(
    kind: FaultKind, task: trio.lowlevel.Task, signalled: Callable[[], object], number: int
) -> BaseException | None:
    """Let an error or an interrupt strike in the next step of ``task``.

    Returns what is raised, if known. ``signalled`` does what a signal does.
    """
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


def may_raise(task: trio.lowlevel.Task) -> bool:
    """Tell whether the next step of ``task`` can begin with an error, and nothing else is lost."""
    sent = next_step_of(task)
    if isinstance(sent, outcome.Error):
        if not isinstance(sent.error, trio.Cancelled):
            return False  # an error that has come before, or Ctrl-C
    elif sent is None or sent.value is not None:
        return False
    waiting = waits_in(task)
    return waiting is not None and _loses_nothing(waiting)


def _loses_nothing(frame: FrameType) -> bool:
    module = frame.f_globals.get("__name__")
    if module in {"trio._timeouts", "trio._socket", "trio._highlevel_socket"}:
        return True
    if module == "trio._sync":
        return isinstance(frame.f_locals.get("self"), trio.Event)
    return module == "trio._core._run" and "checkpoint" in frame.f_code.co_name
