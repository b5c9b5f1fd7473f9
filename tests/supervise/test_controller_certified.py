"""Compositions with a controller, with a fault at each point (see `certify`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio

from nestling import (
    Runnable,
    WorkerHandle,
    chain,
    named,
    nop,
    parallel,
    runnable,
    start_stop,
    timeouts,
    worker,
)
from nestling._kernel._events import Starting, Stopped, Stopping
from nestling.supervise import Backoff, Controller, RestartPolicy, restart
from nestling.testing import Probe, Trace, certify

Fill = Callable[[Controller], Awaitable[object]]


class Bound:
    """Something that is open until it is closed."""

    open = 0

    def __init__(self) -> None:
        Bound.open += 1

    async def aclose(self) -> None:
        Bound.open -= 1
        await trio.lowlevel.checkpoint()


@pytest.fixture(autouse=True)
def nothing_open() -> None:
    Bound.open = 0


def all_is_closed() -> bool:
    still_open, Bound.open = Bound.open, 0
    return not still_open


def filled(fill: Fill) -> Runnable:
    """A controller, and what depends on it fills it."""
    root = Controller()

    async def start() -> None:
        await fill(root)

    return chain(Probe("db"), named("app", root), start_stop(start, trio.lowlevel.checkpoint))


async def tree(root: Controller) -> None:
    root.bind(Bound())
    await root.launch(Probe("a", start=1, stop=1))
    web = root.dependent(name="web")
    web.bind(Bound())
    await web.launch(Probe("b", kind="leaf"))
    await web.launch(Probe("c", kind="start_stop", stop=1))


async def compositions(root: Controller) -> None:
    await root.launch(chain(Probe("x", kind="resource"), Probe("y", kind="polite leaf")))
    await root.dependent().launch(parallel(Probe("z", stop=1), Probe("v", kind="service")))


async def at_once(root: Controller) -> None:
    async with trio.open_nursery() as nursery:
        for name in ("a", "b"):
            nursery.start_soon(root.launch, Probe(name, start=1))


async def from_inside(root: Controller) -> None:
    async def parent(handle: WorkerHandle) -> None:
        await root.launch(Probe("child", start=1, stop=1))
        handle.ready()
        await handle.stopping.wait()

    await root.dependent().launch(worker(parent))


async def stopped_again(root: Controller) -> None:
    process = await root.launch(Probe("a", start=1, stop=1))
    await process.stop()
    await root.launch(Probe("ends", run=0))


@pytest.mark.parametrize("fill", [tree, compositions, at_once, from_inside, stopped_again])
def test_it_is_safe_at_each_point(fill: Fill) -> None:
    certify(lambda: filled(fill), invariants=[all_is_closed], limit=350).check()


@pytest.mark.parametrize("fill", [tree, compositions])
def test_it_is_safe_under_a_deadline_and_in_a_restart(fill: Fill) -> None:
    policy = RestartPolicy(backoff=Backoff(initial=1, factor=1, jitter=0), limit=20)
    certify(
        lambda: restart(timeouts(filled(fill), stop=10, grace=5), policy),
        invariants=[all_is_closed],
        limit=250,
    ).check()


async def ending_in_part(root: Controller) -> None:
    await root.dependent(name="web").launch(Probe("http", stop=1))
    job = chain(Probe("x", stop=1), Probe("y", run=2))
    await root.launch(parallel(job, Probe("z", kind="start_stop")), name="pool")


def test_it_is_safe_while_what_was_launched_ends() -> None:
    certify(lambda: filled(ending_in_part), body=partial(trio.sleep, 9), pairs=False).check()


def test_a_controller_that_is_prepared_before_its_run_is_safe() -> None:
    def prepared() -> Runnable:
        root = Controller()
        web = root.dependent()
        Bound.open = 0
        for controller in (root, web):
            controller.bind(Bound())

        @runnable
        async def fill(f: Callable[[], Awaitable[object]]) -> None:
            process = await web.launch(nop())
            await f()
            assert process.error is None

        return parallel(chain(root, fill), Probe("other"))

    certify(prepared, limit=250).check()


def dependents_are_gone_first(trace: Trace) -> bool:
    live: set[str] = set()
    for event in trace.events:
        if isinstance(event, Stopping) and event.path in {"app/a", "app/closing"}:
            if any(path.startswith("app/web") for path in live):
                return False
        elif isinstance(event, Starting):
            live.add(event.path)
        elif isinstance(event, Stopped):
            live.discard(event.path)
    return True


def test_wherever_it_is_cancelled_its_dependents_are_gone_first() -> None:
    certify(lambda: filled(tree), faults=["cancel"], invariants=[dependents_are_gone_first]).check()
