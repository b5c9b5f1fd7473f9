"""All tests of the kernel run on a clock that jumps: none of them ever sleeps for real."""

from __future__ import annotations

import gc
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest
import trio
from trio.testing import MockClock

from tests.kernel.ctrl_c import Sweep
from tests.kernel.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence
    from typing import Any

    from trio.abc import Clock, Instrument


def run_on_jumping_clock(
    main: Callable[[], Awaitable[object]],
    *,
    clock: Clock | None,
    instruments: Sequence[Instrument],
) -> None:
    """Run a test, on a clock of this module unless it brings one of its own."""
    if clock is None:
        clock = MockClock(autojump_threshold=0)
    trio.run(main, clock=clock, instruments=instruments)


def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Say how each async test in this folder is run."""
    here = Path(__file__).parent
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and here in item.path.parents
            and iscoroutinefunction(cast("Any", item).function)
        ):
            item.add_marker(pytest.mark.trio(run=run_on_jumping_clock))


@pytest.fixture
def record() -> Recorder:
    """Return an empty recorder."""
    return Recorder()


@pytest.fixture
def sweep() -> Generator[Sweep, None, None]:
    """Give what strikes each line once; what is left of it would be complained of here."""
    yield Sweep(most=1)
    gc.collect()
