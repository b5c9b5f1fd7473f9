"""How Hypothesis draws in tests: the same examples each time; or, to search, many new ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from hypothesis import HealthCheck, settings, strategies as st

SEARCH = "NESTLING_SEARCH"
"""The environment variable that says how many new examples each test is to draw."""


def drawn(examples: int) -> settings:
    """Return the settings of a test that draws so many examples.

    They are the same each time: a change must not be refused for what it did not break. The session
    ``prove`` searches.
    """
    new = os.environ.get(SEARCH)
    return settings(
        max_examples=int(new or examples),
        derandomize=not new,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
    )


def choosing(data: st.DataObject) -> Callable[[Sequence[Any]], Any]:
    """Return what chooses one of several, as Hypothesis wants."""

    def choose(options: Sequence[Any]) -> Any:
        return data.draw(st.sampled_from(options))

    return choose
