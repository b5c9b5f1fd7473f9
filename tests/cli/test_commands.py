"""``nestling run``, ``check`` and ``tree``, as programs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.app.processes import PRELUDE, TIME_LIMIT

SHOP = """
import socket

async def in_use():
    raise OSError(98, "in use")

shop = chain(
    named("db", start_stop(nothing, nothing)),
    parallel(named("http", leaf(nothing)), named("mailer", leaf(forever))),
)
broken = chain(
    named("db", start_stop(nothing, nothing)),
    parallel(named("http", start_stop(in_use, nothing)), named("mailer", leaf(in_use))),
)
alone = named("alone", leaf(in_use))
never_starts = named("app", chain(named("db", nop()), named("http", start_stop(forever, nothing))))
never_stops = named("app", chain(named("db", nop()), named("http", start_stop(nothing, forever))))

def make():
    return named("made", shop)

async def leave():
    sys.exit(7)

leaves = leaf(leave)

opened = []

async def careless():
    opened.append(socket.socket())
    await trio.lowlevel.checkpoint()

async def close():
    opened.pop().close()

leaks = chain(named("db", start_stop(careless, close)), nop())
"""

Result = subprocess.CompletedProcess[str]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "service.py").write_text(PRELUDE + SHOP)
    return tmp_path


def nestling(folder: Path, *arguments: str) -> Result:
    return subprocess.run(
        [sys.executable, "-m", "nestling", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=TIME_LIMIT,
        check=False,
    )


def errors(result: Result) -> list[str]:
    """Return what is no log line."""
    return [line for line in result.stderr.splitlines() if not re.match(r"\d{4}-", line)]


def without_times(output: str) -> str:
    return re.sub(r"\d+\.\d{3}", "0.000", output)


def test_run_exits_with_0_when_the_target_ends(folder: Path) -> None:
    result = nestling(folder, "run", "service:shop")
    assert (result.returncode, result.stdout, errors(result)) == (0, "", [])
    assert result.stderr.splitlines()[-1].endswith(" INFO    shop: stopped")


def test_run_exits_with_1_and_names_each_node_that_failed_once(folder: Path) -> None:
    result = nestling(folder, "run", "service:broken")
    assert result.returncode == 1
    assert sorted(errors(result)) == [
        "(--log-level debug shows the traceback)",
        "error: broken/http failed to start: OSError: [Errno 98] in use",
        "error: broken/mailer failed: OSError: [Errno 98] in use",
    ]


def test_run_shows_the_traceback_at_the_level_debug(folder: Path) -> None:
    result = nestling(folder, "run", "service:alone", "--log-level", "debug")
    assert result.returncode == 1
    assert "Traceback (most recent call last):" in result.stderr
    assert "in 'alone'\n" in result.stderr
    assert errors(result)[-1] == "error: alone failed: OSError: [Errno 98] in use"


def test_run_exits_with_1_when_the_start_takes_too_long(folder: Path) -> None:
    result = nestling(folder, "run", "service:never_starts", "--start-timeout", "0.1")
    assert result.returncode == 1
    assert errors(result)[0] == "error: 'app' did not start within 0.1 s; stuck: 'app/http'"


def test_run_exits_as_a_service_says_that_calls_exit(folder: Path) -> None:
    assert nestling(folder, "run", "service:leaves").returncode == 7


def test_run_logs_json_with_the_path_as_a_field(folder: Path) -> None:
    result = nestling(folder, "run", "service:shop", "--log-format", "json")
    records = [json.loads(line) for line in result.stderr.splitlines()]
    assert [(r["level"], r["path"], r["message"]) for r in records][-1] == (
        "info",
        "shop",
        "shop: stopped",
    )
    assert set(records[0]) == {"time", "level", "logger", "path", "message"}


def test_a_name_that_the_target_has_is_kept(folder: Path) -> None:
    result = nestling(folder, "run", "service:make")
    assert result.stderr.splitlines()[-1].endswith(" made: stopped")


def test_check_prints_a_table_of_the_times(folder: Path) -> None:
    result = nestling(folder, "check", "service:shop")
    assert (result.returncode, result.stderr) == (0, "")
    assert without_times(result.stdout) == (
        "node         kind          start     stop\n"
        "shop         chain       0.000 s  0.000 s\n"
        "shop/db      start_stop  0.000 s  0.000 s\n"
        "shop/http    leaf        0.000 s  0.000 s\n"
        "shop/mailer  leaf        0.000 s  0.000 s\n"
    )


def test_check_exits_with_1_when_a_node_does_not_start(folder: Path) -> None:
    result = nestling(folder, "check", "service:never_starts", "--start-timeout", "0.1")
    assert result.returncode == 1
    assert without_times(result.stdout) == (
        "node      kind          start     stop\n"
        "app       chain       0.000 s        -  did not run\n"
        "app/db    nop         0.000 s  0.000 s\n"
        "app/http  start_stop  0.000 s        -  did not run\n"
    )
    assert errors(result)[0] == "error: 'app' did not start within 0.1 s; stuck: 'app/http'"


def test_check_exits_with_1_when_a_node_does_not_stop(folder: Path) -> None:
    result = nestling(folder, "check", "service:never_stops", "--stop-timeout", "0.1")
    assert result.returncode == 1
    assert (
        errors(result)[0] == "error: 'app' did not stop within 0.1 s; stuck: 'app/db', 'app/http'"
    )


def test_tree_prints_the_target_without_running_it(folder: Path) -> None:
    result = nestling(folder, "tree", "service.py:broken")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == (
        "broken (chain)\n"
        "├── db (start_stop)\n"
        "└── parallel\n"
        "    ├── http (start_stop)\n"
        "    └── mailer (leaf)\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["run"],
        ["run", "service:shop", "--stop-timeout", "-1"],
        ["run", "service:shop", "--stop-timeout", "nan"],
        ["run", "service:shop", "--start-timeout", "soon"],
        ["run", "service:shop", "--log-level", "loud"],
        ["run", "service:shop", "--log-format", "xml"],
        ["tree", "service:shop", "--format", "gif"],
        ["certify", "service:shop", "--fault", "fire"],
        ["certify", "service:shop", "--limit", "-1"],
        ["fly"],
    ],
)
def test_bad_usage_exits_with_2(folder: Path, arguments: list[str]) -> None:
    result = nestling(folder, *arguments)
    assert result.returncode == 2
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_certify_prints_the_number_of_points_and_exits_with_0(folder: Path) -> None:
    result = nestling(folder, "certify", "service:shop", "--limit", "60")
    assert (result.returncode, result.stderr) == (0, "")
    assert re.match(r"60/60 points safe \(\d+ more were left out by the limit\)", result.stdout)
    alone = nestling(folder, "certify", "service:make", "--fault", "cancel", "--no-pairs")
    assert re.fullmatch(r"(\d+)/\1 points safe\n", alone.stdout)


def test_certify_tells_the_smallest_point_that_is_not_safe_and_exits_with_1(folder: Path) -> None:
    result = nestling(folder, "certify", "service:leaks")
    assert result.returncode == 1
    assert "points safe; the smallest that is not (schedule 0):\ncancel at step " in result.stdout
    assert "in 'leaks/db'\n  law 6: file descriptors left open: 1\n" in result.stdout
    assert "service.py" in result.stdout
    assert "in careless\n" in result.stdout


def test_the_version_is_printed(folder: Path) -> None:
    result = nestling(folder, "--version")
    assert result.returncode == 0
    assert result.stdout.startswith("nestling, version ")


def test_without_click_the_extra_is_named(folder: Path) -> None:
    program = "import sys; sys.modules['click'] = None; from nestling.cli import main; main()"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        "error: click is not installed; this part of nestling needs it: "
        "pip install 'nestling[cli]'\n"
    )
