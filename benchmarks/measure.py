"""Pairs of measurements, taken in turn, so that a change of the machine's speed hits both."""

from __future__ import annotations

import gc
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial

import attrs
import trio

Job = Callable[[], Awaitable[object]]


@attrs.frozen
class Row:
    """One line of the table.

    Attributes:
        what: what is measured, and
        against: what it is compared with.
        ratio: the median of the ratios of the pairs.
        spread: the smallest and the largest of them.
        target: the ratio that is not to be passed.
    """

    what: str
    against: str
    ratio: float
    spread: tuple[float, float]
    target: float

    @property
    def verdict(self) -> str:
        """Say whether the target is met."""
        return "met" if self.ratio <= self.target else "MISSED"


def processor_seconds(job: Job) -> float:
    """Return the processor time of one run of ``job``, after a collection of garbage."""
    gc.collect()
    start = time.process_time()
    trio.run(job)
    return time.process_time() - start


def compare(
    what: str,
    against: str,
    target: float,
    measured: Callable[[], float],
    reference: Callable[[], float],
    *,
    pairs: int,
) -> Row:
    """Take ``pairs`` pairs of measurements, and one more before, which is not counted."""
    measured()
    reference()
    ratios = [measured() / reference() for _ in range(pairs)]
    return Row(what, against, statistics.median(ratios), (min(ratios), max(ratios)), target)


def compare_jobs(
    what: str, against: str, target: float, measured: Job, reference: Job, *, pairs: int
) -> Row:
    """Compare the processor time of two jobs that do the same."""
    return compare(
        what,
        against,
        target,
        partial(processor_seconds, measured),
        partial(processor_seconds, reference),
        pairs=pairs,
    )


def seconds_to_import(module: str) -> float:
    """Return how long a fresh interpreter takes to import ``module``."""
    code = f"import time; t = time.perf_counter(); import {module}; print(time.perf_counter() - t)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(done.stdout)


def table(rows: list[Row]) -> str:
    """Lay the rows out as text."""
    heads = ("what", "against", "ratio", "spread", "target", "verdict")
    lines = [
        (
            row.what,
            row.against,
            f"{row.ratio:.2f}",
            f"{row.spread[0]:.2f}-{row.spread[1]:.2f}",
            f"{row.target:.2f}",
            row.verdict,
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(heads, *lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in (heads, rule, *lines)
    )
