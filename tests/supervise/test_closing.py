from __future__ import annotations

import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from functools import partial
from typing import Any, cast

import pytest
import trio

from nestling import (
    Callback,
    InvalidStateError,
    Process,
    Runnable,
    StopTimeoutError,
    chain,
    leaf,
    named,
    nop,
    parallel,
    running,
    sequential,
    start_stop,
    timeouts,
)
from nestling.observe import describe
from nestling.supervise import Backoff, Closing, RestartPolicy, closing, restart
from nestling.testing import certify, override, record
from tests.kernel.ctrl_c import at_each_call
from tests.kernel.recording import (
    Marker,
    Recorder,
    failure_of,
    leaves_of,
    no_cycles,
    no_task_left,
    notes_of,
)
from tests.supervise.pressing import Pressed, ctrl_c_here, run_and_press

if sys.version_info < (3, 11):
    from exceptiongroup import ExceptionGroup


class Opened:
    """What records that it is closed, asynchronously."""

    def __init__(self, recorder: Recorder, name: str, **how: Any) -> None:
        self._close = recorder.does(name, **how)

    async def aclose(self) -> None:
        await self._close()


class Plain:
    """What has a plain ``close``."""

    def __init__(self, recorder: Recorder, name: str, fails: BaseException | None = None) -> None:
        self.recorder = recorder
        self.name = name
        self.fails = fails

    def close(self) -> None:
        self.recorder(self.name)
        if self.fails is not None:
            raise self.fails


class AsyncClose:
    """What has a ``close`` that is async."""

    def __init__(self, recorder: Recorder, name: str) -> None:
        self.close = recorder.does(name, takes=1)


class Both(Opened):
    """What has a plain ``close`` as well as an ``aclose``."""

    def close(self) -> None:
        raise AssertionError("aclose() comes first")


async def nothing() -> None:
    await trio.lowlevel.checkpoint()


# Two ways to use it


Use = Callable[[Closing, Callback], Awaitable[None]]


async def as_manager(resources: Closing, body: Callback) -> None:
    async with resources:
        await body()


async def as_runnable(resources: Closing, body: Callback) -> None:
    await resources.run(body)


async def as_member(resources: Closing, body: Callback) -> None:
    await chain(nop(), parallel(resources, leaf(trio.sleep_forever))).run(body)


uses = pytest.mark.parametrize("use", [as_manager, as_runnable, as_member])
alone = pytest.mark.parametrize("use", [as_manager, as_runnable])


async def failure_in(use: Use, resources: Closing, body: Callback) -> BaseException:
    try:
        await use(resources, body)
    except BaseException as raised:
        return raised
    raise AssertionError("it has not failed")


# Order


@uses
async def test_all_are_closed_in_reverse_order_one_after_the_other(use: Use) -> None:
    recorder = Recorder()
    resources = closing(
        Opened(recorder, "a", takes=1),
        Plain(recorder, "b"),
        AsyncClose(recorder, "c"),
        Both(recorder, "d", takes=1),
    )
    await use(resources, recorder.does("body", takes=1))
    assert recorder.trace == ["body", "body done", "d", "d done", "c", "c done", "b", "a", "a done"]


@uses
async def test_it_may_be_empty(use: Use) -> None:
    recorder = Recorder()
    await use(closing(), recorder.does("body"))
    assert recorder.trace == ["body"]


async def test_what_is_added_is_closed_first() -> None:
    recorder = Recorder()
    async with closing(Plain(recorder, "a"), Plain(recorder, "b")) as opened:
        c = Plain(recorder, "c")
        assert opened.add(c) is c
        opened.add(Plain(recorder, "d"))
    assert recorder.trace == ["d", "c", "b", "a"]


async def test_what_is_added_while_all_are_closed_is_closed_next() -> None:
    recorder = Recorder()

    class Adds(Opened):
        async def aclose(self) -> None:
            await super().aclose()
            resources.add(Plain(recorder, "added"))

    resources = closing(Plain(recorder, "a"), Adds(recorder, "b"))
    await resources.run(nothing)
    assert recorder.trace == ["b", "added", "a"]


