from __future__ import annotations

import io
import itertools
import re
import signal
import socket
import sqlite3
import sys
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
import trio

from nestling import InvalidStateError, Runnable, chain, leaf, named, parallel, resource, runnable
from nestling.testing import InjectedError, Probe, Trace, UnsafeError, certify

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from nestling import Callback


def one_argument(argument: object) -> object:
    return argument


class Connection:
    """Something that is open until it is closed."""

    open: set[Connection] = set()  # noqa: RUF012  # of all of them

    def __init__(self) -> None:
        self.open.add(self)

    def close(self) -> None:
        self.open.discard(self)


def none_is_open() -> bool:
    kept = not Connection.open
    Connection.open.clear()
    return kept


@asynccontextmanager
async def careless() -> AsyncGenerator[Connection, None]:
    connection = Connection()
    await trio.lowlevel.checkpoint()  # cancelled here, it stays open
    try:
        yield connection
    finally:
        connection.close()


@asynccontextmanager
async def careful() -> AsyncGenerator[Connection, None]:
    connection = Connection()
    try:
        await trio.lowlevel.checkpoint()
        yield connection
    finally:
        connection.close()


def shop() -> Runnable:
    return chain(Probe("db", start=1, stop=1), parallel(Probe("http", kind="leaf"), Probe("mails")))


def test_what_is_safe_is_certified_with_the_number_of_points() -> None:
    certificate = certify(shop, limit=120)
    assert certificate.is_safe
    assert certificate.points == 120
    assert re.fullmatch(
        r"120/120 points safe \(\d+ more were left out by the limit\)", str(certificate)
    )
    certificate.check()


def test_single_faults_are_all_tried_before_pairs() -> None:
    alone = certify(shop, pairs=False)
    assert alone.is_safe
    assert alone.left_out == 0
    kinds = [certify(shop, faults=[kind], pairs=False).points for kind in FAULTS]
    assert sum(kinds) == alone.points
    assert all(kinds)
    assert certify(shop, limit=alone.points + 5).points == alone.points + 5


FAULTS: list[Any] = ["cancel", "error", "interrupt"]


def test_all_pairs_are_tried_without_a_limit() -> None:
    certificate = certify(lambda: Probe("db", kind="start_stop"))
    assert certificate.is_safe
    assert certificate.left_out == 0
    assert certificate.points > certify(lambda: Probe("db", kind="start_stop"), pairs=False).points


def test_a_planted_bug_in_a_resource_is_found_at_its_smallest_point() -> None:
    certificate = certify(
        lambda: chain(Probe("cache"), named("db", resource(careless))), invariants=[none_is_open]
    )
    assert not certificate.is_safe
    smallest = certificate.failures[0]
    assert [fault.kind for fault in smallest.faults] == ["cancel"]
    assert smallest.problems == ("invariant none_is_open does not hold",)
    told = str(certificate)
    assert re.match(r"\d+/\d+ points safe; the smallest that is not \(schedule 0\):\n", told)
    assert "in task 'main' in 'db'\n  invariant none_is_open does not hold\n" in told
    assert "await trio.lowlevel.checkpoint()  # cancelled here, it stays open" in told
    with pytest.raises(UnsafeError, match="points safe; the smallest that is not"):
        certificate.check()


def test_the_same_without_the_bug_is_safe() -> None:
    make = lambda: chain(Probe("cache"), named("db", resource(careful)))  # noqa: E731
    assert certify(make, invariants=[none_is_open]).is_safe


def test_the_certificate_is_the_same_twice() -> None:
    def make() -> Runnable:
        return chain(named("db", resource(careless)), parallel(Probe("a"), Probe("b", kind="leaf")))

    first = certify(make, invariants=[none_is_open], limit=100)
    assert not first.is_safe
    assert certify(make, invariants=[none_is_open], limit=100) == first
    assert certify(shop, limit=80) == certify(shop, limit=80)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts in /proc/self/fd")
def test_a_socket_that_is_left_open_is_found_without_an_invariant() -> None:
    kept: list[socket.socket] = []

    @asynccontextmanager
    async def listening() -> AsyncGenerator[None, None]:
        kept.append(socket.socket())
        await trio.lowlevel.checkpoint()
        try:
            yield
        finally:
            kept[-1].close()

    certificate = certify(lambda: resource(listening), pairs=False)
    for each in kept:
        each.close()
    assert certificate.failures[0].problems == ("law 6: file descriptors left open: 1",)


def test_an_object_that_complains_when_it_is_dropped_is_found() -> None:
    @asynccontextmanager
    async def listening() -> AsyncGenerator[None, None]:
        opened = socket.socket()
        await trio.lowlevel.checkpoint()
        try:
            yield
        finally:
            opened.close()

    certificate = certify(lambda: resource(listening), pairs=False, faults=["cancel"])
    assert not certificate.is_safe
    assert certificate.failures[0].problems[0].startswith("law 6: unclosed <socket.socket fd=")


