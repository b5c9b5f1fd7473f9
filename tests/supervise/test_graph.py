from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from nestling import (
    InvalidGraphError,
    InvalidStateError,
    Runnable,
    StopTimeoutError,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    parallel,
    running,
    start_stop,
    timeouts,
    worker,
)
from nestling._kernel._outcome import notes
from nestling.observe import describe, render
from nestling.supervise import Backoff, RestartPolicy, graph, node, restart
from nestling.testing import Probe, certify, override, record, schedules

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

POLICY = RestartPolicy(backoff=Backoff(initial=1, factor=1, jitter=0))


def lost() -> OSError:
    return OSError("lost")


def shop(**replaced: Runnable) -> Runnable:
    """``db`` and ``cache``; ``http`` requires both; ``admin`` requires ``http``; ``clock`` none."""
    runnables: dict[str, Runnable] = {
        name: Probe(name, start=0.5, stop=0.25)
        for name in ("db", "cache", "http", "admin", "clock")
    }
    runnables.update(replaced)
    return graph(
        node("admin", runnables["admin"], requires=["http"]),
        node("http", runnables["http"], requires=["db", "cache"]),
        node("db", runnables["db"], restart=POLICY),
        node("cache", runnables["cache"]),
        node("clock", runnables["clock"]),
    )


def phases(trace: Any, *names: str) -> list[str]:
    """What has happened to nodes, as ``db running``, in order; of all if none is named."""
    return [
        f"{event.path} {type(event).__name__.lower()}"
        for event in trace.events
        if "/" not in event.path and (not names or event.path in names)
    ]


@schedules(20)
async def test_each_node_starts_once_what_it_requires_runs_and_stops_after_what_requires_it() -> (
    None
):
    with record() as trace:
        async with running(shop()):
            assert trio.current_time() == 1.5  # db and cache at the same time, http, admin
    assert trio.current_time() == 2.25
    for before, after in [
        ("db running", "http starting"),
        ("cache running", "http starting"),
        ("http running", "admin starting"),
        ("admin stopped", "http stopping"),
        ("http stopped", "db stopping"),
        ("http stopped", "cache stopping"),
    ]:
        trace.assert_order(before, after)


async def test_what_is_independent_starts_and_stops_at_the_same_time() -> None:
    async with running(graph(*[node(f"n{number}", Probe("p", start=1)) for number in range(50)])):
        assert trio.current_time() == 1
    assert trio.current_time() == 1


@schedules(20)
async def test_a_node_that_starts_anew_takes_exactly_its_dependents_down_inside_out_and_up() -> (
    None
):
    db = Probe("db", start=0.5, run=2, fail=lost())
    with record() as trace:
        async with running(shop(db=db)):
            await trio.sleep(4.25)  # from 1.5 on; db fails at 2.5, and runs again from 4.5 on
    seen = phases(trace, "admin", "http", "db")
    assert seen[seen.index("admin running") + 1 :][:13] == [
        "admin stopping",
        "admin stopped",
        "http stopping",
        "http stopped",
        "db stopping",
        "db stopped",
        "db restarting",
        "db starting",
        "db running",
        "http starting",
        "http running",
        "admin starting",
        "admin running",
    ]
    assert phases(trace, "cache", "clock").count("cache starting") == 1
    assert phases(trace, "cache", "clock").count("clock starting") == 1


async def test_what_is_down_sooner_than_its_sibling_waits_for_their_provider_to_come_again() -> (
    None
):
    falling = graph(
        node("db", Probe("db", run=6, fail=lost()), restart=POLICY),
        node("cache", Probe("cache"), requires=["db"]),
        node("fast", Probe("fast", stop=1), requires=["cache"]),
        node("slow", Probe("slow", stop=5), requires=["cache"]),
    )
    with record() as trace:
        async with running(falling):
            await trio.sleep(12.5)  # db fails at 6, slow ends at 11, and db starts at 12
    seen = phases(trace)
    first, second = seen.index("fast stopping"), seen.index("slow stopping")
    assert abs(first - second) == 1
    assert seen[max(first, second) + 1 :][:11] == [
        "fast stopped",
        "slow stopped",
        "cache stopping",
        "cache stopped",
        "db stopping",
        "db stopped",
        "db restarting",
        "db starting",
        "db running",
        "cache starting",
        "cache running",
    ]


