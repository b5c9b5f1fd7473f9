"""One run of a composition with faults."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

import attrs
import trio

from nestling._kernel._events import Event
from nestling._kernel._foreign import accept
from nestling._kernel._kept import listening_to_kept
from nestling._kernel._outcome import summary
from nestling._kernel._runnable import Composed, Runnable
from nestling.testing._clock import MOST_SECONDS_IDLE, JumpingClock
from nestling.testing._faults import (
    CANCELLED,
    Fault,
    Point,
    is_cancelled_by_fault,
    may_raise,
    point_at,
    strike,
)
from nestling.testing._places import dependents
from nestling.testing._record import record
from nestling.testing._resources import keep, watching_resources
from nestling.testing._signals import Signals, default_ctrl_c
from nestling.testing._steps import MOST_STEPS, Steps
from nestling.testing._tasks import (
    has_begun,
    listed,
    path_of,
    places_of,
    raises_in_own_code,
    stack_of,
    tasks_below,
    title_of,
    waits_in_composition,
    waits_in_own_code,
)
from nestling.testing._told import clear_frames
from nestling.testing._trace import Trace
from nestling.testing._trio_internals import (
    give_up_waiting,
    is_cancelled,
    let_nobody_tell,
    scheduled_by,
)
from nestling.testing._verdict import Outcome

Make = Callable[[], Runnable]
Body = Callable[[], Awaitable[object]]
Invariant = Callable[[], object] | Callable[[Trace], object]

MOST_GIVEN_UP = 10
"""How often the tasks of a run that has hung are told to end, before trio is made to leave them."""


class GivenUp(BaseException):
    """What the tasks of a run that has hung raise, so that it ends."""


@attrs.define
class FaultyRun:
    """One run, with the faults that are to strike in it.

    Attributes:
        faults: in the order in which they strike.
        points: what followed the last fault; of a run without faults, all of it.
        usual: the errors that there are without faults, too.
        errors: those that there were in this run.
        struck: how many of the faults have struck.
        where: where the last of them did.
        stack: where the tasks waited before the last fault, where that was asked for; or when it
            hung.
        problems: what contradicts the laws.
    """

    faults: tuple[Fault, ...]
    seed: int
    idle: float = MOST_SECONDS_IDLE
    most_steps: int = MOST_STEPS
    wants_stack: bool = False
    usual: frozenset[str] = frozenset()
    errors: frozenset[str] = frozenset()
    points: list[Point] = attrs.field(factory=list[Point])
    struck: int = 0
    where: Point | None = None
    stack: str = ""
    problems: list[str] = attrs.field(factory=list[str])
    raised: BaseException | None = None
    late: BaseException | None = None
    trace: Trace = attrs.field(factory=Trace)
    _injected: list[BaseException | None] = attrs.field(factory=list[BaseException | None])
    _kept: list[BaseException] = attrs.field(factory=list[BaseException])
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _dependents: dict[str, frozenset[str]] = attrs.field(factory=dict[str, frozenset[str]])
    _signals: Signals = attrs.field(factory=Signals)
    _task: trio.lowlevel.Task | None = None
    _token: trio.lowlevel.TrioToken | None = None
    _active: bool = False
    _reached: bool = False
    _struck_before: int = -1
    _looks_for_struck: bool = False
    _may_be_told: set[int] | None = None
    _told: dict[str, tuple[str, str, str]] = attrs.field(factory=dict[str, tuple[str, str, str]])
    _hung: str = ""
    _events_when_hung: tuple[Event, ...] = ()
    _given_up: int = 0

    def run(self, make: Make, body: Body, invariants: Sequence[Invariant]) -> None:
        """Run what ``make`` makes, and check the laws and the invariants."""
        with watching_resources(self.problems):
            caught = self._run(make, body)
            # What the frames of an error keep is not to be taken for kept by the composition.
            for error in (self.raised, self.late, *self._injected, *self._kept):
                clear_frames(error)
        outcome = Outcome(
            kinds=[fault.kind for fault in self.faults[: self.struck]],
            injected=self._injected,
            raised=self.raised,
            late=self.late,
            trace=self.trace,
            kept=self._kept,
            dependents=self._dependents,
            reached=self._reached,
            caught=caught,
            usual=self.usual,
        )
        self.problems += outcome.problems()
        self.errors = outcome.errors()
        for invariant in invariants:
            self._check(invariant)
        if self._hung:
            # All else has come of giving it up.
            live = ", ".join(repr(node.path) for node in self.trace.live())
            self.problems = [self._hung, *([f"not stopped then: {live}"] if live else [])]

    def _run(self, make: Make, body: Body) -> bool:
        clock = JumpingClock(self.idle, self._give_up)
        steps = Steps(clock, self._before_step, self._after_step, self.most_steps)
        composed = accept(make(), "what make of certify() has returned")
        self._dependents = dependents(composed)
        try:
            with scheduled_by(self.seed), default_ctrl_c():
                trio.run(self._main, composed, body, clock=clock, instruments=[steps])
        except KeyboardInterrupt as late:
            self.late = late
        except BaseException as problem:
            self.problems.append(f"came out: {summary(problem)}")
        caught = self._scope.cancelled_caught
        if self._hung:
            self.trace = Trace(self._events_when_hung)  # later ones hold what has ended it
        if clock.has_ended:
            if self._token is not None:
                let_nobody_tell(self._token)
            self._signals.leave()
            keep(steps.tasks)
        self._task = None
        if steps.problem is not None:
            raise steps.problem
        if self._signals.real:
            raise KeyboardInterrupt  # no fault: somebody wants all of it to end
        return caught

    async def _main(self, composed: Composed, body: Body) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._task = trio.lowlevel.current_task()
        self._task.name = "main"
        before = trio.lowlevel.current_statistics().tasks_living
        with record() as self.trace, listening_to_kept(self._kept.append), self._signals:
            try:
                # What comes out of the scope counts: inside, it may hold its Cancelled.
                with self._scope:
                    self._active = True  # not in the steps in which trio comes up, or goes
                    try:
                        await composed.run(body)
                    finally:
                        self._active = False
            except BaseException as raised:
                if not self._hung:
                    self.raised = raised
            try:
                # A signal in the last step is not to come out later than here.
                await trio.lowlevel.checkpoint()
            except KeyboardInterrupt as late:
                self.late = late
        left = trio.lowlevel.current_statistics().tasks_living - before
        if left:
            self.problems.append(f"law 6: {left} tasks are left")

    def _after_step(self, step: int) -> None:
        """Cancel it before ``step``, and before anything comes that tasks may wait for."""
        if self._is_due(step) and self.faults[self.struck].kind == "cancel":
            self._strike(None)
            self._struck_before = step

    def _before_step(self, step: int, task: trio.lowlevel.Task) -> None:
        if self._is_due(step):
            self.where = point_at(step, task)
            self._strike(task)
        elif step == self._struck_before:
            self.where = self.where or point_at(step, task)
        elif self._active and not self._hung and self.struck == len(self.faults):
            self.points.append(point_at(step, task))
        if self._looks_for_struck and self._is_struck_later(task):
            self._tell([task])
        if self.struck and is_cancelled_by_fault(task):
            self._reached = self._reached or task is self._task
            self._check_order(task)

    def _is_struck_later(self, task: trio.lowlevel.Task) -> bool:
        """Tell whether a fault comes to a task that did not wait where it could be told before."""
        if self._may_be_told is not None and id(task) not in self._may_be_told:
            return False
        return raises_in_own_code(task) and waits_in_composition(task)

    def _is_due(self, step: int) -> bool:
        if self.struck == len(self.faults) or not self._active or self._hung:
            return False
        return self.faults[self.struck].step == step

    def _strike(self, task: trio.lowlevel.Task | None) -> None:
        """Let a fault strike: all of it, or else ``task`` in its next step."""
        fault = self.faults[self.struck]
        self.struck += 1
        alone = task is not None and may_raise(task)
        if self.wants_stack and task is not None:
            self.stack = stack_of(task)
        if task is None:
            self._scope.cancel(CANCELLED)
            self._injected.append(None)
        else:
            self._injected.append(strike(fault.kind, task, self._signals.inject, self.struck))
        if self.wants_stack and not alone:
            tasks = self._tasks()
            waiting = [each for each in tasks if waits_in_composition(each)]
            at_once = [each for each in waiting if is_cancelled(each)]
            # What waits in the kernel may be struck in its clean-up.
            hidden = [each for each in tasks if has_begun(each) and each not in waiting]
            self._may_be_told = {id(each) for each in hidden} if at_once else None
            self._looks_for_struck = True
            self._tell(at_once)

    def _tell(self, struck: Sequence[trio.lowlevel.Task]) -> None:
        """Tell where those wait that a fault has reached, in code of the composition."""
        for task in struck:
            self._told.setdefault(title_of(task), (task.name, path_of(task), stack_of(task)))
        step = self.faults[self.struck - 1].step
        if len(self._told) == 1:
            ((name, path, self.stack),) = self._told.values()
            self.where = Point(step, name, path, ())
        elif self._told:
            self.where = Point(step, "", "", ())
            self.stack = listed({title: stack for title, (_, _, stack) in self._told.items()})

    def _tasks(self) -> list[trio.lowlevel.Task]:
        assert self._task is not None
        return [self._task, *tasks_below(self._task)]

    def _give_up(self, problem: str) -> bool:
        """End a run that has hung, by errors in all of its tasks. Returns whether that may help."""
        if self._task is None:
            return False
        if not self._hung:
            self._hung = problem
            self._events_when_hung = self.trace.events
            self.stack = places_of(self._tasks())
        self._given_up += 1
        if self._given_up > MOST_GIVEN_UP:
            return False
        gone_on = [give_up_waiting(task, GivenUp()) for task in self._tasks()]
        return any(gone_on)

    def _check_order(self, task: trio.lowlevel.Task) -> None:
        """Nothing may depend on what a cancellation from outside has reached (law 1)."""
        path = path_of(task)
        live = {node.path for node in self.trace.live()} & self._dependents.get(path, frozenset())
        if live and waits_in_own_code(task):
            self.problems.append(
                f"law 1: {path!r} is cancelled while {', '.join(map(repr, sorted(live)))} depends "
                f"on it"
            )

    def _check(self, invariant: Invariant) -> None:
        name = getattr(invariant, "__name__", repr(invariant))
        try:
            kept = _call(invariant, self.trace)
        except Exception as problem:
            self.problems.append(f"invariant {name}: {summary(problem)}")
        else:
            if kept is False:
                self.problems.append(f"invariant {name} does not hold")


def _call(invariant: Invariant, trace: Trace) -> object:
    try:
        inspect.signature(invariant).bind()
    except TypeError:
        return cast("Callable[[Trace], object]", invariant)(trace)
    except ValueError:
        pass
    return cast("Callable[[], object]", invariant)()
