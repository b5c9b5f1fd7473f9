"""What happens while something else is under way: starts, stops, cancellations, failures."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from nestling import (
    InvalidStateError,
    RestartLimitError,
    Runnable,
    State,
    WorkerHandle,
    leaf,
    nop,
    running,
    start_stop,
    worker,
)
from nestling.supervise import (
    Backoff,
    Jobs,
    RestartPolicy,
    Supervisor,
    child,
    graph,
    node,
    restart,
)
from nestling.testing import Probe, record, schedules

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup

EACH_SECOND = Backoff(initial=1, factor=1, jitter=0)


async def nothing() -> None:
    pass


async def fails_after_a_second() -> None:
    await trio.sleep(1)
    raise OSError("lost")


def phases(trace: Any, name: str) -> list[str]:
    return [type(event).__name__ for event in trace.events if event.path == name]


async def refused(messages: list[str], call: Callable[..., Any], *args: object) -> None:
    with pytest.raises(InvalidStateError) as caught:
        await call(*args)
    messages.append(str(caught.value))


@pytest.mark.parametrize("again", [False, True], ids=["the first time", "again"])
async def test_a_stop_gives_up_a_start_of_a_child_that_is_under_way(again: bool) -> None:
    seconds = [0.0, math.inf] if again else [math.inf]

    async def start() -> None:
        await trio.sleep(seconds.pop(0))

    supervisor, messages = Supervisor(), list[str]()
    slow = child("slow", start_stop(start, nothing))
    async with trio.open_nursery() as nursery, running(supervisor):
        if again:
            await supervisor.start_child(slow)
            await supervisor.stop_child("slow")
            nursery.start_soon(refused, messages, supervisor.restart_child, "slow")
        else:
            nursery.start_soon(refused, messages, supervisor.start_child, slow)
        await wait_all_tasks_blocked()
    assert messages == ["cannot start 'slow': its supervisor stops"]


@schedules(20)
async def test_a_node_whose_adding_is_cancelled_when_it_runs_stays_for_what_requires_it() -> None:
    gate, scope, grown = trio.Event(), trio.CancelScope(), graph()

    async def add_provider() -> None:
        with scope:
            await grown.add(node("db", start_stop(gate.wait, nothing)))

    with record() as trace:
        async with running(grown), trio.open_nursery() as nursery:
            nursery.start_soon(add_provider)
            await wait_all_tasks_blocked()
            nursery.start_soon(grown.add, node("http", nop(), requires=["db"]))
            await wait_all_tasks_blocked()
            gate.set()
            await trio.lowlevel.checkpoint()
            scope.cancel()
            await trio.sleep(1)
    if phases(trace, "http"):
        assert trace.order("db running", "http starting")
        assert trace.order("http stopped", "db stopping")


@pytest.mark.parametrize("moment", ["the wait", "the start"])
async def test_adding_goes_on_while_what_it_requires_starts_anew(moment: str) -> None:
    async def breaks() -> None:
        await trio.sleep(5)
        if trio.current_time() < 6:
            raise OSError("lost")
        await trio.sleep_forever()

    grown = graph(node("db", leaf(breaks), restart=RestartPolicy(backoff=EACH_SECOND)))
    async with running(grown):
        await trio.sleep(5.5 if moment == "the wait" else 4.5)
        await grown.add(node("http", Probe("http", start=1), requires=["db"]))
        assert trio.current_time() == 7


async def test_a_node_that_fails_while_it_is_added_and_taken_down_tells_who_adds_it() -> None:
    async def start() -> None:
        try:
            await trio.sleep(9)
        finally:
            raise ValueError("cannot clean up")

    grown = graph(
        node("db", leaf(fails_after_a_second), restart=RestartPolicy(backoff=lambda: iter([9])))
    )
    async with running(grown):
        with pytest.raises(ValueError, match="cannot clean up"):
            await grown.add(node("http", start_stop(start, nothing), requires=["db"]))
        assert trio.current_time() == 1
        await grown.add(node("clock", nop()))  # the graph goes on


async def test_a_start_of_a_child_goes_on_after_its_siblings_were_taken_down() -> None:
    supervisor = Supervisor(
        child("a", leaf(fails_after_a_second), restart="transient"),
        strategy="one_for_all",
        limit=1,
        backoff=EACH_SECOND,
    )

    async def callback() -> None:
        await trio.sleep(0.5)
        await supervisor.start_child(child("b", Probe("b", start=0.75)))
        assert trio.current_time() == 2.75
        await trio.sleep_forever()

    with pytest.raises(RestartLimitError):
        await supervisor.run(callback)


@pytest.mark.parametrize("limit", [0, math.inf])
@pytest.mark.parametrize("kind", ["restart", "graph", "supervisor"])
async def test_where_the_delays_end_the_last_failure_comes_out(kind: str, limit: float) -> None:
    def once() -> Iterator[float]:
        return iter([1.0])

    r: dict[str, Runnable] = {
        "restart": restart(leaf(fails_after_a_second), RestartPolicy(limit=limit, backoff=once)),
        "graph": graph(
            node("a", leaf(fails_after_a_second), restart=RestartPolicy(limit=limit, backoff=once))
        ),
        "supervisor": Supervisor(child("a", leaf(fails_after_a_second)), limit=limit, backoff=once),
    }
    with pytest.raises(ExceptionGroup) as caught:
        await r[kind].run(trio.sleep_forever)
    found = caught.value.exceptions[0] if kind == "graph" else caught.value
    assert isinstance(found, RestartLimitError)
    assert {str(error) for error in found.exceptions} == {"lost"}


async def test_an_exit_out_of_the_delays_comes_out_bare_law_4() -> None:
    def exits() -> Iterator[float]:
        yield from map(sys.exit, [3])

    r = restart(leaf(fails_after_a_second), RestartPolicy(backoff=exits))
    with pytest.raises(SystemExit):
        await r.run(trio.sleep_forever)


async def test_an_interrupt_beside_too_many_restarts_comes_out_bare_law_4() -> None:
    async def interrupt() -> None:
        raise KeyboardInterrupt

    inner = Supervisor(
        child("b", start_stop(nothing, interrupt)), child("a", leaf(fails_after_a_second)), limit=0
    )
    with pytest.raises(KeyboardInterrupt):
        await Supervisor(child("inner", inner)).run(trio.sleep_forever)


async def test_a_start_that_would_wait_for_itself_is_refused() -> None:
    messages: list[str] = []

    async def start_another() -> None:
        await refused(messages, supervisor.start_child, child("b", nop()))

    async def add_another() -> None:
        await refused(messages, grown.add, node("b", nop(), requires=["a"]))
        await grown.add(node("c", nop()))

    supervisor = Supervisor(child("a", start_stop(start_another, nothing)))
    grown = graph(node("a", start_stop(add_another, nothing)))
    async with running(supervisor), running(grown):
        pass
    assert [message.partition(":")[0] for message in messages] == [
        "cannot start child 'b' from inside of 'a', which is starting",
        "cannot add node 'b' from inside of 'a', which is starting, and which it requires",
    ]


@schedules(20)
async def test_the_error_of_a_job_is_not_lost_with_who_has_waited_for_it() -> None:
    gate, jobs, told = (
        trio.Event(),
        Jobs(on_error=lambda error: told.append(str(error))),
        list[str](),
    )

    async def job() -> None:
        await gate.wait()
        raise OSError("lost")

    async def request() -> None:
        try:
            await jobs.run(job)
        except OSError as error:
            told.append(str(error))

    async with running(jobs), trio.open_nursery() as nursery:
        nursery.start_soon(request)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        gate.set()
    assert told == ["lost"]


async def test_an_interrupt_in_a_job_forces_although_somebody_waits_for_it() -> None:
    jobs, caught = Jobs(), list[type[BaseException]]()

    async def interrupt() -> None:
        raise KeyboardInterrupt

    async def callback() -> None:
        try:
            await jobs.run(interrupt, *())
        except KeyboardInterrupt as error:
            caught.append(type(error))
        await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await jobs.run(callback)
    assert caught == [KeyboardInterrupt]


async def test_a_significant_child_that_is_to_come_again_has_not_ended() -> None:
    async def returns_at_12() -> None:
        await trio.sleep_until(12)

    async def fails_at_10() -> None:
        await trio.sleep_until(10)
        if trio.current_time() == 10:
            raise OSError("lost")
        await trio.sleep_forever()

    async def returns_at_20() -> None:
        await trio.sleep_until(20)

    supervisor = Supervisor(
        child("first", leaf(returns_at_12), restart="transient", significant=True),
        child("fails", leaf(fails_at_10)),
        child("last", leaf(returns_at_20), restart="transient", significant=True),
        strategy="rest_for_one",
        auto_shutdown="all",
        backoff=Backoff(initial=5, factor=1, jitter=0),
    )
    await supervisor.run(trio.sleep_forever)
    assert trio.current_time() == 20


async def test_nothing_starts_anew_once_the_end_has_begun() -> None:
    starts: list[float] = []

    async def fails() -> None:
        starts.append(trio.current_time())
        await fails_after_a_second()

    async def exits() -> None:
        await trio.sleep(1.5)
        raise SystemExit(3)

    async def slow_to_go() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    supervisor = Supervisor(child("a", leaf(fails)), child("b", leaf(exits)), backoff=EACH_SECOND)
    with pytest.raises(SystemExit):
        await supervisor.run(slow_to_go)
    assert starts == [0]


async def test_a_child_of_which_nobody_awaits_the_start_any_more_starts_anew_as_any_other() -> None:
    attempts = itertools.count()

    async def start() -> None:
        if next(attempts) == 1:
            await trio.sleep(5)
            raise OSError("lost")

    supervisor = Supervisor(child("a", start_stop(start, nothing)), backoff=EACH_SECOND)
    async with running(supervisor):
        await supervisor.stop_child("a")
        with trio.move_on_after(1):
            await supervisor.restart_child("a")
        await trio.sleep(10)
        (status,) = supervisor.children()
        assert (status.state, status.restarts) == (State.RUNNING, 1)


async def test_a_node_cannot_remove_itself_by_a_call_that_waits_for_its_end() -> None:
    messages: list[str] = []

    async def leave(handle: WorkerHandle) -> None:
        handle.ready()
        await refused(messages, grown.remove, "a")
        await handle.stopping.wait()

    grown = graph(node("a", worker(leave)))
    async with running(grown):
        await wait_all_tasks_blocked()
    (message,) = messages
    assert message.startswith("cannot stop 'a' from inside of it: it would wait for its own end;")


def fails_once(at: float) -> Runnable:
    """What fails at that time, and runs for ever when it is started later."""

    async def run() -> None:
        if trio.current_time() < at:
            await trio.sleep_until(at)
            raise OSError("lost")
        await trio.sleep_forever()

    return leaf(run)


def starts_of(trace: Any, *names: str) -> list[str]:
    """What starts and runs, in order."""
    found = {f"{name} {what}" for name in names for what in ("starting", "running")}
    events = [f"{event.path} {type(event).__name__.lower()}" for event in trace.events]
    return [each for each in events if each in found]


async def test_a_transient_child_that_has_ended_does_not_start_with_its_siblings_after_it() -> None:
    starts = itertools.count(1)

    async def job(handle: WorkerHandle) -> None:
        if next(starts) == 1:
            handle.ready()
            await handle.stopping.wait()
        else:
            await trio.sleep_until(3)
            handle.ready()
            await trio.sleep(1)  # it returns while the slow one stops

    supervisor = Supervisor(
        child("job", worker(job), restart="transient"),
        child("fails", fails_once(at=2)),
        child("slow", Probe("tasks", stop=4)),
        strategy="rest_for_one",
        backoff=EACH_SECOND,
    )
    with record() as trace:
        async with running(supervisor):
            await trio.sleep(1)
            await supervisor.stop_child("job")
            await supervisor.restart_child("job")
            await trio.sleep(10)
    assert starts_of(trace, "job").count("job starting") == 2


async def test_children_start_one_after_the_other_although_another_one_fails_meanwhile() -> None:
    supervisor = Supervisor(
        child("a", Probe("first")),
        child("b", Probe("second", start=5)),
        child("c", fails_once(at=7)),
        strategy="rest_for_one",
        backoff=EACH_SECOND,
    )
    with record() as trace:
        async with running(supervisor), trio.open_nursery() as nursery:
            await supervisor.stop_child("a")
            await supervisor.stop_child("b")
            nursery.start_soon(supervisor.restart_child, "b")
            await trio.sleep(1)
            nursery.start_soon(supervisor.restart_child, "a")
            await trio.sleep(20)
    assert starts_of(trace, "a", "b")[-4:] == ["b starting", "b running", "a starting", "a running"]
