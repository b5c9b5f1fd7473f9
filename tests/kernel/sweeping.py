"""Compositions that record, and runs of them with one fault at each place where one can strike.

A run is repeated with the fault at the first place, at the second, and so on, until it ends before
the fault strikes. After each run the laws are checked that hold whatever happens.
"""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator
from contextlib import asynccontextmanager
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio
import trio.lowlevel
import trio.testing

import nestling
from nestling import Callback, Process, Runnable, WorkerHandle, running
from tests.kernel.recording import leaves_of

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

BODY = "body"
LONG = 10_000
"""Seconds that no run needs: one that hangs fails after them."""


class InjectedError(Exception):
    """The fault of a sweep."""


@attrs.frozen
class Built:
    """A composition, and what its order has to be.

    Attributes:
        runnable: the composition.
        names: its members, at any depth.
        pairs: who depends on whom: a provider, a dependent.
    """

    runnable: Runnable
    names: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...] = ()


@attrs.define
class Probes:
    """Makes runnables that record ``enter``, ``ready``, ``over`` and ``end``, each with its name.

    ``over`` is when it is asked to stop, or cancelled. One that fails records ``fails`` as well.

    Attributes:
        fault: raised at the place number ``place``, of the places where one of them waits.
    """

    fault: BaseException | None = None
    place: int = -1
    trace: list[str] = attrs.field(factory=list[str])
    struck: bool = False
    _places: Iterator[int] = attrs.field(factory=itertools.count)

    async def wait(self, name: str, seconds: float = 1) -> None:
        """Wait, or fail if it is here that the fault is to strike."""
        if next(self._places) == self.place and self.fault is not None:
            self.struck = True
            self.trace.append(f"{name} fails")
            raise self.fault
        await trio.sleep(seconds)

    async def end(self, name: str) -> None:
        """Take a second to end; not even that if it is cancelled."""
        try:
            await self.wait(name)
        finally:
            self.trace.append(f"{name} end")

    async def _enter(self, name: str) -> None:
        self.trace.append(f"{name} enter")
        try:
            await self.wait(name)
        except BaseException:
            self.trace.append(f"{name} end")
            raise
        self.trace.append(f"{name} ready")

    async def _stay(self, name: str, until: Callable[[], Any] = trio.sleep_forever) -> None:
        try:
            await until()
        finally:
            self._over(name)
            await self.end(name)

    def _over(self, name: str) -> None:
        # A leaf may be cancelled, and then be asked to stop in addition.
        if f"{name} over" not in self.trace:
            self.trace.append(f"{name} over")

    def start_stop(self, name: str) -> Built:
        async def start() -> None:
            await self._enter(name)

        async def stop() -> None:
            self.trace.append(f"{name} over")
            await self.end(name)

        return Built(nestling.start_stop(start, stop), (name,))

    def leaf(self, name: str) -> Built:
        async def run() -> None:
            self.trace.append(f"{name} enter")
            await self._stay(name)

        return Built(nestling.leaf(run), (name,))

    def polite(self, name: str) -> Built:
        """Make a leaf with a stop function."""
        asked = trio.Event()

        async def run() -> None:
            self.trace.append(f"{name} enter")
            await self._stay(name, asked.wait)

        async def stop() -> None:
            self._over(name)
            await self.wait(name)
            asked.set()

        return Built(nestling.leaf(run, stop), (name,))

    def service(self, name: str) -> Built:
        async def serve(*, task_status: trio.TaskStatus[None]) -> None:
            await self._enter(name)
            task_status.started()
            await self._stay(name)

        return Built(nestling.service(serve), (name,))

    def worker(self, name: str) -> Built:
        async def work(handle: WorkerHandle) -> None:
            await self._enter(name)
            handle.ready()

            async def until_stopping() -> None:
                with handle.until_stopping():
                    await trio.sleep_forever()

            await self._stay(name, until_stopping)

        return Built(nestling.worker(work), (name,))

    def resource(self, name: str) -> Built:
        @asynccontextmanager
        async def manager() -> AsyncGenerator[None, None]:
            await self._enter(name)
            try:
                yield
            finally:
                self.trace.append(f"{name} over")
                await self.end(name)

        return Built(nestling.resource(manager), (name,))

    def foreign(self, name: str) -> Built:
        async def run(f: Callback) -> None:
            await self._enter(name)
            await self._stay(name, f)

        return Built(nestling.runnable(run), (name,))

    async def body(self) -> None:
        """Be the callback of the composition."""
        self.trace.append(f"{BODY} enter")
        await self.end(BODY)


