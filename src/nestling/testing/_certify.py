"""`certify`: a run repeated with a fault at each point where one can strike.

1. A run without faults: it has to keep the laws, and its scheduling points are counted.
2. A run for each point and each fault that can strike there.
3. A run for each pair: a second fault at each point after the first one.

The schedule is the same each time, so that a run is the same up to its first fault.
"""

from __future__ import annotations

import gc
import random
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager

import attrs
import trio

from nestling._kernel._checks import describe_value
from nestling._kernel._errors import InvalidStateError
from nestling._kernel._functions import check_arity
from nestling._kernel._node import enter_node, leave_node
from nestling._kernel._outcome import summary
from nestling.testing._certificate import Certificate, Failure
from nestling.testing._faults import FAULT_KINDS, Fault, FaultKind, Point
from nestling.testing._faulty_run import (
    Body,
    FaultyRun,
    Invariant,
    Make,
)
from nestling.testing._options import Options, checked_options
from nestling.testing._progress import Progress
from nestling.testing._resources import LEFT_OPEN
from nestling.testing._steps import MOST_STEPS
from nestling.testing._tasks import short_body

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")

Faults = tuple[Fault, ...]


def certify(
    make: Make,
    *,
    faults: Iterable[FaultKind] = FAULT_KINDS,
    invariants: Iterable[Invariant] = (),
    limit: int | None = None,
    body: Body = short_body,
    pairs: bool = True,
    seed: int = 0,
    idle: float = 5,
) -> Certificate:
    """Run a composition again and again, with a fault at each scheduling point in turn.

    After each run the laws are checked, as far as they can be seen from outside: nothing stops, and
    nothing is cancelled, before what depends on it; no error is lost, no interrupt, no cancellation
    comes out of its scope; no task, node, coroutine or file descriptor is left; and it ends. So are
    the invariants. A point at which one of them does not hold is reported with its stack.

    It starts trio by itself, on a clock that jumps where nothing is left to do.

    Args:
        make: makes the composition, for each run anew.
        faults: ``"cancel"``: it is cancelled from outside; ``"error"``: what one of its functions
            waits for raises; ``"interrupt"``: KeyboardInterrupt.
        invariants: called after each run, without an argument or with the `Trace` of the run. One
            that returns False or raises does not hold.
        limit: how many runs with faults at the most; by default all. Single faults come first, and
            of the pairs some are chosen, always the same ones.
        body: the callback of the composition; by default a checkpoint and a short wait.
        pairs: try pairs of faults: a second one while the first is cleaned up after.
        seed: of the schedule.
        idle: real seconds without any news after which a run has hung.

    Example::

        def test_the_shop_is_safe():
            certify(make_shop, invariants=[lambda: not open_connections]).check()

    Raises:
        TypeError, ValueError: an argument is wrong.
        InvalidStateError: it is called inside of a trio run.
    """
    if not callable(make):
        raise TypeError(
            f"make of certify() must be a function that returns a runnable, "
            f"not {describe_value(make)}"
        )
    check_arity(make, "make of certify()", 0)
    given = {
        "faults": faults,
        "invariants": invariants,
        "limit": limit,
        "body": body,
        "pairs": pairs,
        "seed": seed,
        "idle": idle,
    }
    options = checked_options(given, " of certify()")
    if trio.lowlevel.in_trio_run():
        raise InvalidStateError("certify() starts trio by itself: call it from a plain function")
    token = enter_node(None)  # who watches around it is not to see all of these runs
    try:
        return examine(make, options)
    finally:
        leave_node(token)


def examine(make: Make, options: Options) -> Certificate:
    """Do what `certify` does, all arguments being right."""
    with Progress() as progress, _garbage_of_runs_only():
        return _Examination(make, options, progress).certificate()


@attrs.define
class _Examination:
    make: Make
    options: Options
    progress: Progress
    _most_steps: int = attrs.field(default=MOST_STEPS, init=False)
    _usual: frozenset[str] = frozenset()

    def certificate(self) -> Certificate:
        seed, limit = self.options.seed, self.options.limit
        alone = self.run(())
        self._usual = alone.errors
        if alone.raised is not None:
            alone.problems.append(f"it fails by itself: {summary(alone.raised)}")
        if alone.problems:
            return Certificate(1, (_failure(alone),), seed=seed)
        self._most_steps = 10_000 + 100 * len(alone.points)
        singles = [(fault,) for fault in self._faults(alone.points)]
        chosen, after = singles[:limit], list[Faults]()
        failures = self._try(chosen, lambda run: after.extend(self._pairs(run)))
        left_out = len(singles) - len(chosen)
        if failures or left_out or not self.options.pairs:
            return Certificate(len(chosen), failures, left_out, seed)
        room = None if limit is None else limit - len(chosen)
        some = _some(after, room, seed)
        failures = self._try(some)
        points = len(chosen) + len(some)
        return Certificate(points, failures, len(after) - len(some), seed)

    def run(self, faults: Faults, *, wants_stack: bool = False) -> FaultyRun:
        run = self._run(faults, wants_stack)
        if run.problems and all(each.startswith(LEFT_OPEN) for each in run.problems):
            return self._run(faults, wants_stack)  # what is opened once for all runs is no leak
        return run

    def _run(self, faults: Faults, wants_stack: bool) -> FaultyRun:
        options = self.options
        run = FaultyRun(
            faults, options.seed, options.idle, self._most_steps, wants_stack, self._usual
        )
        run.run(self.make, options.body, options.invariants)
        return run

    def _try(
        self,
        all_faults: Sequence[Faults],
        seen: Callable[[FaultyRun], object] = bool,
    ) -> tuple[Failure, ...]:
        failures: list[Failure] = []
        self.progress.more(len(all_faults))
        for faults in all_faults:
            run = self.run(faults)
            seen(run)
            self.progress.done()
            if run.problems:
                # Only the smallest is told with its stack, which takes time to find.
                if not failures and not run.stack:
                    again = self.run(faults, wants_stack=True)
                    run.stack, run.where = again.stack, again.where
                failures.append(_failure(run))
        return tuple(failures)

    def _faults(self, points: Iterable[Point]) -> Iterator[Fault]:
        for point in points:
            for kind in self.options.faults:
                if kind in point.kinds:
                    yield Fault(point.step, kind)

    def _pairs(self, run: FaultyRun) -> Iterator[Faults]:
        (first,) = run.faults
        for second in self._faults(run.points):
            if not (first.kind == second.kind == "cancel"):  # it is cancelled already
                yield (first, second)


@contextmanager
def _garbage_of_runs_only() -> Generator[None, None, None]:
    """Let each run look for garbage, but only for that of its own: it takes no time then."""
    gc.collect()
    gc.freeze()
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.unfreeze()
        if was_enabled:
            gc.enable()


def _failure(run: FaultyRun) -> Failure:
    # Addresses are others in each run, and a certificate is the same twice.
    problems = dict.fromkeys(_ADDRESS.sub("", problem) for problem in run.problems)
    return Failure(run.faults, run.where, tuple(problems), run.stack)


def _some(pairs: list[Faults], room: int | None, seed: int) -> list[Faults]:
    """Choose as many pairs as there is room for: always the same ones."""
    if room is None or room >= len(pairs):
        return pairs
    return sorted(random.Random(seed).sample(pairs, room))
