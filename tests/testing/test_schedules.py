from __future__ import annotations

import importlib
import inspect
from typing import Any, cast

import pytest
import trio

from nestling.testing import UnsupportedTrioError, record, schedules
from nestling.testing._trio_internals import scheduled_by


def orders(n: int, seed: int = 0) -> list[str]:
    found: list[str] = []

    @schedules(n, seed=seed)
    async def test() -> None:
        order: list[str] = []

        async def note(name: str) -> None:
            order.append(name)

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(note, name)
        found.append("".join(order))

    test()
    return found


def test_a_test_is_run_under_different_schedules() -> None:
    assert set(orders(60)) == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_they_are_the_same_each_time_and_each_can_be_had_alone() -> None:
    first = orders(20)
    assert orders(20) == first
    assert [orders(1, seed=seed)[0] for seed in range(20)] == first


def test_a_failure_says_under_which_schedule_it_was() -> None:
    runs = 0

    @schedules(9, seed=100)
    async def fails_at_last() -> None:
        nonlocal runs
        runs += 1
        assert runs < 5

    with pytest.raises(AssertionError) as caught:
        fails_at_last()
    notes: list[str] = vars(caught.value)["__notes__"] if runs else []
    assert notes == ["under schedule 104: schedules(1, seed=104)"]


def test_arguments_are_passed_on_and_it_is_a_plain_function() -> None:
    got: list[int] = []

    @schedules(2)
    async def takes(number: int) -> None:
        got.append(number)
        await trio.sleep(1000)

    takes(5)
    assert got == [5, 5]
    assert not inspect.iscoroutinefunction(takes)


def test_the_clock_may_be_another() -> None:
    @schedules(1, clock=lambda: None)
    async def real() -> None:
        before = trio.current_time()
        await trio.sleep(0.001)
        assert trio.current_time() > before

    real()


def test_bad_input_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n of schedules\(\) must be at least 1, not 0"):
        schedules(0)
    with pytest.raises(TypeError, match=r"n of schedules\(\) must be an integer, not '3'"):
        schedules(cast("Any", "3"))
    with pytest.raises(TypeError, match=r"seed of schedules\(\) must be an integer, not None"):
        schedules(1, seed=cast("Any", None))
    with pytest.raises(TypeError, match=r"clock of schedules\(\) must be a function that makes"):
        schedules(1, clock=cast("Any", 5))
    with pytest.raises(TypeError, match=r"what schedules\(\) decorates must be an async function"):
        schedules(1)(cast("Any", print))


def test_trio_schedules_by_chance_again_afterwards() -> None:
    run: Any = importlib.import_module("trio._core._run")
    before = (run._ALLOW_DETERMINISTIC_SCHEDULING, run._r)  # noqa: SLF001
    with scheduled_by(1):
        assert run._r is not before[1]  # noqa: SLF001
    assert (run._ALLOW_DETERMINISTIC_SCHEDULING, run._r) == before  # noqa: SLF001


def test_a_trio_whose_schedule_cannot_be_fixed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("trio._core._run._r")
    with pytest.raises(UnsupportedTrioError, match=rf"trio {trio.__version__} is not supported"):
        orders(1)


@schedules(3)
async def test_it_decorates_async_tests() -> None:
    with record() as trace:
        await trio.lowlevel.checkpoint()
    assert trace.events == ()
