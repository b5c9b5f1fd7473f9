"""The rows for supervision: against `parallel`, and against itself with fewer children."""

from __future__ import annotations

import gc
import itertools
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.measure import Row, compare, compare_jobs
from nestling import Runnable, leaf, named, parallel, running
from nestling.supervise import Supervisor, child, graph, node

EDGES_PER_NODE = 5
FARTHEST = 200
"""How many places before it, at the most, is what a node requires."""


def rows(count: int, pairs: int) -> Iterator[Callable[[], Row]]:
    """Yield the measurements, each to be called for its row."""
    leaves = {f"n{number}": leaf(trio.sleep_forever) for number in range(count)}
    required = edges(list(leaves))
    total = sum(map(len, required.values()))
    as_named = [named(name, each) for name, each in leaves.items()]
    yield lambda: compare_jobs(
        f"graph of {count:,} nodes with {total:,} edges",
        "parallel of the same nodes",
        2.0,
        partial(graph_of(leaves, required).run, wait_all_tasks_blocked),
        partial(parallel(*as_named).run, wait_all_tasks_blocked),
        pairs=pairs,
    )
    yield lambda: compare(
        f"a restart of one of {count:,} children",
        "of one of 10 children",
        1.5,
        partial(restart_seconds, count),
        partial(restart_seconds, 10),
        pairs=pairs,
    )


def edges(names: list[str]) -> dict[str, list[str]]:
    """Return what each requires: some of those before it, always the same ones."""
    chance = random.Random(1)
    required: dict[str, list[str]] = {}
    for number, name in enumerate(names):
        near = names[max(0, number - FARTHEST) : number]
        required[name] = chance.sample(near, min(EDGES_PER_NODE, len(near)))
    return required


def graph_of(runnables: Mapping[str, Runnable], required: Mapping[str, list[str]]) -> Runnable:
    """Return a graph of named runnables."""
    return graph(*(node(name, r, requires=required[name]) for name, r in runnables.items()))


class FailsWhenTold:
    """A job that fails each time it is told to."""

    def __init__(self) -> None:
        self.started = trio.Event()
        self.fails = trio.Event()

    async def run(self) -> None:
        self.fails = trio.Event()
        self.started.set()
        await self.fails.wait()
        raise OSError("told to fail")

    async def fail_and_start_again(self) -> None:
        self.started = trio.Event()
        self.fails.set()
        await self.started.wait()


def restart_seconds(children: int, times: int = 1_000) -> float:
    """Return the processor time of one restart of one of so many children, in seconds."""
    job = FailsWhenTold()
    others = (child(f"c{number}", leaf(trio.sleep_forever)) for number in range(children - 1))
    supervisor = Supervisor(
        *others,
        child("fails", leaf(job.run)),
        limit=math.inf,
        backoff=lambda: itertools.repeat(0.0),
    )

    async def main() -> float:
        async with running(supervisor):
            gc.collect()
            start = time.process_time()
            for _ in range(times):
                await job.fail_and_start_again()
            return (time.process_time() - start) / times

    return trio.run(main)
