from __future__ import annotations

import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from nestling import (
    Callback,
    Runnable,
    chain,
    deferred,
    leaf,
    named,
    nop,
    parallel,
    runnable,
    sequential,
    service,
    start_stop,
    timeouts,
)
from nestling._kernel._events import Event, Observer, Running, Starting, Stopped, Stopping
from nestling._kernel._node import (
    Node,
    child_node,
    current_node,
    enter_node,
    leave_node,
    watching_node,
)
from tests.kernel.composing import nothing
from tests.kernel.recording import failure_of, notes_of

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def pool() -> None:
    pass


async def crash() -> None:
    raise OSError("crash")


@contextmanager
def watched(observer: Observer) -> Generator[None, None, None]:
    """Let ``observer`` see the events of what is run inside."""
    token = enter_node(watching_node(current_node(), observer))
    try:
        yield
    finally:
        leave_node(token)


class Watcher:
    """An observer that keeps what it has seen."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def told(self) -> list[str]:
        """The events in words."""
        return [f"{event.path} {type(event).__name__.lower()}" for event in self.events]

    def stopped(self, path: str) -> Stopped:
        """Return the last event of the node of that path."""
        (event,) = [e for e in self.events if isinstance(e, Stopped) and e.path == path]
        return event

    async def watch(self, r: Runnable, f: Callback = nothing) -> None:
        with watched(self):
            await r.run(f)


LIFE = ("starting", "running", "stopping", "stopped")


def life(path: str) -> list[str]:
    return [f"{path} {phase}" for phase in LIFE]


# Paths


@pytest.mark.parametrize(
    ("r", "paths"),
    [
        (nop(), set[str]()),
        (named("a", nop()), {"a"}),
        (start_stop(pool, nothing), {"pool"}),
        (named("a", start_stop(pool, nothing)), {"a"}),
        (named("a", named("b", start_stop(pool, nothing))), {"a", "a/b"}),
        (named("a", chain(start_stop(pool, nothing), nop())), {"a", "a/pool"}),
        (chain(named("a", nop()), named("b", nop())), {"a", "b"}),
        (named("x", chain(named("a", nop()), named("b", nop()))), {"x", "x/a", "x/b"}),
        (parallel(start_stop(pool, nothing), nop()), {"pool"}),
        (named("x", parallel(start_stop(pool, nothing), nop())), {"x", "x/pool"}),
        (named("x", sequential(named("a", nop()), named("b", nop()))), {"x", "x/a", "x/b"}),
        (
            named("x", parallel(named("y", parallel(named("a", nop()), nop())), nop())),
            {"x", "x/y", "x/y/a"},
        ),
        (named("a", timeouts(start_stop(pool, nothing))), {"a"}),
        (timeouts(named("a", start_stop(pool, nothing)), grace=1), {"a"}),
        (timeouts(timeouts(start_stop(pool, nothing))), {"pool"}),
        (named("a", timeouts(chain(start_stop(pool, nothing), nop()))), {"a", "a/pool"}),
        (deferred(lambda: named("a", start_stop(pool, nothing))), {"a"}),
        (named("a", deferred(lambda: start_stop(pool, nothing))), {"a"}),
        (named("a", deferred(lambda: named("b", nop()))), {"a", "a/b"}),
    ],
)
async def test_a_path_is_made_of_the_names_that_a_reader_sees(r: Runnable, paths: set[str]) -> None:
    watcher = Watcher()
    await watcher.watch(r)
    assert {event.path for event in watcher.events} == paths
    for path in paths:
        assert [told for told in watcher.told if told.rpartition(" ")[0] == path] == life(path)


async def test_a_node_knows_its_name_and_kind() -> None:
    watcher = Watcher()
    await watcher.watch(named("shop", chain(named("db", leaf(trio.sleep_forever)), nop())))
    kinds = {event.path: (event.node.name, event.kind) for event in watcher.events}
    assert kinds == {"shop": ("shop", "chain"), "shop/db": ("db", "leaf")}


async def test_each_run_is_a_node_of_its_own() -> None:
    watcher = Watcher()
    r = named("db", start_stop(nothing, nothing))
    for _ in range(2):
        await watcher.watch(r)
    first, second = {event.node for event in watcher.events}
    assert (first.path, second.path) == ("db", "db")


async def test_the_callback_runs_outside_of_the_node() -> None:
    async def callback() -> None:
        nodes.append(current_node())

    nodes: list[Node | None] = []
    await named("a", chain(start_stop(nothing, nothing), nop())).run(callback)
    await parallel(named("a", nop()), nop()).run(callback)
    await timeouts(named("a", nop()), stop=1).run(callback)
    assert nodes == [None] * 3
    assert current_node() is None


async def test_functions_run_inside_of_their_node(record: Recorder) -> None:
    def note(what: str) -> Callback:
        async def function() -> None:
            node = current_node()
            record(f"{what} {node and node.path}")

        return function

    pair = start_stop(note("start"), note("stop"))
    for r in (named("a", pair), parallel(named("a", pair), nop())):
        record.trace.clear()
        await named("x", chain(nop(), r)).run(nothing)
        assert record.trace == ["start x/a", "stop x/a"]


# Events


async def test_events_tell_when_and_what_happened(record: Recorder) -> None:
    watcher = Watcher()
    r = named("db", start_stop(record.does("start", takes=1), record.does("stop", takes=2)))
    await watcher.watch(r, record.does("callback", takes=4))
    assert [(type(event), event.time) for event in watcher.events] == [
        (Starting, 0),
        (Running, 1),
        (Stopping, 5),
        (Stopped, 7),
    ]
    assert repr(watcher.events[0]) == "Starting(node='db', time=0.0)"


async def test_events_of_a_chain_are_nested() -> None:
    watcher = Watcher()
    await watcher.watch(chain(named("a", nop()), named("b", start_stop(nothing, nothing))))
    assert watcher.told == [
        "a starting",
        "a running",
        "b starting",
        "b running",
        "b stopping",
        "b stopped",
        "a stopping",
        "a stopped",
    ]


@pytest.mark.parametrize("others", [0, 1])
async def test_a_node_that_never_ran_is_starting_and_stopped(others: int) -> None:
    watcher = Watcher()
    with pytest.raises((OSError, ExceptionGroup)):
        await watcher.watch(
            parallel(named("a", start_stop(crash, nothing)), *[nop() for _ in range(others)])
        )
    assert watcher.told == ["a starting", "a stopped"]
    assert isinstance(watcher.stopped("a").error, OSError)


async def test_a_failure_belongs_to_the_node_that_raised_it_and_to_no_other() -> None:
    watcher = Watcher()
    shop = named("shop", chain(named("a", start_stop(nothing, nothing)), named("b", leaf(crash))))
    with pytest.raises(OSError, match="crash"):
        await watcher.watch(shop, trio.sleep_forever)
    assert watcher.stopped("shop/a").error is None
    assert isinstance(watcher.stopped("shop/b").error, OSError)
    stopping = [event for event in watcher.events if isinstance(event, Stopping)]
    assert [(e.path, type(e.error)) for e in stopping] == [
        ("shop", trio.Cancelled),
        ("shop/b", trio.Cancelled),
        ("shop/a", OSError),
    ]


async def test_an_error_of_the_callback_belongs_to_no_node() -> None:
    watcher = Watcher()
    with pytest.raises(OSError, match="crash"):
        await watcher.watch(named("shop", chain(named("a", nop()), named("b", nop()))), crash)
    assert [e.error for e in watcher.events if isinstance(e, Stopped)] == [None] * 3


async def test_cancellation_is_no_failure(record: Recorder) -> None:
    watcher = Watcher()
    with trio.move_on_after(1):
        await watcher.watch(
            chain(
                named("a", start_stop(nothing, record.does("stop", takes=5))),
                parallel(named("b", leaf(record.forever("run"))), nop()),
            ),
            trio.sleep_forever,
        )
    assert [e.error for e in watcher.events if isinstance(e, Stopped)] == [None] * 2
    assert watcher.told[-4:] == ["b stopping", "b stopped", "a stopping", "a stopped"]


async def test_members_of_groups_report_their_lives(record: Recorder) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await trio.sleep_forever()

    @runnable
    async def foreign(f: Callback) -> None:
        await f()

    for combine in (parallel, sequential):
        watcher = Watcher()
        members: list[Runnable] = [
            named("a", start_stop(nothing, record.does("stop", takes=1))),
            named("b", leaf(trio.sleep_forever)),
            named("c", service(serve)),
            named("d", foreign),
            named("e", leaf(nothing, on_return="stay")),
            named("f", nop()),
            named("g", chain(nop(), nop())),
            nop(),
        ]
        await watcher.watch(combine(*members), record.does("callback", takes=1))
        for name in "abcdefg":
            assert [told for told in watcher.told if told[0] == name] == life(name)


async def test_a_member_that_ends_early_reports_it() -> None:
    watcher = Watcher()
    await watcher.watch(parallel(named("a", leaf(nothing)), nop()), trio.sleep_forever)
    assert watcher.told == life("a")


async def test_a_member_that_fails_reports_its_error_and_what_it_hid(record: Recorder) -> None:
    async def run() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("run")

    watcher = Watcher()
    member = named("a", leaf(run, record.does("stop", takes=1, fails=OSError("stop"))))
    with watched(watcher):
        await failure_of(parallel(member, nop()), nothing)
    stopped = watcher.stopped("a")
    assert isinstance(stopped.error, OSError)
    assert [str(error) for error in stopped.suppressed] == ["run"]


# Errors that another one hides


async def test_suppressed_errors_reach_observers_whole_law_3() -> None:
    watcher = Watcher()

    async def callback() -> None:
        raise ValueError("callback")

    with watched(watcher):
        error = await failure_of(named("db", start_stop(nothing, crash)), callback)
    stopped = watcher.stopped("db")
    assert isinstance(error, ValueError)
    assert stopped.error is None
    assert [type(hidden) for hidden in stopped.suppressed] == [OSError]
    assert notes_of(error) == ["the stop function failed as well: OSError: crash", "in 'db'"]


async def test_the_errors_of_a_group_that_the_callback_hides_reach_observers_law_3() -> None:
    async def callback() -> None:
        raise ValueError("callback")

    watcher = Watcher()
    group = named("web", parallel(named("a", start_stop(nothing, crash)), nop()))
    with watched(watcher):
        assert isinstance(await failure_of(group, callback), ValueError)
    (hidden,) = watcher.stopped("web").suppressed
    assert type(hidden) is ExceptionGroup
    assert isinstance(watcher.stopped("web/a").error, OSError)


async def test_suppressed_errors_reach_observers_through_timeouts_law_3() -> None:
    async def callback() -> None:
        raise ValueError("callback")

    watcher = Watcher()
    with watched(watcher):
        await failure_of(named("db", timeouts(start_stop(nothing, crash), stop=1)), callback)
    assert [type(hidden) for hidden in watcher.stopped("db").suppressed] == [OSError]


# Observers


async def test_an_observer_that_fails_is_logged_and_changes_nothing(
    caplog: pytest.LogCaptureFixture, record: Recorder
) -> None:
    def broken(event: Event) -> None:
        raise ValueError(f"no {event.path}")

    watcher = Watcher()
    with caplog.at_level(logging.ERROR, "nestling"), watched(broken), watched(watcher):
        await named("db", start_stop(record.does("start"), record.does("stop"))).run(
            record.does("callback")
        )
    assert record.trace == ["start", "callback", "stop"]
    assert watcher.told == life("db")
    messages = [r.getMessage() for r in caplog.records]
    assert len(messages) == 4
    assert messages[0] == "an observer failed at Starting(node='db', time=0.0)"


async def test_observers_further_out_see_events_first() -> None:
    seen: list[str] = []
    with watched(lambda event: seen.append(f"outer {event.path}")):  # noqa: SIM117
        with watched(lambda event: seen.append(f"inner {event.path}")):
            await named("a", nop()).run(nothing)
    assert seen == ["outer a", "inner a"] * 4


async def test_an_observer_in_a_node_that_has_started_sees_what_is_below() -> None:
    watcher, around = Watcher(), Watcher()

    @runnable
    async def watch_below(f: Callback) -> None:
        with watched(watcher):
            await named("inner", nop()).run(f)

    with watched(around):
        await named("outer", watch_below).run(nothing)
    assert watcher.told == life("outer/inner")
    assert set(around.told) == {*life("outer"), *life("outer/inner")}


async def test_without_names_and_observers_no_node_is_made(record: Recorder) -> None:
    async def look() -> None:
        assert current_node() is None
        record("looked")

    await chain(start_stop(look, look), parallel(start_stop(look, look), nop())).run(look)
    assert len(record.trace) == 5


def test_a_node_without_an_observer_shows_its_events_to_nobody() -> None:
    seen: list[Event] = []
    node = Node("a", "leaf", observer=None, watchers=seen.append)
    node.emit(Starting(node, 0))
    assert seen == []


def test_the_path_of_a_child_is_that_of_its_parent_and_its_name() -> None:
    root = Node("", "")
    assert child_node(None, "a", "leaf").path == "a"
    assert child_node(root, "a", "leaf").path == "a"
    assert child_node(child_node(root, "a", "leaf"), "b", "leaf").path == "a/b"
    assert repr(Node("a/b", "leaf")) == "Node(path='a/b', kind='leaf')"


# Notes


async def test_an_error_is_signed_by_the_nodes_on_the_path_to_where_it_was_raised() -> None:
    inner = chain(named("db", nop()), named("http", leaf(crash)))
    error = await failure_of(named("shop", inner), trio.sleep_forever)
    assert notes_of(error) == ["in 'http'", "in 'shop'"]


async def test_an_error_of_the_callback_is_signed_by_the_innermost_node_alone() -> None:
    error = await failure_of(chain(named("a", nop()), named("b", nop())), crash)
    assert notes_of(error) == ["in 'b'"]


async def test_a_group_whose_member_was_signed_is_not_signed_by_providers() -> None:
    group = parallel(named("x", start_stop(nothing, crash)), nop())
    error = await failure_of(chain(named("a", nop()), group), nothing)
    assert notes_of(error) == []