def chain(*parts: Built) -> Built:
    """Chain what was built: each depends on all before it."""
    pairs = [pair for part in parts for pair in part.pairs]
    for provider, dependent in itertools.combinations(parts, 2):
        pairs += itertools.product(provider.names, dependent.names)
    return _of(nestling.chain(*[part.runnable for part in parts]), parts, pairs)


def parallel(*parts: Built) -> Built:
    """Put what was built in parallel."""
    return _of(nestling.parallel(*[part.runnable for part in parts]), parts)


def sequential(*parts: Built, stop_order: Literal["forward", "reverse"] = "forward") -> Built:
    """Put what was built in sequence."""
    made = nestling.sequential(*[part.runnable for part in parts], stop_order=stop_order)
    return _of(made, parts)


def named(name: str, part: Built) -> Built:
    """Name what was built."""
    return attrs.evolve(part, runnable=nestling.named(name, part.runnable))


def timeouts(part: Built, **bounds: float) -> Built:
    """Bound what was built."""
    return attrs.evolve(part, runnable=nestling.timeouts(part.runnable, **bounds))


def deferred(part: Built) -> Built:
    """Defer what was built."""
    return attrs.evolve(part, runnable=nestling.deferred(lambda: part.runnable))


def _of(
    made: Runnable, parts: tuple[Built, ...], pairs: list[tuple[str, str]] | None = None
) -> Built:
    names = tuple(name for part in parts for name in part.names)
    if pairs is None:
        pairs = [pair for part in parts for pair in part.pairs]
    return Built(made, names, tuple(pairs))


Make = Callable[[Probes], Built]

COMPOSITIONS: dict[str, Make] = {
    "two leaves": lambda p: chain(p.leaf("a"), p.leaf("b")),
    "in one task": lambda p: chain(p.start_stop("a"), p.resource("b"), p.foreign("c")),
    "in tasks": lambda p: chain(p.service("a"), p.worker("b"), p.polite("c")),
    "parallel": lambda p: parallel(p.leaf("a"), p.start_stop("b"), p.worker("c"), p.polite("d")),
    "parallel, run as tasks": lambda p: parallel(
        p.service("a"), p.resource("b"), p.foreign("c"), chain(p.start_stop("d"), p.leaf("e"))
    ),
    "sequential": lambda p: sequential(p.start_stop("a"), p.polite("b"), p.service("c")),
    "sequential, reverse": lambda p: sequential(
        p.worker("a"), p.foreign("b"), p.start_stop("c"), stop_order="reverse"
    ),
    "chain of groups": lambda p: chain(
        parallel(p.start_stop("a"), p.polite("b")),
        p.foreign("c"),
        sequential(p.leaf("d"), p.start_stop("e"), stop_order="reverse"),
    ),
    "group of chains": lambda p: parallel(
        chain(p.start_stop("a"), p.leaf("b")), chain(p.resource("c"), p.worker("d"))
    ),
    "groups in groups": lambda p: chain(
        p.start_stop("a"),
        parallel(sequential(p.start_stop("b"), p.leaf("c")), parallel(p.polite("d"), p.leaf("e"))),
    ),
    "named": lambda p: named(
        "shop",
        chain(
            named("db", p.resource("a")),
            parallel(named("http", p.worker("b")), named("mailer", p.leaf("c"))),
        ),
    ),
    "timeouts": lambda p: timeouts(
        chain(p.start_stop("a"), timeouts(p.polite("b"), stop=50)), start=100, stop=100
    ),
    "grace": lambda p: chain(
        p.start_stop("a"), timeouts(chain(p.resource("b"), p.polite("c")), grace=5), p.leaf("d")
    ),
    "grace around groups": lambda p: timeouts(
        parallel(p.start_stop("a"), timeouts(p.worker("b"), grace=3)), grace=10
    ),
    "deferred": lambda p: chain(p.leaf("a"), deferred(chain(p.start_stop("b"), p.leaf("c")))),
    "over 32 levels": lambda p: chain(
        p.leaf("a"), *[_nothing() for _ in range(33)], p.start_stop("b"), p.leaf("c")
    ),
}


def _nothing() -> Built:
    return Built(nestling.nop(), ())


