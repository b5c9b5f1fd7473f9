"""Bugs of the kind that users make, each of which the certificate has to find, and to place."""

from __future__ import annotations

import gc
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from nestling import (
    Callback,
    Process,
    Runnable,
    WorkerHandle,
    chain,
    leaf,
    named,
    parallel,
    resource,
    runnable,
    running,
    service,
    worker,
)
from nestling.supervise import Supervisor, child, graph, node
from nestling.supervise._graph_run import GraphRun
from nestling.testing import Certificate, Probe, certify, record

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


def smallest(certificate: Certificate) -> str:
    assert not certificate.is_safe
    return str(certificate.failures[0])


class Connections:
    """How many are open."""

    open = 0

    @classmethod
    def none_is_open(cls) -> bool:
        left, cls.open = cls.open, 0
        return left == 0


@asynccontextmanager
async def careless() -> AsyncGenerator[None, None]:
    Connections.open += 1
    await trio.sleep(1)  # cancelled here, it stays open
    try:
        yield
    finally:
        Connections.open -= 1


async def tick() -> None:
    while True:  # noqa: ASYNC110
        await trio.sleep(0.1)  # the ticker waits


@asynccontextmanager
async def unbound() -> AsyncGenerator[object, None]:
    try:
        await trio.sleep(1)
        connection = object()
        yield connection
    finally:
        str(connection)  # pyright: ignore[reportPossiblyUnboundVariable]  # that is the bug


@runnable
async def closes_twice(f: Callback) -> None:
    closed = False
    try:
        await f()
    except BaseException:
        closed = True
        raise
    finally:
        if closed:
            raise RuntimeError("closed twice")


async def fails_when_cancelled(handle: WorkerHandle) -> None:
    handle.ready()
    try:
        await handle.stopping.wait()
    except trio.Cancelled:
        raise RuntimeError("the clean-up fails") from None


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: resource(unbound), "cancel makes it fail: UnboundLocalError: "),
        (lambda: closes_twice, "cancel makes it fail: RuntimeError: closed twice"),
        (lambda: worker(fails_when_cancelled), "cancel makes it fail: RuntimeError: the clean-up"),
    ],
    ids=["unbound", "closes_twice", "fails_when_cancelled"],
)
def test_an_error_that_only_a_cancellation_brings_about(
    make: Callable[[], Runnable], problem: str
) -> None:
    assert problem in smallest(certify(make, pairs=False))


@runnable
async def swallows_at_its_end(f: Callback) -> None:
    await f()
    with suppress(trio.Cancelled):
        await trio.sleep(1)


def test_a_cancellation_that_is_swallowed_while_it_stops() -> None:
    text = smallest(certify(lambda: swallows_at_its_end, faults=["cancel"]))
    assert "law 8: a Cancelled is swallowed" in text
    assert "await trio.sleep(1)" in text


@runnable
async def loses_groups(f: Callback) -> None:
    with suppress(BaseExceptionGroup):
        await f()


async def with_a_nursery(*, task_status: trio.TaskStatus[None]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep, 1000)
        task_status.started()
        await trio.sleep_forever()


def test_an_error_that_is_lost_in_a_group() -> None:
    text = smallest(certify(lambda: chain(loses_groups, service(with_a_nursery)), pairs=False))
    assert "law 3: InjectedError: injected error 1 is lost" in text


class NurseryAround:
    async def run(self, f: Callback) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await f()
            await trio.sleep(1)
            nursery.cancel_scope.cancel()


def test_a_group_of_a_nursery_of_the_user_s_own_is_none_of_the_kernel_s() -> None:
    certify(lambda: chain(leaf(trio.sleep_forever), NurseryAround())).check()


async def ticking() -> None:
    while True:  # noqa: ASYNC110
        await trio.sleep(0.0004)


async def retries(handle: WorkerHandle) -> None:
    handle.ready()
    with handle.until_stopping():
        while True:
            with suppress(Exception):
                async with running(leaf(ticking)):
                    await trio.sleep(0.0008)
            await trio.sleep(0.0001)


async def keeps_a_process(handle: WorkerHandle) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, leaf(ticking))
        await process.start()
        handle.ready()
        await handle.stopping.wait()
        nursery.cancel_scope.cancel()


def test_who_runs_something_by_itself_may_handle_its_errors() -> None:
    certify(lambda: worker(retries), limit=150).check()
    certify(lambda: worker(keeps_a_process), limit=150).check()


def test_a_supervisor_may_keep_the_error_of_a_child_that_is_not_started_anew() -> None:
    certify(lambda: Supervisor(child("a", leaf(ticking), restart="temporary")), limit=150).check()


