"""What pytest loads of nestling in every run: see `nestling.pytest_plugin`.

It stands beside the package, since importing anything inside of that imports trio.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nestling.testing._trace import Trace

RECORD = "nestling_record"
CERTIFY = "nestling_certify"
LEAK_CHECK = "nestling_leak_check"

POINTS = "nestling_points"
"""The user property of a report that says how many points have been certified."""

LEFT_OUT = "nestling_points_left_out"
"""The one that says how many were left out by the limit."""

_HOOKS = "nestling.pytest_plugin._hooks"
_CERTIFY_HELP = (
    f"{CERTIFY}(faults=('cancel', 'error', 'interrupt'), invariants=(), limit=None, pairs=True, "
    f"seed=0, body=None, idle=5): repeat the test with a fault at each scheduling point in turn, "
    f"as nestling.testing.certify() does: an async test is repeated itself, any other must return "
    f"the runnable to be certified."
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    help_text = "nestling: should every test fail that leaves nodes or tasks behind?"
    parser.addini(LEAK_CHECK, help_text, type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", _CERTIFY_HELP)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add the other hooks where they are needed."""
    if config.getini(LEAK_CHECK) or any(map(_uses_nestling, items)):
        _add_hooks(config)


@pytest.fixture
def nestling_record(request: pytest.FixtureRequest) -> Generator[Trace, None, None]:
    """The trace of all nodes that the test and its async fixtures run, a `nestling.testing.Trace`.

    Where the test fails, the report shows the trace, with the lines marked that contradict the last
    question to `Trace.order`. A test that is run many times, by `schedules` or as it is marked with
    ``nestling_certify``, finds the trace empty at the start of each run.

    A test that uses it fails if it leaves nodes or tasks behind.
    """
    _add_hooks(request.config)
    from nestling.pytest_plugin._hooks import state_of
    from nestling.testing._record import record

    with record() as trace:
        state_of(request.node).trace = trace
        yield trace


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many points have been certified, if any."""
    passed: list[object] = terminalreporter.stats.get("passed", [])
    points = _sum(POINTS, passed)
    if points:
        left_out = _sum(LEFT_OUT, passed)
        more = f" ({left_out} more were left out by limits)" if left_out else ""
        terminalreporter.write_line(
            f"nestling: {points} point{'s' if points > 1 else ''} certified{more}"
        )


def _uses_nestling(item: pytest.Item) -> bool:
    names: Iterable[str] = getattr(item, "fixturenames", ())
    return RECORD in names or item.get_closest_marker(CERTIFY) is not None


def _add_hooks(config: pytest.Config) -> None:
    # Added last, they are called first: before those of pytest-trio, which would run the test.
    if not config.pluginmanager.has_plugin(_HOOKS):
        from nestling.pytest_plugin import _hooks

        config.pluginmanager.register(_hooks, _HOOKS)


def _sum(key: str, reports: Iterable[object]) -> int:
    return sum(
        value
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, value in report.user_properties
        if name == key and isinstance(value, int)
    )
