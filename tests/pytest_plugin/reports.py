"""Running tests that use the plugin, and reading what pytest says of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

PLUGIN = "_nestling_pytest_plugin"

Run = Callable[..., pytest.RunResult]


def section(result: pytest.RunResult, test: str) -> str:
    """Return what a report says of a test that failed."""
    text = result.stdout.str()
    _, _, after = text.partition(f"_ {test} _")
    assert after, f"{test} has not failed"
    return after.partition("\n____")[0] + "\n"
