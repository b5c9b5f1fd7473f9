"""The model finds what contradicts the laws; that it finds nothing else is shown elsewhere."""

from __future__ import annotations

from typing import Any, cast

import attrs
import pytest
import trio
from hypothesis import given

from nestling import chain, deferred, leaf, named, nop, parallel, sequential, timeouts
from nestling.testing import Body, Played, Probe, UnknownToModelError, model, play, record
from nestling.testing.strategies import Case, ProbeInterrupt, cases
from tests.drawing import drawn


@drawn(200)
@given(cases())
def test_random_compositions_under_random_schedules_keep_to_the_model(case: Case) -> None:
    assert case.problems() == []


SHOP = chain(Probe("db", stop=1), Probe("http", stop=0.5))
EXPECTED = model(SHOP, Body(2))


def changed(place: int, **changes: object) -> Played:
    played = play(SHOP, Body(2))
    played.events[place] = attrs.evolve(played.events[place], **cast("Any", changes))
    return played


def test_a_wrong_time_is_found() -> None:
    assert changed(-1, time=9.0).problems(EXPECTED) == [
        "'db' stopped at 3.5 is missing",
        "'db' stopped at 9 must not be",
    ]


def test_a_wrong_order_at_one_time_is_found() -> None:
    played = play(SHOP, Body(2))
    stopped = played.events.index(EXPECTED.events[-3])
    events = played.events
    events[stopped], events[stopped + 1] = events[stopped + 1], events[stopped]
    assert played.problems(EXPECTED) == [
        "'http' stopped at 2.5 has to come before 'db' stopping at 2.5"
    ]


def test_an_error_that_is_lost_is_found() -> None:
    failing = chain(Probe("db", stop=1, fail="stop"), Probe("http", run=1, fail="run"))
    expected = model(failing, Body(2))
    assert expected.error == "http fails in run"
    played = play(failing, Body(2))
    assert played.problems(expected) == []
    played.raised = RuntimeError("http fails in run")
    assert played.problems(expected) == ["the error 'db fails in stop' is lost"]
    played.raised = None
    assert "'http fails in run' has to come out, not None" in played.problems(expected)


def test_a_swallowed_cancellation_and_tasks_that_are_left_are_found() -> None:
    expected = model(SHOP, Body(2), cancel_at=1)
    played = play(SHOP, Body(2), cancel_at=1)
    assert played.problems(expected) == []
    played.cancelled = False
    played.tasks_left = 2
    assert played.problems(expected) == ["a cancellation has to come out", "2 tasks are left"]


@pytest.mark.parametrize(
    ("r", "error"),
    [
        (Probe("a", start=1, fail="start"), "a fails in start"),
        (parallel(Probe("a", run=1, fail="run"), nop()), ("a fails in run",)),
        (sequential(Probe("a"), Probe("b", start=1, fail="start")), ("b fails in start",)),
        (Probe("a", run=1, on_return="fail"), "UnexpectedReturnError"),
        (timeouts(Probe("a", start=9), start=1), "StartTimeoutError"),
        (timeouts(Probe("a", stop=9), stop=1), "StopTimeoutError"),
        (named("n", deferred(lambda: Probe("a", run=1, fail="run"))), "a fails in run"),
        (parallel(Probe("a", run=1, fail=ProbeInterrupt("stop")), nop()), "!stop"),
    ],
)
def test_it_says_which_error_comes_out(r: Probe, error: object) -> None:
    assert model(r, Body(3)).error == error


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(UnknownToModelError, match="knows compositions of probes, and nothing of"):
        model(chain(Probe("a"), leaf(trio.sleep_forever)))


def test_what_never_ends_is_refused() -> None:
    with pytest.raises(ValueError, match=r"nothing ends .*, and nothing cancels it"):
        model(Probe("a"), Body(float("inf")))


def test_two_probes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="by their names, and there are two 'db'"):
        model(chain(Probe("db"), Probe("db")))


def test_events_that_are_not_of_probes_are_refused() -> None:
    with record() as trace:
        play(Probe("db"))
    with pytest.raises(TypeError, match=r"those in Played\.events, not of Starting"):
        model(Probe("db")).allows(cast("Any", trace.events))
