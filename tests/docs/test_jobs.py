"""The page on jobs, rounds and things to close is a test module; it is run as one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nestling.supervise

PAGE = (Path(__file__).parents[2] / "docs" / "jobs.md").read_text()


def test_the_examples_pass(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    pytester.makepyfile(test_page="\n\n".join(blocks))
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=PAGE.count("async def test_"))


def test_every_name_on_the_page_is_public_and_has_a_docstring() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert documented
    for name in documented:
        assert name in nestling.supervise.__all__
        assert getattr(nestling.supervise, name).__doc__
