"""What a trial adds to pytest: it says more of a broken library than that tests pass or hang.

It refuses to test any nestling but the broken copy: otherwise, tests that pass could mean that the
unbroken library was imported. And it ends an async test in which nothing can happen any more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
import trio

import nestling

WITHOUT_HYPOTHESIS = "NESTLING_WITHOUT_HYPOTHESIS"
"""The environment variable that says that no test of the trial needs Hypothesis."""

# pytest-trio imports it if it is there, and that takes as long as all the rest of a trial.
if WITHOUT_HYPOTHESIS in os.environ:
    sys.modules.setdefault("hypothesis", cast("Any", None))

VARIABLE = "NESTLING_COPY"
"""The environment variable that holds the folder of the copy."""

FOREVER = 1e9
"""Seconds. On a jumping clock they are over as soon as all that is left waits for nothing."""


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Bound each async test that brings a way to be run."""
    for item in items:
        marks = item.iter_markers("trio")
        run = next((mark.kwargs["run"] for mark in marks if "run" in mark.kwargs), None)
        if run is not None and run is not trio.run:
            item.add_marker(pytest.mark.trio(run=_bounded(run)), append=False)


def _bounded(run: Callable[..., None]) -> Callable[..., None]:
    def bounded_run(main: Callable[[], Awaitable[object]], **options: Any) -> None:
        async def bounded_main() -> None:
            with trio.fail_after(FOREVER):
                await main()

        run(bounded_main, **options)

    return bounded_run


def pytest_sessionfinish() -> None:
    """Look where all that was imported has come from."""
    copy = Path(os.environ[VARIABLE]).resolve()
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == nestling.__name__ and module.__file__ is not None:
            file = Path(module.__file__).resolve()
            if not file.is_relative_to(copy):
                problem = f"{name} was imported from {file}, not from {copy}"
                pytest.exit(problem, returncode=pytest.ExitCode.USAGE_ERROR)
