"""Pages on `nestling.supervise` that are test modules, and are run as such."""

from __future__ import annotations

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest

import nestling.supervise

DOCS = Path(__file__).parents[2] / "docs"
pages = pytest.mark.parametrize("page", ["jobs.md", "supervision.md"])


@pages
def test_the_examples_pass(page: str, pytester: pytest.Pytester) -> None:
    text = (DOCS / page).read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.DOTALL | re.MULTILINE)
    pytester.makepyfile(test_page="\n\n".join(blocks))
    pytester.makeini("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    installed = any(each.name == "nestling" for each in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "_nestling_pytest_plugin"]
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", *plugin)
    result.assert_outcomes(passed=text.count("def test_"))


@pages
def test_every_name_on_the_page_is_public_and_has_a_docstring(page: str) -> None:
    documented = re.findall(r"^\| `(\w+)` \|", (DOCS / page).read_text(), flags=re.MULTILINE)
    assert documented
    for name in documented:
        assert name in nestling.supervise.__all__
        assert getattr(nestling.supervise, name).__doc__
