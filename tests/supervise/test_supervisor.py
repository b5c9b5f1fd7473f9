from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
import trio

from nestling import (
    InvalidStateError,
    RestartLimitError,
    Runnable,
    State,
    StopTimeoutError,
    WorkerHandle,
    chain,
    leaf,
    named,
    nop,
    running,
    worker,
)
from nestling._kernel._outcome import notes
from nestling.supervise import Backoff, Supervisor, UnknownChildError, child, graph, node
from nestling.testing import Probe, certify, override, record

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

STEADY = Backoff(initial=1, factor=1, jitter=0)


class Flaky:
    """Fails so often, some time after each start."""

    def __init__(self, times: float = 1, after: float = 1) -> None:
        self.times = times
        self.after = after
        self.starts: list[float] = []

    async def run(self) -> None:
        self.starts.append(trio.current_time())
        if len(self.starts) > self.times:
            await trio.sleep_forever()
        await trio.sleep(self.after)
        raise OSError(f"{len(self.starts)} lost")


def phases(trace: Any) -> list[str]:
    return [
        f"{event.path} {type(event).__name__.lower()}"
        for event in trace.events
        if "/" not in event.path
    ]


def probes(*names: str, start: float = 0.5, stop: float = 0.25) -> list[Any]:
    return [child(name, Probe(name, start=start, stop=stop)) for name in names]


async def test_children_start_one_after_the_other_and_stop_in_reverse_order() -> None:
    with record() as trace:
        async with running(Supervisor(*probes("a", "b"))):
            assert trio.current_time() == 1
    assert phases(trace) == [
        "a starting",
        "a running",
        "b starting",
        "b running",
        "b stopping",
        "b stopped",
        "a stopping",
        "a stopped",
    ]


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("one_for_one", ["b restarting", "b starting", "b running"]),
        (
            "rest_for_one",
            [
                "b restarting",
                "c stopping",
                "c stopped",
                "b starting",
                "b running",
                "c starting",
                "c running",
            ],
        ),
        (
            "one_for_all",
            [
                "b restarting",
                "c stopping",
                "c stopped",
                "a stopping",
                "a stopped",
                "a starting",
                "a running",
                "b starting",
                "b running",
                "c starting",
                "c running",
            ],
        ),
    ],
)
async def test_who_goes_down_with_a_child_and_comes_up_again_is_the_strategy_s(
    strategy: Any, expected: list[str]
) -> None:
    (a, c) = probes("a", "c")
    flaky = Flaky()
    supervisor = Supervisor(a, child("b", leaf(flaky.run)), c, strategy=strategy, backoff=STEADY)
    with record() as trace:
        async with running(supervisor):
            await trio.sleep(5)
    seen = phases(trace)
    begin = seen.index("b restarting")
    assert seen[begin : begin + len(expected)] == expected
    assert flaky.starts[1] >= 2.5


async def test_more_restarts_than_the_limit_end_it_and_its_siblings_stop_in_order_first() -> None:
    flaky = Flaky(99)
    supervisor = Supervisor(
        *probes("a"), child("b", leaf(flaky.run)), limit=2, period=10, backoff=STEADY
    )
    with record() as trace, pytest.raises(RestartLimitError) as caught:
        await supervisor.run(trio.sleep_forever)
    assert [str(error) for error in caught.value.exceptions] == ["1 lost", "2 lost", "3 lost"]
    assert phases(trace)[-3:] == ["b stopped", "a stopping", "a stopped"]


async def test_the_window_of_the_limit_slides_on_the_clock_of_trio() -> None:
    flaky = Flaky(5, after=5)
    async with running(Supervisor(child("b", leaf(flaky.run)), limit=1, period=5, backoff=STEADY)):
        await trio.sleep(100)
    assert len(flaky.starts) == 6