def test_a_coroutine_that_nobody_awaits_is_found() -> None:
    async def forgetful() -> None:
        kept = [trio.sleep(1)]  # noqa: ASYNC105
        kept.clear()
        await trio.sleep_forever()

    certificate = certify(lambda: leaf(forgetful))
    assert str(certificate).startswith("0/1 points safe; the smallest that is not (schedule 0):\n")
    assert certificate.failures[0].problems == ("law 6: coroutine 'sleep' was never awaited",)


def test_a_task_that_is_left_is_found() -> None:
    async def leave(f: Callback) -> None:
        trio.lowlevel.spawn_system_task(trio.sleep, 1000)
        await f()

    certificate = certify(lambda: runnable(leave))
    assert certificate.failures[0].problems == ("law 6: 1 tasks are left",)


def test_a_run_that_hangs_after_a_fault_is_found() -> None:
    async def stubborn() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.Event().wait()

    certificate = certify(lambda: leaf(stubborn), pairs=False, faults=["cancel"], idle=0.1)
    smallest = certificate.failures[0]
    assert smallest.problems[0].startswith("it hangs: all tasks wait")
    assert "await trio.Event().wait()" in smallest.stack


def test_an_error_that_the_composition_handles_is_its_own_affair() -> None:
    async def tolerant() -> None:
        while True:
            with suppress(InjectedError):
                await trio.sleep_forever()

    assert certify(lambda: leaf(tolerant), faults=["error"]).is_safe


def test_an_invariant_may_ask_the_trace() -> None:
    asked: list[int] = []

    def in_order(trace: Trace) -> None:
        asked.append(len(trace.events))
        stopped = trace.names("stopped")
        assert not {"db", "http"} <= set(stopped) or trace.order("http stopped", "db stopped")

    assert certify(shop, invariants=[in_order], pairs=False).is_safe
    assert len(asked) > 40

    def unhappy(trace: Trace) -> None:
        raise LookupError(f"{len(trace.events)} events")

    failure = certify(shop, invariants=[unhappy]).failures[0]
    assert failure.faults == ()
    assert failure.problems == ("invariant unhappy: LookupError: 12 events",)


def test_singles_that_are_left_out_are_counted() -> None:
    certificate = certify(shop, limit=3)
    assert (certificate.points, certificate.is_safe) == (3, True)
    assert certificate.left_out == certify(shop, pairs=False).points - 3


def test_a_real_ctrl_c_comes_out() -> None:
    runs = 0

    async def press() -> None:
        nonlocal runs
        runs += 1
        if runs == 5:
            signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        certify(lambda: leaf(press), faults=["cancel", "error"])
    assert runs == 5


def test_the_body_may_be_another() -> None:
    steps = certify(shop, pairs=False, faults=["cancel"]).points

    async def longer() -> None:
        for _ in range(20):
            await trio.lowlevel.checkpoint()

    assert certify(shop, pairs=False, faults=["cancel"], body=longer).points > steps + 15


def test_a_progress_bar_is_shown_on_a_terminal_and_nowhere_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, file = Terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stderr", terminal)
    certify(shop, pairs=False)
    assert re.search(r"\r\[#*\.*\] \d+/\d+ points", terminal.getvalue())
    assert terminal.getvalue().endswith("\r\033[K")
    monkeypatch.setattr(sys, "stderr", file)
    certify(shop, pairs=False)
    assert file.getvalue() == ""


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"make": 5}, r"make of certify\(\) must be a function that returns a runnable, not 5"),
        ({"make": one_argument}, r"make of certify\(\) is called with no argument, but"),
        ({"make": lambda: 5}, r"what make of certify\(\) has returned must be a runnable"),
        ({"make": shop, "faults": ["crash"]}, r"each of faults of certify\(\) must be one of"),
        ({"make": shop, "body": one_argument}, r"body of certify\(\) is called with no argument"),
        ({"make": shop, "faults": "cancel"}, r"faults of certify\(\) must be a list or a tuple"),
        ({"make": shop, "faults": ()}, r"faults of certify\(\) must name at least one of cancel"),
        ({"make": shop, "invariants": len}, r"invariants of certify\(\) must be a list or a tup"),
        ({"make": shop, "limit": 0}, r"limit of certify\(\) must be at least 1, not 0"),
        ({"make": shop, "limit": "5"}, r"limit of certify\(\) must be an integer, not '5'"),
        ({"make": shop, "limit": True}, r"limit of certify\(\) must be an integer, not True"),
        ({"make": shop, "pairs": 1}, r"pairs of certify\(\) must be True or False, not 1"),
        ({"make": shop, "seed": "x"}, r"seed of certify\(\) must be an integer, not 'x'"),
        ({"make": shop, "idle": -1}, r"idle of certify\(\) must be zero or more seconds, not -1"),
    ],
)
def test_bad_input_is_refused(arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError), match=problem):
        certify(**arguments)


