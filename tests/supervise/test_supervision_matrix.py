"""Strategy by restart type by outcome by phase by place: what a supervisor does, by the book.

The book is OTP's. `expected` says what has to happen, without a look at how it is decided.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable

import pytest

from nestling import RestartLimitError, nop
from nestling.supervise import child
from nestling.supervise._child import RestartType
from nestling.supervise._happenings import Ended
from nestling.supervise._intensity import Intensity
from nestling.supervise._supervisor_state import Strategy, SupervisorState
from tests.supervise.driver import Driver

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup, ExceptionGroup

NAMES = ["a", "b", "c"]
STRATEGIES: list[Strategy] = ["one_for_one", "one_for_all", "rest_for_one"]
TYPES: list[RestartType] = ["permanent", "transient", "temporary"]
OUTCOMES: dict[str, BaseException | None] = {
    "returns": None,
    "fails": OSError("lost"),
    "fails in a group": ExceptionGroup("two", [OSError("lost"), ValueError("bad")]),
    "exits": SystemExit(3),
    "is interrupted, in a group": BaseExceptionGroup("two", [KeyboardInterrupt(), OSError()]),
}
PHASES = ["first start", "running", "restart", "after a restart", "stop"]
PLACES = range(len(NAMES))
MATRIX = list(itertools.product(STRATEGIES, TYPES, OUTCOMES, PHASES, PLACES))


def test_the_matrix_has_at_least_500_cases() -> None:
    print(f"supervision matrix: {len(MATRIX)} cases")
    assert len(MATRIX) >= 500


Case = tuple[Strategy, RestartType, str, str, int]
Expected = tuple[list[str], str]


def asks(names: Iterable[str], verb: str = "ask") -> list[str]:
    """The last one first."""
    return [f"{verb} {name}" for name in reversed(list(names))]


def starts(names: Iterable[str]) -> list[str]:
    return [f"start {name}" for name in names]


def interrupts(outcome: str) -> bool:
    return outcome in {"exits", "is interrupted, in a group"}


def expected(case: Case) -> Expected:
    """Return what has to be done, and with what it ends: an error, an interrupt, or nothing."""
    _, _, outcome, phase, place = case
    if phase == "first start":
        return expected_at_first(outcome, place)
    if phase == "stop":
        return expected_in_stop(outcome, place)
    return expected_in_between(case)


def expected_at_first(outcome: str, place: int) -> Expected:
    verb, ending = ("force", "interrupt") if interrupts(outcome) else ("ask", "error")
    return [*starts(NAMES[: place + 1]), *asks(NAMES[:place], verb), "finish"], ending


def expected_in_stop(outcome: str, place: int) -> Expected:
    trace = [*starts(NAMES), "call back"]
    if interrupts(outcome):  # those that are left then are forced
        return [*trace, *asks(NAMES[place:]), *asks(NAMES[:place], "force"), "finish"], "interrupt"
    return [*trace, *asks(NAMES), "finish"], "nothing" if outcome == "returns" else "error"


def expected_in_between(case: Case) -> Expected:
    strategy, kind, outcome, phase, place = case
    name, trace = NAMES[place], [*starts(NAMES), "call back", f"{NAMES[place]} ends"]
    together = {"one_for_one": [name], "one_for_all": NAMES, "rest_for_one": NAMES[place:]}
    affected = together[strategy]
    others = [each for each in affected if each != name]
    alive = [each for each in NAMES if each != name]
    if phase != "running":
        if kind == "temporary":
            return [*trace, *asks(alive), "finish"], "nothing"
        trace += [f"wait {name}", *asks(others)]
        if phase == "restart":
            started = affected[: affected.index(name) + 1]
            alive = [each for each in NAMES if each not in affected or each in started[:-1]]
            trace += starts(started)
        else:
            trace += [*starts(affected), f"{name} ends"]
    if interrupts(outcome):
        return [*trace, "cancel", *asks(alive, "force"), "finish"], "interrupt"
    error = outcome != "returns" or phase == "restart"  # not ready when it returns: it has failed
    if kind == "permanent" or (kind == "transient" and error):
        down = asks(each for each in others if each in alive)
        return [*trace, f"wait {name}", *down, *starts(affected), *asks(NAMES), "finish"], "nothing"
    return [*trace, *asks(alive), "finish"], "nothing"


def play(case: Case) -> Expected:
    """Return what was done."""
    strategy, kind, outcome, phase, place = case
    name, error = NAMES[place], OUTCOMES[outcome]
    ended = Ended(name, error)
    unready = Ended(name, error or RuntimeError("ended before it was running"))
    state = SupervisorState(strategy, "never", lambda: itertools.repeat(1.0), Intensity(9, 99))
    for each in NAMES:
        state.add(child(each, nop(), restart=kind if each == name else "permanent"))
    driver = Driver(state.decide)
    if phase == "first start":
        driver.outcomes[name] = [unready]
    driver.begin()
    if phase == "stop" and error is not None:
        driver.stop_errors[name] = error
    if phase in {"restart", "after a restart"}:
        driver.outcomes[name] = [unready] if phase == "restart" else []
        driver.end(name, OSError("lost"))
        if driver.waiting:
            driver.pass_time()
    if phase == "running" or (phase == "after a restart" and name in driver.live):
        driver.end(name, ended.error)
    while driver.waiting and not driver.cancelled:
        driver.pass_time()
    if not driver.finished:
        driver.stop()
    failed = [each for _, each in state.take_failures()]
    ending = "nothing"
    if failed:
        ending = "error" if all(isinstance(each, Exception) for each in failed) else "interrupt"
    assert not any(isinstance(each, RestartLimitError) for each in failed)
    return driver.trace, ending


@pytest.mark.parametrize("case", MATRIX, ids=lambda case: ", ".join(map(str, case)))
def test_a_supervisor_does_what_the_book_says(case: Case) -> None:
    assert play(case) == expected(case)
