from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio

from nestling import (
    Callback,
    Runnable,
    StopTimeoutError,
    chain,
    leaf,
    named,
    nop,
    parallel,
    sequential,
    service,
    start_stop,
    timeouts,
)
from tests.kernel import sweeping
from tests.kernel.composing import nothing
from tests.kernel.recording import failure_of, leaves_of, no_cycles, no_task_left, notes_of
from tests.kernel.sweeping import (
    COMPOSITIONS,
    Built,
    How,
    InjectedError,
    Make,
    Probes,
    Run,
    by_process,
    by_run,
    by_running,
    cancel,
    faults,
    interrupt,
    run_once,
    strikes,
)

if TYPE_CHECKING:
    from tests.kernel.ctrl_c import Sweep
    from tests.kernel.recording import Recorder

compositions = pytest.mark.parametrize(
    "make", [pytest.param(make, id=name) for name, make in COMPOSITIONS.items()]
)
ways_to_run = pytest.mark.parametrize("how", [by_run, by_running])


# Law 1, order; with it, of each run: law 6, nothing is left; law 3, no error is lost


@compositions
@ways_to_run
def test_order_holds_when_the_callback_returns_law_1(make: Make, how: How) -> None:
    run = run_once(make, how)
    run.check()
    assert run.raised is None
    assert not run.cancelled
    assert {event for event in run.probes.trace if event.endswith("end")} == {
        f"{name} end" for name in (*run.built.names, "body")
    }


@compositions
@ways_to_run
def test_order_holds_when_it_is_cancelled_at_any_step_law_1(make: Make, how: How) -> None:
    runs = list(strikes(make, cancel, how))
    assert runs
    for run in runs:
        assert run.raised is None, run.probes.trace
    assert runs[0].cancelled


@compositions
@ways_to_run
def test_order_holds_when_ctrl_c_is_pressed_at_any_step_laws_1_and_4(make: Make, how: How) -> None:
    for run in strikes(make, interrupt, how):
        assert type(run.raised) is KeyboardInterrupt, run.probes.trace


@pytest.mark.parametrize("how", [by_run, by_running, by_process])
def test_order_holds_when_ctrl_c_is_pressed_at_any_line_laws_1_and_4(
    sweep: Sweep, how: How
) -> None:
    for name, make in COMPOSITIONS.items():

        def run(make: Make = make) -> Run:
            return run_once(make, how, strike=interrupt)

        for line, struck in sweep.strikes(run):
            struck.check()
            assert set(map(type, struck.errors)) == {KeyboardInterrupt}, (name, line)
            # A nursery is around a process: it makes groups.
            assert how is by_process or (len(struck.errors) == 1 and struck.raised in struck.errors)


@compositions
@ways_to_run
def test_order_holds_wherever_an_error_is_raised_laws_1_and_3(make: Make, how: How) -> None:
    runs = list(faults(make, InjectedError, how))
    assert runs
    for run, fault in runs:
        assert run.errors == [fault], run.probes.trace
        if "body fails" in run.probes.trace:
            assert run.raised is fault


@compositions
@ways_to_run
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_order_holds_wherever_an_interrupt_is_raised_laws_1_and_4(
    make: Make, how: How, error: type[BaseException]
) -> None:
    for run, fault in faults(make, error, how):
        assert run.raised is fault, run.probes.trace


@pytest.mark.parametrize("name", ["in tasks", "parallel", "sequential, reverse", "named", "grace"])
def test_an_error_is_not_lost_in_a_cancellation_at_any_step_law_3(name: str) -> None:
    make = COMPOSITIONS[name]
    places = len(list(faults(make, InjectedError)))
    for place, step in itertools.product(range(places), range(0, 40, 3)):
        fault = InjectedError()
        run = run_once(make, strike=cancel, step=step, fault=fault, place=place)
        run.check()
        raised = any(event.endswith("fails") for event in run.probes.trace)
        assert run.errors == ([fault] if raised else []), (place, step, run.probes.trace)


@compositions
@pytest.mark.parametrize("moment", [0.5, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5])
def test_order_holds_when_a_deadline_passes_law_1(make: Make, moment: float) -> None:
    async def bounded(runnable: Runnable, f: Callback) -> None:
        async def callback() -> None:
            with trio.move_on_after(moment):
                await f()

        await timeouts(runnable, start=moment, stop=moment).run(callback)

    run = run_once(make, bounded)
    run.check()
    for error in run.errors:
        assert isinstance(error, TimeoutError)


