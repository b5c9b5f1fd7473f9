"""The two measurements: many runs one after the other, and many leaves in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import attrs
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from nestling import Runnable, leaf, parallel
from tests.growth.cycles import Cycle
from tests.growth.figures import Figures

BLOCKS = 5
"""Into how many equal blocks the cycles are split: growth goes on from one to the next."""


@attrs.frozen
class Row:
    """The figures at one moment.

    Attributes:
        when: which moment.
        grown: the names of those that have grown since the moment they are compared with.
    """

    when: str
    figures: Figures
    grown: tuple[str, ...] = ()


@attrs.define
class Growth:
    """What a measurement has found so far.

    Attributes:
        show: called with each row at once.
        seconds: how long the cycles of each kind took.
    """

    show: Callable[[Row], object] = lambda _: None
    rows: list[Row] = attrs.field(factory=list[Row])
    seconds: dict[str, float] = attrs.field(factory=dict[str, float])

    def note(self, when: str, since: Row | None = None, *, but: str = "") -> Row:
        """Take the figures; compare them with those of another moment, all ``but`` one."""
        figures = Figures.now()
        grown: list[str] = []
        if since is not None:
            highest = max(row.figures.memory for row in self.rows)
            grown = [name for name in figures.growth_since(since.figures, highest) if name != but]
        row = Row(when, figures, tuple(grown))
        self.rows.append(row)
        self.show(row)
        return row

    @property
    def grown(self) -> set[str]:
        """The names of all that have grown."""
        return {name for row in self.rows for name in row.grown}


def run_cycles(growth: Growth, cycles: Mapping[str, Cycle], count: int, warm_up: int) -> None:
    """Run cycles of several kinds in turn, ``count`` in all, in one run of trio."""
    growth.seconds |= dict.fromkeys(cycles, 0.0)

    async def turns(count: int) -> None:
        names = list(cycles)
        for number in range(count):
            name = names[number % len(names)]
            start = time.perf_counter()
            await cycles[name]()
            growth.seconds[name] += time.perf_counter() - start

    async def main() -> None:
        await turns(warm_up)
        before = growth.note(f"after {warm_up:,} cycles, to warm up")
        for block in range(1, BLOCKS + 1):
            await turns(count // BLOCKS)
            growth.note(f"after {block * (count // BLOCKS):,} more", before)

    trio.run(main, clock=MockClock(autojump_threshold=0))


def run_leaves(growth: Growth, count: int) -> None:
    """Run that many leaves at the same time, and again."""

    async def note() -> None:
        await wait_all_tasks_blocked()
        growth.note(f"while {count:,} leaves run")

    async def main() -> None:
        await _leaves(2).run(wait_all_tasks_blocked)
        before = growth.note("before")
        await _leaves(count).run(note)
        # What was freed is not given back to the system at once, and is used again by the second.
        first = growth.note("after they have run", before, but="memory")
        await _leaves(count).run(note)
        growth.note("after they have run again", first)

    trio.run(main)


def _leaves(count: int) -> Runnable:
    return parallel(*[leaf(trio.sleep_forever) for _ in range(count)])
