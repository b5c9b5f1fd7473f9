"""Ten thousand children, of which some fail all the time."""

from __future__ import annotations

import gc
import math
import random
from collections import Counter

import trio

from nestling import State, leaf, running
from nestling._kernel._events import Event, Restarting, Starting, Stopped
from nestling._kernel._node import current_node, enter_node, leave_node, watching_node
from nestling.supervise import Backoff, Supervisor, child

CHILDREN = 10_000


class Accounts:
    """What has happened, by the events: each start has one stop, of the same node."""

    def __init__(self) -> None:
        self.counts = Counter[type[Event]]()
        self.live: set[object] = set()

    def enter(self, event: Event) -> None:
        self.counts[type(event)] += 1
        if isinstance(event, Starting):
            self.live.add(event.node)
        elif isinstance(event, Stopped):
            self.live.remove(event.node)


class Worker:
    """Runs until it is told to fail."""

    def __init__(self) -> None:
        self.fails = trio.Event()

    async def run(self) -> None:
        self.fails = trio.Event()
        await self.fails.wait()
        raise OSError("lost")


def objects() -> int:
    gc.collect()
    return len(gc.get_objects())


async def test_one_percent_fail_each_second_and_all_is_accounted_for_in_bounded_memory() -> None:
    chance = random.Random(20)
    workers = [Worker() for _ in range(CHILDREN)]
    supervisor = Supervisor(
        *(
            child(f"c{number}", leaf(each.run), stop=math.inf)
            for number, each in enumerate(workers)
        ),
        limit=math.inf,
        backoff=Backoff(initial=0.1, factor=1, jitter=0),
    )
    have_failed: set[int] = set()

    async def fail_for_a_minute(among: range | list[int]) -> None:
        for _ in range(60):
            chosen = chance.sample(among, CHILDREN // 100)
            have_failed.update(chosen)
            for number in chosen:
                workers[number].fails.set()
            await trio.sleep(1)

    accounts = Accounts()
    token = enter_node(watching_node(current_node(), accounts.enter))
    try:
        async with running(supervisor):
            await fail_for_a_minute(range(CHILDREN))
            assert {each.state for each in supervisor.children()} == {State.RUNNING}
            after_one_minute = objects()
            # Each child keeps its last error: that is bounded, and has to be there already.
            await fail_for_a_minute(sorted(have_failed))
            assert objects() < after_one_minute + 100
            restarts = sum(each.restarts for each in supervisor.children())
    finally:
        leave_node(token)
    assert restarts == 2 * 60 * CHILDREN // 100
    assert not accounts.live
    assert accounts.counts[Restarting] == restarts
    assert accounts.counts[Starting] == CHILDREN + restarts
    assert accounts.counts[Stopped] == accounts.counts[Starting]
