"""The order in which a tree of controllers stops, whatever makes it stop (law 1)."""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from nestling import (
    Process,
    StopTimeoutError,
    chain,
    leaf,
    named,
    parallel,
    running,
    sequential,
    timeouts,
)
from nestling.supervise import Controller
from nestling.testing import record as recorded
from tests.kernel.ctrl_c import at_each_call
from tests.kernel.recording import Recorder, failure_of, leaves_of, no_task_left, notes_of
from tests.supervise.growing import LEVELS, Bound, grow, levels, pair

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


FILES = [
    str(Path(inspect.getfile(Controller)).with_name(name))
    for name in ("_controller", "_supervised_run", "_incarnation")
]


@pytest.fixture
def record() -> Recorder:
    return Recorder()


async def test_gracefully(record: Recorder) -> None:
    root = Controller()
    with no_task_left():
        await root.run(partial(grow, root, record))
    assert levels(record.trace) == LEVELS
    assert trio.current_time() == 3
    assert not any("cancelled" in entry for entry in record.trace)


async def grow_and_stay(root: Controller, record: Recorder) -> None:
    await grow(root, record)
    await record.forever("callback", last=1)()


def forced(record: Recorder) -> bool:
    """Whether each stop function was cancelled, and nothing stopped before the callback."""
    stopped = record.trace[: record.trace.index("callback gone")]
    workers = {"a", "b", "c", "d", "e"}
    return not workers & set(stopped) and {f"{each} cancelled" for each in workers} <= set(
        record.trace
    )


async def test_cancelled_from_outside(record: Recorder) -> None:
    root = Controller()
    with no_task_left(), trio.move_on_after(5) as scope:
        await root.run(partial(grow_and_stay, root, record))
    assert scope.cancelled_caught
    assert levels(record.trace) == LEVELS
    assert forced(record)
    assert trio.current_time() == 6


@pytest.mark.parametrize("seconds", [0.5, 1.5, 2.5])
async def test_cancelled_while_it_stops_gracefully(record: Recorder, seconds: float) -> None:
    root = Controller()
    with trio.move_on_after(seconds):
        await root.run(partial(grow, root, record))
    assert levels(record.trace) == LEVELS
    assert trio.current_time() == seconds


@pytest.mark.parametrize("kind", [OSError, SystemExit, KeyboardInterrupt])
async def test_by_an_error_of_the_callback(record: Recorder, kind: type[BaseException]) -> None:
    root, error = Controller(), kind("lost")

    async def callback() -> None:
        await grow(root, record)
        raise error

    assert await failure_of(root, callback) is error
    assert levels(record.trace) == LEVELS
    assert ("c cancelled" in record.trace) is not isinstance(error, Exception)


@pytest.mark.parametrize("where", ["root", "dependent"])
@pytest.mark.parametrize("kind", [OSError, SystemExit])
async def test_by_a_worker_that_fails(
    record: Recorder, where: str, kind: type[BaseException]
) -> None:
    root, error = Controller(), kind("lost")
    fails = leaf(record.does("fails", takes=5, fails=error))

    async def callback() -> None:
        await grow(root, record)
        controller = root if where == "root" else root.dependent(name="own")
        await controller.launch(fails, name="fails")
        await record.forever("callback", last=1)()

    raised = await failure_of(root, callback)
    assert leaves_of(raised) == [error]
    assert levels(record.trace) == LEVELS
    path = "fails" if where == "root" else "own/fails"
    assert record.reasons["callback"].startswith(f"controller stops, since {path!r} failed: ")
    signatures = ["in 'fails'"] if where == "root" else ["in 'fails'", "in 'own'"]
    assert notes_of(error) == signatures
    if isinstance(error, Exception):
        assert isinstance(raised, ExceptionGroup)
        assert raised.message == f"1 below the controller failed: {path!r}"
        assert trio.current_time() == 9
    else:
        assert raised is error
        assert forced(record)


