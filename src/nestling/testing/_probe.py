"""`Probe`: a scripted runnable that records what happens to it."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Literal, NoReturn, TypeAlias, cast, get_args

import attrs
import trio

from nestling._kernel._checks import check_choice, check_name, check_seconds, describe_value
from nestling._kernel._foreign import accept, runnable
from nestling._kernel._leaf import leaf
from nestling._kernel._member import Plan
from nestling._kernel._named import named
from nestling._kernel._node import Callback
from nestling._kernel._provider import OnReturn
from nestling._kernel._resource import resource
from nestling._kernel._runnable import Composed, Runnable
from nestling._kernel._service import service
from nestling._kernel._start_stop import start_stop
from nestling._kernel._worker import WorkerHandle, worker

Kind = Literal["worker", "leaf", "polite leaf", "start_stop", "service", "resource", "runnable"]
KINDS: tuple[Kind, ...] = get_args(Kind)

ScriptPhase = Literal["start", "run", "stop"]
SCRIPT_PHASES: tuple[ScriptPhase, ...] = get_args(ScriptPhase)
PAIR = 2

Fail: TypeAlias = "ScriptPhase | BaseException | tuple[ScriptPhase, BaseException] | None"


class ProbeError(Exception):
    """What a `Probe` fails with where its script names no other error."""


@attrs.frozen
class ProbeEvent:
    """What has happened to a probe, as its own functions see it.

    Attributes:
        time: seconds on trio's clock.
        name: the name of the probe.
        what: ``stopping`` is when it is asked to stop, or is cancelled. ``stopped`` says how it
            ended: as it was asked to, ``cancelled``, ``failed``, or ``returned`` by itself.
    """

    time: float
    name: str
    what: str


_journal: ContextVar[list[ProbeEvent] | None] = ContextVar("nestling_journal", default=None)


@contextmanager
def journal() -> Generator[list[ProbeEvent], None, None]:
    """Collect what happens to all probes that are run inside, in one order."""
    events: list[ProbeEvent] = []
    token = _journal.set(events)
    try:
        yield events
    finally:
        _journal.reset(token)


def note(name: str, what: str) -> ProbeEvent:
    """Return an event of now, and enter it in the journal."""
    event = ProbeEvent(trio.current_time(), name, what)
    events = _journal.get()
    if events is not None:
        events.append(event)
    return event


class Probe(Composed):
    """A runnable that does what its script says, and records what happens to it.

    Args:
        name: the name of its node.
        start: seconds until it runs.
        run: seconds until it ends by itself; by default it never does.
        stop: seconds that a graceful stop takes.
        fail: where it fails: ``"start"``, ``"run"`` or ``"stop"``, at the end of that phase, with a
            `ProbeError`; or an error, with which it fails when it has run (at once, where that is
            endless); or a pair of both.
        ignore: seconds for which it ignores a cancellation.
        kind: what it is: ``"worker"``, ``"leaf"``, ``"polite leaf"`` (one with a stop function),
            ``"start_stop"``, ``"service"``, ``"resource"`` or ``"runnable"``.
        on_return: what it means if it ends by itself, as for `leaf`.

    Attributes:
        events: what has happened to it, in order.

    Not every kind has every phase: a leaf runs at once, it and a service are stopped by
    cancellation, and nothing of a start_stop, a resource or a runnable ends by itself.

    Example::

        db = Probe("db", start=1, stop=2)
        http = Probe("http", run=5, fail=OSError("connection lost"))
        async with running(chain(db, http)):
            ...
    """

    kind = "probe"

    def __init__(
        self,
        name: str,
        *,
        start: float = 0,
        run: float = math.inf,
        stop: float = 0,
        fail: Fail = None,
        ignore: float = 0,
        kind: Kind = "worker",
        on_return: OnReturn = "stop",
    ) -> None:
        self.name: str = check_name(name, "name of Probe()")
        asked = f"Probe({name!r})"
        check_choice(kind, f"kind of {asked}", KINDS)
        check_choice(on_return, f"on_return of {asked}", get_args(OnReturn))
        self.fails_in: ScriptPhase | None
        self.error: BaseException | None
        self.fails_in, self.error = _failure(fail, asked)
        self.start: float = check_seconds(start, f"start of {asked}")
        self.lasts: float = check_seconds(run, f"run of {asked}")
        if self.fails_in == "run" and self.lasts == math.inf:
            self.lasts = 0
        self.stop: float = check_seconds(stop, f"stop of {asked}")
        self.ignore: float = check_seconds(ignore, f"ignore of {asked}")
        self.like: Kind = kind
        self.on_return: OnReturn = on_return
        self._check_phases(asked)
        self.life: trio.CancelScope = trio.CancelScope()
        self._told = False
        self.events: list[ProbeEvent] = []
        self._inner = accept(named(name, _MAKERS[kind](self)), asked)

    def _check_phases(self, asked: str) -> None:
        """Refuse a script for a phase that this kind does not have."""
        given = {
            "start": self.start > 0 or self.fails_in == "start",
            "run": self.lasts < math.inf or self.on_return != "stop",
            "stop": self.stop > 0,
        }
        for phase in _MISSING_PHASES.get(self.like, ()):
            if given[phase]:
                raise ValueError(f"{asked} is a {self.like}, which has no {phase} of its own")

    @property
    def label(self) -> str:
        return self.name

    @property
    def is_named(self) -> bool:
        return True

    async def run(self, f: Callback, /) -> None:
        await self._inner.run(f)

    def plan(self) -> Plan:
        return self._inner.plan()

    def __repr__(self) -> str:
        script = {
            "start": self.start or None,
            "run": self.lasts if self.lasts < math.inf else None,
            "stop": self.stop or None,
            "ignore": self.ignore or None,
            "kind": self.like if self.like != "worker" else None,
            "on_return": self.on_return if self.on_return != "stop" else None,
        }
        shown = [f"{key}={value!r}" for key, value in script.items() if value is not None]
        if self.fails_in is not None:
            shown.append(f"fail={(self.fails_in, self.error) if self.error else self.fails_in!r}")
        return f"Probe({', '.join([repr(self.name), *shown])})"

    # What its functions do. Each kind is made of them.

    def record(self, what: str) -> None:
        """Record what has happened."""
        self.events.append(note(self.name, what))

    def begin_to_stop(self) -> None:
        """Record that it is asked to stop, or cancelled: whichever comes first."""
        if not self._told:
            self._told = True
            self.record("stopping")

    async def begin(self) -> None:
        """Start."""
        self._told = False
        self.record("starting")
        if self.like not in {"leaf", "polite leaf"}:
            await self._phase("start", self.start)
        self.record("running")

    async def live(self, asked: Callable[[], Awaitable[object]]) -> bool:
        """Run until it is asked to stop; False where it has ended by itself before."""
        try:
            with trio.move_on_after(self.lasts) as life:
                self.life = life
                await asked()
        except trio.Cancelled:
            self.begin_to_stop()
            await self._hold_on()
            if self.fails_in == "stop" and self.like in {"leaf", "service"}:
                self._fail()
            self.record("stopped, cancelled")
            raise
        if not life.cancelled_caught:
            return True
        if self.fails_in == "run":
            self._fail()
        self.record("stopped, returned")
        return False

    async def end(self) -> None:
        """Stop."""
        self.begin_to_stop()
        await self._phase("stop", self.stop)
        self.record("stopped")

    async def _phase(self, phase: ScriptPhase, seconds: float) -> None:
        try:
            await wait(seconds)
        except trio.Cancelled:
            await self._hold_on()
            self.record("stopped, cancelled")
            raise
        if self.fails_in == phase:
            self._fail()

    async def _hold_on(self) -> None:
        if self.ignore:
            with trio.CancelScope(shield=True):
                await trio.sleep(self.ignore)

    def _fail(self) -> NoReturn:
        self.record("stopped, failed")
        raise self.new_error()

    def new_error(self) -> BaseException:
        """Return what it fails with."""
        return self.error or ProbeError(f"{self.name} fails in {self.fails_in}")


async def wait(seconds: float) -> None:
    """Wait, and be open to a cancellation even if it is for no time."""
    if seconds:
        await trio.sleep(seconds)
    else:
        await trio.lowlevel.checkpoint()


def _failure(fail: object, asked: str) -> tuple[ScriptPhase | None, BaseException | None]:
    if fail is None:
        return None, None
    given, shown = cast("tuple[object, ...]", (fail, None)), fail
    if isinstance(fail, BaseException):
        given = ("run", fail)
    elif isinstance(fail, tuple):
        given = cast("tuple[object, ...]", fail)
    phase, error = given if len(given) == PAIR else (None, None)
    if phase not in SCRIPT_PHASES or not (error is None or isinstance(error, BaseException)):
        phases = ", ".join(map(repr, SCRIPT_PHASES))
        raise ValueError(
            f"fail of {asked} must be one of {phases}, an exception, or a pair of both, "
            f"not {describe_value(shown)}"
        )
    return phase, error


# What each kind is made of -----------------------------------------------------------------------


def _leaf(probe: Probe) -> Runnable:
    async def run() -> None:
        await probe.begin()
        await probe.live(trio.sleep_forever)

    return leaf(run, on_return=probe.on_return)


def _polite_leaf(probe: Probe) -> Runnable:
    asked = trio.Event()

    async def run() -> None:
        nonlocal asked
        asked = trio.Event()
        await probe.begin()
        if await probe.live(asked.wait):
            probe.record("stopped")

    async def stop() -> None:
        probe.life.deadline = math.inf
        probe.begin_to_stop()
        await wait(probe.stop)
        if probe.fails_in == "stop":
            raise probe.new_error()
        asked.set()

    return leaf(run, stop, on_return=probe.on_return)


def _service(probe: Probe) -> Runnable:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await probe.begin()
        task_status.started()
        await probe.live(trio.sleep_forever)

    return service(serve, on_return=probe.on_return)


def _worker(probe: Probe) -> Runnable:
    async def work(handle: WorkerHandle) -> None:
        await probe.begin()
        handle.ready()
        if await probe.live(handle.stopping.wait):
            await probe.end()

    return worker(work, on_return=probe.on_return)


def _start_stop(probe: Probe) -> Runnable:
    return start_stop(probe.begin, probe.end)


def _resource(probe: Probe) -> Runnable:
    @asynccontextmanager
    async def manager() -> AsyncGenerator[None, None]:
        await probe.begin()
        try:
            yield
        finally:
            await probe.end()

    return resource(manager)


def _runnable(probe: Probe) -> Runnable:
    async def run(f: Callback) -> None:
        await probe.begin()
        try:
            await f()
        finally:
            await probe.end()

    return runnable(run)


_MAKERS: dict[Kind, Callable[[Probe], Runnable]] = {
    "worker": _worker,
    "leaf": _leaf,
    "polite leaf": _polite_leaf,
    "start_stop": _start_stop,
    "service": _service,
    "resource": _resource,
    "runnable": _runnable,
}

_MISSING_PHASES: dict[Kind, tuple[ScriptPhase, ...]] = {
    "leaf": ("start", "stop"),
    "polite leaf": ("start",),
    "service": ("stop",),
    "start_stop": ("run",),
    "resource": ("run",),
    "runnable": ("run",),
}
