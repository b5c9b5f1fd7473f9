"""A trial: the tests, run in a process of their own against a copy of the library.

==================  =============================================================================
pytest ends with    verdict
==================  =============================================================================
0                   ``passed``
1, a test failed    ``failed``: noticed
1, one waits        ``hangs``: noticed; nothing could happen in it any more
by a signal         ``crashed``: noticed
not in time         ``hangs``: noticed; it is ended
anything else       ``void``: nothing was tested, so nothing is shown
==================  =============================================================================
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import attrs
import trio

import nestling
from tests.breakages import plugin
from tests.breakages.breakage import Breakage

PACKAGE = Path(nestling.__file__).parent
TESTS = Path(__file__).parents[1]

FAILED_TEST = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - (.*))?$", re.MULTILINE)


@attrs.frozen
class Trial:
    """What came of running some tests.

    Attributes:
        by: the test that failed, if one did.
        output: what pytest has written.
    """

    verdict: Literal["passed", "failed", "crashed", "hangs", "void"]
    seconds: float
    by: str = ""
    output: str = ""

    @property
    def notices(self) -> bool:
        """Whether it shows that the library is broken."""
        return self.verdict in ("failed", "crashed", "hangs")


@contextmanager
def copied(breakage: Breakage | None = None) -> Generator[Path, None, None]:
    """Give a folder with a copy of the package, broken or not, for the ``with`` statement."""
    with TemporaryDirectory(prefix="nestling-") as folder:
        copy = Path(folder) / PACKAGE.name
        # What was compiled before might be taken for what the broken source is compiled to.
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        if breakage is not None:
            broken = copy / breakage.file
            source = broken.read_text(encoding="utf-8")
            broken.write_text(breakage.applied_to(source), encoding="utf-8")
        yield Path(folder)


async def try_out(folder: Path, files: Sequence[str], limit: float) -> Trial:
    """Run files of tests against the copy in ``folder``, for at most ``limit`` seconds.

    If this is cancelled, the process is ended.
    """
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += ["-p", plugin.__name__, *(str(TESTS / file) for file in files)]
    before = os.environ.get("PYTHONPATH")
    environment = {
        **os.environ,
        plugin.VARIABLE: str(folder),
        "PYTHONPATH": os.pathsep.join([str(folder), *([before] if before else [])]),
        "COLUMNS": "500",  # pytest would cut the names of tests
    }
    if not any("hypothesis" in text for text in _texts(files)):
        command += ["-p", "no:hypothesispytest"]
        environment[plugin.WITHOUT_HYPOTHESIS] = "1"
    start = trio.current_time()
    with trio.move_on_after(limit):
        done = await trio.run_process(
            command,
            env=environment,
            cwd=TESTS.parent,
            check=False,
            capture_stdout=True,
            stderr=subprocess.STDOUT,
        )
        output = done.stdout.decode(errors="replace")
        return _judge(done.returncode, output, trio.current_time() - start)
    return Trial("hangs", trio.current_time() - start)


def _texts(files: Sequence[str]) -> Iterator[str]:
    """Yield the texts of the tests in ``files``, of which some may be folders."""
    for file in files:
        path = TESTS / file
        for each in path.rglob("*.py") if path.is_dir() else [path]:
            yield each.read_text(encoding="utf-8")


def _judge(code: int, output: str, seconds: float) -> Trial:
    failed = FAILED_TEST.search(output)
    if code == 0:
        return Trial("passed", seconds, output=output)
    if code < 0:
        return Trial("crashed", seconds, f"signal {-code}", output)
    if code == 1 and failed:
        hangs = failed[2] is not None and "TooSlowError" in failed[2]
        return Trial("hangs" if hangs else "failed", seconds, failed[1], output)
    return Trial("void", seconds, f"pytest ended with {code}", output)
