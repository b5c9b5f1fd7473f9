from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise
from typing import Any, cast

import pytest
import trio

from nestling import (
    Process,
    Runnable,
    StopTimeoutError,
    chain,
    leaf,
    named,
    nop,
    parallel,
    running,
    timeouts,
)
from nestling._kernel._node import current_node
from nestling.observe import describe
from nestling.supervise import Backoff, RestartPolicy, every, restart
from nestling.supervise._chance import CHANCE
from nestling.testing import certify, override, record
from tests.kernel.recording import (
    Recorder,
    failure_of,
    leaves_of,
    no_cycles,
    no_task_left,
    notes_of,
)
from tests.supervise.pressing import ctrl_c_here, run_and_press

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup


class Rounds:
    """A job whose rounds take some seconds and fail as its script says, one entry for each.

    Attributes:
        starts: when each round began.
        most: how many have run at the same time.
        cancelled: how many rounds were.
    """

    def __init__(
        self, *seconds: float, then: float = 0, fails: dict[int, BaseException] | None = None
    ) -> None:
        self.seconds = list(seconds)
        self.then = then
        self.fails = fails or {}
        self.starts: list[float] = []
        self.live = self.most = self.cancelled = 0

    async def round(self) -> None:
        number = len(self.starts)
        self.starts.append(trio.current_time())
        self.live += 1
        self.most = max(self.live, self.most)
        try:
            await trio.sleep(self.seconds.pop(0) if self.seconds else self.then)
            if number in self.fails:
                raise self.fails[number]
        except trio.Cancelled:
            self.cancelled += 1
            raise
        finally:
            self.live -= 1


def lost() -> OSError:
    return OSError("lost")


# When


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        ([], [0, 1, 2, 3, 4]),
        ([0.5, 0.75], [0, 1, 2, 3, 4]),
        ([1], [0, 1, 2, 3, 4]),
        ([2.5], [0, 2.5, 3.5, 4.5]),
        ([0, 1.25, 1.25], [0, 1, 2.25, 3.5, 4.5]),
    ],
    ids=["no time", "less", "just as long", "longer", "longer twice"],
)
async def test_a_round_begins_at_once_and_then_one_every_so_many_seconds(
    seconds: list[float], starts: list[float]
) -> None:
    rounds = Rounds(*seconds)
    async with running(every(1, rounds.round)):
        await trio.sleep(4.75)
    assert rounds.starts == starts
    assert rounds.most == 1


async def test_it_is_running_from_the_beginning_of_its_first_round() -> None:
    rounds = Rounds(5)
    async with running(every(1, rounds.round)):
        assert trio.current_time() == 0
    assert (rounds.starts, trio.current_time()) == ([0], 5)


async def test_rounds_without_a_pause_let_others_run() -> None:
    rounds: list[float] = []

    async def greedy() -> None:  # it has no checkpoint of its own
        rounds.append(trio.current_time())

    async with running(every(0, greedy)):
        for _ in range(10):
            await trio.lowlevel.checkpoint()
    assert 5 <= len(rounds) <= 20


async def test_one_round_is_all_there_is_where_the_next_one_is_never_due() -> None:
    rounds = Rounds()
    async with running(every(float("inf"), rounds.round)):
        await trio.sleep(9999)
    assert rounds.starts == [0]


async def test_chance_takes_away_or_adds_a_part_of_each_pause() -> None:
    CHANCE.seed(5)
    rounds = Rounds()
    async with running(every(10, rounds.round, jitter=0.5)):
        await trio.sleep(2000)
    pauses = [after - before for before, after in pairwise(rounds.starts)]
    assert all(5 <= pause <= 15 for pause in pauses)
    assert min(pauses) < 6
    assert max(pauses) > 14


# Stops


async def test_a_graceful_stop_lets_the_current_round_finish_and_begins_no_other() -> None:
    rounds = Rounds(then=0.5)
    async with running(every(1, rounds.round)):
        await trio.sleep(2.25)
    assert (rounds.starts, trio.current_time(), rounds.cancelled) == ([0, 1, 2], 2.5, 0)


