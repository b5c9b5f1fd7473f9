"""The example of a controller: in a process with real signals, and on a clock that jumps."""

from __future__ import annotations

import importlib.util
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from nestling import Runnable, StopTimeoutError, timeouts
from nestling.testing import Trace, certify

ROOT = Path(__file__).parents[2]
WORKERS = "docs/examples/workers.py"
COMMANDS = {
    "nestling run": [sys.executable, "-m", "nestling", "run", f"{WORKERS}:workers"],
    "python": [sys.executable, WORKERS],
}

LAUNCHED = ["metrics", "mailer", "http", "admin", "reports"]
STOPPED = [
    "stop admin",
    "stop reports",
    "stop http",
    "close listener",
    "stop metrics",
    "stop mailer",
    "close pool",
    "close journal",
]


@pytest.fixture(name="workers", scope="module")
def load() -> Runnable:
    spec = importlib.util.spec_from_file_location("workers", ROOT / WORKERS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return cast("Runnable", module.workers)


def run(workers: Runnable, seconds: float) -> float:
    """Run the example for so many seconds, then cancel it; return when it has ended."""

    async def main() -> float:
        with trio.move_on_after(seconds):
            await workers.run(partial(trio.sleep, 1))
        return trio.current_time()

    return trio.run(main, clock=MockClock(autojump_threshold=0))


def test_the_order_is_that_of_its_documentation(
    workers: Runnable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for _ in range(2):
        caplog.clear()
        assert run(workers, 9) == pytest.approx(1.8)
        assert caplog.messages == [*(f"launch {name}" for name in LAUNCHED), *STOPPED]


def test_a_deadline_for_all_of_it_forces_those_that_are_left_in_the_same_order(
    workers: Runnable, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(StopTimeoutError) as caught:
        run(timeouts(workers, stop=0.1), 9)
    waiting = {"app/metrics", "app/mailer"}
    assert set(caught.value.stuck) == {"app/web/http", "app/jobs/reports", *waiting}
    assert caplog.messages[5:] == ["stop admin", "close listener", "close pool", "close journal"]


def test_it_is_safe_at_each_point_where_it_can_be_cancelled(workers: Runnable) -> None:
    def what_app_holds_is_closed_last(trace: Trace) -> bool:
        paths = [event.path for event in trace.events]
        own = paths.index("app/closing") if "app/closing" in paths else len(paths)
        return not any(path.startswith(("app/web", "app/jobs")) for path in paths[own:])

    certify(
        lambda: workers, faults=["cancel"], invariants=[what_app_holds_is_closed_last], pairs=False
    ).check()


@contextmanager
def started(
    folder: Path, command: list[str]
) -> Generator[tuple[subprocess.Popen[bytes], Path], None, None]:
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield process, folder / "log"
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def until(process: subprocess.Popen[bytes], log: Path, text: str) -> None:
    """Wait until the log has ``text``."""
    deadline = time.monotonic() + 60
    while text not in log.read_text():
        assert process.poll() is None, f"ended without {text!r}:\n{log.read_text()}"
        assert time.monotonic() < deadline, f"no {text!r} in:\n{log.read_text()}"
        time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals to send")
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_ctrl_c_lets_all_of_it_stop_in_order(tmp_path: Path, command: list[str]) -> None:
    with started(tmp_path, command) as (process, log):
        until(process, log, "main: running")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 0
    told = re.findall(r"\b((?:launch|stop|close) \w+)$", log.read_text(), flags=re.MULTILINE)
    assert told[:5] == [f"launch {name}" for name in LAUNCHED]
    # How long a process sleeps is not exact: what stops at once may do so in any order.
    assert sorted(set(told[5:9])) == ["close listener", "stop admin", "stop http", "stop reports"]
    assert told.index("close listener") > max(told.index("stop http"), told.index("stop admin"))
    assert set(told[9:11]) == {"stop metrics", "stop mailer"}
    assert told[11:] == ["close pool", "close journal"]
