from __future__ import annotations

import mmap
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from tests.growth.cycles import Cycle, kinds
from tests.growth.growing import Growth, run_cycles, run_leaves

CYCLES = 420
WARM_UP = 336  # each kind has taken each of its turns twice


@pytest.mark.parametrize("kind", kinds())
def test_a_cycle_ends_as_its_kind_ends(kind: str) -> None:
    async def main() -> None:
        cycle = kinds()[kind]
        for _ in range(24):
            await cycle()

    trio.run(main, clock=MockClock(autojump_threshold=0))


def test_nothing_grows_however_often_it_is_run() -> None:
    growth = Growth()
    run_cycles(growth, kinds(), CYCLES, WARM_UP)
    assert not growth.grown, growth.rows


def test_nothing_is_left_of_many_leaves() -> None:
    growth = Growth()
    run_leaves(growth, 1_000)
    assert [row.figures.tasks // 1_000 for row in growth.rows] == [0, 1, 0, 1, 0]
    assert not growth.grown, growth.rows


def grown_by(cycle: Cycle) -> set[str]:
    growth = Growth()
    run_cycles(growth, {"quiet": trio.lowlevel.checkpoint, "leaking": cycle}, CYCLES, 0)
    return growth.grown


def test_what_is_kept_is_found() -> None:
    kept: list[object] = []

    async def keeps() -> None:
        kept.append([len(kept) * 1_000])

    assert grown_by(keeps) == {"objects", "blocks"}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the system does not tell")
def test_memory_is_found_that_no_object_tells_of() -> None:
    kept: list[mmap.mmap] = []

    async def keeps() -> None:
        # New to the process: what Python allocates may have been freed by something before.
        kept.append(mmap.mmap(-1, 100_000))
        kept[-1].write(b"x" * 100_000)

    assert "memory" in grown_by(keeps)
    for each in kept:
        each.close()


def test_a_task_that_is_left_is_found() -> None:
    async def leaves_a_task() -> None:
        if trio.lowlevel.current_statistics().tasks_living < 50:
            trio.lowlevel.spawn_system_task(trio.sleep_forever)

    assert "tasks" in grown_by(leaves_a_task)


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the system does not tell")
def test_a_file_that_is_left_open_is_found() -> None:
    left: list[int] = []

    async def leaves_one() -> None:
        if len(left) < 50:
            left.append(os.open(os.devnull, os.O_RDONLY))

    try:
        assert "descriptors" in grown_by(leaves_one)
    finally:
        for descriptor in left:
            os.close(descriptor)