async def test_a_graceful_stop_ends_a_wait_at_once() -> None:
    rounds = Rounds(then=0.5)
    async with running(every(100, rounds.round)):
        await trio.sleep(30)
    assert (rounds.starts, trio.current_time()) == ([0], 30)


@pytest.mark.parametrize(("at", "cancelled"), [(1.25, 1), (1.75, 0)], ids=["round", "wait"])
async def test_a_forced_stop_cancels_what_goes_on(at: float, cancelled: int) -> None:
    rounds = Rounds(then=0.5)
    with trio.move_on_after(at) as scope:
        await every(1, rounds.round).run(trio.sleep_forever)
    assert scope.cancelled_caught
    assert (trio.current_time(), rounds.starts, rounds.cancelled) == (at, [0, 1], cancelled)


async def test_forcing_a_graceful_stop_cancels_the_round() -> None:
    rounds = Rounds(then=10)
    async with trio.open_nursery() as nursery:
        process = Process(nursery, every(20, rounds.round))
        await process.start()
        with trio.move_on_after(3):
            await process.stop()
    assert (trio.current_time(), rounds.cancelled, process.error) == (3, 1, None)


async def test_a_cancellation_reaches_the_dependents_first_law_1() -> None:
    recorder = Recorder()
    with trio.move_on_after(1):
        await every(9, recorder.forever("round")).run(recorder.forever("callback", last=1))
    assert sorted(recorder.trace[:2]) == ["callback", "round"]
    assert recorder.trace[2:] == ["callback cancelled", "callback gone", "round cancelled"]


async def test_a_round_that_never_ends_is_told_by_its_path_when_the_stop_is_too_late() -> None:
    shop = named("shop", timeouts(named("tick", every(1, trio.sleep_forever)), stop=5))
    with pytest.raises(StopTimeoutError) as caught:
        async with running(shop):
            await trio.sleep(1)
    assert caught.value.stuck == ("shop/tick",)
    assert trio.current_time() == 6


# Errors


async def test_a_round_that_fails_cancels_the_callback_and_comes_out_bare() -> None:
    error = lost()
    recorder = Recorder()
    rounds = Rounds(fails={1: error})
    raised = await failure_of(every(1, rounds.round), recorder.forever("callback"))
    assert raised is error
    assert recorder.trace == ["callback", "callback cancelled"]
    assert "lost" in recorder.reasons["callback"]
    assert rounds.starts == [0, 1]


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
async def test_on_error_takes_the_errors_and_the_rounds_go_on(is_async: bool) -> None:
    taken: list[Exception] = []

    async def take(error: Exception) -> None:
        await trio.sleep(0.25)
        taken.append(error)

    rounds = Rounds(fails={0: lost(), 2: ExceptionGroup("two", [lost(), ValueError()])})
    async with running(every(1, rounds.round, on_error=take if is_async else taken.append)):
        await trio.sleep(3.5)
    assert rounds.starts == [0, 1, 2, 3]
    assert taken == [rounds.fails[0], rounds.fails[2]]


async def test_a_graceful_stop_waits_for_on_error() -> None:
    taken: list[Exception] = []

    async def take(error: Exception) -> None:
        await trio.sleep(3)
        taken.append(error)

    rounds = Rounds(1, fails={0: lost()})
    async with running(every(1, rounds.round, on_error=take)):
        await trio.sleep(2)
    assert (taken, trio.current_time(), rounds.starts) == ([rounds.fails[0]], 4, [0])


async def test_an_error_of_on_error_ends_it_with_a_note_of_the_one_that_it_took() -> None:
    def fail(error: Exception) -> None:
        raise ValueError("no log")

    rounds = Rounds(fails={0: lost()})
    raised = await failure_of(every(1, rounds.round, on_error=fail), trio.sleep_forever)
    assert str(raised) == "no log"
    assert notes_of(raised) == ["the round failed as well: OSError: lost"]
    assert rounds.starts == [0]


