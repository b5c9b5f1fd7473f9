"""What the page for those who come from systemd says is different, is."""

from __future__ import annotations

import sys
from contextlib import nullcontext

import pytest
import trio

from nestling import StartTimeoutError, leaf, running, sequential, start_stop, timeouts
from nestling.supervise import RestartPolicy, graph, node
from nestling.testing import Probe, record
from tests.docs.happenings import AT_ONCE, failing, nothing

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def test_a_node_that_ends_for_good_ends_all_in_order_and_its_error_comes_out() -> None:
    nodes = [
        node("db", failing(1)),
        node("web", Probe("inside"), requires=["db"]),
        node("other", Probe("inside")),
    ]
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        async with running(graph(*nodes)):
            await trio.sleep_forever()
    assert [str(error) for error in caught.value.exceptions] == ["lost"]
    trace.assert_order("web stopped", "db stopped")
    assert set(trace.names("stopped")) >= {"db", "web", "other"}


async def test_nodes_that_require_nothing_start_at_once_and_a_sequence_does_not() -> None:
    parts = [("a", Probe("inside", start=2)), ("b", Probe("inside", start=2))]
    async with running(graph(*[node(name, probe) for name, probe in parts])):
        assert trio.current_time() == 2
    async with running(sequential(*[probe for _, probe in parts])):
        assert trio.current_time() == 6


async def test_what_requires_a_oneshot_waits_for_the_end_of_its_start() -> None:
    happened: list[str] = []

    async def set_up() -> None:
        await trio.sleep(5)
        happened.append("set up")

    async def tear_down() -> None:
        happened.append("torn down")

    async def serve() -> None:
        happened.append("serves")
        await trio.sleep_forever()

    once = node("once", start_stop(set_up, tear_down))
    web = node("web", leaf(serve), requires=["once"])
    async with running(graph(once, web)):
        await trio.sleep(1)
    assert happened == ["set up", "serves", "torn down"]


@pytest.mark.parametrize(
    ("policy", "error", "restarts", "comes_out"),
    [
        (None, None, 0, None),
        (RestartPolicy("failure", AT_ONCE), None, 0, None),
        (RestartPolicy("failure", AT_ONCE), OSError("lost"), 3, ExceptionGroup),
        (RestartPolicy("always", AT_ONCE), None, 3, ExceptionGroup),
        (RestartPolicy("always", AT_ONCE), SystemExit(3), 0, SystemExit),
    ],
)
async def test_what_is_followed_by_a_restart_and_that_the_graph_ends_after_the_last_one(
    policy: RestartPolicy | None,
    error: BaseException | None,
    restarts: int,
    comes_out: type[BaseException] | None,
) -> None:
    probe = Probe("inside", run=1, fail=error)
    with record() as trace, pytest.raises(comes_out) if comes_out else nullcontext():
        async with running(graph(node("n", probe, restart=policy))):
            await trio.Event().wait()
    assert trace.names("starting").count("n") == 1 + restarts
    assert trio.current_time() == 1 + restarts


async def test_limits_of_the_start_and_the_stop_are_there_only_where_they_are_set() -> None:
    slow = Probe("inside", start=1000, stop=1000)
    async with running(slow):
        assert trio.current_time() == 1000
    assert trio.current_time() == 2000
    with pytest.raises(StartTimeoutError):
        async with running(timeouts(slow, start=90)):
            raise AssertionError("it does not run")
    assert trio.current_time() == 2090


async def test_a_stop_function_is_called_in_a_forced_stop_too_and_not_after_an_end() -> None:
    calls: list[str] = []

    async def stop() -> None:
        calls.append("asked")
        await trio.lowlevel.checkpoint()
        calls.append("went on")

    with trio.CancelScope() as scope:
        async with running(leaf(trio.sleep_forever, stop)):
            scope.cancel("forced")
            await trio.sleep_forever()
    assert calls == ["asked"]
    async with running(leaf(nothing, stop)):
        await trio.Event().wait()
    assert calls == ["asked"]
