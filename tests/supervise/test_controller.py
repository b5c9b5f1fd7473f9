"""What a controller does when, what it looks like, and what it leaves."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
import trio

from nestling import (
    ExitedBeforeRunningError,
    InvalidStateError,
    WorkerHandle,
    chain,
    named,
    nop,
    running,
    service,
    start_stop,
    worker,
)
from nestling.observe import describe, render
from nestling.supervise import Backoff, Controller, RestartPolicy, restart
from nestling.testing import Probe, override, record as recorded
from tests.kernel.recording import Marker, Recorder, no_cycles
from tests.supervise.growing import Bound, pair

if TYPE_CHECKING:
    pass

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


@pytest.fixture
def record() -> Recorder:
    return Recorder()


# From the stop on ---------------------------------------------------------------------------------


async def test_a_launch_that_still_starts_when_the_stop_begins_is_given_up(
    record: Recorder,
) -> None:
    root = Controller()
    refused: list[BaseException] = []

    async def launch() -> None:
        try:
            await root.launch(
                start_stop(record.does("start", takes=9), trio.lowlevel.checkpoint), name="late"
            )
        except InvalidStateError as error:
            refused.append(error.with_traceback(None))

    async with trio.open_nursery() as nursery:
        async with running(root):
            await root.dependent().launch(pair(record, "slow", takes=5))
            nursery.start_soon(launch)
            await trio.sleep(1)
        assert trio.current_time() == 6
    assert set(record.trace[1:3]) == {"start cancelled", "slow"}
    assert [str(error) for error in refused] == ["cannot launch 'late': its controller stops"]
    assert isinstance(refused[0].__cause__, ExitedBeforeRunningError)
    assert record.reasons["start"] == "the start of 'late' is given up"


@pytest.mark.parametrize("fails", [False, True])
async def test_nothing_is_launched_and_nobody_depends_any_more_once_the_stop_has_begun(
    record: Recorder, fails: bool
) -> None:
    root = Controller()
    web = root.dependent()

    async def last(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        for controller in (root, web):
            with pytest.raises(InvalidStateError, match="cannot launch 'nop': its controller sto"):
                await controller.launch(nop())
            with pytest.raises(InvalidStateError, match="cannot make a dependent: its controller"):
                controller.dependent()
            controller.bind(Bound(record, "bound"))
        record("refused")

    async def callback() -> None:
        await web.launch(worker(last))
        if fails:
            await root.launch(Probe("fails", run=1, fail="run"))
            await trio.sleep_forever()

    if fails:
        with pytest.raises(ExceptionGroup):
            await root.run(callback)
    else:
        await root.run(callback)
    assert record.trace == ["refused", "bound", "bound"]


async def test_a_dependent_that_is_over_takes_nothing_to_close(record: Recorder) -> None:
    root = Controller()

    async def last(handle: WorkerHandle) -> None:
        handle.ready()
        await handle.stopping.wait()
        with pytest.raises(InvalidStateError, match="cannot bind to a controller that has stopped"):
            web.bind(Bound(record, "late"))
        record("refused")

    web = root.dependent()
    async with running(root):
        await root.launch(worker(last))
    assert record.trace == ["refused"]


async def test_what_is_bound_while_resources_are_closed_is_closed_as_well(
    record: Recorder,
) -> None:
    root = Controller()

    class Binds:
        def close(self) -> None:
            record("binds")
            root.bind(Bound(record, "late"))

    async with running(root):
        root.bind(Bound(record, "first"), Binds())
    assert record.trace == ["binds", "late", "first"]


# Before a run, and from run to run ----------------------------------------------------------------


async def test_before_it_runs_it_can_be_prepared_but_launches_nothing(record: Recorder) -> None:
    root = Controller()
    web = root.dependent(name="web")
    root.bind(Bound(record, "root"))
    web.bind(Bound(record, "web"))
    for controller in (root, web):
        with pytest.raises(
            InvalidStateError, match="cannot launch 'x': its controller is not running"
        ):
            await controller.launch(nop(), name="x")
    async with running(root):
        await web.launch(pair(record, "a"))
    assert record.trace == ["a", "a done", "web", "root"]


async def test_it_can_be_run_again_with_what_was_there_before_its_first_run(
    record: Recorder,
) -> None:
    root = Controller()
    root.bind(Bound(record, "root"))
    web = root.dependent()
    web.bind(Bound(record, "web"))
    passing: list[Controller] = []

    async def callback() -> None:
        await web.launch(pair(record, "a"))
        passing.append(root.dependent())
        passing[-1].bind(Bound(record, "passing"))
        root.bind(Bound(record, "once"))

    for number in range(2):
        await root.run(callback)
        assert sorted(record.trace[:3]) == ["a", "a done", "passing"]
        assert record.trace[3:] == ["web", "once", "root"]
        record.trace.clear()
        assert len(passing) == number + 1
    async with running(root):
        with pytest.raises(InvalidStateError, match="cannot launch 'nop': its controller has stop"):
            await passing[0].launch(nop())
        with pytest.raises(InvalidStateError, match="cannot bind to a controller that has stopped"):
            passing[0].bind(Bound(record, "never closed"))
        with pytest.raises(InvalidStateError, match="cannot make a dependent: its controller has"):
            passing[0].dependent()


async def test_it_starts_anew_in_a_restart(record: Recorder) -> None:
    root = Controller()
    rounds: list[float] = []

    async def fill(handle: WorkerHandle) -> None:
        rounds.append(trio.current_time())
        await root.launch(pair(record, "a"))
        handle.ready()
        if len(rounds) < 3:
            await trio.sleep(1)
            raise OSError("lost")
        await handle.stopping.wait()

    policy = RestartPolicy(backoff=Backoff(initial=1, factor=1, jitter=0))
    async with running(restart(chain(root, worker(fill)), policy)):
        await trio.sleep(20)
    assert rounds == [0, 3, 6]
    assert record.trace == ["a", "a done"] * 3


async def test_it_does_not_run_twice_at_the_same_time() -> None:
    async with running(root := Controller()):
        with pytest.raises(InvalidStateError, match="cannot run a controller that is running"):
            await root.run(trio.lowlevel.checkpoint)
        with pytest.raises(InvalidStateError, match="cannot run a controller that is running"):
            await root.launch(root)
        await root.launch(nop())


async def test_a_dependent_is_not_run_by_itself() -> None:
    root = Controller()
    web = root.dependent()
    with pytest.raises(InvalidStateError, match="cannot run a dependent of a controller: it runs"):
        await web.run(trio.lowlevel.checkpoint)
    async with running(root):
        with pytest.raises(InvalidStateError, match="cannot run a dependent of a controller"):
            await root.launch(web)


async def test_its_dependents_and_all_around_see_it_run_before_anything_is_launched() -> None:
    root = Controller()
    web = root.dependent(name="web")

    async def late() -> None:
        await web.launch(Probe("a"))

    with recorded() as trace:
        await chain(named("app", root), start_stop(late, trio.lowlevel.checkpoint)).run(
            trio.lowlevel.checkpoint
        )
    trace.assert_order("app/web running", "app running", "app/web/a running", "app/web/a stopped")


# What it looks like -------------------------------------------------------------------------------


async def test_it_is_one_node_of_a_composition_and_can_be_replaced(record: Recorder) -> None:
    root = Controller()
    shop = chain(named("db", pair(record, "db")), named("app", root))
    assert render(describe(shop), "text") == "chain\n├── db (start_stop)\n└── app (controller)\n"
    assert repr(root) == "Controller()"
    assert repr(root.dependent()) == "Controller().dependent()"
    async with running(override(shop, {"db": nop()})):
        await root.launch(pair(record, "a"))
    assert record.trace == ["a", "a done"]
    async with running(override(shop, {"app": nop()})):
        with pytest.raises(InvalidStateError, match="its controller is not running"):
            await root.launch(nop())


async def test_what_is_launched_runs_below_it_whoever_launches_it() -> None:
    root = Controller()

    async def launch() -> None:
        await root.launch(nop(), name="a")

    with recorded() as trace:
        await chain(
            named("app", root), named("web", start_stop(launch, trio.lowlevel.checkpoint))
        ).run(trio.lowlevel.checkpoint)
    assert trace.order("app/a running", "web running")


def text_of(action: Callable[[], object]) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        action()
    return str(caught.value)


async def test_bad_input_is_refused_whatever_the_state(record: Recorder) -> None:
    root = Controller()
    with pytest.raises(TypeError, match=r"r of launch\(\) must be a runnable, .* not 5 \(int\)"):
        await root.launch(cast("Any", 5))
    with pytest.raises(ValueError, match=r"name of launch\(\) must be a non-empty, printable"):
        await root.launch(nop(), name="a/b")
    assert text_of(lambda: root.dependent(name="")).startswith("name of dependent() must be a non")
    good = Bound(record, "good")
    assert text_of(lambda: root.bind(good, object())).startswith(
        "argument 2 of bind() must have a method 'aclose' or 'close', unlike <object object"
    )
    async with running(root):
        assert text_of(lambda: root.bind(good, 5)).startswith("argument 2 of bind() must have a")
    assert record.trace == [], "nothing is bound if one of them cannot be"


# What is left -------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["a launch", "a worker", "a worker whose process is kept"])
async def test_no_cycle_keeps_the_traceback_of_an_error(how: str) -> None:
    root = Controller()

    async def failing(mark: Callable[[], Marker], *, task_status: trio.TaskStatus[None]) -> None:
        marker = mark()
        if how != "a launch":
            task_status.started()
            await trio.lowlevel.checkpoint()
        raise OSError(f"lost {marker!r:.0}")

    async def callback(mark: Callable[[], Marker]) -> None:
        process = await root.launch(service(failing, mark))
        if how == "a worker":
            del process
        await trio.sleep_forever()

    with no_cycles() as mark:
        try:
            await root.run(lambda: callback(mark))
        except (OSError, ExceptionGroup) as error:
            del error
        else:
            pytest.fail("it has not failed")


async def test_no_cycle_keeps_the_traceback_of_a_resource_that_fails_to_close() -> None:
    class Broken:
        def __init__(self, mark: Callable[[], Marker]) -> None:
            self.mark = mark

        def close(self) -> None:
            marker = self.mark()
            raise OSError(f"lost {marker!r:.0}")

    root = Controller()
    with no_cycles() as mark:
        try:
            async with running(root):
                root.bind(Broken(mark))
        except ExceptionGroup as error:
            del error


async def test_dependents_of_dependents_may_be_as_deep_as_memory_allows(record: Recorder) -> None:
    root = inner = Controller()
    for _ in range(1000):
        inner = inner.dependent(name="d")
    async with running(root):
        for _ in range(1000):
            inner = inner.dependent(name="d")
        await inner.launch(pair(record, "innermost"))
        root.bind(Bound(record, "root"))
    assert record.trace == ["innermost", "innermost done", "root"]