async def test_each_run_closes_what_it_was_made_of_and_what_was_added_only_once_law_9() -> None:
    recorder = Recorder()
    resources = closing(Plain(recorder, "a"))
    async with resources:
        resources.add(Plain(recorder, "added"))
    async with running(resources):
        pass
    assert recorder.trace == ["added", "a", "a"]


async def test_what_depends_on_the_resources_is_gone_before_they_are_closed_law_1() -> None:
    recorder = Recorder()
    shop = chain(closing(Plain(recorder, "closed")), leaf(recorder.forever("leaf", last=2)))
    with trio.move_on_after(1):
        await shop.run(recorder.forever("callback", last=1))
    assert recorder.trace[2:] == [
        "callback cancelled",
        "callback gone",
        "leaf cancelled",
        "leaf gone",
        "closed",
    ]


# Only on error


async def test_what_is_released_is_not_closed_here_but_by_what_it_is_handed_on_to() -> None:
    recorder = Recorder()
    async with closing(Plain(recorder, "a")) as opened:
        opened.add(Plain(recorder, "b"))
        released = opened.release()
        opened.add(Plain(recorder, "added later"))
    assert recorder.trace == ["added later"]
    await released.run(recorder.does("body"))
    assert recorder.trace == ["added later", "body", "b", "a"]


async def test_what_fails_before_it_is_released_is_closed() -> None:
    recorder = Recorder()

    async def open_two(fails: bool) -> Closing:
        async with closing() as opened:
            opened.add(Plain(recorder, "a"))
            await trio.lowlevel.checkpoint()
            if fails:
                raise OSError("b")
            opened.add(Plain(recorder, "b"))
            return opened.release()

    with pytest.raises(OSError, match="b"):
        await open_two(fails=True)
    assert recorder.trace == ["a"]
    await open_two(fails=False)
    assert recorder.trace == ["a"]
    with trio.CancelScope() as scope:
        scope.cancel()
        await open_two(fails=False)
    assert recorder.trace == ["a"]


# Errors


@alone
async def test_one_that_fails_keeps_no_other_from_being_closed_and_comes_out_bare_law_3(
    use: Use,
) -> None:
    recorder = Recorder()
    error = OSError("b")
    resources = closing(
        Plain(recorder, "a"), Opened(recorder, "b", fails=error), Plain(recorder, "c")
    )
    assert await failure_in(use, resources, nothing) is error
    assert recorder.trace == ["c", "b", "a"]


@alone
async def test_several_that_fail_come_out_as_a_group_that_counts_and_names_them_law_3(
    use: Use,
) -> None:
    recorder = Recorder()
    resources = closing(
        Opened(recorder, "a", fails=OSError("a")),
        Opened(recorder, "b"),
        Plain(recorder, "c", fails=ValueError("c")),
    )
    error = await failure_in(use, resources, nothing)
    assert str(error).startswith("2 of 3 resources failed: 'Plain.close', 'Opened.aclose'")
    assert type(error) is ExceptionGroup
    assert [str(each) for each in leaves_of(error)] == ["c", "a"]
    assert recorder.trace == ["c", "b", "a"]


@alone
async def test_an_error_of_the_body_comes_out_with_notes_of_others_law_3(use: Use) -> None:
    recorder = Recorder()
    resources = closing(
        Plain(recorder, "a", fails=OSError("a")), Plain(recorder, "b", fails=OSError("b"))
    )
    error = ValueError("body")
    assert await failure_in(use, resources, recorder.does("body", fails=error)) is error
    (note,) = notes_of(error)
    assert note == (
        "closing failed as well: ExceptionGroup: 2 of 2 resources failed: "
        "'Plain.close', 'Plain.close' (OSError: b, while handling ValueError: body; "
        "OSError: a, while handling ValueError: body)"
    )
    assert recorder.trace == ["body", "b", "a"]


async def test_hidden_errors_reach_observers_whole_law_3() -> None:
    recorder = Recorder()
    hidden = OSError("a")
    with record() as trace:
        await failure_of(
            named("files", closing(Plain(recorder, "a", fails=hidden))),
            recorder.does("body", fails=ValueError("body")),
        )
    (stopped,) = [event for event in trace.events if type(event).__name__ == "Stopped"]
    assert cast("Any", stopped).suppressed == (hidden,)


# Cancellations


