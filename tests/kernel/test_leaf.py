from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Literal

import attrs
import pytest
import trio

from nestling import UnexpectedReturnError, leaf, nop, parallel
from tests.kernel.recording import failure_of, no_cycles, no_task_left, notes_of

if TYPE_CHECKING:
    from tests.kernel.recording import Recorder


async def test_it_calls_back_without_waiting_for_its_foreground(record: Recorder) -> None:
    await leaf(record.forever("run")).run(record.does("callback", takes=1))
    assert record.trace == ["callback", "run", "callback done", "run cancelled"]


async def test_without_stop_its_foreground_is_cancelled_after_the_callback(
    record: Recorder,
) -> None:
    await leaf(record.forever("run", last=1)).run(record.does("callback", takes=1))
    assert record.trace == ["callback", "run", "callback done", "run cancelled", "run gone"]
    assert trio.current_time() == 2


async def test_with_stop_it_waits_until_its_foreground_returns_by_itself(record: Recorder) -> None:
    asked = trio.Event()

    async def stop() -> None:
        record("stop")
        asked.set()

    async def run() -> None:
        record("run")
        await asked.wait()
        await trio.sleep(5)
        record("run returns")

    await leaf(run, stop).run(record.does("callback", takes=1))
    assert record.trace == ["callback", "run", "callback done", "stop", "run returns"]
    assert trio.current_time() == 6


async def test_a_stop_that_raises_cancels_the_foreground(record: Recorder) -> None:
    server = leaf(record.forever("run"), record.does("stop", fails=OSError("no")))
    error = await failure_of(server, record.does("callback", takes=1))
    assert record.trace == ["callback", "run", "callback done", "stop", "run cancelled"]
    assert record.reasons["run"] == "the stop function of leaf 'function' failed: OSError: no"
    assert isinstance(error, OSError)
    assert notes_of(error) == []


async def test_a_stop_that_hangs_is_cancelled_together_with_the_foreground(
    record: Recorder,
) -> None:
    server = leaf(record.forever("run", last=1), record.forever("stop", last=2))
    with trio.move_on_after(3) as scope:
        await server.run(record.does("callback", takes=1))
    assert scope.cancelled_caught
    assert record.trace[:4] == ["callback", "run", "callback done", "stop"]
    assert sorted(record.trace[4:6]) == ["run cancelled", "stop cancelled"]
    assert record.trace[6:] == ["run gone", "stop gone"]
    assert trio.current_time() == 5


