"""All tests of the kernel run on a clock that jumps: none of them ever sleeps for real."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.jumping_clock import run_all_so
from tests.kernel.ctrl_c import Sweep
from tests.kernel.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Say how each async test in this folder is run."""
    run_all_so(items, Path(__file__).parent)


@pytest.fixture
def record() -> Recorder:
    """Return an empty recorder."""
    return Recorder()


@pytest.fixture
def sweep() -> Generator[Sweep, None, None]:
    """Give what strikes each line once; what is left of it would be complained of here."""
    yield Sweep(most=1)
    gc.collect()