async def test_inside_of_a_trio_run_it_is_refused() -> None:
    with pytest.raises(InvalidStateError, match="starts trio by itself: call it from a plain func"):
        certify(shop)


def test_a_composition_that_fails_by_itself_is_told_so() -> None:
    certificate = certify(lambda: Probe("db", fail="start"))
    assert certificate.failures[0].problems == (
        "it fails by itself: ProbeError: db fails in start",
    )


def test_a_nursery_of_the_user_is_safe() -> None:
    async def job() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await trio.sleep_forever()

    certify(lambda: named("job", leaf(job))).check()


def test_a_run_that_goes_on_for_ever_is_ended() -> None:
    async def stubborn() -> None:
        while True:
            with suppress(BaseException):
                await trio.sleep(1)

    certificate = certify(lambda: leaf(stubborn), pairs=False)
    (only,) = certificate.failures
    assert only.problems[0] == "it does not end: task 'stubborn' goes on and on"
    assert "await trio.sleep(1)" in only.stack


def test_a_thread_that_does_not_end_is_a_hang() -> None:
    release, tokens = threading.Event(), list[trio.lowlevel.TrioToken]()

    async def serve() -> None:
        tokens.append(trio.lowlevel.current_trio_token())
        await trio.to_thread.run_sync(release.wait)

    certificate = certify(lambda: leaf(serve), pairs=False, idle=0.1)
    release.set()
    (only,) = certificate.failures
    assert only.problems[0].startswith("it hangs: ")
    assert "await trio.to_thread.run_sync(release.wait)" in only.stack
    for token in tokens:
        with pytest.raises(trio.RunFinishedError):  # or else the thread would complain at its end
            token.run_sync_soon(int)


def test_what_python_complains_of_belongs_to_the_run_that_has_left_it() -> None:
    @asynccontextmanager
    async def database() -> AsyncGenerator[sqlite3.Connection, None]:
        connection = sqlite3.connect(":memory:")
        await trio.sleep(1)  # cancelled here, it stays open
        try:
            yield connection
        finally:
            connection.close()

    certificates = [certify(lambda: resource(database), pairs=False) for _ in range(2)]
    assert str(certificates[0]) == str(certificates[1])
    if sys.version_info >= (3, 13):  # since when sqlite3 warns
        (unclosed,) = {failure.problems for failure in certificates[0].failures}
        assert unclosed == ("law 6: unclosed database in <sqlite3.Connection object>",)
        assert "cancelled here, it stays open" in certificates[0].failures[0].stack


def test_a_real_ctrl_c_comes_out_although_the_faults_are_interrupts() -> None:
    runs = itertools.count()

    def make() -> Runnable:
        if next(runs) == 3:
            strikes.append(3)
        return leaf(serve)

    async def serve() -> None:
        if strikes:
            signal.raise_signal(signal.SIGINT)
        await trio.sleep_forever()

    strikes: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        certify(make, faults=["interrupt"])
    assert next(runs) == 4


def test_it_does_not_matter_who_sees_to_ctrl_c_outside() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        certify(lambda: leaf(trio.sleep_forever)).check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_opened_once_for_all_runs_is_no_leak() -> None:
    opened: list[socket.socket] = []

    async def serve() -> None:
        if not opened:
            opened.append(socket.socket())
        await trio.sleep_forever()

    try:
        certify(lambda: leaf(serve), pairs=False).check()
    finally:
        opened.pop().close()


def test_a_cancellation_that_code_of_the_user_swallows_comes_out_all_the_same() -> None:
    class Swallows:
        async def run(self, f: Callback) -> None:
            with suppress(trio.Cancelled):
                await f()

    certify(lambda: chain(Swallows(), leaf(trio.sleep_forever)), faults=["cancel"]).check()


async def awaited() -> bool:
    return True


@pytest.mark.parametrize(
    ("invariant", "problem"),
    [
        (5, "invariant 2 of certify() must be a function, not 5 (int)"),
        (awaited, "invariant 2 of certify() must not be async, as 'awaited' is"),
    ],
)
def test_an_invariant_that_cannot_be_asked_is_refused(invariant: Any, problem: str) -> None:
    with pytest.raises(TypeError) as caught:
        certify(lambda: leaf(trio.sleep_forever), invariants=[none_is_open, invariant])
    assert str(caught.value) == problem
