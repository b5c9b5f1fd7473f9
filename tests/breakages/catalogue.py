"""All breakages."""

from __future__ import annotations

from tests.breakages import (
    in_errors,
    in_groups,
    in_processes,
    in_providers,
    in_races,
    in_runnables,
    in_supervision,
)

CATALOGUE = [
    *in_providers.BREAKAGES,
    *in_groups.BREAKAGES,
    *in_runnables.BREAKAGES,
    *in_errors.BREAKAGES,
    *in_processes.BREAKAGES,
    *in_supervision.BREAKAGES,
    *in_races.BREAKAGES,
]