def test_an_error_that_a_graph_loses(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(_: GraphRun) -> None:
        pass

    monkeypatch.setattr(GraphRun, "raise_failures", lose)
    text = smallest(certify(lambda: graph(node("a", leaf(ticking))), faults=["error"]))
    assert "law 3: InjectedError: injected error 1 is lost" in text


def test_who_ends_by_itself_does_not_stop_too_early() -> None:
    side_by_side = [
        lambda: chain(parallel(named("a", leaf(ticking)), Probe("b")), named("c", leaf(ticking))),
        lambda: graph(node("a", leaf(ticking)), node("c", leaf(ticking), requires=["a"])),
    ]
    for make in side_by_side:
        certify(make, faults=["error"], pairs=False).check()


async def uses_what_does_not_run(handle: WorkerHandle) -> None:
    handle.ready()
    try:
        await handle.stopping.wait()
    except trio.Cancelled:
        resource(careless).value.append("flushed")  # type: ignore[attr-defined]
        raise


def test_a_clean_up_that_uses_what_does_not_run() -> None:
    text = smallest(certify(lambda: worker(uses_what_does_not_run), faults=["cancel"]))
    assert "cancel makes it fail: NotRunningError: resource 'careless' has no value" in text


@runnable
async def expects_an_error(f: Callback) -> None:
    with suppress(OSError):
        async with running(Probe("db", run=0.0005, fail=OSError("no"))):
            await trio.sleep(10)
    await f()


def test_an_error_that_comes_in_any_case_is_not_blamed_on_the_fault() -> None:
    certify(lambda: expects_an_error, pairs=False).check()


@asynccontextmanager
async def closes_carelessly() -> AsyncGenerator[None, None]:
    Connections.open += 1
    try:
        yield
    finally:
        await trio.sleep(1)  # cancelled here, it stays open
        Connections.open -= 1


def test_it_is_told_who_is_struck_later_than_the_others() -> None:
    make = lambda: parallel(named("tick", leaf(tick)), named("db", resource(closes_carelessly)))  # noqa: E731
    certificate = certify(
        make, faults=["cancel"], invariants=[Connections.none_is_open], pairs=False
    )
    assert "await trio.sleep(1)  # cancelled here, it stays open" in smallest(certificate)


def test_a_fault_in_the_default_callback_is_told_so() -> None:
    certificate = certify(lambda: closes_twice, faults=["cancel"])
    assert certificate.failures[0].stack.endswith("await f()\n")


@asynccontextmanager
async def flushes_in_a_thread() -> AsyncGenerator[None, None]:
    limiter = trio.CapacityLimiter(1)
    yield
    with trio.fail_after(5):
        await trio.to_thread.run_sync(time.sleep, 0.005, limiter=limiter, abandon_on_cancel=True)


def test_time_does_not_jump_while_a_thread_works_whatever_limits_it() -> None:
    certify(lambda: resource(flushes_in_a_thread), limit=20).check()


async def waits_for_a_signal() -> None:
    with trio.open_signal_receiver(signal.SIGALRM) as signals:
        signal.setitimer(signal.ITIMER_REAL, 0.005)
        async for _ in signals:
            break


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timers that send signals")
def test_what_waits_for_a_signal_does_not_hang() -> None:
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)  # where it comes too late
    try:
        certificate = certify(lambda: leaf(waits_for_a_signal), body=trio.sleep_forever, limit=5)
    finally:
        signal.signal(signal.SIGALRM, before)
    certificate.check()


def test_beside_other_tasks_it_is_told_where_the_fault_has_struck() -> None:
    make = lambda: chain(named("tick", leaf(tick)), named("db", resource(careless)))  # noqa: E731
    text = smallest(certify(make, invariants=[Connections.none_is_open], pairs=False))
    assert "in task 'main' in 'db'\n  invariant none_is_open does not hold\n" in text
    assert "await trio.sleep(1)  # cancelled here, it stays open" in text
    assert "the ticker waits" not in text


def test_where_the_fault_strikes_all_tasks_each_is_told() -> None:
    make = lambda: parallel(named("tick", leaf(tick)), named("db", resource(careless)))  # noqa: E731
    text = smallest(certify(make, invariants=[Connections.none_is_open], pairs=False))
    assert "  task 'tick' in node 'tick':\n" in text
    assert "  task 'db' in node 'db':\n" in text
    assert "await trio.sleep(1)  # cancelled here, it stays open" in text


async def hangs_when_cancelled(handle: WorkerHandle) -> None:
    handle.ready()
    try:
        await handle.stopping.wait()
    finally:
        with trio.CancelScope(shield=True):
            await trio.Event().wait()


async def hangs_whatever_comes(handle: WorkerHandle) -> None:
    handle.ready()
    while True:
        with suppress(BaseException):
            await handle.stopping.wait()
            await trio.Event().wait()


@pytest.mark.parametrize("work", [hangs_when_cancelled, hangs_whatever_comes])
def test_a_hang_is_told_at_once_and_leaves_nothing_behind(
    work: Callable[[WorkerHandle], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    complaints: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", complaints.append)
    certificate = certify(lambda: chain(Probe("db"), named("w", worker(work))))
    gc.collect()
    problem = "it hangs: all tasks wait, and nothing is left that could wake one"
    failure = certificate.failures[0]
    assert failure.problems == (problem, "not stopped then: 'db', 'w'")
    assert "task 'work' in node 'w':\n" in failure.stack or ".wait()" in failure.stack
    assert complaints == []


def test_who_watches_around_a_certificate_sees_nothing_of_its_runs() -> None:
    with record() as trace:
        certify(lambda: Probe("db"), limit=5).check()
    assert trace.events == ()