@uses
async def test_a_cancellation_closes_all_in_a_cancelled_scope_laws_2_and_8(use: Use) -> None:
    recorder = Recorder()
    resources = closing(
        Opened(recorder, "a", takes=9), Plain(recorder, "b"), Opened(recorder, "c", takes=9)
    )
    with trio.move_on_after(1) as scope:
        await use(resources, recorder.forever("body"))
    assert scope.cancelled_caught
    assert trio.current_time() == 1
    assert recorder.trace == [
        "body",
        "body cancelled",
        "c",
        "c cancelled",
        "b",
        "a",
        "a cancelled",
    ]


@uses
async def test_forcing_a_graceful_close_takes_effect_at_once_law_2(use: Use) -> None:
    recorder = Recorder()
    resources = closing(Opened(recorder, "a", takes=9), Opened(recorder, "b", takes=9))
    with trio.move_on_after(2) as scope:
        await use(resources, nothing)
    assert scope.cancelled_caught
    assert recorder.trace == ["b", "b cancelled", "a", "a cancelled"]


@alone
async def test_a_cancellation_hides_no_error_of_closing_law_8(use: Use) -> None:
    recorder = Recorder()
    resources = closing(Plain(recorder, "a", fails=OSError("a")), Opened(recorder, "b", takes=9))
    with trio.move_on_after(1):
        error = await failure_in(use, resources, recorder.forever("body"))
        assert [str(each) for each in leaves_of(error)] == ["a"]
    assert recorder.trace == ["body", "body cancelled", "b", "b cancelled", "a"]


@uses
async def test_what_is_cancelled_before_it_is_open_enters_no_body_law_2(use: Use) -> None:
    """What it was given is open already: it is closed, unless it was never run at all."""
    recorder = Recorder()
    with trio.CancelScope() as scope:
        scope.cancel()
        await use(closing(Plain(recorder, "a")), recorder.does("body"))
    assert scope.cancelled_caught
    assert recorder.trace == ([] if use is as_member else ["a"])


async def test_a_close_that_never_ends_is_told_by_its_path_when_the_stop_is_too_late() -> None:
    recorder = Recorder()
    files = closing(Plain(recorder, "a"), Opened(recorder, "b", takes=float("inf")))
    with pytest.raises(StopTimeoutError) as caught:
        await timeouts(named("files", files), stop=5).run(nothing)
    assert caught.value.stuck == ("files",)
    assert trio.current_time() == 5
    assert recorder.trace == ["b", "b cancelled", "a"]


# Interrupts


@alone
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_an_interrupt_of_the_body_closes_in_a_cancelled_scope_law_4(
    use: Use, interrupt: BaseException
) -> None:
    recorder = Recorder()
    resources = closing(Plain(recorder, "a"), Opened(recorder, "b", takes=9))
    body = recorder.does("body", fails=interrupt)
    assert await failure_in(use, resources, body) is interrupt
    assert recorder.trace == ["body", "b", "b cancelled", "a"]
    assert type(interrupt).__name__ in recorder.reasons["b"]


@alone
async def test_an_interrupt_of_a_close_closes_the_others_in_a_cancelled_scope_law_4(
    use: Use,
) -> None:
    recorder = Recorder()
    interrupt = SystemExit(3)
    resources = closing(
        Plain(recorder, "a"),
        Opened(recorder, "b", takes=9),
        Plain(recorder, "c", fails=interrupt),
        Plain(recorder, "d", fails=OSError("d")),
    )
    body = recorder.does("body", fails=ValueError("body"))
    assert await failure_in(use, resources, body) is interrupt
    assert recorder.trace == ["body", "d", "c", "b", "b cancelled", "a"]
    assert sorted(notes_of(interrupt)) == [
        "Plain.close failed as well: OSError: d, while handling ValueError: body",
        "the body failed as well: ValueError: body",
    ]


@alone
def test_ctrl_c_while_one_is_closed_closes_the_others_law_4(use: Use) -> None:
    recorder = Recorder()
    resources = closing(
        Plain(recorder, "a"), Opened(recorder, "b", takes=9), Opened(recorder, "c", takes=9)
    )

    class Used:
        async def run(self, f: Callback) -> None:
            await use(resources, f)

    pressed = run_and_press(Used(), nothing, at=2)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert pressed.ended == 2
    assert recorder.trace == ["c", "b", "b cancelled", "a"]


