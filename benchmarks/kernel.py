"""The rows for the kernel: its combinators against hand-written trio, and against themselves."""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks import handwritten
from benchmarks.measure import Row, compare, compare_jobs, seconds_to_import
from nestling import Runnable, chain, leaf, parallel, sequential, start_stop

Rows = Iterator[Callable[[], Row]]


def rows(count: int, pairs: int) -> Rows:
    """Yield the measurements, each to be called for its row."""
    yield from group_rows(count, pairs)
    yield from chain_rows(count, pairs)
    yield lambda: compare(
        "import nestling",
        "import trio",
        1.15,
        partial(seconds_to_import, "nestling"),
        partial(seconds_to_import, "trio"),
        pairs=max(pairs, 9),
    )


def group_rows(count: int, pairs: int) -> Rows:
    """Yield the measurements of `parallel` and `sequential`."""
    leaves = [leaf(trio.sleep_forever) for _ in range(count)]
    pairs_of_functions = [
        start_stop(handwritten.do_nothing, handwritten.do_nothing) for _ in range(count)
    ]
    many = partial(parallel(*leaves).run, wait_all_tasks_blocked)
    yield lambda: compare_jobs(
        f"parallel of {count:,} leaves, start to stop",
        "nursery.start of as many services",
        0.6,
        many,
        partial(handwritten.started_services, count),
        pairs=pairs,
    )
    yield lambda: compare_jobs(
        "the same",
        "as many bare tasks",
        2.0,
        many,
        partial(handwritten.bare_tasks, count),
        pairs=pairs,
    )
    yield lambda: compare(
        "memory of one running leaf in it",
        "one bare sleeping task",
        2.0,
        partial(bytes_for_each, count, parallel(*leaves).run),
        partial(bytes_for_each, count, partial(_in_nursery, count)),
        pairs=1,
    )
    yield lambda: compare_jobs(
        f"parallel of {count:,} start_stop",
        "two nurseries of as many tasks",
        1.3,
        partial(parallel(*pairs_of_functions).run, wait_all_tasks_blocked),
        partial(handwritten.starts_then_stops, count),
        pairs=pairs,
    )
    yield lambda: compare_jobs(
        f"sequential of {count:,} leaves",
        "nested nurseries, in slices",
        1.0,
        partial(sequential(*leaves, stop_order="reverse").run, wait_all_tasks_blocked),
        partial(handwritten.nested_services, count),
        pairs=pairs,
    )


def chain_rows(count: int, pairs: int) -> Rows:
    """Yield the measurements of `chain`: deep ones against shallow ones."""
    short = count // 100
    for what, seconds in (("graceful", graceful_seconds), ("forced", forced_seconds)):
        yield partial(
            compare,
            f"chain of {count:,}, for each level, {what}",
            f"chain of {short:,}",
            1.3,
            partial(seconds, count, 1),
            partial(seconds, short, 100),
            pairs=pairs,
        )
    yield lambda: compare(
        f"a wake-up of the callback below {count:,} levels",
        "below one level",
        2.0,
        partial(wake_up_seconds, count),
        partial(wake_up_seconds, 1),
        pairs=pairs,
    )


def bytes_for_each(
    count: int, run: Callable[[Callable[[], Awaitable[None]]], Awaitable[None]]
) -> float:
    """Return the memory that ``run(f)`` holds while all of it runs, divided by ``count``."""
    held = before = 0

    async def measure() -> None:
        nonlocal held
        await wait_all_tasks_blocked()
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before

    async def main() -> None:
        nonlocal before
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        await run(measure)
        tracemalloc.stop()

    trio.run(main)
    return held / count


async def _in_nursery(count: int, f: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(trio.sleep_forever)
        await f()
        nursery.cancel_scope.cancel()


def _chain_of(count: int) -> Runnable:
    return chain(*[leaf(trio.sleep_forever) for _ in range(count)])


def graceful_seconds(count: int, times: int) -> float:
    """Return the processor time for each level of a chain that starts and stops gracefully."""
    levels = _chain_of(count)

    async def main() -> float:
        start = time.process_time()
        for _ in range(times):
            await levels.run(wait_all_tasks_blocked)
        return (time.process_time() - start) / (count * times)

    gc.collect()
    return trio.run(main)


def forced_seconds(count: int, times: int) -> float:
    """Return the processor time for each level of a chain that starts and is cancelled."""
    levels = _chain_of(count)

    async def cancelled() -> None:
        async def cancel() -> None:
            await wait_all_tasks_blocked()
            scope.cancel()
            await trio.sleep_forever()

        with trio.CancelScope() as scope:
            await levels.run(cancel)

    async def main() -> float:
        start = time.process_time()
        for _ in range(times):
            await cancelled()
        return (time.process_time() - start) / (count * times)

    gc.collect()
    return trio.run(main)


def wake_up_seconds(count: int, times: int = 5_000) -> float:
    """Return the processor time of one checkpoint in the callback of a chain."""
    taken = 0.0

    async def callback() -> None:
        nonlocal taken
        await wait_all_tasks_blocked()
        gc.collect()
        start = time.process_time()
        for _ in range(times):
            await trio.lowlevel.checkpoint()
        taken = (time.process_time() - start) / times

    trio.run(_chain_of(count).run, callback)
    return taken
