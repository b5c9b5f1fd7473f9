"""Chains of thousands of levels, at the default recursion limit, within seconds."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from functools import partial, reduce

import pytest
import trio

from nestling import (
    Runnable,
    chain,
    leaf,
    named,
    nop,
    parallel,
    running,
    sequential,
    service,
    start_stop,
    timeouts,
)
from tests.kernel.recording import failure_of, leaves_of, no_task_left

LEVELS = 10_000
FEWER = 2_000


class Levels:
    """Makes levels that record their start and their stop by number.

    Attributes:
        alive: the levels that have started and not stopped, in order.
        most: how many were alive at once.
    """

    def __init__(self) -> None:
        self.alive: list[int] = []
        self.most = 0

    async def _up(self, number: int) -> None:
        self.alive.append(number)
        self.most = max(self.most, len(self.alive))

    async def _down(self, number: int) -> None:
        assert self.alive.pop() == number

    async def _run(self, number: int) -> None:
        try:
            await trio.sleep_forever()
        finally:
            await self._down(number)

    async def _serve(self, number: int, *, task_status: trio.TaskStatus[None]) -> None:
        await self._up(number)
        task_status.started()
        await self._run(number)

    def pair(self, number: int) -> Runnable:
        return start_stop(partial(self._up, number), partial(self._down, number))

    def leaf(self, number: int) -> Runnable:
        """Make a leaf below which nothing is started before it has begun."""
        return service(partial(self._serve, number))

    def mixed(self, number: int) -> Runnable:
        made = [self.pair, self.leaf][number % 2](number)
        wraps: list[Callable[[Runnable], Runnable]] = [
            lambda r: r,
            partial(named, "level"),
            partial(timeouts, stop=math.inf),
        ]
        return wraps[number % 3](made)


async def body() -> None:
    await trio.sleep(1)


async def crash() -> None:
    raise OSError("crash")


async def nothing() -> None:
    pass


def test_the_recursion_limit_is_the_default_one() -> None:
    assert sys.getrecursionlimit() <= 1100


kinds = pytest.mark.parametrize("kind", ["pair", "leaf", "mixed"])


def levels_of(kind: str, count: int = LEVELS) -> tuple[Levels, list[Runnable]]:
    levels = Levels()
    make: Callable[[int], Runnable] = getattr(levels, kind)
    return levels, [make(number) for number in range(count)]


@kinds
async def test_a_deep_chain_starts_and_stops_in_order_law_1(kind: str) -> None:
    levels, members = levels_of(kind)
    with no_task_left():
        await chain(*members).run(body)
    assert (levels.most, levels.alive) == (LEVELS, [])


@kinds
async def test_a_deep_chain_whose_callback_fails_stops_in_order_laws_1_and_3(kind: str) -> None:
    levels, members = levels_of(kind, FEWER)
    error = await failure_of(chain(*members), crash)
    assert isinstance(error, OSError)
    assert (levels.most, levels.alive) == (FEWER, [])


@kinds
async def test_a_deep_chain_that_is_cancelled_stops_in_order_law_1(kind: str) -> None:
    levels, members = levels_of(kind)
    with trio.move_on_after(0.5) as scope:
        await chain(*members).run(body)
    assert scope.cancelled_caught
    assert (levels.most, levels.alive) == (LEVELS, [])


@kinds
async def test_a_deep_chain_whose_middle_fails_stops_in_order_laws_1_and_3(kind: str) -> None:
    async def run() -> None:
        await trio.sleep(0.5)
        raise OSError("crash")

    levels, members = levels_of(kind, FEWER)
    members.insert(FEWER // 2, leaf(run))
    error = await failure_of(chain(*members), body)
    assert isinstance(error, OSError)
    assert (levels.most, levels.alive) == (FEWER, [])


@kinds
async def test_a_deep_chain_whose_middle_fails_to_start_stops_in_order_laws_1_and_3(
    kind: str,
) -> None:
    levels, members = levels_of(kind, FEWER)
    members.insert(FEWER // 2, start_stop(crash, nothing))
    assert isinstance(await failure_of(chain(*members), body), OSError)
    assert (levels.most, levels.alive) == (FEWER // 2, [])


@kinds
async def test_a_deep_chain_that_is_interrupted_stops_in_order_laws_1_and_4(kind: str) -> None:
    async def interrupted() -> None:
        raise SystemExit(3)

    levels, members = levels_of(kind, FEWER)
    assert isinstance(await failure_of(chain(*members), interrupted), SystemExit)
    assert (levels.most, levels.alive) == (FEWER, [])


async def test_a_deep_chain_of_leaves_takes_down_those_that_have_hardly_begun() -> None:
    with no_task_left():
        await chain(*[leaf(trio.sleep_forever) for _ in range(FEWER)]).run(nothing)


async def test_a_deep_chain_runs_around_a_body() -> None:
    levels, members = levels_of("mixed", FEWER)
    async with running(chain(*members)):
        assert len(levels.alive) == FEWER
    assert levels.alive == []


@pytest.mark.parametrize("combine", [parallel, sequential])
async def test_a_group_at_the_end_of_a_deep_chain_may_fail_to_start(
    combine: Callable[..., Runnable],
) -> None:
    async def serve(*, task_status: trio.TaskStatus[None]) -> None:
        await trio.lowlevel.checkpoint()

    members = [leaf(trio.sleep_forever) for _ in range(FEWER)]
    error = await failure_of(chain(*members, combine(nop(), service(serve))), body)
    assert [str(leaf_error) for leaf_error in leaves_of(error)] == [
        "'serve' ended before it was running"
    ]


@pytest.mark.parametrize("group", [parallel, sequential])
async def test_deep_chains_may_be_members_of_groups(group: Callable[..., Runnable]) -> None:
    first, second = levels_of("pair", FEWER), levels_of("leaf", FEWER)
    await group(chain(*first[1]), chain(*second[1])).run(body)
    for levels, _ in (first, second):
        assert (levels.most, levels.alive) == (FEWER, [])


@pytest.mark.parametrize("side", ["left", "right"])
async def test_named_chains_that_were_folded_nest_deeply(side: str) -> None:
    def fold(inner: Runnable, number: int) -> Runnable:
        one = levels.mixed(number)
        return named("x", chain(one, inner) if side == "right" else chain(inner, one))

    levels = Levels()
    numbers = range(2000)
    folded = reduce(fold, reversed(numbers) if side == "right" else numbers, nop())
    await folded.run(body)
    assert (levels.most, levels.alive) == (2000, [])


async def test_chains_that_were_folded_without_names_are_one_chain() -> None:
    levels = Levels()
    folded = reduce(lambda inner, n: chain(inner, levels.pair(n)), range(2000), nop())
    await folded.run(body)
    assert (levels.most, levels.alive) == (2000, [])
