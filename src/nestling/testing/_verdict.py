"""Whether a run with faults has kept the laws, as far as they can be seen from outside.

=====  =============================================================================================
law    what is looked at
=====  =============================================================================================
1      each node starts, runs and stops once; it stops after what depends on it (the run itself
       looks at whom a cancellation reaches)
3      an injected error that has come to the kernel is told by what comes out; and nothing else has
       failed where it was only cancelled, or interrupted
4      an interrupt comes out, and the kernel has put it into no group
6      no node is left (the run itself looks at tasks, files and the like)
8      a cancellation that has reached the task of the run comes out, and not out of its scope
=====  =============================================================================================
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import attrs
import trio

from nestling._kernel._errors import NestlingError
from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._outcome import forces, summary
from nestling.testing._faults import FaultKind, InjectedError
from nestling.testing._told import told_by
from nestling.testing._trace import Trace

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup

_ALLOWED: dict[type[Event], tuple[type[Event] | None, ...]] = {
    Starting: (None,),
    Running: (Starting,),
    Stopping: (Running,),
    Stopped: (Starting, Stopping),
}
_OUTSIDE = frozenset({"trio", "outcome", "contextlib", "exceptiongroup"})


@attrs.frozen(kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        kinds: the faults that have struck, in order.
        injected: what each has raised, where that is known.
        raised: what came out of the scope that the faults cancel.
        late: Ctrl-C that came out in the step after.
        trace: the events.
        dependents: who depends on whom, by path.
        reached: a cancellation has reached the task of the run.
        caught: the scope has caught it.
    """

    kinds: Sequence[FaultKind]
    injected: Sequence[BaseException | None]
    raised: BaseException | None
    late: BaseException | None
    trace: Trace
    dependents: Mapping[str, frozenset[str]]
    reached: bool
    caught: bool

    def problems(self) -> Iterator[str]:
        """Say what contradicts the laws."""
        yield from self._order()
        yield from self._errors()
        yield from self._interrupts()
        if self.reached and not self.caught and self.raised is None and self.late is None:
            yield "law 8: a Cancelled is swallowed"
        if _holds_cancelled(self.raised):
            yield "law 8: a Cancelled came out of its scope"
        if self.trace.live():
            left = ", ".join(sorted(repr(node.path) for node in self.trace.live()))
            yield f"law 6: not stopped: {left}"

    def _order(self) -> Iterator[str]:
        last: dict[object, type[Event]] = {}
        live: set[str] = set()
        for event in self.trace.events:
            before = last.get(event.node)
            if before not in _ALLOWED.get(type(event), (before,)):
                yield f"law 1: {event.path!r}: {type(event).__name__} out of turn"
            last[event.node] = type(event)
            needed = self.dependents.get(event.path, frozenset())
            if isinstance(event, Stopping) and needed & live:
                late = ", ".join(map(repr, sorted(needed & live)))
                yield f"law 1: {event.path!r} stops before {late}"
            if isinstance(event, Starting):
                live.add(event.path)
            elif isinstance(event, Stopped):
                live.discard(event.path)

    def _errors(self) -> Iterator[str]:
        told = told_by(self.raised)
        shown = self._shown()
        for error in self.injected:
            came = error is not None and (id(error) in shown or _has_come_to_kernel(error))
            if came and isinstance(error, InjectedError) and str(error) not in told:
                yield f"law 3: {summary(error)} is lost"
        if self.kinds and "error" not in self.kinds:
            for error in shown.values():
                if isinstance(error, Exception) and not isinstance(error, NestlingError):
                    yield f"{' and '.join(self.kinds)} makes it fail: {summary(error)}"

    def _shown(self) -> dict[int, BaseException]:
        """Return the errors that came out, and those that observers have seen."""
        found = list(_leaves(self.raised))
        for event in self.trace.events:
            if isinstance(event, (Stopping, Stopped)):
                found += _leaves(event.error)
            if isinstance(event, Stopped):
                found += [leaf for error in event.suppressed for leaf in _leaves(error)]
        return {id(error): error for error in found}

    def _interrupts(self) -> Iterator[str]:
        forced = forces(self.raised) or self.late is not None
        pairs = zip(self.kinds, self.injected, strict=True)
        struck = [error for kind, error in pairs if kind == "interrupt"]
        known = [error for error in struck if error is not None and _has_come_to_kernel(error)]
        if known and not forced:
            yield "law 4: a KeyboardInterrupt is lost"
        elif known and _is_group_of_kernel(self.raised):
            yield "law 4: a KeyboardInterrupt came out in a group"
        if None in struck and not forced:
            yield "law 4: Ctrl-C is lost"


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, NestlingError):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    elif error is not None:
        yield error


def _has_come_to_kernel(error: BaseException) -> bool:
    """Tell whether the kernel knows of an error: what was handled before is not its concern."""
    return any(module.startswith("nestling._kernel.") for module in _modules(error))


def _is_group_of_kernel(error: BaseException | None) -> bool:
    """Tell whether it is a group that the kernel has made, and no nursery in other code."""
    if not isinstance(error, BaseExceptionGroup):
        return False
    modules = reversed(list(_modules(cast("BaseException", error))))
    made_in = next((each for each in modules if each.partition(".")[0] not in _OUTSIDE), "")
    return made_in.startswith("nestling._kernel.")


def _modules(error: BaseException) -> Iterator[str]:
    """Yield where an error has passed: last where it was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield str(frame.f_globals.get("__name__", ""))


def _holds_cancelled(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
