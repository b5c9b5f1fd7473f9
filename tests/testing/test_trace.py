from __future__ import annotations

import re
from typing import Any, cast

import pytest
import trio
import trio.testing

from nestling import chain, named, nop, parallel, running
from nestling.testing import Probe, Trace, record


def trace_of_shop() -> Trace:
    shop = named(
        "shop", chain(Probe("db", stop=2), parallel(Probe("http", stop=1), Probe("mailer")))
    )

    async def main() -> Trace:
        with record() as trace:
            async with running(shop):
                await trio.sleep(1)
        return trace

    return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def test_it_holds_the_events_in_order() -> None:
    trace = trace_of_shop()
    assert [event.path for event in trace.events[:2]] == ["shop", "shop/db"]
    assert trace.names("starting")[:2] == ["shop", "db"]
    assert trace.names("stopped")[-2:] == ["db", "shop"]
    assert trace.live() == ()
    with pytest.raises(ValueError, match=r"phase of names\(\) must be one of 'starting', 'run"):
        trace.names("ended")  # type: ignore[arg-type]


def test_an_event_is_named_by_the_name_the_path_or_the_end_of_the_path() -> None:
    trace = trace_of_shop()
    assert trace.order("db running", "http starting")
    assert trace.order("shop/db running", "shop/http starting", "http stopped", "db stopping")
    assert not trace.order("db stopping", "http stopped")
    assert not trace.order("b running", "http starting")


def test_what_has_never_happened_is_in_no_order() -> None:
    trace = trace_of_shop()
    assert not trace.order("cache running")
    assert "never happened: cache running" in trace.explain()


@pytest.mark.parametrize("text", ["http", "http ended", " running", "", "running"])
def test_what_is_no_event_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an event is written as a name or a path and one of"):
        trace_of_shop().order(text)
    with pytest.raises(ValueError, match="name the events whose order is asked for"):
        trace_of_shop().order()


def test_what_is_no_string_is_no_event() -> None:
    with pytest.raises(TypeError, match=r"an event is written as a string, not 3 \(int\)"):
        Trace().order(cast("Any", 3))


def test_an_order_that_does_not_hold_is_told_with_the_offending_lines_marked() -> None:
    trace = trace_of_shop()
    trace.assert_order("http stopped", "db stopping")
    with pytest.raises(AssertionError) as caught:
        trace.assert_order("db stopping", "http stopped")
    told = str(caught.value)
    assert told.startswith("the order does not hold: db stopping -> http stopped\n")
    marked = [line.split() for line in told.splitlines() if line.startswith("> ")]
    assert marked == [
        [">", "2.000", "shop/http", "stopped"],
        [">", "2.000", "shop/db", "stopping"],
    ]
    assert len(re.findall(r"^  +\d", told, flags=re.MULTILINE)) == len(trace.events) - 2


def test_the_table_has_the_time_since_the_first_event_and_the_error() -> None:
    async def main() -> Trace:
        await trio.sleep(100)
        with record() as trace, pytest.raises(OSError, match="no"):
            await Probe("db", start=1, fail=("start", OSError("no"))).run(trio.sleep_forever)
        return trace

    trace = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert [line.split() for line in str(trace).splitlines()] == [
        ["0.000", "db", "starting"],
        ["1.000", "db", "stopped", "OSError:", "no"],
    ]


async def runs(times: int, r: Probe) -> Trace:
    with record() as trace:
        for _ in range(times):
            await chain(r, Probe("http")).run(nop_body)
    return trace


async def nop_body() -> None:
    await trio.lowlevel.checkpoint()


async def test_where_all_happens_several_times_the_order_must_hold_each_time() -> None:
    trace = await runs(2, Probe("db"))
    assert trace.order("http stopped", "db stopping")
    assert not trace.order("db stopping", "http starting")
    assert trace.order("db running", "db stopped", "db running")


async def test_an_answer_is_that_of_when_it_was_asked() -> None:
    with record() as trace:
        async with running(Probe("db")):
            assert not trace.order("db stopped")
            with pytest.raises(AssertionError, match="never happened: db stopped"):
                trace.assert_order("db running", "db stopped")
    told = trace.explain().splitlines()
    assert "never happened: db stopped" in told
    assert [line.split()[-1] for line in told[-3:]] == ["here", "stopping", "stopped"]


def test_a_cancellation_is_told_by_its_reason() -> None:
    async def main() -> Trace:
        with record() as trace, trio.CancelScope() as scope:
            async with running(Probe("db")):
                scope.cancel("enough")
                await trio.sleep_forever()
        return trace

    assert "db  stopping  Cancelled: enough" in str(trio.run(main))


async def test_it_can_be_cleared() -> None:
    trace = await runs(1, Probe("db"))
    trace.clear()
    assert trace.events == ()
    assert str(trace) == trace.explain() == "(no event)"
    assert repr(trace) == "<Trace of 0 events>"


async def test_records_nest_and_each_sees_what_is_run_inside_of_it() -> None:
    with record() as outer:
        await Probe("a").run(nop_body)
        with record() as inner:
            await Probe("b").run(nop_body)
    await nop().run(nop_body)
    assert outer.names("running") == ["a", "b"]
    assert inner.names("running") == ["b"]


def test_it_works_around_a_trio_run() -> None:
    async def main() -> None:
        await Probe("db").run(nop_body)

    with record() as trace:
        trio.run(main)
    assert trace.names("stopped") == ["db"]


async def test_a_node_that_has_not_stopped_is_live() -> None:
    with record() as trace:
        async with running(Probe("db")):
            assert [node.path for node in trace.live()] == ["db"]