def test_ctrl_c_in_the_code_of_a_close_closes_the_others_law_4() -> None:
    recorder = Recorder()

    class Strikes(Plain):
        def close(self) -> None:
            super().close()
            ctrl_c_here()

    resources = closing(Plain(recorder, "a"), Strikes(recorder, "b"))
    pressed = run_and_press(resources, nothing)
    assert isinstance(pressed.error, KeyboardInterrupt)
    assert recorder.trace == ["b", "a"]


@alone
def test_ctrl_c_at_any_call_keeps_nothing_from_being_closed_law_4(use: Use) -> None:
    def run() -> tuple[list[str], Pressed]:
        recorder = Recorder()
        resources = closing(Opened(recorder, "a"), Plain(recorder, "b"), Opened(recorder, "c"))

        class Used:
            async def run(self, f: Callback) -> None:
                await use(resources, f)

        pressed = run_and_press(Used(), recorder.does("body"))
        return recorder.trace, pressed

    struck = list(at_each_call(run, str(inspect.getsourcefile(Closing))))
    assert {"__aenter__", "__aexit__", "_close_all", "_close"} <= {name for name, _ in struck}
    for name, (trace, pressed) in struck:
        assert isinstance(pressed.error, KeyboardInterrupt), name
        closed = [each for each in trace if each in {"a", "b", "c"}]
        allowed = [["c", "b", "a"]]
        if "body" not in trace:
            allowed.append([])  # it may have been too early to open it
        if name == "_close":
            allowed.append(["c", "a"])  # as if it had struck at the first line of the method
        assert closed in allowed, name


# Where it stands


AROUND: dict[str, Callable[[Runnable], Runnable]] = {
    "alone": lambda r: r,
    "chain": lambda r: chain(nop(), r, leaf(trio.sleep_forever)),
    "parallel": lambda r: parallel(r, leaf(trio.sleep_forever)),
    "sequential": lambda r: sequential(leaf(trio.sleep_forever), r),
    "named": partial(named, "files"),
    "timeouts": lambda r: timeouts(r, start=1, stop=1),
    "restart": restart,
}


@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
async def test_it_runs_and_runs_again_wherever_it_stands_law_9(
    around: Callable[[Runnable], Runnable],
) -> None:
    recorder = Recorder()
    r = around(closing(Plain(recorder, "a"), Plain(recorder, "b")))
    with no_task_left():
        for _ in range(2):
            async with trio.open_nursery() as nursery:
                process = Process(nursery, r)
                await process.start()
                recorder("runs")
                await process.stop()
    assert recorder.trace == ["runs", "b", "a"] * 2


async def test_it_cannot_run_twice_at_the_same_time_law_9() -> None:
    recorder = Recorder()
    resources = closing(Plain(recorder, "a"))
    message = r"cannot open closing in 'files': it is open; make another one"
    with pytest.raises(InvalidStateError, match=message):
        await chain(resources, named("files", resources)).run(recorder.does("body"))
    assert recorder.trace == ["a"]
    with pytest.RaisesGroup(InvalidStateError):
        await parallel(resources, resources).run(recorder.does("body"))
    assert recorder.trace == ["a", "a"]
    await resources.run(recorder.does("body"))
    assert recorder.trace == ["a", "a", "body", "a"]


async def test_what_a_restart_starts_anew_is_closed_each_time() -> None:
    recorder = Recorder()
    worker = leaf(recorder.does("worker", takes=1, fails=OSError("lost")))
    policy = RestartPolicy(backoff=Backoff(initial=1, jitter=0))
    async with running(restart(chain(closing(Plain(recorder, "closed")), worker), policy)):
        await trio.sleep(2.5)
    assert recorder.trace == [
        "worker",
        "worker done",
        "closed",
        "worker",
        "worker cancelled",
        "closed",
    ]


async def test_it_can_be_overridden() -> None:
    recorder = Recorder()
    shop = named("shop", chain(named("files", closing(Plain(recorder, "closed"))), nop()))
    async with running(override(shop, {"files": closing(Plain(recorder, "fake"))})):
        pass
    assert recorder.trace == ["fake"]