async def test_on_error_may_raise_the_error_itself() -> None:
    def sift(error: Exception) -> None:
        if not isinstance(error, OSError):
            raise error

    error = ValueError("a bug")
    rounds = Rounds(fails={0: lost(), 1: error})
    raised = await failure_of(every(1, rounds.round, on_error=sift), trio.sleep_forever)
    assert raised is error
    assert notes_of(raised) == []


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
async def test_on_error_gets_no_interrupt_law_4(interrupt: BaseException) -> None:
    taken: list[Exception] = []
    rounds = Rounds(fails={0: interrupt})
    raised = await failure_of(every(1, rounds.round, on_error=taken.append), trio.sleep_forever)
    assert raised is interrupt
    assert taken == []


async def test_a_cancellation_is_no_error_and_hides_none_law_8() -> None:
    taken: list[Exception] = []

    async def fails_when_cancelled() -> None:
        async def fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise OSError("unflushed")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(1) as scope:
        await every(1, fails_when_cancelled, on_error=taken.append).run(trio.sleep_forever)
    assert scope.cancelled_caught
    assert [str(leaf) for error in taken for leaf in leaves_of(error)] == ["unflushed"]
    with trio.move_on_after(1), pytest.raises(ExceptionGroup) as caught:
        await every(1, fails_when_cancelled).run(trio.sleep_forever)
    assert [str(error) for error in caught.value.exceptions] == ["unflushed"]


async def test_the_callbacks_error_comes_out_with_that_of_the_round_as_a_note_law_3() -> None:
    async def fail() -> None:
        await trio.sleep(1)
        raise ValueError("callback")

    rounds = Rounds(2, fails={0: lost()})
    raised = await failure_of(every(1, rounds.round), fail)
    assert str(raised) == "callback"
    assert notes_of(raised) == ["the worker failed as well: OSError: lost"]


# Ctrl-C


@pytest.mark.parametrize("at", [0.5, 1.5], ids=["in a round", "in a wait"])
def test_ctrl_c_forces_law_4(at: float) -> None:
    taken: list[Exception] = []
    rounds = Rounds(then=1)
    pressed = run_and_press(
        every(2, rounds.round, on_error=taken.append), trio.sleep_forever, at=at
    )
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert (pressed.ended, rounds.cancelled, taken) == (at, int(at < 1), [])


def test_ctrl_c_in_the_code_of_a_round_is_not_given_to_on_error_law_4() -> None:
    taken: list[Exception] = []

    async def strike() -> None:
        await trio.sleep(1)
        ctrl_c_here()

    pressed = run_and_press(every(2, strike, on_error=taken.append), trio.sleep_forever)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert (pressed.ended, taken) == (1, [])


# Where it stands