async def test_a_failure_during_a_restart_counts() -> None:
    tries = 0

    async def start() -> None:
        nonlocal tries
        tries += 1
        if tries > 1:
            raise OSError(f"start {tries} failed")

    async def lives(handle: WorkerHandle) -> None:
        await start()
        handle.ready()
        await trio.sleep(1)
        raise OSError("lost")

    supervisor = Supervisor(child("b", worker(lives)), limit=3, period=100, backoff=STEADY)
    with pytest.raises(RestartLimitError) as caught:
        async with running(supervisor):
            await trio.sleep_forever()
    told = [str(error) for error in caught.value.exceptions]
    assert told == ["lost", "start 2 failed", "start 3 failed", "start 4 failed"]
    assert trio.current_time() == 4


async def test_a_first_start_that_fails_ends_it_and_tells_how_far_it_had_come() -> None:
    broken = child("b", Probe("b", start=0.5, fail="start"))
    with record() as trace, pytest.raises(ExceptionGroup) as caught:
        await Supervisor(*probes("a"), broken, *probes("c")).run(trio.sleep_forever)
    assert caught.value.message == "1 of 3 children failed: 'b'"
    (error,) = caught.value.exceptions
    assert notes(error)[-1] == "when 'b' failed to start: 'a' ran; 'c' was not started"
    assert phases(trace)[-2:] == ["a stopping", "a stopped"]


async def test_a_temporary_child_never_comes_back_not_even_with_its_siblings() -> None:
    flaky = Flaky()
    supervisor = Supervisor(
        child("a", leaf(flaky.run)),
        child("t", Probe("t"), restart="temporary"),
        strategy="one_for_all",
        backoff=STEADY,
    )
    with record() as trace:
        async with running(supervisor):
            await trio.sleep(5)
            assert [each.name for each in supervisor.children()] == ["a"]
    assert phases(trace).count("t starting") == 1


async def test_a_transient_child_comes_back_after_an_error_only() -> None:
    async def ends() -> None:
        await trio.sleep(1)

    flaky = Flaky()
    supervisor = Supervisor(
        child("ends", leaf(ends), restart="transient"),
        child("fails", leaf(flaky.run), restart="transient"),
        backoff=STEADY,
    )
    async with running(supervisor):
        await trio.sleep(5)
        ended, failed = supervisor.children()
    assert (ended.state, ended.restarts, ended.error) == (State.STOPPED, 0, None)
    assert (failed.state, failed.restarts, failed.since) == (State.RUNNING, 1, 2)
    assert str(failed.error) == "1 lost"


@pytest.mark.parametrize(("auto_shutdown", "ends_at"), [("any", 1), ("all", 2)])
async def test_the_first_or_the_last_significant_child_that_ends_ends_it(
    auto_shutdown: Any, ends_at: float
) -> None:
    def job(seconds: float) -> Any:
        async def work() -> None:
            await trio.sleep(seconds)

        return leaf(work)

    supervisor = Supervisor(
        child("one", job(1), restart="transient", significant=True),
        child("two", job(2), restart="temporary", significant=True),
        *probes("other", start=0, stop=0),
        auto_shutdown=auto_shutdown,
    )
    async with running(supervisor):
        await trio.sleep(99)
    assert trio.current_time() == ends_at


async def test_children_are_started_stopped_started_again_and_removed_while_it_runs() -> None:
    supervisor = Supervisor(*probes("a"))
    with record() as trace:
        async with running(supervisor):
            await supervisor.start_child(*probes("b"))
            await supervisor.stop_child("b")
            await supervisor.stop_child("b")
            assert [each.state for each in supervisor.children()] == [State.RUNNING, State.STOPPED]
            await supervisor.restart_child("b")
            await supervisor.remove_child("b")
            assert [each.name for each in supervisor.children()] == ["a"]
            await supervisor.start_child(*probes("b"))
    assert phases(trace).count("b starting") == 3
    assert phases(trace)[-4:] == ["b stopping", "b stopped", "a stopping", "a stopped"]