async def test_a_node_that_fails_while_its_dependents_start_gives_the_start_up() -> None:
    slow = Probe("http", start=10)
    cache = Probe("cache", run=1, fail=lost())
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        await shop(http=slow, cache=cache).run(trio.sleep_forever)
    assert trio.current_time() < 3
    assert caught.value.message == "1 of 5 nodes failed: 'cache'"
    (error,) = caught.value.exceptions
    assert notes(error)[-1] == (
        "when 'cache' failed to start: 'db', 'clock' ran; 'http' was starting; "
        "'admin' was not started"
    )
    trace.assert_order("http stopped", "db stopping")
    assert "admin starting" not in phases(trace)


async def test_a_node_that_fails_for_good_cancels_the_callback_and_stops_the_others_in_order() -> (
    None
):
    with record() as trace, pytest.raises(ExceptionGroup, match="1 of 5 nodes failed: 'cache'"):
        async with running(shop(cache=Probe("cache", run=5, fail=lost()))):
            await trio.sleep_forever()
    trace.assert_order("admin stopped", "http stopping", "http stopped", "db stopping")
    trace.assert_order("http stopped", "cache stopped")


async def test_a_node_that_returns_ends_the_graph_without_an_error() -> None:
    async with running(shop(clock=Probe("clock", run=3))):
        await trio.sleep(99)
    assert trio.current_time() < 5


async def test_a_dependent_that_hangs_keeps_its_provider_and_is_forced_by_a_deadline() -> None:
    stopped: list[str] = []

    async def hang() -> None:
        stopped.append("http is asked")
        await trio.sleep_forever()

    async def stop_db() -> None:
        stopped.append("db stops")

    pair = graph(
        node("db", start_stop(trio.lowlevel.checkpoint, stop_db)),
        node("http", leaf(trio.sleep_forever, hang), requires=["db"]),
    )
    with pytest.raises(StopTimeoutError) as caught:
        async with running(named("shop", timeouts(pair, stop=3))):
            pass
    assert caught.value.stuck == ("shop/db", "shop/http")
    assert stopped == ["http is asked", "db stops"]
    assert trio.current_time() == 3


@pytest.mark.parametrize("fault", ["cancelled", "interrupted"])
async def test_law_1_it_goes_down_from_the_inside_out_however_it_is_forced(fault: str) -> None:
    with record() as trace:
        if fault == "cancelled":
            with trio.move_on_after(3):
                await shop().run(trio.sleep_forever)
        else:
            with pytest.raises(KeyboardInterrupt):
                async with running(shop()):
                    raise KeyboardInterrupt
    trace.assert_order("admin stopped", "http stopping", "http stopped", "db stopping")
    trace.assert_order("http stopped", "cache stopping")
    assert trace.live() == ()


async def test_a_node_that_fails_again_and_again_ends_the_graph() -> None:
    policy = RestartPolicy(backoff=Backoff(initial=0, jitter=0), limit=1)
    flaky = node("db", Probe("db", run=1, fail=lost()), restart=policy)
    with pytest.raises(ExceptionGroup, match="1 of 2 nodes failed: 'db'") as caught:
        async with running(graph(flaky, node("http", Probe("http"), requires=["db"]))):
            await trio.sleep_forever()
    assert "too many restarts, more than 1 in 5 s" in str(caught.value.exceptions[0])
    assert trio.current_time() == 2


async def test_its_nodes_are_in_the_run_tree_and_can_be_overridden() -> None:
    whole = named("shop", shop())
    assert render(describe(whole)).splitlines()[0] == "shop (graph)"
    with record() as trace:
        async with running(override(whole, {"shop/db": nop(), "shop/http": Probe("http")})):
            pass
    assert trace.order("shop/db running", "shop/http starting")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: graph(node("a", nop()), node("a", nop())), "has two nodes that are called 'a'"),
        (
            lambda: graph(node("a", nop(), requires=["b"])),
            "node 'a' requires 'b', which is not in the graph",
        ),
        (
            lambda: graph(
                node("a", nop(), requires=["b"]),
                node("b", nop(), requires=["c"]),
                node("c", nop(), requires=["a"]),
            ),
            "require one another: ",
        ),
        (lambda: graph(node("a", nop(), requires=["a"])), "'a' requires 'a'"),
    ],
)
def test_what_is_no_graph_is_refused_when_it_is_built(
    make: Callable[[], Runnable], problem: str
) -> None:
    with pytest.raises(InvalidGraphError) as caught:
        make()
    assert problem in str(caught.value)