async def test_a_foreground_that_goes_on_after_its_stop_can_still_be_cancelled(
    record: Recorder,
) -> None:
    with trio.move_on_after(3) as scope:
        await leaf(record.forever("run"), record.does("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace[-1] == "run cancelled"
    assert trio.current_time() == 3


async def test_a_stop_that_is_cancelled_by_a_scope_of_its_own_lets_the_foreground_end(
    record: Recorder,
) -> None:
    asked = trio.Event()

    async def stop() -> None:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        asked.set()

    await leaf(record.does("run", takes=asked), stop).run(record.does("callback"))
    assert record.trace[-1] == "run done"


async def test_a_finite_job_that_is_done_stays_running_and_is_stopped(record: Recorder) -> None:
    job = leaf(record.does("run", takes=1), record.does("stop"), on_return="stay")
    for group in (job, parallel(job, nop())):
        await group.run(record.does("callback", takes=2))
        assert sorted(record.trace[:2]) == ["callback", "run"]
        assert record.trace[2:] == ["run done", "callback done", "stop"]
        record.trace.clear()


@pytest.mark.parametrize("on_return", ["stop", "fail"])
async def test_stop_is_not_called_where_the_foreground_has_ended(
    record: Recorder, on_return: Literal["stop", "fail"]
) -> None:
    server = leaf(record.does("run", takes=1), record.does("stop"), on_return=on_return)
    if on_return == "fail":
        assert isinstance(
            await failure_of(server, record.does("callback", takes=2)), UnexpectedReturnError
        )
    else:
        await server.run(record.does("callback", takes=2))
    assert "stop" not in record.trace


async def test_on_return_stop_cancels_the_callback_and_ends_without_an_error(
    record: Recorder,
) -> None:
    await leaf(record.does("run", takes=1)).run(record.forever("callback"))
    assert record.trace == ["callback", "run", "run done", "callback cancelled"]
    assert record.reasons["callback"] == "leaf 'function' has returned"


async def test_on_return_stay_lets_the_callback_go_on(record: Recorder) -> None:
    job = leaf(record.does("run", takes=1), on_return="stay")
    await job.run(record.does("callback", takes=2))
    assert record.trace == ["callback", "run", "run done", "callback done"]


async def test_on_return_fail_raises_an_error_that_names_the_function(record: Recorder) -> None:
    server = leaf(record.does("run", takes=1), on_return="fail")
    error = await failure_of(server, record.forever("callback"))
    assert isinstance(error, UnexpectedReturnError)
    assert str(error) == "leaf 'function' returned before it was stopped"
    assert record.trace == ["callback", "run", "run done", "callback cancelled"]


async def test_law_3_an_unexpected_return_is_the_cause_of_the_callback_error(
    record: Recorder,
) -> None:
    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError("lost its server")

    error = await failure_of(leaf(record.does("run", takes=1), on_return="fail"), callback)
    assert isinstance(error, KeyError)
    assert isinstance(error.__cause__, UnexpectedReturnError)
    assert notes_of(error) == []


@pytest.mark.parametrize("on_return", ["stop", "stay", "fail"])
async def test_a_return_after_the_stop_is_expected_whatever_on_return_says(
    record: Recorder, on_return: Literal["stop", "stay", "fail"]
) -> None:
    asked = trio.Event()

    async def stop() -> None:
        asked.set()

    await leaf(record.does("run", takes=asked), stop, on_return=on_return).run(
        record.does("callback", takes=1)
    )
    assert record.trace == ["callback", "run", "callback done", "run done"]


async def test_a_foreground_that_raises_cancels_the_callback(record: Recorder) -> None:
    server = leaf(record.does("run", takes=1, fails=OSError("no")), record.does("stop"))
    error = await failure_of(server, record.forever("callback"))
    assert isinstance(error, OSError)
    assert record.trace == ["callback", "run", "run done", "callback cancelled"]
    assert record.reasons["callback"] == "leaf 'function' has failed: OSError: no"


async def test_a_foreground_that_fails_although_its_job_may_end_cancels_the_callback(
    record: Recorder,
) -> None:
    job = leaf(record.does("run", takes=1, fails=OSError("no")), on_return="stay")
    assert isinstance(await failure_of(job, record.forever("callback")), OSError)


# Law 1: the order --------------------------------------------------------------------------------


async def test_law_1_a_cancelled_callback_is_gone_before_the_foreground_is_cancelled(
    record: Recorder,
) -> None:
    with trio.move_on_after(1) as scope:
        await leaf(record.forever("run")).run(record.forever("callback", last=2))
    assert scope.cancelled_caught
    assert record.trace == [
        "callback",
        "run",
        "callback cancelled",
        "callback gone",
        "run cancelled",
    ]
    assert trio.current_time() == 3


async def test_law_1_a_deadline_that_passes_does_not_disturb_the_foreground_below_the_callback(
    record: Recorder,
) -> None:
    with pytest.raises(trio.TooSlowError), trio.fail_after(1):
        await leaf(record.forever("run")).run(record.forever("callback", last=2))
    assert record.trace[2:] == ["callback cancelled", "callback gone", "run cancelled"]


async def test_law_1_a_crash_elsewhere_takes_the_callback_down_first(record: Recorder) -> None:
    async def crash() -> None:
        await trio.sleep(1)
        raise OSError

    with pytest.RaisesGroup(OSError):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crash)
            await leaf(record.forever("run")).run(record.forever("callback", last=2))
    assert record.trace[2:] == ["callback cancelled", "callback gone", "run cancelled"]


async def test_law_1_a_callback_that_crashes_is_over_before_the_foreground_is_stopped(
    record: Recorder,
) -> None:
    server = leaf(record.forever("run"), record.does("stop", takes=1, fails=OSError()))
    await failure_of(server, record.does("callback", takes=1, fails=KeyError()))
    assert record.trace == [
        "callback",
        "run",
        "callback done",
        "stop",
        "stop done",
        "run cancelled",
    ]


async def test_law_1_the_foreground_sees_a_cancellation_as_soon_as_the_callback_is_gone(
    record: Recorder,
) -> None:
    """It was cancelled while it was shielded, so it does not wait for a stop that hangs."""

    async def stop() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(10)
        record("stop done")

    with trio.move_on_after(1):
        await leaf(record.forever("run"), stop).run(record.does("callback", takes=2))
    assert record.trace == ["callback", "run", "callback cancelled", "run cancelled", "stop done"]


async def test_law_1_a_foreground_is_shielded_from_the_start(record: Recorder) -> None:
    """Cancelled in the same moment in which it is started, while the callback takes its time."""
    with trio.CancelScope() as scope:

        async def callback() -> None:
            scope.cancel("enough")
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            record("callback done")

        await leaf(record.forever("run")).run(callback)
    assert record.trace == ["run", "callback done", "run cancelled"]


async def test_law_2_cancelled_before_it_is_run_it_starts_nothing(record: Recorder) -> None:
    with trio.CancelScope() as scope:
        scope.cancel("enough")
        await leaf(record.does("run"), record.does("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert record.trace == []


async def test_law_2_forcing_during_a_graceful_stop_takes_effect_at_once(
    record: Recorder,
) -> None:
    with trio.move_on_after(2) as scope:
        await leaf(record.forever("run"), record.forever("stop")).run(record.does("callback"))
    assert scope.cancelled_caught
    assert trio.current_time() == 2


async def test_law_2_a_forced_stop_calls_stop_in_a_cancelled_scope(record: Recorder) -> None:
    with trio.CancelScope() as scope:

        async def callback() -> None:
            scope.cancel("forced")
            await trio.sleep_forever()

        await leaf(record.forever("run"), record.forever("stop")).run(callback)
    assert sorted(record.trace) == ["run", "run cancelled", "stop", "stop cancelled"]
    assert record.reasons == {"run": "forced", "stop": "forced"}


# Law 3: the errors -------------------------------------------------------------------------------

CallbackDoes = Literal["returns", "raises", "is cancelled"]
StopDoes = Literal["is not there", "works", "fails"]
ForegroundDoes = Literal["works", "fails first", "fails after"]


@attrs.frozen
class Case:
    """One combination: what each does, and when the scope around is cancelled.

    The foreground that fails first does so at 0.5 s. The callback is over at 2 s, unless it gives
    way to a cancellation. The stop takes 2 s.
    """

    callback: CallbackDoes
    stop: StopDoes
    foreground: ForegroundDoes
    cancelled_at: float

    def __str__(self) -> str:
        when = {math.inf: "not cancelled", 1: "cancelled while running", 3: "while stopping"}
        return (
            f"callback {self.callback}, stop {self.stop}, foreground {self.foreground}, "
            f"{when[self.cancelled_at]}"
        )


@attrs.frozen
class Expected:
    raised: str | None
    cause: str | None
    notes: list[str]
    cancelled_caught: bool


NOTES = {
    "stop": "the stop function failed as well: OSError: stop",
    "foreground": "the leaf failed as well: OSError: foreground",
}


def by_law_3(case: Case) -> Expected:
    first = case.foreground == "fails first"
    errors: list[str] = []
    if case.callback == "raises":
        errors.append("callback")
    if case.stop == "fails" and not first:
        errors.append("stop")
    if case.foreground != "works":
        errors.append("foreground")
    raised = errors[0] if errors else None
    cause = "foreground" if first and raised == "callback" else None
    notes = [NOTES[other] for other in errors[1:] if other != cause]

    over = 2.0
    if case.callback == "is cancelled":
        over = min(0.5 if first else 2, case.cancelled_at)
    ended = over if case.stop == "is not there" or first else over + 2
    cancelled = case.cancelled_at <= ended
    return Expected(raised, cause, notes, cancelled and raised is None)


CASES = [
    Case(callback, stop, foreground, cancelled_at)
    for callback in ("returns", "raises", "is cancelled")
    for stop in ("is not there", "works", "fails")
    for foreground in ("works", "fails first", "fails after")
    for cancelled_at in (math.inf, 1, 3)
]


class Scenario:
    """What `Case` describes, as functions."""

    def __init__(self, case: Case) -> None:
        self.case = case
        self.asked = trio.Event()
        self.errors = {name: OSError(name) for name in ("callback", "stop", "foreground")}

    def name_of(self, error: BaseException | None) -> str | None:
        return next((name for name, known in self.errors.items() if known is error), None)

    async def callback(self) -> None:
        with trio.CancelScope(shield=self.case.callback != "is cancelled"):
            await trio.sleep(2)
        if self.case.callback == "raises":
            raise self.errors["callback"]

    async def stop(self) -> None:
        try:
            await trio.sleep(2)
        finally:
            if self.case.stop == "fails":
                raise self.errors["stop"]
        self.asked.set()

    async def foreground(self) -> None:
        if self.case.foreground == "fails first":
            await trio.sleep(0.5)
            raise self.errors["foreground"]
        try:
            await self.asked.wait()
        finally:
            if self.case.foreground == "fails after":
                raise self.errors["foreground"]


@pytest.mark.parametrize("case", CASES, ids=str)
async def test_law_3_the_first_error_comes_out_bare_and_none_is_lost(case: Case) -> None:
    scenario = Scenario(case)
    stop = None if case.stop == "is not there" else scenario.stop
    error: BaseException | None = None
    with no_task_left(), trio.CancelScope(deadline=case.cancelled_at) as scope:
        try:
            await leaf(scenario.foreground, stop).run(scenario.callback)
        except OSError as exception:
            error = exception
    assert by_law_3(case) == Expected(
        scenario.name_of(error),
        scenario.name_of(error.__cause__) if error is not None else None,
        notes_of(error) if error is not None else [],
        scope.cancelled_caught,
    )


async def test_law_3_a_cause_that_was_set_is_kept_and_the_failure_noted(record: Recorder) -> None:
    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise KeyError from ValueError("mine")

    server = leaf(record.does("run", fails=OSError("no")))
    error = await failure_of(server, callback)
    assert isinstance(error.__cause__, ValueError)
    assert notes_of(error) == ["the leaf failed as well: OSError: no"]


async def test_law_3_the_same_error_from_two_sides_is_told_once(record: Recorder) -> None:
    same = OSError("same")

    async def callback() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise same

    error = await failure_of(leaf(record.does("run", fails=same)), callback)
    assert error is same
    assert error.__cause__ is None
    assert notes_of(error) == []


@pytest.mark.parametrize("part", ["callback", "stop", "foreground"])
async def test_law_3_a_cancellation_in_a_group_hides_no_error(part: str) -> None:
    """The group is ``[Cancelled, OSError]``, as it comes from nurseries that are shut down."""

    async def mixed() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            try:
                await trio.sleep_forever()
            finally:
                raise OSError(part)

    server = leaf(
        mixed if part == "foreground" else trio.sleep_forever,
        mixed if part == "stop" else None,
    )
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match=part)), trio.move_on_after(1):
        await server.run(mixed if part == "callback" else trio.sleep_forever)


async def test_law_3_a_group_of_nothing_but_cancellations_is_no_error() -> None:
    async def children() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    with trio.move_on_after(1) as scope:
        await leaf(children, children).run(children)
    assert scope.cancelled_caught
    assert trio.current_time() == 1


async def test_law_3_an_error_below_a_shield_is_seen_although_all_is_cancelled() -> None:
    async def late() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(5)
        raise OSError("late")

    with pytest.raises(OSError, match="late"), trio.move_on_after(1):
        await leaf(late).run(trio.sleep_forever)


@pytest.mark.parametrize("part", ["callback", "stop", "foreground"])
async def test_law_8_a_cancellation_that_is_raised_outside_of_its_scope_is_not_swallowed(
    part: str,
) -> None:
    kept: list[trio.Cancelled] = []
    with trio.CancelScope() as scope:
        scope.cancel("once")
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            kept.append(cancelled)
            raise

    async def misbehaves() -> None:
        await trio.lowlevel.checkpoint()
        raise kept[0]

    server = leaf(
        misbehaves if part == "foreground" else trio.sleep_forever,
        misbehaves if part == "stop" else None,
        on_return="stay",
    )
    callback = misbehaves if part == "callback" else partial(trio.sleep, 1)
    with pytest.raises(trio.Cancelled) as caught:
        await server.run(callback)
    assert caught.value is kept[0]


# Laws 6 to 9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", ["callback", "stop", "foreground"])
async def test_law_6_no_reference_cycle_keeps_the_error(part: str) -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            await trio.lowlevel.checkpoint()
            raise OSError(marker.__class__)

        server = leaf(
            fails if part == "foreground" else trio.sleep_forever,
            fails if part == "stop" else None,
        )
        callbacks = {"callback": fails, "foreground": trio.sleep_forever}
        with pytest.raises(OSError, match="Marker") as caught:
            await server.run(callbacks.get(part, trio.lowlevel.checkpoint))
        del caught


async def test_law_6_no_reference_cycle_keeps_errors_that_hid_one_another() -> None:
    with no_cycles() as mark:

        async def fails() -> None:
            marker = mark()
            try:
                await trio.lowlevel.checkpoint()
            finally:
                raise OSError(marker.__class__)

        with pytest.raises(OSError, match="Marker") as caught:
            await leaf(fails, fails).run(fails)
        del caught


async def test_law_7_it_calls_back_in_the_task_that_runs_it(record: Recorder) -> None:
    tasks: list[trio.lowlevel.Task] = []

    async def callback() -> None:
        tasks.append(trio.lowlevel.current_task())

    await leaf(record.forever("run")).run(callback)
    assert tasks == [trio.lowlevel.current_task()]


async def test_law_8_the_stop_of_the_foreground_names_it(record: Recorder) -> None:
    await leaf(record.forever("run")).run(record.does("callback", takes=1))
    assert record.reasons == {"run": "leaf 'function' is stopped"}


async def test_law_8_a_cancellation_from_outside_keeps_its_reason(record: Recorder) -> None:
    with trio.CancelScope() as scope:

        async def callback() -> None:
            await trio.sleep(1)
            scope.cancel("the cat sat on the keyboard")
            await record.forever("callback")()

        await leaf(record.forever("run")).run(callback)
    assert scope.cancelled_caught
    assert record.reasons == {
        "callback": "the cat sat on the keyboard",
        "run": "the cat sat on the keyboard",
    }


async def test_law_9_it_can_run_again_and_twice_at_the_same_time(record: Recorder) -> None:
    server = leaf(record.forever("run"))
    await server.run(record.does("callback", takes=1))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.run, record.does("callback", takes=1))
        nursery.start_soon(server.run, record.does("callback", takes=1))
    assert record.trace.count("callback done") == 3
    assert record.trace.count("run cancelled") == 3


