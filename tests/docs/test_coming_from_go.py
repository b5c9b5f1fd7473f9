"""What the page for those who come from Go says is different, is."""

from __future__ import annotations

import math
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio

from nestling import (
    InvalidGraphError,
    InvalidStateError,
    Process,
    Runnable,
    WorkerHandle,
    abort,
    chain,
    leaf,
    named,
    nop,
    parallel,
    run_until_signal,
    running,
    start_stop,
    worker,
)
from nestling.supervise import Backoff, RestartPolicy, Supervisor, child, graph, node
from nestling.testing import Probe, record
from tests.docs.happenings import AT_ONCE, events, failing, notes, nothing, steps

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def test_a_cancelled_chain_goes_down_from_the_inside_out() -> None:
    reasons: list[str | None] = []

    async def until_cancelled() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    with trio.CancelScope() as scope, record() as trace:
        async with running(chain(named("db", leaf(until_cancelled)), named("http", nop()))):
            scope.cancel("enough")
            await trio.sleep_forever()
    trace.assert_order("http stopped", "db stopping", "db stopped")
    assert reasons == ["enough"]


async def test_the_reason_of_a_cancellation_names_the_node_and_the_cause() -> None:
    reasons: list[str | None] = []

    async def until_cancelled() -> None:
        try:
            await trio.sleep_forever()
        except trio.Cancelled as cancelled:
            reasons.append(cancelled.reason)
            raise

    async def fail() -> None:
        raise OSError("lost")

    with pytest.raises(OSError, match="lost"):
        await named("db", leaf(fail)).run(until_cancelled)
    assert reasons == ["leaf 'fail' in 'db' has failed: OSError: lost"]


async def test_all_errors_of_a_group_come_out() -> None:
    async def fail(error: OSError) -> None:
        raise error

    errors = OSError("one"), OSError("two")
    with pytest.raises(ExceptionGroup) as caught:
        async with running(
            parallel(*[start_stop(nothing, partial(fail, each)) for each in errors])
        ):
            pass
    assert set(caught.value.exceptions) == set(errors)


@pytest.mark.parametrize(("on_return", "ends"), [("stop", 1), ("stay", 9)])
async def test_a_member_that_returns_stops_the_others_unless_it_stays(
    on_return: Any, ends: float
) -> None:
    short, long = Probe("short", run=1, on_return=on_return), Probe("long")
    with trio.move_on_after(9):
        async with running(parallel(short, long)):
            await trio.sleep_forever()
    assert trio.current_time() == ends


async def test_the_other_errors_are_notes_on_the_one_that_comes_out() -> None:
    async def stop() -> None:
        raise ValueError("cannot stop")

    with pytest.raises(OSError, match="lost") as caught:
        async with running(start_stop(nothing, stop)):
            raise OSError("lost")
    assert any("cannot stop" in note for note in notes(caught.value))


async def test_a_name_is_a_note_and_the_error_stays_what_it_was() -> None:
    lost = OSError("lost")
    with pytest.raises(OSError, match="lost") as caught:
        async with running(named("db", Probe("inside", run=1, fail=lost))):
            await trio.sleep_forever()
    assert caught.value is lost
    assert caught.value.args == ("lost",)
    assert "in 'db'" in notes(lost)


async def test_a_process_that_was_stopped_before_its_start_cannot_be_started() -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, nop(), name="db")
        await process.stop()
        with pytest.raises(InvalidStateError, match=r"start.*'db'.*stopped"):
            await process.start()
        await process.wait()


@pytest.mark.parametrize(
    "requires", [{"a": ["b"], "b": ["a"]}, {"a": ["nobody"]}], ids=["circle", "unknown"]
)
def test_a_circle_and_an_unknown_name_are_errors_before_anything_runs(
    requires: dict[str, list[str]],
) -> None:
    with pytest.raises(InvalidGraphError):
        graph(*[node(name, nop(), requires=names) for name, names in requires.items()])


async def test_a_child_task_that_fails_makes_its_worker_fail() -> None:
    async def fail() -> None:
        raise OSError("lost")

    async def work(handle: WorkerHandle) -> None:
        handle.start_soon(fail)
        handle.ready()
        await handle.stopping.wait()

    with pytest.raises(OSError, match="lost"):
        async with running(worker(work)):
            await trio.sleep_forever()


async def test_what_requires_a_worker_that_is_tried_again_goes_down_first_and_comes_up_again() -> (
    None
):
    flaky = node("server", failing(10), restart=RestartPolicy(backoff=AT_ONCE))
    client = node("client", Probe("inside"), requires=["server"])
    with record() as trace, trio.move_on_after(15):
        async with running(graph(client, flaky)):
            await trio.sleep_forever()
    assert steps(trace, "server", "client")[4:-4] == [
        "client stopping",
        "client stopped",
        "server stopping",
        "server stopped",
        "server restarting",
        "server starting",
        "server running",
        "client starting",
        "client running",
    ]


async def test_a_run_that_ends_with_its_last_worker_is_a_supervisor_of_significant_children() -> (
    None
):
    def once(seconds: float) -> Runnable:
        return Probe("inside", run=seconds)

    fetches = [
        child(f"fetch {seconds}", once(seconds), restart="temporary", significant=True)
        for seconds in (1, 3, 2)
    ]
    await run_until_signal(Supervisor(*fetches, auto_shutdown="all"), signals=())
    assert trio.current_time() == 3
    with trio.move_on_after(9) as scope:
        await run_until_signal(
            graph(node("fetch", Probe("inside", run=1, on_return="stay"))), signals=()
        )
    assert scope.cancelled_caught, "a graph runs on"


async def test_abort_stops_the_run_from_a_task_and_from_a_thread() -> None:
    async def by_thread() -> None:
        await trio.to_thread.run_sync(abort)
        await trio.sleep_forever()

    async def by_task() -> None:
        abort()
        await trio.sleep_forever()

    calls: list[Callable[[], Awaitable[None]]] = [by_thread, by_task]
    for call in calls:
        await run_until_signal(leaf(call), signals=(), stop_timeout=math.inf)


async def test_members_are_asked_to_stop_at_the_same_time() -> None:
    members = [named(name, Probe("inside", stop=2)) for name in "abc"]
    with record() as trace:
        async with running(parallel(*members)):
            pass
    assert {event.time for event in events(trace, "Stopping")} == {0}
    assert trio.current_time() == 2


async def test_without_a_limit_restarts_go_on_for_ever_and_wait_each_for_itself() -> None:
    flaky = child("flaky", failing(0))
    backoff = Backoff(initial=1, factor=2, jitter=0)
    with record() as trace, trio.move_on_after(1000):
        async with running(
            Supervisor(flaky, child("other", Probe("inside")), limit=math.inf, backoff=backoff)
        ):
            await trio.sleep_forever()
    delays = [event.delay for event in events(trace, "Restarting")]
    assert delays[:8] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert trace.names("starting").count("other") == 1