@pytest.mark.parametrize("seconds", [2.0, 5.5, 6.5])
def test_by_a_real_ctrl_c(record: Recorder, seconds: float) -> None:
    root = Controller()

    async def press() -> None:
        await trio.sleep(seconds)
        signal.raise_signal(signal.SIGINT)

    async def callback() -> None:
        await grow(root, record)
        await trio.sleep(5)

    async def main() -> None:
        trio.lowlevel.spawn_system_task(press)
        await root.run(callback)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert levels(record.trace) == LEVELS
    ended = "d cancelled" if seconds < 6 else "d done"
    assert ended in record.trace
    assert {"a cancelled", "b cancelled"} <= set(record.trace)


def test_by_a_real_ctrl_c_as_any_function_begins() -> None:
    def run() -> tuple[list[str], int]:
        record, root = Recorder(), Controller()
        left = 0

        async def callback() -> None:
            root.bind(Bound(record, "r"))
            await root.launch(pair(record, "a"))
            await root.dependent().launch(pair(record, "b"))

        async def main() -> None:
            nonlocal left
            before = trio.lowlevel.current_statistics().tasks_living
            try:
                await root.run(callback)
                await trio.lowlevel.checkpoint()
            finally:
                left = trio.lowlevel.current_statistics().tasks_living - before

        with suppress(KeyboardInterrupt):
            trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        return [entry for entry in record.trace if " " not in entry], left

    possible: list[list[str]] = [[], ["r"], ["a", "r"], ["b", "a", "r"]]
    seen: list[list[str]] = []
    for function, (stopped, left) in at_each_call(run, *FILES):
        assert stopped in possible, function
        assert not left, function
        seen.append(stopped)
    assert len(seen) > 100
    assert all(each in seen for each in possible)


@pytest.mark.parametrize(
    ("stuck", "paths"),
    [
        ("d", ["app/a", "app/web/c", "app/web/dependent[0]/d", "app/b"]),
        ("c", ["app/a", "app/web/c", "app/b"]),
        ("b", ["app/b"]),
        ("r3", ["app/a", "app/b", "app/web/closing"]),
    ],
)
async def test_at_a_deadline_whose_error_names_who_is_stuck_and_who_waits_for_it(
    record: Recorder, stuck: str, paths: list[str]
) -> None:
    root = Controller()
    bounded = timeouts(named("app", root), stop=10)
    error = await failure_of(bounded, partial(grow, root, record, stuck=stuck))
    assert isinstance(error, StopTimeoutError)
    assert list(error.stuck) == paths
    assert trio.current_time() == 10
    assert levels(record.trace) == LEVELS
    assert f"{stuck} cancelled" in record.trace


async def test_with_a_grace_it_stops_gracefully_although_it_is_cancelled(record: Recorder) -> None:
    root = Controller()
    with trio.move_on_after(5):
        await timeouts(root, grace=10).run(partial(grow_and_stay, root, record))
    assert levels(record.trace) == LEVELS
    assert "c done" in record.trace


# Within others ------------------------------------------------------------------------------------

Around = Callable[[Controller, Callable[[], Awaitable[None]]], Awaitable[object]]


