"""Bugs of the kind that users make, each of which the certificate has to find, and to place."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio

from nestling import (
    Callback,
    Runnable,
    WorkerHandle,
    chain,
    leaf,
    named,
    parallel,
    resource,
    runnable,
    service,
    worker,
)
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
