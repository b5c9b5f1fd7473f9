"""Tests that never sleep for real."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from trio.abc import Clock, Instrument
from trio.testing import MockClock


def run_on_jumping_clock(
    main: Callable[[], Awaitable[object]],
    *,
    clock: Clock | None,
    instruments: Sequence[Instrument],
) -> None:
    """Run a test, on a clock that jumps unless it brings one of its own."""
    if clock is None:
        clock = MockClock(autojump_threshold=0)
    trio.run(main, clock=clock, instruments=instruments)


def run_all_so(items: Sequence[pytest.Item], folder: Path) -> None:
    """Let all async tests in a folder be run on a clock that jumps."""
    for item in items:
        if (
            isinstance(item, pytest.Function)
            and folder in item.path.parents
            and iscoroutinefunction(cast("Any", item).function)
        ):
            item.add_marker(pytest.mark.trio(run=run_on_jumping_clock))