async def in_chain(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    await chain(leaf(trio.sleep_forever), root, leaf(trio.sleep_forever)).run(f)


async def in_parallel(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    await parallel(leaf(trio.sleep_forever), named("app", root)).run(f)


async def in_sequential(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    await sequential(root, leaf(trio.sleep_forever)).run(f)


async def in_process(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        process = Process(nursery, root, name="app")
        await process.start()
        await f()
        await process.stop()


async def in_running(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    async with running(root):
        await f()


async def in_controller(root: Controller, f: Callable[[], Awaitable[None]]) -> None:
    outer = Controller()

    async def callback() -> None:
        await outer.launch(root, name="app")
        await f()

    await outer.run(callback)


@pytest.mark.parametrize(
    "around", [in_chain, in_parallel, in_sequential, in_process, in_running, in_controller]
)
async def test_within_others(record: Recorder, around: Around) -> None:
    root = Controller()
    with no_task_left():
        await around(root, partial(grow, root, record))
    assert levels(record.trace) == LEVELS
    assert not any("cancelled" in entry for entry in record.trace)


async def test_its_dependents_in_a_chain_stop_before_all_that_it_has_launched(
    record: Recorder,
) -> None:
    root = Controller()
    shop = chain(pair(record, "db"), root, pair(record, "http"))
    await shop.run(partial(grow, root, record))
    assert record.trace[:2] == ["http", "http done"]
    assert record.trace[-2:] == ["db", "db done"]
    assert levels(record.trace[2:-2]) == LEVELS


async def test_a_slow_dependent_is_waited_for_by_nobody_but_its_own_controller(
    record: Recorder,
) -> None:
    root = Controller()

    async def callback() -> None:
        slow, fast = root.dependent(name="slow"), root.dependent(name="fast")
        await slow.launch(pair(record, "slow", takes=5))
        await fast.dependent().launch(pair(record, "inner"))
        await fast.launch(pair(record, "fast"))
        fast.bind(Bound(record, "bound"))
        await root.launch(pair(record, "root"))

    await root.run(callback)
    assert [entry for entry in record.trace if entry != "slow"] == [
        "inner",
        "inner done",
        "fast",
        "fast done",
        "bound",
        "slow done",
        "root",
        "root done",
    ]


async def test_the_run_tree_shows_dependents_below_their_controllers(record: Recorder) -> None:
    root = Controller()
    with recorded() as trace:
        await named("app", root).run(partial(grow, root, record))
    trace.assert_order(
        "app running",
        "app/a running",
        "app/web running",
        "app/web/c running",
        "app/web/dependent[0] running",
        "app/web/dependent[0]/e running",
        "app/b running",
        "app stopping",
        "app/web/dependent[0] stopping",
        "app/web/dependent[0]/e stopped",
        "app/web/dependent[0] stopped",
        "app/web stopping",
        "app/web/c stopped",
        "app/web/closing stopped",
        "app/web stopped",
        "app/b stopping",
        "app/closing stopped",
        "app stopped",
    )


# What fails while it stops ------------------------------------------------------------------------


async def test_one_resource_that_fails_to_close(record: Recorder) -> None:
    root, error = Controller(), OSError("full")
    raised: Any = await failure_of(root, partial(grow, root, record, fails=error))
    assert raised.message == "1 below the controller failed: 'web/closing'"
    assert raised.exceptions == (error,)
    assert notes_of(error) == ["in 'web'"]
    assert levels(record.trace) == LEVELS


async def test_several_resources_that_fail_and_a_worker_as_well(record: Recorder) -> None:
    root = Controller()
    errors = [OSError(f"full {number}") for number in range(3)]
    lost = ValueError("lost")

    async def callback() -> None:
        root.bind(Bound(record, "x", fails=errors[0]), Bound(record, "y", fails=errors[1]))
        await root.launch(leaf(record.does("worker", takes=1, fails=lost)), name="worker")
        await grow(root, record, fails=errors[2])
        await trio.sleep_forever()

    raised: Any = await failure_of(root, callback)
    assert raised.message == ("3 below the controller failed: 'worker', 'web/closing', 'closing'")
    assert leaves_of(raised) == [lost, errors[2], errors[1], errors[0]]
    assert record.trace[-4:] == ["r2", "r1", "y", "x"]


async def test_the_callback_s_error_comes_out_bare_and_the_others_are_its_notes(
    record: Recorder,
) -> None:
    root, error = Controller(), ValueError("mine")

    async def callback() -> None:
        await grow(root, record, fails=OSError("full"))
        raise error

    assert await failure_of(root, callback) is error
    (note,) = notes_of(error)
    assert note.startswith("the controller failed as well: ExceptionGroup: 1 below the controller")
    assert "OSError: full" in note


async def test_a_resource_that_is_interrupted_when_it_closes_forces_the_rest(
    record: Recorder,
) -> None:
    root = Controller()
    assert isinstance(
        await failure_of(root, partial(grow, root, record, fails=SystemExit(3))), SystemExit
    )
    assert levels(record.trace) == LEVELS
    assert {"a cancelled", "b cancelled", "c done"} <= set(record.trace)
