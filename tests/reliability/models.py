"""Random compositions under random schedules, held against the reference model."""

from __future__ import annotations

from hypothesis import HealthCheck, Phase, given, seed, settings

from nestling.testing.strategies import Case, cases

CHUNK = 2000
"""How many are drawn from one seed of Hypothesis."""


def hold_against_model(number: int) -> int:
    """Draw so many cases, run each, and hold it against the model. Returns how many were run.

    Raises:
        AssertionError: one contradicts the model; it is the smallest that Hypothesis has found, and
            its note says how it is had again.
    """
    run = 0

    def check(case: Case) -> None:
        nonlocal run
        run += 1
        problems = case.problems()
        assert not problems, "\n".join(problems)

    for first in range(0, number, CHUNK):
        drawn = settings(
            max_examples=min(CHUNK, number - first),
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.large_base_example],
        )
        seed(first)(drawn(given(cases())(check)))()
    return run