async def test_it_is_one_node_of_the_run_tree() -> None:
    recorder = Recorder()
    files = closing(Plain(recorder, "a"))
    with record() as trace:
        await chain(named("shop", chain(files, nop())), named("files", closing())).run(nothing)
    assert trace.names("stopped") == ["files", "closing", "shop"]
    assert describe(files).kind == "closing"
    assert repr(files) == "closing(Plain.close)"


async def test_law_7_all_is_called_in_the_task_that_runs_it() -> None:
    tasks: list[trio.lowlevel.Task] = []

    class Sees:
        def close(self) -> None:
            tasks.append(trio.lowlevel.current_task())

    async def body() -> None:
        await trio.lowlevel.checkpoint()
        tasks.append(trio.lowlevel.current_task())

    await closing(Sees()).run(body)
    assert tasks == [trio.lowlevel.current_task()] * 2


@alone
@pytest.mark.parametrize("part", ["body", "aclose", "close", "all"])
async def test_no_cycle_keeps_the_traceback_law_6(use: Use, part: str) -> None:
    with no_cycles() as mark:

        class Fails:
            async def aclose(self) -> None:
                marker = mark()
                await trio.lowlevel.checkpoint()
                raise OSError(marker.__class__)

        class FailsPlainly:
            def close(self) -> None:
                marker = mark()
                raise OSError(marker.__class__)

        async def body() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            if part in {"body", "all"}:
                raise OSError(marker.__class__)

        resources: list[object] = []
        if part in {"aclose", "all"}:
            resources.append(Fails())
        if part in {"close", "all"}:
            resources.append(FailsPlainly())
        with pytest.raises(OSError, match=Marker.__name__) as caught:
            await use(closing(*resources), body)
        del caught


# Bad input


def test_what_cannot_be_closed_is_refused() -> None:
    recorder = Recorder()
    with pytest.raises(
        TypeError, match=r"argument 2 of closing\(\) must have a method 'aclose' or"
    ):
        closing(Plain(recorder, "a"), 5)
    with pytest.raises(TypeError, match=r"argument 1 of closing\(\) must have .* unlike 'Plain'"):
        closing(Plain)
    with pytest.raises(TypeError, match=r"argument 1 .* is a coroutine: await 'nothing' first"):
        closing(nothing())

    class Odd:
        close = 5

    with pytest.raises(TypeError, match=r"argument 1 of closing\(\) must have a method"):
        closing(Odd())


async def test_what_cannot_be_closed_is_not_added_and_not_where_it_is_not_open() -> None:
    recorder = Recorder()
    resources = closing()
    with pytest.raises(InvalidStateError, match=r"cannot add .*: closing\(\) is not open"):
        resources.add(Plain(recorder, "a"))
    with pytest.raises(InvalidStateError, match=r"cannot release .*: closing\(\) is not open"):
        resources.release()
    async with resources:
        with pytest.raises(TypeError, match=r"resource of add\(\) must have a method 'aclose' or"):
            resources.add(cast("Any", None))
    with pytest.raises(InvalidStateError, match=r"cannot add .*: closing\(\) is not open"):
        resources.add(Plain(recorder, "a"))
    assert recorder.trace == []


async def test_generators_are_closed_as_well() -> None:
    recorder = Recorder()

    def lines() -> Generator[int, None, None]:
        try:
            yield 1
        finally:
            recorder("closed")

    async def rows() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            await recorder.does("aclosed")()

    line, row = lines(), rows()
    next(line)
    await row.__anext__()
    await closing(line, row).run(nothing)
    assert recorder.trace == ["aclosed", "closed"]


# Certificates


def short() -> Opened:
    return Opened(Recorder(), "short", takes=0.0005)


Make = Callable[[], Runnable]


@pytest.mark.parametrize(
    "make",
    [
        lambda: closing(short(), Plain(Recorder(), "a"), short()),
        lambda: chain(closing(short()), leaf(trio.sleep_forever), closing(short())),
        lambda: parallel(closing(short(), short()), named("two", closing(short()))),
        lambda: sequential(closing(short()), start_stop(nothing, nothing)),
    ],
    ids=["alone", "in a chain", "in a parallel", "in a sequential"],
)
def test_it_is_safe_at_each_point(make: Make) -> None:
    certify(make, limit=250).check()
