"""The how-to page of the testing kit is a test module; it is run as one."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import nestling.testing

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
TIME_LIMIT = 120


def test_the_examples_pass_and_the_certificate_is_the_one_that_is_shown(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    shown = """
def test_the_certificate_is_the_one_that_is_shown():
    print(certify(lambda: named("db", resource(open_carelessly)), invariants=[closed], pairs=False))
"""
    (tmp_path / "test_shop.py").write_text("\n\n".join([*blocks, shown]))
    (tmp_path / "pytest.ini").write_text("[pytest]\ntrio_mode = true\nfilterwarnings = error\n")
    installed = any(each.name == "nestling" for each in entry_points(group="pytest11"))
    plugin = [] if installed else ["-p", "_nestling_pytest_plugin"]
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rP", "-p", "no:cacheprovider", *plugin],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert result.returncode == 0, result.stdout
    (text,) = re.findall(r"^```text\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    assert _without_lines(text) in _without_lines(result.stdout)


def _without_lines(text: str) -> str:
    """Return ``text`` without what depends on the folder, the line, and the version of trio."""
    text = re.sub(r"\d+/\d+ points|at step \d+", "", text)
    return re.sub(r'File ".*?test_shop.py", line \d+', 'File "test_shop.py"', text)


def test_every_public_name_is_on_the_page_and_every_name_on_it_is_public() -> None:
    documented = re.findall(r"^\| `(\w+)` \|", PAGE, flags=re.MULTILINE)
    assert sorted(documented) == sorted(nestling.testing.__all__)
