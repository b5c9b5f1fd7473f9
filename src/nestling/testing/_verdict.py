"""Whether a run with faults has kept the laws, as far as they can be seen from outside.

=====  =============================================================================================
law    what is looked at
=====  =============================================================================================
1      each node starts, runs and stops once; it stops after what depends on it, unless it has
       ended by itself (the run itself looks at whom a cancellation reaches)
3      an injected error that has come to nestling is told by what comes out, or is followed by a
       restart, or is kept for who asks; and nothing else has failed where it was only cancelled,
       or interrupted
4      an interrupt comes out, and nestling has put it into no group
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

from nestling._kernel._errors import NestlingError, NotRunningError
from nestling._kernel._events import Event, Restarting, Running, Starting, Stopped, Stopping
from nestling._kernel._outcome import forces, summary
from nestling.testing._faults import FaultKind, InjectedError
from nestling.testing._tasks import is_of_nestling
from nestling.testing._told import all_of, told_by
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
        kept: the errors that go no further, as nestling says.
        dependents: who depends on whom, by path.
        reached: a cancellation has reached the task of the run.
        caught: the scope has caught it.
        usual: what errors there are without faults, too.
    """

    kinds: Sequence[FaultKind]
    injected: Sequence[BaseException | None]
    raised: BaseException | None
    late: BaseException | None
    trace: Trace
    kept: Sequence[BaseException]
    dependents: Mapping[str, frozenset[str]]
    reached: bool
    caught: bool
    usual: frozenset[str] = frozenset()

    def problems(self) -> Iterator[str]:
        """Say what contradicts the laws."""
        yield from self._order()
        yield from self._errors()
        yield from self._interrupts()
        silent = self.raised is None and self.late is None
        if self.reached and not self.caught and silent and not self.errors():
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
            if isinstance(event, Stopping) and needed & live and not event.by_itself:
                late = ", ".join(map(repr, sorted(needed & live)))
                yield f"law 1: {event.path!r} stops before {late}"
            if isinstance(event, Starting):
                live.add(event.path)
            elif isinstance(event, Stopped):
                live.discard(event.path)

    def errors(self) -> frozenset[str]:
        """Return what has failed, in one line each; of groups, each member."""
        failed = [each for each in self._shown().values() if isinstance(each, Exception)]
        return frozenset(map(summary, failed))

    def _errors(self) -> Iterator[str]:
        shown = self._shown()
        injected = [error for error in self.injected if isinstance(error, InjectedError)]
        lost = [each for each in injected if any(map(_is_lost, [each, *self._groups_of(each)]))]
        handled = [error for error in injected if error not in lost]
        known = [self.raised, *handled, *self.kept, *self._followed_by_restarts()]
        told = "\n".join(map(told_by, known))
        for error in lost:
            if str(error) not in told:
                yield f"law 3: {summary(error)} is lost"
        if self.kinds and "error" not in self.kinds:
            for each in shown.values():
                if isinstance(each, Exception) and self._is_news(each):
                    yield f"{' and '.join(self.kinds)} makes it fail: {summary(each)}"

    def _is_news(self, error: Exception) -> bool:
        """Tell whether an error is one that only a fault has brought about."""
        of_kernel = isinstance(error, NestlingError) and not isinstance(error, NotRunningError)
        return not of_kernel and summary(error) not in self.usual

    def _groups_of(self, error: BaseException) -> Iterator[BaseException]:
        """Yield the groups with ``error`` that observers have seen."""
        for event in self.trace.events:
            if isinstance(event, (Stopping, Stopped)):
                group = event.error
                if group is not error and any(leaf is error for leaf in _leaves(group)):
                    yield cast("BaseException", group)

    def _followed_by_restarts(self) -> Iterator[BaseException | None]:
        for event in self.trace.events:
            if isinstance(event, Restarting):
                yield event.error

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
        told = any(isinstance(each, KeyboardInterrupt) for each in all_of(self.raised))
        forced = forces(self.raised) or self.late is not None
        pairs = zip(self.kinds, self.injected, strict=True)
        struck = [error for kind, error in pairs if kind == "interrupt"]
        known = [error for error in struck if error is not None and _has_come_to_nestling(error)]
        if known and not forced:
            yield "law 4: a KeyboardInterrupt is lost"
        elif known and _is_group_of_nestling(self.raised):
            yield "law 4: a KeyboardInterrupt came out in a group"
        if None in struck and not forced and not told:
            yield "law 4: Ctrl-C is lost"


def _leaves(error: BaseException | None) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup) and not isinstance(error, NestlingError):
        for member in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _leaves(member)
    elif error is not None:
        yield error


def _has_come_to_nestling(error: BaseException) -> bool:
    """Tell whether nestling knows of an error: what was handled before is not its concern."""
    return any(map(is_of_nestling, _modules(error)))


def _is_lost(error: BaseException) -> bool:
    """Tell whether an error that does not come out was lost by nestling, or by a callback's caller.

    Who runs something by itself may handle its errors.
    """
    places = [
        (str(frame.f_globals.get("__name__", "")), frame.f_code.co_name)
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    if len(places) < 2:
        return False
    (module, _), (inner_module, inner_name) = places[:2]
    if is_of_nestling(module):
        return True
    return is_of_nestling(inner_module) and inner_name in {"_call_back", "_callback", "_enter"}


def _is_group_of_nestling(error: BaseException | None) -> bool:
    """Tell whether it is a group that nestling has made, and no nursery in other code."""
    if not isinstance(error, BaseExceptionGroup):
        return False
    modules = reversed(list(_modules(cast("BaseException", error))))
    made_in = next((each for each in modules if each.partition(".")[0] not in _OUTSIDE), "")
    return is_of_nestling(made_in)


def _modules(error: BaseException) -> Iterator[str]:
    """Yield where an error has passed: last where it was raised."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
        yield str(frame.f_globals.get("__name__", ""))


def _holds_cancelled(error: BaseException | None) -> bool:
    if isinstance(error, BaseExceptionGroup):
        group = cast("BaseExceptionGroup[BaseException]", error)
        return group.subgroup(trio.Cancelled) is not None
    return isinstance(error, trio.Cancelled)
