"""Random histories of graphs and of supervisors, of which each decision is held to the laws."""

from __future__ import annotations

import random

from tests.supervise.graph_world import hold_graph_against_laws
from tests.supervise.supervisor_world import hold_supervisor_against_book


def hold_decisions_against_laws(number: int) -> int:
    """Play so many histories of each, and return how many that were.

    Raises:
        AssertionError: one breaks a law; it says which one, and with which seed.
    """
    for seed in range(number):
        for hold in (hold_graph_against_laws, hold_supervisor_against_book):
            try:
                hold(random.Random(seed).choice)
            except Exception as problem:  # noqa: PERF203  # the seed is told
                raise AssertionError(f"{hold.__name__} with seed {seed}: {problem!r}") from problem
    return 2 * number
