"""`Supervisor`: children that are started anew when they end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import attrs

from nestling._kernel._checks import check_choice, check_seconds, describe_value
from nestling._kernel._errors import InvalidStateError, NestlingError
from nestling._kernel._group import raise_all
from nestling._kernel._interrupts import protected
from nestling._kernel._member import Plan
from nestling._kernel._node import Callback
from nestling._kernel._outcome import forces, note_suppressed, raise_again
from nestling._kernel._runnable import Composed, Runnable
from nestling._kernel._states import State
from nestling.supervise._backoff import Backoff, Delays
from nestling.supervise._child import Child
from nestling.supervise._incarnation import plan_of
from nestling.supervise._intensity import Intensity
from nestling.supervise._policy import check_backoff, check_limit
from nestling.supervise._run_of_places import RunOfPlaces
from nestling.supervise._supervisor_state import (
    AutoShutdown,
    ChildPlace,
    Strategy,
    SupervisorState,
)


class UnknownChildError(NestlingError, KeyError):
    """A supervisor has no child of that name."""

    def __str__(self) -> str:
        return str(self.args[0])


@attrs.frozen
class ChildStatus:
    """How a child of a `Supervisor` fares.

    Attributes:
        name: its name.
        state: how far it has come; ``starting`` also while it waits before a restart.
        restarts: how often it was started anew.
        since: when its state began, in seconds on trio's clock.
        error: what it has failed with last, or None.
    """

    name: str
    state: State
    restarts: int
    since: float
    error: BaseException | None


class Supervisor(Composed):
    """Children that are started anew when they end; itself a runnable.

    They start one after the other, each when the one before runs, and stop in reverse order. A
    child that ends is started anew as its restart type says, after a delay; by the strategy, others
    are stopped first, and start again after it. The callback does not notice.

    Args:
        children: made by `child`.
        strategy: who goes down with a child that is started anew. ``"one_for_one"``: nobody;
            ``"one_for_all"``: all; ``"rest_for_one"``: those after it.
        limit: how many restarts there may be, of all children together,
        period: in so many seconds. One more, and the supervisor ends.
        backoff: makes the delays before the restarts of each child, see `Backoff`.
        auto_shutdown: ``"any"``: the first significant child that ends for good ends the
            supervisor; ``"all"``: the last one does.

    Raises, when it runs, the callback's error, bare; or else `RestartLimitError` with the last
    failures; or, where the first start of a child fails, an `ExceptionGroup`, with a note that says
    what ran and what was not started. The failure of a child that is not started anew is told to
    observers, and is in `children`.

    Example::

        workers = Supervisor(
            child("consumer", consumer),
            child("import", leaf(import_all), restart="transient"),
            strategy="rest_for_one",
        )

    Raises:
        TypeError, ValueError: an argument is wrong; two children have one name; or one is
            significant, although ``auto_shutdown`` is ``"never"``.

    The semantics are those of the supervisors of Erlang/OTP; the delays are added.
    """

    kind = "supervisor"

    def __init__(
        self,
        *children: Child,
        strategy: Strategy = "one_for_one",
        limit: float = 3,
        period: float = 5,
        backoff: Delays | None = None,
        auto_shutdown: AutoShutdown = "never",
    ) -> None:
        check_choice(
            strategy, "strategy of Supervisor()", ("one_for_one", "one_for_all", "rest_for_one")
        )
        check_limit(limit, "limit of Supervisor()")
        check_seconds(period, "period of Supervisor()")
        backoff = Backoff() if backoff is None else backoff
        check_backoff(backoff, "backoff of Supervisor()")
        check_choice(auto_shutdown, "auto_shutdown of Supervisor()", ("never", "any", "all"))
        self._strategy: Strategy = strategy
        self._limit = limit
        self._period = period
        self._backoff = backoff
        self._auto_shutdown: AutoShutdown = auto_shutdown
        self._run: _SupervisorRun | None = None
        names: set[str] = set()
        for number, each in enumerate(children, 1):
            self._check(each, f"argument {number} of Supervisor()")
            if each.name in names:
                raise ValueError(f"Supervisor() has two children that are called {each.name!r}")
            names.add(each.name)
        self._children = children
        self._planned = [(each, plan_of(each.bounded)) for each in children]

    def _check(self, value: object, argument: str) -> None:
        if not isinstance(value, Child):
            raise TypeError(f"{argument} must be made by child(), not {describe_value(value)}")
        if value.significant and self._auto_shutdown == "never":
            raise ValueError(
                f"{argument}: {value.name!r} is significant, but auto_shutdown is 'never'"
            )

    @property
    def parts(self) -> tuple[Composed, ...]:
        return tuple([each.runnable for each in self._children])

    def with_parts(self, *parts: Runnable) -> Runnable:
        pairs = zip(self._children, parts, strict=True)
        return Supervisor(
            *[attrs.evolve(each, runnable=cast("Composed", part)) for each, part in pairs],
            strategy=self._strategy,
            limit=self._limit,
            period=self._period,
            backoff=self._backoff,
            auto_shutdown=self._auto_shutdown,
        )

    @protected
    async def run(self, f: Callback, /) -> None:
        if self._run is not None:
            raise InvalidStateError(
                "cannot run a supervisor that is running; make another one for another run"
            )
        state = SupervisorState(
            self._strategy,
            self._auto_shutdown,
            self._backoff,
            Intensity(self._limit, self._period),
        )
        self._run = _SupervisorRun(self.kind, state, self._planned)
        try:
            await self._run.run(f)
        finally:
            self._run = None

    def children(self) -> tuple[ChildStatus, ...]:
        """Return how the children fare, in the order in which they start.

        Raises:
            InvalidStateError: the supervisor is not running.
        """
        return self._running("tell the children").children()

    @protected
    async def start_child(self, child: Child) -> None:
        """Start one more child, the last in the order, and wait until it runs.

        If this call is cancelled, the child is stopped and removed again.

        Raises:
            InvalidStateError: the supervisor is not running, or stops; or the child was stopped
                before it was running.
            ValueError: there is a child of that name already, be it stopped.
            BaseException: what the child has failed with. It is not there then.
        """
        run = self._running("start a child")
        self._check(child, "child of start_child()")
        await run.start_child(child)

    @protected
    async def restart_child(self, name: str) -> None:
        """Start a child that has stopped, and wait until it runs.

        Raises:
            UnknownChildError: there is no such child; a temporary one is removed when it ends.
            InvalidStateError: it has not stopped; or the supervisor is not running, or stops.
            BaseException: what the child has failed with.
        """
        await self._running("restart a child").restart_child(name)

    @protected
    async def stop_child(self, name: str) -> None:
        """Stop a child, and wait until it has stopped; it is not started anew by itself.

        It stays known, and can be started by `restart_child`; a temporary one is removed. With it
        its siblings start anew, too, where the strategy says so. If this call is cancelled, the
        child stops all the same.

        Raises:
            UnknownChildError: there is no such child.
            InvalidStateError: the supervisor is not running; or this is called from inside of the
                child, which would wait for its own end.
            BaseException: what the child has failed with while it stopped.
        """
        await self._running("stop a child").stop_child(name)

    @protected
    async def remove_child(self, name: str) -> None:
        """Stop a child, if it has not stopped, and forget it: its name is free again.

        Raises as `stop_child` does.
        """
        await self._running("remove a child").stop_child(name, forget=True)

    def _running(self, call: str) -> _SupervisorRun:
        if self._run is None or not self._run.has_begun:
            raise InvalidStateError(f"cannot {call} of a supervisor that is not running")
        return self._run


class _SupervisorRun(RunOfPlaces):
    def __init__(
        self, kind: str, state: SupervisorState, children: Iterable[tuple[Child, Plan]]
    ) -> None:
        super().__init__(kind, state)
        self._children = state
        for each, plan in children:
            self._add(each, plan)

    def _add(self, child: Child, plan: Plan) -> None:
        self.let_run(child.name, plan)
        self._children.add(child)

    def raise_failures(self) -> None:
        limit = self._children.gave_up
        failures = self._state.take_failures()
        try:
            if limit is not None and not any(forces(each) for _, each in failures):
                note_suppressed(limit, [pair for pair in failures if pair[1] is not limit])
                failures.clear()
                raise_again(limit)
            if failures:
                raise_all(failures, f"of {len(self._children.places)} children")
        finally:
            limit = None

    def children(self) -> tuple[ChildStatus, ...]:
        return tuple(map(_status, self._children.places.values()))

    async def start_child(self, child: Child) -> None:
        if child.name in self._children.places:
            raise ValueError(
                f"cannot start child {child.name!r}: there is one of that name; if it has stopped, "
                f"restart_child() starts it, and remove_child() forgets it"
            )
        self._check_not_starting(child.name)
        self._add(child, plan_of(child.bounded))
        await self.start_new(child.name)

    async def restart_child(self, name: str) -> None:
        place = self._place(name)
        if place.phase != "down" or self._children.is_coming(place):
            raise InvalidStateError(f"cannot restart child {name!r}: it is {place.phase}")
        self._check_not_starting(name)
        await self.start(name)

    def _check_not_starting(self, name: str) -> None:
        for around in self.starting_around():
            raise InvalidStateError(
                f"cannot start child {name!r} from inside of {around!r}, which is starting: the "
                f"one would wait for the other; do it when {around!r} is ready"
            )

    async def stop_child(self, name: str, *, forget: bool = False) -> None:
        self._place(name)
        await self.stop(name, forget=forget)

    def _place(self, name: str) -> ChildPlace:
        place = self._children.places.get(name)
        if place is None:
            known = ", ".join(map(repr, self._children.places)) or "none"
            raise UnknownChildError(f"there is no child {name!r}; there are {known}")
        return place


def _status(place: ChildPlace) -> ChildStatus:
    states = {
        "down": State.STOPPED if place.since or place.ran else State.INITIAL,
        "waiting": State.STARTING,
        "starting": State.STARTING,
        "running": State.RUNNING,
        "ending": State.RUNNING,
        "stopping": State.RUNNING,
    }
    return ChildStatus(place.name, states[place.phase], place.restarts, place.since, place.error)