def test_the_circle_is_named() -> None:
    with pytest.raises(InvalidGraphError) as caught:
        graph(
            node("a", nop(), requires=["b"]),
            node("b", nop(), requires=["a"]),
            node("x", nop()),
        )
    circle = str(caught.value).partition(": ")[2]
    assert circle in {"'a' requires 'b' requires 'a'", "'b' requires 'a' requires 'b'"}


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: node("a/b", nop()), "name of node() must be a non-empty, printable string"),
        (lambda: node("a", cast("Any", 5)), "r of node('a') must be a runnable"),
        (
            lambda: node("a", nop(), requires="db"),
            "requires of node('a') must be a list or",
        ),
        (lambda: node("a", nop(), requires=cast("Any", [5])), "each of requires of node('a') must"),
        (
            lambda: node("a", nop(), restart=cast("Any", 5)),
            "restart of node('a') must be a",
        ),
        (lambda: graph(cast("Any", nop())), "argument 1 of graph() must be made by node(), not"),
    ],
)
def test_bad_input_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert problem in str(caught.value)


async def test_a_node_whose_start_cannot_be_cancelled_is_asked_to_stop_once_it_runs() -> None:
    called: list[str] = []

    async def stubborn(handle: WorkerHandle) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(2)
            handle.ready()
            await handle.stopping.wait()
        called.append(f"stops at {trio.current_time():g}")

    with trio.move_on_after(1):
        async with running(graph(node("db", worker(stubborn)))):
            called.append("ran")
    assert called == ["stops at 2"]


async def test_nodes_are_added_and_removed_while_it_runs() -> None:
    grown = graph(node("db", Probe("db", start=0.5)))
    with record() as trace:
        async with running(grown):
            await grown.add(node("http", Probe("http", start=0.5), requires=["db"]))
            await grown.add(node("admin", Probe("admin"), requires=["http"]))
            await grown.remove("admin")
            await grown.add(node("admin", Probe("admin"), requires=["db"]))
    assert phases(trace)[:8] == [
        *("db starting", "db running", "http starting", "http running"),
        *("admin starting", "admin running", "admin stopping", "admin stopped"),
    ]
    assert phases(trace)[8:10] == ["admin starting", "admin running"]
    assert set(phases(trace)[10:14]) == {
        *("http stopping", "http stopped", "admin stopping", "admin stopped")
    }
    assert phases(trace)[14:] == ["db stopping", "db stopped"]