@pytest.mark.parametrize(
    "trace",
    [
        "a enter, body enter, a ready, body end, a over, a end",
        "a enter, a ready, body enter, a over, body end, a end",
        "a enter, a ready, body enter, a end, body end, a over",
        "a enter, a ready, body enter, body end, a over",
        "a enter, a ready, body enter, body end, a end",
        "a enter, a ready, body enter, body end, a over, a over, a end",
        "a enter, a ready, body enter, a fails, a over, a end",
    ],
)
def test_the_check_of_a_sweep_finds_what_breaks_the_order(trace: str) -> None:
    run = Run(Built(nop(), ("a",)), Probes(trace=trace.split(", ")))
    with pytest.raises(AssertionError):
        run.check()


# Law 2, two ways to stop


async def test_forcing_a_graceful_stop_takes_effect_at_once_law_2(record: Recorder) -> None:
    shop = chain(
        start_stop(record.does("a"), record.does("a stop", takes=9)),
        leaf(record.forever("b"), record.does("b stop", takes=9)),
    )
    with trio.move_on_after(1) as scope:
        await shop.run(nothing)
    assert scope.cancelled_caught
    assert trio.current_time() == 1
    assert record.trace[-2:] == ["a stop", "a stop cancelled"]
    assert {"b cancelled", "b stop cancelled"} < set(record.trace[:-2])


async def test_a_graceful_stop_is_not_cancelled_anywhere_law_2(record: Recorder) -> None:
    shop = chain(
        start_stop(nothing, record.does("a", takes=1)),
        parallel(start_stop(nothing, record.does("b", takes=2)), nop()),
        sequential(start_stop(nothing, record.does("c", takes=3)), nop()),
    )
    await shop.run(nothing)
    assert record.trace == ["c", "c done", "b", "b done", "a", "a done"]


@pytest.mark.parametrize("combine", [chain, parallel, sequential])
async def test_a_cancellation_before_the_start_starts_nothing_law_2(
    record: Recorder, combine: Callable[..., Runnable]
) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("now")
        group = combine(start_stop(record.does("a"), nothing), leaf(record.does("b")))
        await group.run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


# Law 3, one error out


async def test_the_first_that_failed_causes_the_error_of_its_dependent_law_3(
    record: Recorder,
) -> None:
    async def dependent() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("connection lost")

    crash = OSError("crash")
    shop = chain(
        named("db", leaf(record.does("db", takes=1, fails=crash))), start_stop(nothing, nothing)
    )
    error = await failure_of(shop, dependent)
    assert isinstance(error, ValueError)
    assert error.__cause__ is crash


# Law 5, identity and associativity


@pytest.mark.parametrize("combine", [chain, parallel, sequential])
def test_one_runnable_stays_itself_and_none_is_nop_law_5(
    combine: Callable[..., Runnable],
) -> None:
    class Foreign:
        async def run(self, f: Callback) -> None:
            await f()

    foreign = Foreign()
    assert combine(foreign) is foreign
    assert repr(combine()) == repr(nop())


def _associations() -> list[Make]:
    s = sweeping
    return [
        lambda p: s.chain(p.start_stop("a"), p.leaf("b"), p.resource("c"), p.foreign("d")),
        lambda p: s.chain(
            s.chain(p.start_stop("a"), p.leaf("b")), s.chain(p.resource("c"), p.foreign("d"))
        ),
        lambda p: s.chain(
            p.start_stop("a"), s.chain(p.leaf("b"), s.chain(p.resource("c"), p.foreign("d")))
        ),
        lambda p: s.chain(
            s.chain(s.chain(p.start_stop("a"), p.leaf("b")), p.resource("c")), p.foreign("d")
        ),
    ]


@pytest.mark.parametrize("place", range(-1, 10))
def test_chain_is_associative_in_behaviour_law_5(place: int) -> None:
    traces: set[tuple[str, ...]] = set()
    outcomes: set[str] = set()
    for make in _associations():
        for _ in range(3):
            run = run_once(make, fault=InjectedError("x"), place=place)
            # The body does not wait for the foreground of a leaf to begin.
            traces.add(tuple(event for event in run.probes.trace if event != "b enter"))
            outcomes.add(repr(run.raised))
    assert len(traces) == 1
    assert len(outcomes) == 1


