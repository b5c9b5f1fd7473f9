from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
import trio

from nestling import (
    Process,
    RestartLimitError,
    Runnable,
    State,
    chain,
    leaf,
    named,
    resource,
    running,
    service,
    start_stop,
    timeouts,
)
from nestling.observe import Restarting
from nestling.supervise import Backoff, RestartPolicy, restart
from nestling.testing import Probe, certify, override, record

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

STEADY = Backoff(initial=1, factor=1, jitter=0)
POLICY = RestartPolicy(backoff=STEADY)
ALWAYS = RestartPolicy("always", STEADY)


class Worker:
    """Ends as its script says, one line for each run; after that it stays.

    Attributes:
        starts: when each run began.
        most: how many have run at the same time.
    """

    def __init__(self, *script: BaseException | None, seconds: float = 1) -> None:
        self.script = list(script)
        self.seconds = seconds
        self.starts: list[float] = []
        self.live = self.most = 0

    async def run(self) -> None:
        self.starts.append(trio.current_time())
        self.live += 1
        self.most = max(self.live, self.most)
        try:
            if not self.script:
                await trio.sleep_forever()
            await trio.sleep(self.seconds)
            error = self.script.pop(0)
            if error is not None:
                raise error
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.25)
            self.live -= 1


def lost() -> OSError:
    return OSError("lost")


async def test_what_fails_is_started_anew_and_the_callback_does_not_notice() -> None:
    worker = Worker(lost(), lost())
    async with running(restart(leaf(worker.run), POLICY)) as process:
        await trio.sleep(10)
        assert process.state is State.RUNNING
    assert worker.starts == [0, 2.25, 4.5]
    assert worker.most == 1


async def test_it_is_not_ready_until_what_it_runs_first_is() -> None:
    worker = Worker(lost())

    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        if len(worker.starts) > 0:
            task_status.started()
        await worker.run()

    async with running(restart(service(serve), POLICY)):
        assert trio.current_time() == 2.25
        assert worker.starts == [0, 2.25]


async def test_a_return_ends_it_or_starts_it_anew_as_the_policy_says() -> None:
    worker = Worker(None)
    async with running(restart(leaf(worker.run), POLICY)):
        await trio.sleep(99)
    assert (worker.starts, trio.current_time()) == ([0], 1.25)
    again = Worker(None, None)
    async with running(restart(leaf(again.run), ALWAYS)):
        await trio.sleep(10)
    assert [start - 1.25 for start in again.starts] == [0, 2.25, 4.5]


async def test_too_many_restarts_come_out_with_the_last_failures() -> None:
    worker = Worker(*[OSError(number) for number in range(9)], seconds=0.5)
    policy = RestartPolicy(backoff=Backoff(initial=0, jitter=0), limit=2, period=5)
    with pytest.raises(RestartLimitError) as caught:
        async with running(restart(named("db", leaf(worker.run)), policy)):
            await trio.sleep_forever()
    assert [str(error) for error in caught.value.exceptions] == ["0", "1", "2"]
    assert caught.value.message == "'db': too many restarts, more than 2 in 5 s"


@pytest.mark.parametrize(
    "interrupt",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        BaseExceptionGroup("two", [lost(), KeyboardInterrupt()]),
        BaseExceptionGroup("two", [ExceptionGroup("one", [lost()]), SystemExit()]),
    ],
    ids=["KeyboardInterrupt", "SystemExit", "grouped", "grouped deeper"],
)
async def test_nothing_starts_anew_after_an_interrupt(interrupt: BaseException) -> None:
    worker = Worker(interrupt)
    with pytest.raises(type(interrupt)) as caught:
        await restart(leaf(worker.run), ALWAYS).run(trio.sleep_forever)
    assert caught.value is interrupt
    assert worker.starts == [0]


async def test_what_fails_in_a_group_is_started_anew() -> None:
    worker = Worker(ExceptionGroup("two", [lost(), ExceptionGroup("one", [ValueError()])]))
    async with running(restart(leaf(worker.run), POLICY)):
        await trio.sleep(5)
    assert worker.starts == [0, 2.25]


async def a_cancelled() -> trio.Cancelled:
    kept: list[trio.Cancelled] = []

    async def keep() -> None:
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise

    with trio.CancelScope() as scope:
        scope.cancel("to have one")
        await keep()
    return kept[0]