@attrs.define
class Run:
    """What came of one run.

    Attributes:
        raised: what came out of it, but for the cancellation of the sweep.
        cancelled: the cancellation of the sweep ended it.
        struck: the fault has struck.
    """

    built: Built
    probes: Probes
    raised: BaseException | None = None
    cancelled: bool = False
    struck: bool = False
    tasks_left: int = 0

    @property
    def errors(self) -> list[BaseException]:
        """The errors that came out."""
        return [] if self.raised is None else leaves_of(self.raised)

    def check(self) -> None:
        """Check what holds whatever happens."""
        trace = self.probes.trace
        assert self.tasks_left == 0, trace
        for name in (*self.built.names, BODY):
            self._check_life(name)
        for provider, dependent in self.built.pairs:
            self._check_pair(provider, dependent)
        for provider in self.built.names:
            self._check_pair(provider, BODY)

    def _check_life(self, name: str) -> None:
        trace = self.probes.trace
        for event in ("enter", "ready", "over", "end"):
            assert trace.count(f"{name} {event}") <= 1, (name, trace)
        assert (f"{name} enter" in trace) == (f"{name} end" in trace), (name, trace)
        if f"{name} ready" in trace:
            assert f"{name} over" in trace, (name, trace)

    def _check_pair(self, provider: str, dependent: str) -> None:
        trace = self.probes.trace
        if f"{dependent} enter" not in trace:
            return
        enter, end = (trace.index(f"{dependent} {event}") for event in ("enter", "end"))
        if f"{provider} ready" in trace:
            assert trace.index(f"{provider} ready") < enter, (provider, dependent, trace)
        for event in ("over", "end"):
            # One that fails by itself ends before its dependents can: it was not stopped.
            if f"{provider} {event}" in trace and not self._failed_running(provider):
                where = trace.index(f"{provider} {event}")
                assert end < where, (provider, dependent, trace)

    def _failed_running(self, name: str) -> bool:
        trace = self.probes.trace
        if f"{name} fails" not in trace:
            return False
        return f"{name} over" not in trace[: trace.index(f"{name} fails")]


@attrs.define(eq=False)
class _Striker(trio.abc.Instrument):
    """Calls ``strike`` before the step number ``step`` of all tasks."""

    step: int
    strike: Callable[[], object]
    struck: bool = False
    steps: int = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.steps == self.step:
            self.struck = True
            self.strike()
        self.steps += 1


def cancel(scope: trio.CancelScope) -> None:
    """Cancel the run from outside."""
    scope.cancel("the sweep")


def interrupt(scope: trio.CancelScope) -> None:
    """Press Ctrl-C."""
    signal.raise_signal(signal.SIGINT)


Strike = Callable[[trio.CancelScope], None]


async def by_run(runnable: Runnable, f: Callback) -> None:
    """Run by the protocol."""
    await runnable.run(f)


async def by_running(runnable: Runnable, f: Callback) -> None:
    """Run around the body of an ``async with`` statement."""
    async with running(runnable):
        await f()


async def by_process(runnable: Runnable, f: Callback) -> None:
    """Run in the background, without a callback."""
    async with trio.open_nursery() as nursery:
        process = Process(nursery, runnable)
        await process.start()
        await process.stop()


How = Callable[[Runnable, Callback], Any]


def run_once(
    make: Make,
    how: How = by_run,
    *,
    strike: Strike | None = None,
    step: int = -1,
    fault: BaseException | None = None,
    place: int = -1,
) -> Run:
    """Run a composition once: ``strike`` at that step, or the error ``fault`` at that place."""
    probes = Probes(fault, place)
    run = Run(make(probes), probes)

    async def main() -> None:
        before = trio.lowlevel.current_statistics().tasks_living
        context = dict(copy_context())
        scope = trio.CancelScope()
        striker = _Striker(step, lambda: strike(scope) if strike else None)
        trio.lowlevel.add_instrument(striker)
        try:
            with scope:
                try:
                    with trio.fail_after(LONG):
                        await how(run.built.runnable, probes.body)
                    if strike is interrupt:
                        # Let one come out that struck in the last step.
                        await trio.lowlevel.checkpoint()
                except trio.Cancelled:
                    raise
                except BaseException as raised:
                    run.raised = raised
        finally:
            trio.lowlevel.remove_instrument(striker)
        assert dict(copy_context()) == context
        run.struck = striker.struck or probes.struck
        run.cancelled = scope.cancelled_caught
        run.tasks_left = trio.lowlevel.current_statistics().tasks_living - before

    try:
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    except KeyboardInterrupt:
        raise AssertionError("Ctrl-C struck nothing while it ran") from None
    assert not any(isinstance(error, trio.Cancelled) for error in run.errors)
    return run


def strikes(make: Make, strike: Strike, how: How = by_run) -> Iterator[Run]:
    """Run a composition with the strike at each step, in turn; the laws are checked."""
    for step in itertools.count():
        run = run_once(make, how, strike=strike, step=step)
        run.check()
        if not run.struck:
            return
        yield run


def faults(
    make: Make, error: Callable[[], BaseException], how: How = by_run
) -> Iterator[tuple[Run, BaseException]]:
    """Run a composition with the error at each place, in turn; the laws are checked."""
    for place in itertools.count():
        fault = error()
        run = run_once(make, how, fault=fault, place=place)
        run.check()
        if not run.struck:
            return
        yield run, fault