async def test_what_cannot_be_done_with_a_child_is_refused() -> None:
    supervisor = Supervisor(*probes("a"), child("t", Probe("t"), restart="temporary"))
    with pytest.raises(InvalidStateError, match="of a supervisor that is not running"):
        supervisor.children()
    async with running(supervisor):
        with pytest.raises(ValueError, match="cannot start child 'a': there is one of that name"):
            await supervisor.start_child(*probes("a"))
        with pytest.raises(InvalidStateError, match="cannot restart child 'a': it is running"):
            await supervisor.restart_child("a")
        with pytest.raises(UnknownChildError, match="there is no child 'x'; there are 'a', 't'"):
            await supervisor.stop_child("x")
        await supervisor.stop_child("t")
        with pytest.raises(UnknownChildError):
            await supervisor.restart_child("t")
        with pytest.raises(InvalidStateError, match="cannot run a supervisor that is running"):
            await supervisor.run(trio.lowlevel.checkpoint)


async def test_a_child_that_fails_when_it_is_added_is_not_there_and_its_error_is_the_caller_s() -> (
    None
):
    supervisor = Supervisor(*probes("a"))
    async with running(supervisor):
        with pytest.raises(OSError, match="no such host"):
            await supervisor.start_child(
                child("b", Probe("b", start=1, fail=("start", OSError("no such host"))))
            )
        assert [each.name for each in supervisor.children()] == ["a"]


async def test_a_start_of_a_child_that_is_cancelled_leaves_nothing() -> None:
    supervisor = Supervisor(*probes("a"))
    with record() as trace:
        async with running(supervisor):
            with trio.move_on_after(0.25):
                await supervisor.start_child(*probes("b"))
            assert [each.name for each in supervisor.children()] == ["a"]
    assert "b running" not in phases(trace)
    assert "b stopped" in phases(trace)


async def test_children_that_are_added_while_it_starts_or_stops() -> None:
    supervisor = Supervisor(*probes("a", stop=4))
    late: list[BaseException] = []

    async def add(seconds: float, name: str) -> None:
        await trio.sleep(seconds)
        try:
            await supervisor.start_child(*probes(name))
        except InvalidStateError as error:
            late.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(add, 0.25, "while it starts")
        nursery.start_soon(add, 4, "while it stops")
        with record() as trace:
            async with running(supervisor):
                await trio.sleep(2)
    assert "while it starts running" in phases(trace)
    assert [str(error) for error in late] == ["cannot start 'while it stops': its supervisor stops"]


async def test_a_child_that_does_not_stop_in_time_is_forced_and_named() -> None:
    async def hang() -> None:
        await trio.sleep_forever()

    stubborn = child("b", leaf(trio.sleep_forever, hang), stop=2)
    with pytest.raises(ExceptionGroup) as caught:
        async with running(named("app", Supervisor(*probes("a"), stubborn))):
            pass
    (error,) = caught.value.exceptions
    assert isinstance(error, StopTimeoutError)
    assert (error.seconds, error.stuck) == (2, ("app/b",))


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
async def test_nothing_restarts_after_an_interrupt_and_it_comes_out_bare(interrupt: Any) -> None:
    starts: list[float] = []

    async def exits() -> None:
        starts.append(trio.current_time())
        await trio.sleep(1)
        raise interrupt

    with record() as trace, pytest.raises(interrupt):
        await Supervisor(*probes("a"), child("b", leaf(exits)), *probes("c")).run(
            trio.sleep_forever
        )
    assert len(starts) == 1
    assert phases(trace)[-4:] == ["c stopping", "c stopped", "a stopping", "a stopped"]


async def test_a_stop_during_the_wait_before_a_restart_ends_it_at_once() -> None:
    flaky = Flaky()
    backoff = Backoff(initial=100, maximum=100, jitter=0)
    async with running(Supervisor(child("b", leaf(flaky.run)), backoff=backoff)):
        await trio.sleep(10)
    assert trio.current_time() == 10
    assert len(flaky.starts) == 1


