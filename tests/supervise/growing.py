"""A tree of controllers that records how it stops."""

from __future__ import annotations

import math
from collections.abc import Iterable

import trio

from nestling import Runnable, start_stop
from nestling.supervise import Controller
from tests.kernel.recording import Recorder

LEVELS = [{"d", "e"}, {"c"}, {"r3"}, {"a", "b"}, {"r2"}, {"r1"}]
"""What stops together, in the order in which `grow` lets it stop."""


class Bound:
    """A resource that records that it is closed."""

    def __init__(
        self,
        record: Recorder,
        name: str,
        *,
        takes: float = 0,
        fails: BaseException | None = None,
    ) -> None:
        self.aclose = record.does(name, takes=takes, fails=fails)


def pair(record: Recorder, name: str, *, takes: float = 1, last: float = 0) -> Runnable:
    """A runnable that records ``name`` when it is asked to stop, and takes its time for that."""
    return start_stop(trio.lowlevel.checkpoint, record.does(name, takes=takes, last=last))


async def grow(
    root: Controller, record: Recorder, *, stuck: str = "", fails: BaseException | None = None
) -> None:
    """Launch ``a`` and ``b``; ``c`` in a dependent; ``d`` and ``e`` in a dependent of that.

    ``r1`` and ``r2`` are bound to the root, ``r3`` to its dependent. What is ``stuck`` never stops
    by itself; closing ``r3`` may fail.
    """

    def worker(name: str) -> Runnable:
        return pair(record, name, takes=math.inf if name == stuck else 1)

    root.bind(Bound(record, "r1"))
    await root.launch(worker("a"), name="a")
    web = root.dependent(name="web")
    web.bind(Bound(record, "r3", takes=math.inf if stuck == "r3" else 0, fails=fails))
    await web.launch(worker("c"), name="c")
    inner = web.dependent()
    await inner.launch(worker("d"), name="d")
    root.bind(Bound(record, "r2"))
    await inner.launch(worker("e"), name="e")
    await root.launch(worker("b"), name="b")


def levels(trace: Iterable[str], *, of: Iterable[set[str]] = LEVELS) -> list[set[str]]:
    """Return what has begun to stop, as levels; and check that each ended before the next began.

    What stops at once may do so in any order.
    """
    known = {name for level in of for name in level}
    found: list[set[str]] = []
    ended: set[str] = set()
    for entry in trace:
        name, _, what = entry.partition(" ")
        if name not in known:
            continue
        if what:
            ended.add(name)
            continue
        if found and not any(found[-1] | {name} <= level for level in of):
            waits = {each for each in found[-1] if each not in {"r1", "r2", "r3"}}
            assert waits <= ended, f"{name} stops before {waits - ended} have ended: {trace}"
            found.append(set())
        found = found or [set()]
        found[-1].add(name)
    return found
