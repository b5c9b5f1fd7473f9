"""What the page for those who come from Erlang/OTP says is different, is."""

from __future__ import annotations

import math
import sys
from typing import Any

import pytest
import trio

from nestling import InvalidStateError, RestartLimitError, StopTimeoutError, leaf, running
from nestling.supervise import Backoff, ChildStatus, Supervisor, UnknownChildError, child
from nestling.testing import Probe, record
from tests.docs.happenings import AT_ONCE, failing, steps

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


async def test_all_go_down_in_reverse_order_and_those_come_up_again_that_are_not_temporary() -> (
    None
):
    supervisor = Supervisor(
        child("first", Probe("inside", run=2, fail=OSError("lost"))),
        child("temporary", Probe("inside"), restart="temporary"),
        child("transient", Probe("inside", run=1), restart="transient"),
        child("last", Probe("inside")),
        strategy="one_for_all",
        backoff=AT_ONCE,
    )
    with record() as trace:
        async with running(supervisor):
            await trio.sleep(2.5)
            assert [each.name for each in supervisor.children()] == ["first", "transient", "last"]
    assert steps(trace, "first", "temporary", "transient", "last")[8:-6] == [
        "transient stopping",
        "transient stopped",
        "first stopping",
        "first stopped",
        "first restarting",
        "last stopping",
        "last stopped",
        "temporary stopping",
        "temporary stopped",
        "first starting",
        "first running",
        "transient starting",
        "transient running",
        "last starting",
        "last running",
    ]


async def test_the_next_child_starts_when_the_one_before_is_ready_and_they_stop_in_reverse() -> (
    None
):
    with record() as trace:
        async with running(
            Supervisor(child("a", Probe("inside", start=5, stop=2)), child("b", Probe("inside")))
        ):
            assert trio.current_time() == 5
    assert steps(trace, "a", "b") == [
        "a starting",
        "a running",
        "b starting",
        "b running",
        "b stopping",
        "b stopped",
        "a stopping",
        "a stopped",
    ]


async def test_a_first_start_that_fails_is_not_tried_again() -> None:
    bad = Probe("inside", fail="start")
    with record() as trace, pytest.raises(ExceptionGroup):
        async with running(Supervisor(child("good", Probe("inside")), child("bad", bad))):
            raise AssertionError("it does not run")
    assert trace.names("starting").count("bad") == 1
    trace.assert_order("good running", "bad starting", "bad stopped", "good stopping")


@pytest.mark.parametrize(
    ("restart", "error", "restarts"),
    [
        ("permanent", None, 1),
        ("permanent", OSError("lost"), 1),
        ("transient", None, 0),
        ("transient", OSError("lost"), 1),
        ("temporary", None, 0),
        ("temporary", OSError("lost"), 0),
    ],
)
async def test_an_abnormal_exit_is_an_exception_and_a_normal_one_a_return(
    restart: Any, error: OSError | None, restarts: int
) -> None:
    probe = Probe("inside", run=1, fail=error)
    with record() as trace:
        async with running(Supervisor(child("c", probe, restart=restart), backoff=AT_ONCE)):
            await trio.sleep(1.5)
    assert trace.names("starting").count("c") == 1 + restarts


async def test_an_exit_of_the_program_is_not_followed_by_a_restart() -> None:
    with record() as trace, pytest.raises(SystemExit):
        async with running(Supervisor(child("c", failing(1, SystemExit(3))))):
            await trio.sleep_forever()
    assert trace.names("starting").count("c") == 1


@pytest.mark.parametrize(("settings", "restarts"), [({}, 3), ({"limit": 1}, 1)])
async def test_three_restarts_in_five_seconds_are_allowed_where_nothing_is_said(
    settings: dict[str, Any], restarts: int
) -> None:
    with record() as trace, pytest.raises(RestartLimitError) as caught:
        async with running(Supervisor(child("c", failing(1)), backoff=AT_ONCE, **settings)):
            await trio.sleep_forever()
    assert trace.names("starting").count("c") == 1 + restarts
    assert [str(each) for each in caught.value.exceptions] == ["lost"], "it was the same one"