async def test_it_can_be_overridden_and_run_again() -> None:
    supervisor = Supervisor(*probes("a", "b"))
    for _ in range(2):
        with record() as trace:
            async with running(override(named("app", supervisor), {"app/a": nop()})):
                pass
        assert trace.order("app/a running", "app/b starting")
    async with running(supervisor):
        assert len(supervisor.children()) == 2


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: child("a", nop(), restart=cast("Any", "never")), "restart of child('a') must be"),
        (lambda: child("a", nop(), stop=-1), "stop of child('a') must be zero or more seconds"),
        (lambda: child("a", nop(), significant=True), "child('a') cannot be significant: a perman"),
        (lambda: child("a", nop(), significant=cast("Any", 1)), "significant of child('a') must b"),
        (lambda: child("a/b", nop()), "name of child() must be a non-empty"),
        (lambda: Supervisor(cast("Any", nop())), "argument 1 of Supervisor() must be made by chi"),
        (lambda: Supervisor(*probes("a", "a")), "Supervisor() has two children that are called"),
        (
            lambda: Supervisor(strategy=cast("Any", "all")),
            "strategy of Supervisor() must be one",
        ),
        (lambda: Supervisor(limit=-1), "limit of Supervisor() must be at least 0, not -1"),
        (
            lambda: Supervisor(child("a", nop(), restart="transient", significant=True)),
            "'a' is significant, but auto_shutdown is 'never'",
        ),
    ],
)
def test_bad_input_is_refused(make: Callable[[], Any], problem: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert problem in str(caught.value)


async def test_a_child_cannot_stop_itself_by_a_call_that_waits_for_its_end() -> None:
    refused: list[str] = []

    async def leave(handle: WorkerHandle) -> None:
        handle.ready()
        async with trio.open_nursery() as nursery:  # also not from a task of its own
            nursery.start_soon(stop_itself)

    async def stop_itself() -> None:
        with pytest.raises(InvalidStateError) as caught:
            await supervisor.stop_child("a")
        refused.append(str(caught.value))

    supervisor = Supervisor(child("a", worker(leave, on_return="stay")))
    async with running(supervisor):
        await trio.sleep(1)
    (message,) = refused
    assert message.startswith("cannot stop 'a' from inside of it: it would wait for its own end;")


async def test_children_that_come_and_go_leave_nothing_behind() -> None:
    async def forget_soon() -> None:
        await trio.sleep(1)

    async def add(name: str) -> weakref.ref[object]:
        soon = leaf(forget_soon)
        await supervisor.start_child(child(name, soon, restart="temporary"))
        return weakref.ref(soon)

    supervisor = Supervisor()
    gone: list[weakref.ref[object]] = []
    async with running(supervisor):
        for number in range(20):
            gone.append(await add(f"c{number}"))
            await trio.sleep(2)
        gc.collect()
        assert [each for each in gone if each() is not None] == []
        assert supervisor.children() == ()


async def test_a_child_that_is_added_before_its_first_step_starts_in_its_turn() -> None:
    supervisor = Supervisor(*probes("a"))

    async def add() -> None:
        added = False
        while not added:
            with suppress(InvalidStateError):
                await supervisor.start_child(*probes("b"))
                added = True
            await trio.lowlevel.checkpoint()

    with record() as trace:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(add)
            async with running(supervisor):
                pass
    assert phases(trace)[:4] == ["a starting", "a running", "b starting", "b running"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Supervisor(*probes("a", "b"), strategy="one_for_all", limit=20),
        lambda: chain(Probe("a"), Supervisor(child("b", leaf(trio.sleep_forever))), Probe("c")),
        lambda: Supervisor(
            child("g", graph(node("u", nop()), node("v", Probe("v"), requires=["u"]))),
            child("s", Supervisor(child("t", Probe("t", kind="start_stop")))),
            strategy="rest_for_one",
        ),
    ],
    ids=["one for all", "in a chain", "nested"],
)
def test_it_is_safe_at_each_point(make: Callable[[], Runnable]) -> None:
    certify(make, limit=250).check()
