"""All async tests of documents run on a clock that jumps: none of them ever sleeps for real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.jumping_clock import run_all_so


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Say how each async test in this folder is run."""
    run_all_so(items, Path(__file__).parent)