def test_delays_begin_with_a_tenth_of_a_second_and_double() -> None:
    delays = Backoff(jitter=0)()
    assert [next(delays) for _ in range(3)] == [0.1, 0.2, 0.4]
    assert 0.05 <= next(Backoff()()) <= 0.15
    assert {next(each) for each in [AT_ONCE()] for _ in range(9)} == {0}


async def test_a_supervisor_that_gives_up_counts_as_one_restart_of_the_one_above() -> None:
    inner = Supervisor(child("c", failing(1)), limit=0)
    with record() as trace, pytest.raises(RestartLimitError) as caught:
        async with running(Supervisor(child("inner", inner), limit=1, backoff=AT_ONCE)):
            await trio.sleep_forever()
    assert steps(trace, "inner").count("inner starting") == 2
    assert {type(each) for each in caught.value.exceptions} == {RestartLimitError}


async def test_who_does_not_stop_in_time_is_cancelled_and_the_stop_ends_in_an_error() -> None:
    slow = Probe("inside", stop=60)
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        async with running(Supervisor(child("slow", slow), child("quick", Probe("inside")))):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, StopTimeoutError)
    assert (error.seconds, trio.current_time()) == (5, 5)
    assert steps(trace, "slow")[-1] == "slow stopped"


async def test_a_supervisor_below_a_supervisor_has_five_seconds_as_well() -> None:
    inner = Supervisor(child("slow", Probe("inside", stop=6), stop=math.inf))
    with pytest.raises(ExceptionGroup):
        async with running(Supervisor(child("inner", inner))):
            pass
    assert trio.current_time() == 5
    async with running(Supervisor(child("inner", inner, stop=math.inf))):
        pass
    assert trio.current_time() == 11


async def test_nothing_is_like_a_brutal_kill() -> None:
    async with running(Supervisor(child("leaf", leaf(trio.sleep_forever)))):
        pass
    with pytest.raises(ExceptionGroup) as caught:
        async with running(Supervisor(child("slow", Probe("inside", stop=60), stop=0))):
            pass
    assert isinstance(caught.value.exceptions[0], StopTimeoutError)
    assert trio.current_time() == 0


async def test_a_significant_child_that_returns_ends_the_supervisor_without_an_error() -> None:
    last = child("last", Probe("inside", run=2), restart="transient", significant=True)
    first = child("first", Probe("inside", run=1), restart="transient", significant=True)
    async with running(Supervisor(first, last, auto_shutdown="any")):
        await trio.Event().wait()
    assert trio.current_time() == 1
    async with running(Supervisor(first, last, auto_shutdown="all")):
        await trio.Event().wait()
    assert trio.current_time() == 1 + 2


async def test_the_error_of_the_significant_child_that_decides_it_comes_out() -> None:
    decides = child("decides", failing(1), restart="temporary", significant=True)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(Supervisor(decides, auto_shutdown="any")):
            await trio.sleep_forever()
    assert [str(error) for error in caught.value.exceptions] == ["lost"]


async def test_children_come_and_go_while_it_runs() -> None:
    significant = child("b", Probe("inside"), restart="transient", significant=True)
    supervisor = Supervisor(child("a", Probe("inside")), auto_shutdown="any")

    def states() -> dict[str, str]:
        statuses: tuple[ChildStatus, ...] = supervisor.children()
        return {each.name: each.state.value for each in statuses}

    async with running(supervisor):
        await supervisor.start_child(significant)
        await supervisor.stop_child("b")
        assert states() == {"a": "running", "b": "stopped"}
        await supervisor.restart_child("b")
        assert states() == {"a": "running", "b": "running"}
        with pytest.raises(InvalidStateError):
            await supervisor.restart_child("b")
        await supervisor.remove_child("b")
        assert states() == {"a": "running"}
        with pytest.raises(UnknownChildError):
            await supervisor.restart_child("b")
        with pytest.raises(OSError, match="lost"):
            await supervisor.start_child(
                child("c", Probe("inside", fail=("start", OSError("lost"))))
            )
        assert states() == {"a": "running"}


async def test_children_that_were_added_stop_one_after_the_other() -> None:
    supervisor = Supervisor()
    async with running(supervisor):
        for name in "abc":
            await supervisor.start_child(child(name, Probe("inside", stop=1)))
    assert trio.current_time() == 3