async def test_nothing_starts_anew_after_a_cancellation() -> None:
    worker = Worker(await a_cancelled())
    await restart(leaf(worker.run), ALWAYS).run(trio.sleep_forever)
    assert worker.starts == [0]


async def test_nothing_starts_anew_after_an_error_beside_a_cancellation() -> None:
    worker = Worker(BaseExceptionGroup("two", [await a_cancelled(), lost()]))
    with pytest.raises(ExceptionGroup) as caught:
        await restart(leaf(worker.run), ALWAYS).run(trio.sleep_forever)
    assert [str(error) for error in caught.value.exceptions] == ["lost"]
    assert worker.starts == [0]


async def test_a_stop_during_the_wait_before_a_restart_ends_it_at_once() -> None:
    worker = Worker(lost())
    policy = RestartPolicy(backoff=Backoff(initial=100, maximum=100, jitter=0))
    async with trio.open_nursery() as nursery:
        process = Process(nursery, restart(leaf(worker.run), policy))
        await process.start()
        await trio.sleep(50)
        await process.stop()
        assert trio.current_time() == 50
    assert worker.starts == [0]


async def test_a_stop_during_a_restart_lets_no_second_copy_run() -> None:
    worker = Worker(lost())

    async def slow() -> None:
        worker.starts.append(trio.current_time())
        if len(worker.starts) > 1:
            await trio.sleep(10)

    async def stop() -> None:
        pass

    pair = chain(start_stop(slow, stop), leaf(worker.run))
    async with running(restart(pair, POLICY)):
        await trio.sleep(3)  # in the second start
    assert trio.current_time() == 3
    assert worker.starts == [0, 0, 2.25]


async def test_two_incarnations_never_overlap_even_if_the_first_is_slow_to_end() -> None:
    worker = Worker(*[lost()] * 3)
    policy = RestartPolicy(backoff=Backoff(initial=0, jitter=0))
    async with running(restart(leaf(worker.run), policy)):
        await trio.sleep(10)
    assert worker.most == 1
    assert worker.starts == [0, 1.25, 2.5, 3.75]


async def test_restarts_are_seen_in_the_run_tree_with_attempt_and_delay() -> None:
    worker = Worker(lost(), lost())
    policy = RestartPolicy(backoff=Backoff(initial=1, factor=2, jitter=0))
    with record() as trace:
        async with running(named("shop", restart(named("db", leaf(worker.run)), policy))):
            await trio.sleep(10)
    restarts = [event for event in trace.events if isinstance(event, Restarting)]
    assert [(event.path, event.attempt, event.delay, str(event.error)) for event in restarts] == [
        ("shop/db", 1, 1, "lost"),
        ("shop/db", 2, 2, "lost"),
    ]
    assert trace.names("starting") == ["shop", "db", "db", "db"]
    assert trace.live() == ()


async def test_a_part_of_it_can_be_overridden() -> None:
    composed = named("shop", restart(named("db", Probe("real")), POLICY))
    changed = override(composed, {"db": Probe("db", run=1, fail=lost())})
    with record() as trace:
        async with running(changed):
            await trio.sleep(2.5)
    assert trace.names("starting") == ["shop", "db", "db"]


async def test_a_stop_that_takes_too_long_is_told_by_its_path() -> None:
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)

    shop = named("shop", timeouts(restart(named("db", leaf(stubborn)), POLICY), stop=1))
    with pytest.raises(TimeoutError, match="shop/db"):
        async with running(shop):
            await trio.sleep(1)


def test_bad_input_is_refused() -> None:
    with pytest.raises(TypeError, match=r"r of restart\(\) must be a runnable"):
        restart(cast("Any", 5))
    with pytest.raises(TypeError, match=r"policy of restart\('serve'\) must be a RestartPolicy"):
        restart(resource(serve), cast("Any", "always"))


def serve() -> Any:
    raise NotImplementedError


Make = Callable[[], Runnable]


@pytest.mark.parametrize(
    "make",
    [
        lambda: restart(leaf(trio.sleep_forever)),
        lambda: restart(Probe("db", start=0.1, stop=0.1), ALWAYS),
        lambda: chain(Probe("a"), restart(chain(Probe("b"), Probe("c"))), Probe("d")),
        lambda: restart(restart(named("db", Probe("db", kind="start_stop")), POLICY), ALWAYS),
    ],
    ids=["leaf", "worker", "in a chain", "nested"],
)
def test_it_is_safe_at_each_point(make: Make) -> None:
    certify(make, limit=250).check()
