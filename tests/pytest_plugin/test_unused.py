from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tests.pytest_plugin.reports import PLUGIN, Run


def test_a_suite_that_does_not_use_the_plugin_gets_nothing_of_it(run: Run) -> None:
    result = run(
        """
        import sys

        async def test_leaks(nursery, pytestconfig):
            import trio
            nursery.start_soon(trio.sleep_forever)

        def test_nothing_more_is_imported(pytestconfig):
            assert "nestling" not in sys.modules
            assert not pytestconfig.pluginmanager.has_plugin("nestling.pytest_plugin._hooks")
        """,
        "trio_mode=true",
        head="",
    )
    result.assert_outcomes(passed=2)
    result.stdout.no_fnmatch_line("*nestling*")


def test_the_plugin_imports_pytest_and_nothing_else() -> None:
    program = f"""
import sys, pytest
before = set(sys.modules)
import {PLUGIN}
print(*sorted(set(sys.modules) - before))
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert found.stdout.decode().split() == [PLUGIN]


def test_pytest_finds_the_plugin_by_itself_where_it_is_installed(
    pytester: pytest.Pytester,
) -> None:
    points = entry_points(group="pytest11")
    if not any(point.value == PLUGIN for point in points):
        pytest.skip("this nestling is not installed")
    result = pytester.runpytest_subprocess("--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.nestling_certify(faults=*limit=None*)*"])