AROUND: dict[str, Callable[[Runnable], Runnable]] = {
    "alone": lambda r: r,
    "chain": lambda r: chain(nop(), r, leaf(trio.sleep_forever)),
    "parallel": lambda r: parallel(r, leaf(trio.sleep_forever)),
    "named": partial(named, "tick"),
    "timeouts": lambda r: timeouts(r, start=1, stop=1),
    "restart": restart,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
async def test_it_runs_and_runs_again_wherever_it_stands_law_9(
    around: Callable[[Runnable], Runnable],
) -> None:
    rounds = Rounds(then=0.25)
    r = around(every(1, rounds.round))
    with no_task_left():
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                process = Process(nursery, r)
                await process.start()
                await trio.sleep(1.125)
                await process.stop()
    assert rounds.starts == [0, 1, 1.25, 2.25]


async def test_it_can_run_twice_at_the_same_time() -> None:
    rounds = Rounds()
    tick = every(1, rounds.round)
    async with running(chain(tick, tick)):
        await trio.sleep(1.5)
    assert rounds.starts == [0, 0, 1, 1]


async def test_it_is_started_anew_by_a_restart() -> None:
    rounds = Rounds(fails={1: lost()})
    policy = RestartPolicy(backoff=Backoff(initial=1, jitter=0))
    async with running(restart(every(2, rounds.round), policy)):
        await trio.sleep(5.5)
    assert rounds.starts == [0, 2, 3, 5]


async def test_it_can_be_overridden() -> None:
    rounds = Rounds()
    shop = named("shop", chain(named("tick", every(1, rounds.round)), nop()))
    async with running(override(shop, {"tick": nop()})):
        await trio.sleep(3)
    assert rounds.starts == []


async def test_it_appears_under_the_name_of_what_is_done() -> None:
    paths: list[str] = []

    async def remove_expired() -> None:
        await trio.lowlevel.checkpoint()
        node = current_node()
        assert node is not None
        paths.append(node.path)

    tick = every(1, remove_expired)
    with record() as trace:
        async with running(named("shop", chain(tick, nop()))):
            await trio.sleep(1.5)
    assert trace.names("stopped") == ["remove_expired", "shop"]
    assert paths == ["shop/remove_expired"] * 2
    assert describe(tick).name == "remove_expired"


@pytest.mark.parametrize("part", ["a round", "on_error", "on_error, of the same error"])
async def test_no_cycle_keeps_the_traceback_law_6(part: str) -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        def again(error: Exception) -> None:
            try:
                raise error if "same" in part else ValueError("Marker")
            finally:
                del error

        r = every(1, fails, on_error=None if part == "a round" else again)
        with pytest.raises((OSError, ValueError), match="Marker") as caught:
            await r.run(trio.lowlevel.checkpoint)
        del caught


# Bad input


async def tick() -> None:
    await trio.lowlevel.checkpoint()


def not_async() -> None:
    """Not a round."""


async def generates(error: Exception) -> Any:
    yield error


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: every(-1, tick), ValueError, r"seconds of every\('tick'\) must be zero or more"),
        (lambda: every(cast("Any", "1"), tick), TypeError, r"seconds of every\('tick'\) must be a"),
        (lambda: every(1, cast("Any", not_async)), TypeError, r"fn of every\(\) must be an async"),
        (lambda: every(1, cast("Any", tick())), TypeError, r"every\(\) must.* it is a coroutine"),
        (lambda: every(1, cast("Any", trio.sleep)), TypeError, r"every\(\) is called with no arg"),
        (lambda: every(1, tick, jitter=2), ValueError, r"jitter of every\('tick'\) must be from 0"),
        (
            lambda: every(1, tick, on_error=cast("Any", 5)),
            TypeError,
            r"on_error of every\('tick'\) must be a function of an error, not 5 \(int\)",
        ),
        (
            lambda: every(1, tick, on_error=cast("Any", not_async)),
            TypeError,
            r"on_error of every\('tick'\) is called with one argument, but 'not_async' takes no",
        ),
        (
            lambda: every(1, tick, on_error=generates),
            TypeError,
            r"on_error of every\('tick'\) must be a function of an error, not 'generates'",
        ),
    ],
)
def test_bad_input_is_refused(
    make: Callable[[], Runnable], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make()


# Certificates


def take(error: Exception) -> None:
    """Take an error."""


async def take_its_time(error: Exception) -> None:
    await trio.sleep(0.0001)


async def short() -> None:
    await trio.sleep(0.0005)


Round = Callable[[], Awaitable[object]]


@pytest.mark.parametrize(
    "make",
    [
        lambda: every(0.0003, short),
        lambda: every(0.0007, short),
        lambda: every(0.0003, short, on_error=take),
        lambda: every(0.0003, short, on_error=take_its_time),
        lambda: chain(every(0.0007, short), leaf(trio.sleep_forever)),
        lambda: parallel(every(0.0007, short), named("two", every(0.0003, short))),
    ],
    ids=["no pause", "a pause", "on_error", "async on_error", "in a chain", "in a parallel"],
)
def test_it_is_safe_at_each_point(make: Callable[[], Runnable]) -> None:
    certify(make, limit=250).check()