async def test_a_name_changes_nothing_but_notes_law_5(record: Recorder) -> None:
    broken = OSError("no")
    r = start_stop(nothing, record.does("stop", takes=1, fails=broken))
    assert await failure_of(named("a", named("b", r)), nothing) is broken
    assert notes_of(broken) == ["in 'b'", "in 'a'"]


# Law 6, nothing is left


MOMENTS = ["start", "run", "stop", "callback", "cancelled"]


@pytest.mark.parametrize("moment", MOMENTS)
async def test_no_reference_cycle_keeps_an_error_of_a_chain_law_6(moment: str) -> None:
    with no_cycles() as mark, no_task_left():

        async def fail() -> None:
            _marker = mark()
            raise OSError(moment)

        async def hold_on_and_fail() -> None:
            try:
                await trio.sleep_forever()
            finally:
                await fail()

        members: dict[str, list[Runnable]] = {
            "start": [start_stop(fail, nothing)],
            "stop": [start_stop(nothing, fail)],
            "run": [leaf(fail)],
            "callback": [],
            "cancelled": [leaf(hold_on_and_fail)],
        }
        shop = chain(leaf(trio.sleep_forever), *members[moment], *[nop()] * 40, nop())
        f = {"callback": fail, "run": trio.sleep_forever}.get(moment, nothing)
        with pytest.raises(OSError, match=moment):
            await shop.run(f)
        await trio.lowlevel.checkpoint()


# Law 8, cancellation is honest


async def test_each_cancellation_names_its_node_and_its_cause_law_8(record: Recorder) -> None:
    db = named("db", leaf(record.does("db", takes=1, fails=OSError("crash"))))
    web = named("web", leaf(record.forever("web")))
    with pytest.raises(OSError, match="crash"):
        await named("shop", chain(db, web)).run(record.forever("callback"))
    assert record.reasons == {
        "callback": "leaf 'function' in 'shop/db' has failed: OSError: crash",
        "web": "leaf 'function' in 'shop/db' has failed: OSError: crash",
    }


async def test_a_group_names_itself_where_it_cancels_law_8(record: Recorder) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await record.forever("serve")()

    crash = leaf(record.does("crash", takes=1, fails=OSError("no")))
    for combine in (parallel, sequential):
        group: Runnable = combine(named("http", service(serve)), named("job", crash))
        await failure_of(named("shop", group), record.forever("callback"))
        kind = combine.__name__
        assert record.reasons["callback"] == (
            f"{kind} in 'shop' stops, since 'job' failed: OSError: no"
        )
        assert record.reasons["serve"].startswith(f"{kind} in 'shop' stops")


async def test_a_stop_forced_by_an_interrupt_says_so_law_8(record: Recorder) -> None:
    shop = named("db", start_stop(nothing, record.forever("stop")))
    await failure_of(shop, record.does("callback", fails=SystemExit(1)))
    assert record.reasons["stop"] == (
        "start_stop 'nothing' in 'db' is forced to stop by SystemExit"
    )


async def test_a_cancelled_run_is_caught_by_the_scope_that_was_cancelled_law_8(
    record: Recorder,
) -> None:
    shop = chain(
        leaf(record.forever("a")),
        parallel(leaf(record.forever("b")), start_stop(nothing, record.does("c stop", takes=9))),
        timeouts(start_stop(nothing, record.does("d stop", takes=9)), stop=1),
    )
    with trio.CancelScope() as around, trio.move_on_after(1) as scope, trio.CancelScope() as inside:
        await shop.run(record.forever("callback"))
    assert [s.cancelled_caught for s in (around, scope, inside)] == [False, True, False]


async def test_an_error_comes_out_of_a_cancelled_run_law_8() -> None:
    async def stop() -> None:
        await trio.sleep(2)

    with trio.move_on_after(1):
        error = await failure_of(timeouts(start_stop(nothing, stop), stop=0.5), nothing)
        assert isinstance(error, StopTimeoutError)
        assert leaves_of(error) == [error]


def test_the_compositions_of_the_sweeps_are_what_they_say() -> None:
    for make in COMPOSITIONS.values():
        assert inspect.iscoroutinefunction(make(Probes()).runnable.run)