async def test_in_a_group_it_takes_no_stop_and_no_return_for_what_they_are_not(
    record: Recorder,
) -> None:
    asked = trio.Event()

    async def stop() -> None:
        record("stop")
        asked.set()

    group = parallel(
        leaf(record.does("server", takes=asked), stop),
        leaf(record.does("job", takes=1), on_return="stay"),
    )
    await group.run(record.does("callback", takes=2))
    assert sorted(record.trace[:3]) == ["callback", "job", "server"]
    assert record.trace[3:] == ["job done", "callback done", "stop", "server done"]


async def test_a_foreground_has_begun_before_it_is_stopped(record: Recorder) -> None:
    stopping: list[trio.Event] = []

    async def serve() -> None:
        stopping.append(trio.Event())
        record("serve")
        await stopping[0].wait()
        record("served")

    async def shutdown() -> None:
        record("shutdown")
        stopping[0].set()

    async def callback() -> None:
        """Return at once."""

    await leaf(serve, shutdown).run(callback)
    stopping.clear()
    await parallel(leaf(serve, shutdown), leaf(trio.sleep_forever)).run(callback)
    assert record.trace == ["serve", "shutdown", "served"] * 2


async def test_law_3_an_error_keeps_the_context_that_it_was_raised_in() -> None:
    async def fails_twice() -> None:
        await trio.sleep(1)
        try:
            raise ValueError("first")
        finally:
            raise KeyError("second")

    def fails() -> None:
        raise OSError("around")

    async def main() -> None:
        try:
            fails()
        except OSError:
            await leaf(fails_twice).run(trio.sleep_forever)

    with pytest.raises(KeyError, match="second") as caught:
        await main()
    assert repr(caught.value.__context__) == "ValueError('first')"
