from __future__ import annotations

from collections.abc import Iterable
from textwrap import dedent

import pytest

from tests.pytest_plugin.reports import PLUGIN, Run

HEAD = """
import pytest
import trio

from nestling import Process, chain, leaf, named, nop, runnable, running
from nestling.testing import InjectedError, schedules


async def stay():
    await trio.sleep_forever()


async def nothing():
    pass


@runnable
async def pool(f):
    await f()


shop = chain(named("db", pool), named("http", leaf(stay)))
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run tests in a pytest of their own, with no plugins and settings but those asked for."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run_tests(
        tests: str, *options: str, head: str = HEAD, plugins: Iterable[str] = ()
    ) -> pytest.RunResult:
        pytester.makeini("[pytest]\nstrict_markers = true\nfilterwarnings = error\n")
        pytester.makepyfile(head + dedent(tests))
        loaded = [
            part for each in (PLUGIN, "pytest_trio.plugin", *plugins) for part in ("-p", each)
        ]
        settings = [part for option in options for part in ("-o", option)]
        return pytester.runpytest_subprocess(
            *loaded, "-p", "no:cacheprovider", *settings, timeout=60
        )

    return run_tests
