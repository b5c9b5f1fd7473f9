"""One run of a composition with faults, and the laws that are checked after it."""

from __future__ import annotations

import gc
import inspect
import sys
import traceback
import warnings
from collections.abc import Awaitable, Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import cast

import attrs
import trio

from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._foreign import accept
from nestling._kernel._outcome import forces, summary
from nestling._kernel._runnable import Runnable
from nestling.testing._clock import MOST_SECONDS_IDLE, JumpingClock
from nestling.testing._faults import (
    CANCELLED,
    Fault,
    Point,
    is_cancelled_by_fault,
    is_in_own_code,
    path_of,
    point_at,
    stack_of,
    strike,
    waits_in_own_code,
)
from nestling.testing._places import dependents
from nestling.testing._record import record
from nestling.testing._signals import Signals, default_ctrl_c
from nestling.testing._steps import MOST_STEPS, Steps
from nestling.testing._told import clear_frames, told_by
from nestling.testing._trace import Trace
from nestling.testing._trio_internals import scheduled_by

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

Make = Callable[[], Runnable]
Body = Callable[[], Awaitable[object]]
Invariant = Callable[[], object] | Callable[[Trace], object]

MOST_TASKS = 5
"""Of how many tasks of a run that does not end the place is told."""

_LEFT_TO_THREADS: list[trio.lowlevel.Task] = []
"""Tasks of runs that have hung, which threads still know: dropped later, they would complain."""

LEFT_OPEN = "law 6: file descriptors left open"

_OPEN_FILES = Path("/proc/self/fd")
_ALLOWED: dict[type[Event], tuple[type[Event] | None, ...]] = {
    Starting: (None,),
    Running: (Starting,),
    Stopping: (Running,),
    Stopped: (Starting, Stopping),
}


async def short_body() -> None:
    """Be the callback: two checkpoints, so that there is something to be struck."""
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()