async def test_a_node_that_is_added_while_it_starts_is_waited_for() -> None:
    grown = graph(node("db", Probe("db", start=1)))

    async def grow() -> None:
        await trio.sleep(0.5)
        await grown.add(node("http", Probe("http", start=1), requires=["db"]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(grow)
        with record() as trace:
            async with running(grown):
                assert trio.current_time() == 2
    assert phases(trace, "http") == [
        "http starting",
        "http running",
        "http stopping",
        "http stopped",
    ]


async def test_a_node_that_is_added_comes_up_and_goes_down_with_what_it_requires() -> None:
    db = Probe("db", run=2, fail=("run", lost()))
    grown = graph(node("db", db, restart=POLICY))
    with record() as trace:
        async with running(grown):
            await trio.sleep(1)
            await grown.add(node("http", Probe("http"), requires=["db"]))
            await trio.sleep(3)
    assert phases(trace)[2:11] == [
        *("http starting", "http running"),
        *("http stopping", "http stopped", "db stopping", "db stopped", "db restarting"),
        *("db starting", "db running"),
    ]
    assert phases(trace)[11:13] == ["http starting", "http running"]


async def test_who_adds_a_node_gets_its_error_and_nothing_else_notices() -> None:
    grown = graph(node("db", Probe("db")))

    async def add_cache() -> None:
        with pytest.raises(OSError, match="lost"):
            await grown.add(node("cache", Probe("cache", start=0.5, fail=("start", lost()))))

    with record() as trace:
        async with running(grown), trio.open_nursery() as nursery:
            nursery.start_soon(add_cache)
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(InvalidGraphError) as caught:
                await grown.add(node("http", Probe("http"), requires=["cache"]))
            await grown.add(node("cache", Probe("cache")))
    assert str(caught.value) == "node 'http' requires 'cache', which did not come to run"
    assert phases(trace, "db") == ["db starting", "db running", "db stopping", "db stopped"]
    assert phases(trace, "http") == []


async def test_if_adding_a_node_is_cancelled_it_is_stopped_and_removed() -> None:
    grown = graph(node("db", Probe("db")))
    with record() as trace:
        async with running(grown):
            with trio.move_on_after(0.5) as scope:
                await grown.add(node("slow", Probe("slow", start=1, stop=0.25), requires=["db"]))
            assert scope.cancelled_caught
            await grown.add(node("slow", Probe("slow")))
    assert phases(trace, "slow")[:2] == ["slow starting", "slow stopped"]


async def test_what_cannot_be_added_or_removed_is_refused() -> None:
    grown = graph(node("db", Probe("db", stop=1)), node("http", Probe("http"), requires=["db"]))
    with pytest.raises(InvalidStateError, match="cannot add a node: the graph does not run"):
        await grown.add(node("x", nop()))
    with pytest.raises(InvalidStateError, match="cannot remove a node: the graph does not run"):
        await grown.remove("db")
    async with running(grown):
        with pytest.raises(TypeError, match=r"node of add\(\) must be made by node\(\), not nop"):
            await grown.add(cast("Any", nop()))
        with pytest.raises(InvalidGraphError, match="node 'db': there is one of that name"):
            await grown.add(node("db", nop()))
        with pytest.raises(InvalidGraphError, match="it requires 'y'; there are 'db', 'http'"):
            await grown.add(node("x", nop(), requires=["y"]))
        with pytest.raises(InvalidGraphError, match="cannot remove node 'db': it is required by"):
            await grown.remove("db")
        with pytest.raises(InvalidGraphError, match="no node 'x' to remove; there are 'db', 'http"):
            await grown.remove("x")
        await grown.remove("http")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(grown.remove, "db")
            await trio.testing.wait_all_tasks_blocked()
            with pytest.raises(InvalidGraphError, match="requires 'db', which is being removed"):
                await grown.add(node("x", nop(), requires=["db"]))
        async with running(grown):
            with pytest.raises(InvalidStateError, match="the graph runs more than once"):
                await grown.add(node("x", nop()))


async def test_nodes_that_are_added_or_removed_while_it_stops() -> None:
    grown = graph(node("db", Probe("db", stop=2)))
    told: list[str] = []

    async def add_and_remove() -> None:
        await trio.sleep(1)
        with pytest.raises(InvalidStateError) as caught:
            await grown.add(node("x", Probe("x")))
        told.append(str(caught.value))
        await grown.remove("db")
        told.append(f"removed at {trio.current_time():g}")

    with record() as trace:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add_and_remove)
            async with running(grown):
                pass
    assert told == ["cannot start 'x': its graph stops", "removed at 2"]
    assert phases(trace) == ["db starting", "db running", "db stopping", "db stopped"]


async def test_a_node_that_fails_while_it_is_removed_tells_who_removes_it() -> None:
    grown = graph(node("db", Probe("db", fail=("stop", lost()))), node("http", Probe("http")))
    async with running(grown):
        with pytest.raises(OSError, match="lost"):
            await grown.remove("db")
        await trio.sleep(1)


async def test_without_nodes_it_runs_its_callback() -> None:
    called: list[str] = []

    async def callback() -> None:
        called.append("called")

    await graph().run(callback)
    assert called == ["called"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: graph(node("db", leaf(trio.sleep_forever)), node("h", Probe("h"), requires=["db"])),
        lambda: shop(),  # noqa: PLW0108
        lambda: chain(Probe("a"), graph(node("b", Probe("b"), restart=POLICY)), Probe("c")),
        lambda: graph(
            node("u", parallel(Probe("p"), Probe("q", kind="leaf")), restart=POLICY),
            node("v", restart(Probe("v", kind="resource"), POLICY), requires=["u"]),
        ),
    ],
    ids=["two", "shop", "in a chain", "nested"],
)
def test_it_is_safe_at_each_point(make: Callable[[], Runnable]) -> None:
    certify(make, limit=250).check()
