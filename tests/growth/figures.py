"""What may not grow, as figures."""

from __future__ import annotations

import gc
import os
import sys
import tracemalloc
from pathlib import Path

import attrs
import trio

_STATM = Path("/proc/self/statm")
_DESCRIPTORS = Path("/proc/self/fd")

ALLOWED_OBJECTS = 40
"""How many more objects are not yet growth: those of the measurement itself, which keeps a row of
figures for each moment, and an interpreter's cache or two that is filled late.

It does not depend on how much has run, and a leak does: one object that is left by one kind of
cycle is 60 in the shortest of the measurements, and 14,000 in the default one.
"""

ALLOWED_BLOCKS = 300
"""The same for blocks of memory. The interpreter allocates some for each piece of code that turns
out to be run often, and so for a while after the start; 200 were seen after a short warm-up.
"""

ALLOWED_SHARE = 0.02
ALLOWED_BYTES = 2 * 2**20
"""Resident memory is counted in pages, and a page is kept as long as anything on it is in use: how
much is left depends on how much there was, and on chance.
"""


@attrs.frozen
class Figures:
    """What is there at one moment, after a collection of garbage.

    Attributes:
        memory: bytes; resident, or where the system does not tell, allocated by Python.
        objects: Python objects that the garbage collector knows, which can be part of a cycle.
        blocks: blocks of memory that the interpreter has allocated, for whatever object.
        tasks: living trio tasks.
        descriptors: open file descriptors, or 0 where the system does not tell.
    """

    memory: int
    objects: int
    blocks: int
    tasks: int
    descriptors: int

    @classmethod
    def now(cls) -> Figures:
        """Take the figures, inside of a trio run."""
        # This also makes trio let go of the cancel scopes whose deadlines were taken off.
        tasks = trio.lowlevel.current_statistics().tasks_living
        # What a finalizer lets go may be garbage only for the next collection.
        while gc.collect():
            pass
        return cls(
            memory=_memory(),
            blocks=sys.getallocatedblocks(),
            objects=len(gc.get_objects()),
            tasks=tasks,
            descriptors=len(list(_DESCRIPTORS.iterdir())) if _DESCRIPTORS.exists() else 0,
        )

    def growth_since(self, before: Figures, highest: int) -> list[str]:
        """Return the names of the figures that have grown by more than is allowed.

        Args:
            before: what they are compared with.
            highest: the most memory that was in use so far.
        """
        allowed = {
            "memory": int(highest * ALLOWED_SHARE) + ALLOWED_BYTES,
            "objects": ALLOWED_OBJECTS,
            "blocks": ALLOWED_BLOCKS,
            "tasks": 0,
            "descriptors": 0,
        }
        now, then = attrs.asdict(self), attrs.asdict(before)
        return [name for name in allowed if now[name] - then[name] > allowed[name]]


def _memory() -> int:
    if _STATM.exists():
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]