@attrs.define
class FaultyRun:
    """One run, with the faults that are to strike in it.

    Attributes:
        faults: in the order in which they strike.
        points: what followed the last fault; of a run without faults, all of it.
        struck: how many of the faults have struck.
        stack: that of the task before the last fault, where it was asked for.
        problems: what contradicts the laws.
    """

    faults: tuple[Fault, ...]
    seed: int
    idle: float = MOST_SECONDS_IDLE
    most_steps: int = MOST_STEPS
    wants_stack: bool = False
    points: list[Point] = attrs.field(factory=list[Point])
    struck: int = 0
    where: Point | None = None
    stack: str = ""
    problems: list[str] = attrs.field(factory=list[str])
    raised: BaseException | None = None
    late: BaseException | None = None
    trace: Trace = attrs.field(factory=Trace)
    _injected: list[BaseException | None] = attrs.field(factory=list[BaseException | None])
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _dependents: dict[str, frozenset[str]] = attrs.field(factory=dict[str, frozenset[str]])
    _signals: Signals = attrs.field(factory=Signals)
    _active: bool = False
    _body_cancelled: bool = False

    def run(self, make: Make, body: Body, invariants: Sequence[Invariant]) -> None:
        """Run what ``make`` makes, and check the laws and the invariants."""
        with self._watching_resources():
            self._run(make, body)
            # What the frames of an error keep is not to be taken for kept by the composition.
            for error in (self.raised, self.late, *self._injected):
                clear_frames(error)
        self._check_laws()
        for invariant in invariants:
            self._check(invariant)

    def _run(self, make: Make, body: Body) -> None:
        clock = JumpingClock(self.idle)
        steps = Steps(clock, self._before_step, self.most_steps)
        composed = accept(make(), "what make of certify() has returned")
        self._dependents = dependents(composed)
        try:
            with scheduled_by(self.seed), default_ctrl_c():
                trio.run(self._main, composed, body, clock, clock=clock, instruments=[steps])
        except KeyboardInterrupt as late:
            self.late = late
        except BaseException as problem:
            self.problems.append(clock.hung or f"came out: {summary(problem)}")
        if clock.hung:
            self.stack += _where_it_waits(steps.tasks)
            if clock.waits_for_threads:
                _LEFT_TO_THREADS.extend(steps.tasks)
            steps.tasks.clear()
            self._signals.leave()
            self._scope = trio.CancelScope()  # the one that was used keeps the tasks
            _drop_tasks()
        if steps.problem is not None:
            raise steps.problem
        if self._signals.real:
            raise KeyboardInterrupt  # no fault: somebody wants all of it to end

    async def _main(self, composed: Runnable, body: Body, clock: JumpingClock) -> None:
        trio.lowlevel.current_task().name = "main"
        before = trio.lowlevel.current_statistics().tasks_living
        with record() as self.trace, self._signals:
            try:
                # What comes out of the scope counts: inside, it may hold its Cancelled.
                with self._scope:
                    self._active = True  # not in the steps in which trio comes up, or goes
                    try:
                        await composed.run(partial(self._run_body, body))
                    finally:
                        self._active = False
            except BaseException as raised:
                if not clock.hung:  # else it is dropped, which counts for nothing
                    self.raised = raised
            try:
                # A signal in the last step is not to come out later than here.
                await trio.lowlevel.checkpoint()
            except KeyboardInterrupt as late:
                self.late = late
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left:
            self.problems.append(f"law 6: {left} tasks are left")

    async def _run_body(self, body: Body) -> None:
        try:
            await body()
        except trio.Cancelled as cancelled:
            self._body_cancelled = cancelled.reason == CANCELLED
            raise

    def _before_step(self, step: int, task: trio.lowlevel.Task) -> None:
        if not self._active:
            return
        if self.struck < len(self.faults):
            fault = self.faults[self.struck]
            if fault.step == step:
                self._strike(fault, task)
            return
        self.points.append(point_at(step, task))
        if self.faults and is_cancelled_by_fault(task):
            self._check_order(task)

    def _strike(self, fault: Fault, task: trio.lowlevel.Task) -> None:
        self.where = point_at(fault.step, task)
        if self.wants_stack:
            self.stack = stack_of(task)
        self.struck += 1
        signalled = self._signals.inject
        self._injected.append(strike(fault.kind, task, self._scope, signalled, self.struck))

    # The laws -------------------------------------------------------------------------------------

    def _check_order(self, task: trio.lowlevel.Task) -> None:
        """Nothing may depend on what a cancellation from outside has reached (law 1)."""
        path = path_of(task)
        live = {node.path for node in self.trace.live()} & self._dependents.get(path, frozenset())
        if live and waits_in_own_code(task):
            self.problems.append(
                f"law 1: {path!r} is cancelled while {', '.join(map(repr, sorted(live)))} depends "
                f"on it"
            )

    def _check_laws(self) -> None:
        self._check_events()
        self._check_errors()
        if self.trace.live():
            left = ", ".join(sorted(repr(node.path) for node in self.trace.live()))
            self.problems.append(f"law 6: not stopped: {left}")

    def _check_events(self) -> None:
        """Each node starts, runs and stops once, and those that depend on it in between."""
        last: dict[object, type[Event]] = {}
        live: set[str] = set()
        for event in self.trace.events:
            before = last.get(event.node)
            if before not in _ALLOWED.get(type(event), (before,)):
                self.problems.append(f"law 1: {event.path!r}: {type(event).__name__} out of turn")
            last[event.node] = type(event)
            needed = self._dependents.get(event.path, frozenset())
            if isinstance(event, Stopping) and needed & live:
                late = ", ".join(map(repr, sorted(needed & live)))
                self.problems.append(f"law 1: {event.path!r} stops before {late}")
            if isinstance(event, Starting):
                live.add(event.path)
            elif isinstance(event, Stopped):
                live.discard(event.path)

    def _check_errors(self) -> None:
        told = told_by(self.raised)
        forced = forces(self.raised) or self.late is not None
        errors = [error for error in self._injected if error is not None and _is_ours(error)]
        for error in errors:
            if isinstance(error, Exception) and str(error) not in told:
                self.problems.append(f"law 3: {summary(error)} is lost")
        interrupts = [error for error in errors if not isinstance(error, Exception)]
        if interrupts and not forced:
            self.problems.append("law 4: a KeyboardInterrupt is lost")
        elif interrupts and _is_group(self.raised):
            self.problems.append("law 4: a KeyboardInterrupt came out in a group")
        kinds = [fault.kind for fault in self.faults[: self.struck]]
        signals = any(
            kind == "interrupt" and error is None
            for kind, error in zip(kinds, self._injected, strict=True)
        )
        if signals and not forced:
            self.problems.append("law 4: Ctrl-C is lost")
        swallowed = self._body_cancelled and self.raised is None and self.late is None
        if swallowed and not self._scope.cancelled_caught:
            self.problems.append("law 8: a Cancelled is swallowed")
        if _holds_cancelled(self.raised):
            self.problems.append("law 8: a Cancelled came out of its scope")

    def _check(self, invariant: Invariant) -> None:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            kept = _call(invariant, self.trace)
        except Exception as problem:
            self.problems.append(f"invariant {name}: {summary(problem)}")
        else:
            if kept is False:
                self.problems.append(f"invariant {name} does not hold")

    @contextmanager
    def _watching_resources(self) -> Generator[None, None, None]:
        before = _open_files()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", ResourceWarning)
            warnings.filterwarnings("always", message=".*was never awaited")
            yield
            gc.collect()
            gc.freeze()  # what is left is looked at no more
        for warning in caught:
            self.problems.append(f"law 6: {warning.message}")
        if (left := _open_files() - before) > 0:
            self.problems.append(f"{LEFT_OPEN}: {left}")


def _say_nothing(unraisable: object) -> None:
    del unraisable


def _drop_tasks() -> None:
    """Drop the tasks of a run that trio has given up: they complain of that, one by one.

    Inside of a trio run: there what swallows its `GeneratorExit`, and waits once more, is given up.
    Outside, where trio's functions raise at once, it would go round and round.
    """

    async def drop() -> None:
        gc.collect()

    hook, sys.unraisablehook = sys.unraisablehook, _say_nothing
    try:
        with suppress(Exception):  # their scopes are left behind in this task
            trio.run(drop)
        gc.collect()
    finally:
        sys.unraisablehook = hook


def _open_files() -> int:
    return sum(1 for _ in _OPEN_FILES.iterdir()) if _OPEN_FILES.is_dir() else 0


def _call(invariant: Invariant, trace: Trace) -> object:
    try:
        inspect.signature(invariant).bind()
    except TypeError:
        return cast("Callable[[Trace], object]", invariant)(trace)
    except ValueError:
        pass
    return cast("Callable[[], object]", invariant)()


def _is_ours(error: BaseException) -> bool:
    """Tell whether an error has come to the kernel: what was handled before is not its concern."""
    return any(
        str(frame.f_globals.get("__name__", "")).startswith("nestling._kernel.")
        for frame, _ in traceback.walk_tb(error.__traceback__)
    )


def _is_group(error: BaseException | None) -> bool:
    return isinstance(error, BaseExceptionGroup)


def _holds_cancelled(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)


def _where_it_waits(tasks: Iterable[trio.lowlevel.Task]) -> str:
    waiting = [task for task in tasks if is_in_own_code(task)]
    return "".join(f"task {task.name!r} is at:\n{stack_of(task)}" for task in waiting[:MOST_TASKS])
