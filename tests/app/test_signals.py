"""Real signals, sent to real processes."""

from __future__ import annotations

from pathlib import Path
from signal import SIGINT, SIGTERM, Signals

import pytest

from tests.app.processes import PRELUDE, nestling_runs, started

GRACEFUL = """
app = chain(named("db", start_stop(nothing, nothing)), named("http", leaf(forever)))
"""

NEVER_STOPS = """
app = chain(named("db", start_stop(nothing, nothing)), named("http", start_stop(nothing, forever)))
"""

IGNORES_FORCE = """
async def shielded():
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()

app = chain(named("db", start_stop(nothing, nothing)), named("http", start_stop(nothing, shielded)))
"""

NEVER_STARTS = """
app = chain(named("db", start_stop(nothing, nothing)), named("http", start_stop(forever, nothing)))
"""

BLOCKS_THE_LOOP = """
async def block():
    await trio.sleep(0)
    print("blocked", file=sys.stderr, flush=True)
    {how}

app = named("root", start_stop(nothing, block))
"""


@pytest.mark.parametrize("number", [SIGINT, SIGTERM])
def test_the_first_signal_stops_gracefully_in_order(tmp_path: Path, number: Signals) -> None:
    with nestling_runs(tmp_path, GRACEFUL) as program:
        program.wait_for("app: running")
        program.send(number)
        assert program.end() == 0
    messages = [line.split(maxsplit=3)[3].strip() for line in program.lines]
    assert messages == [
        "app: starting",
        "app/db: starting",
        "app/db: running",
        "app/http: starting",
        "app/http: running",
        "app: running",
        f"app: asked to stop by {number.name}",
        "app: stopping",
        "app/http: stopping",
        "app/http: stopped",
        "app/db: stopping",
        "app/db: stopped",
        "app: stopped",
    ]


@pytest.mark.parametrize(("first", "second"), [(SIGTERM, SIGTERM), (SIGINT, SIGTERM)])
def test_the_second_signal_forces_whichever_it_is(
    tmp_path: Path, first: Signals, second: Signals
) -> None:
    with nestling_runs(tmp_path, NEVER_STOPS) as program:
        program.wait_for("app: running")
        program.send(first)
        program.wait_for("app/http: stopping")
        program.send(second)
        assert program.wait_for("forced").endswith("app: forced: app/db, app/http\n")
        assert program.end() == 3


@pytest.mark.parametrize("third", [SIGINT, SIGTERM])
def test_the_third_signal_ends_the_process_after_a_report(tmp_path: Path, third: Signals) -> None:
    with nestling_runs(tmp_path, IGNORES_FORCE) as program:
        program.wait_for("app: running")
        program.send(SIGTERM)
        program.wait_for("app/http: stopping")
        program.send(SIGINT)
        program.wait_for("forced")
        program.send(third)
        assert program.end() == 128 + third
    report = program.output.partition(f"nestling: {third.name} ends the process; not stopped:\n")[2]
    paths = [line.partition(":")[0] for line in report.splitlines() if not line.startswith(" ")]
    assert paths == ["app", "app/db", "app/http"]
    blamed = report.partition("\napp/http: stopping for ")[2]
    assert "in shielded\n      await trio.sleep_forever()\n" in blamed


@pytest.mark.parametrize("how", ["time.sleep(1000)", "while True: pass"])
def test_the_third_signal_ends_a_process_whose_loop_is_blocked(tmp_path: Path, how: str) -> None:
    with nestling_runs(tmp_path, BLOCKS_THE_LOOP.format(how=how)) as program:
        program.wait_for("root: running")
        program.send(SIGTERM)
        program.wait_for("blocked")
        # Different ones, since equal signals that are pending count as one.
        program.send(SIGTERM, SIGINT)
        assert program.end() in {128 + SIGTERM, 128 + SIGINT}
    assert "not stopped:\nroot: stopping for " in program.output
    assert ", in block\n" in program.output


def test_three_signals_that_come_while_the_loop_is_blocked_are_all_counted(tmp_path: Path) -> None:
    code = """
async def block():
    import signal
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGTERM):
        signal.raise_signal(number)

app = named("root", leaf(block))
"""
    with nestling_runs(tmp_path, code) as program:
        assert program.end() == 128 + SIGTERM
    assert "nestling: SIGTERM ends the process; not stopped:\nroot: running for" in program.output


def test_two_signals_in_a_row_force_at_the_latest_when_the_time_is_over(tmp_path: Path) -> None:
    # Signals that are pending coalesce: two may count as one.
    with nestling_runs(tmp_path, NEVER_STOPS, "--stop-timeout", "0.2") as program:
        program.wait_for("app: running")
        program.send(SIGTERM, SIGTERM)
        assert program.wait_for("forced").endswith("app: forced: app/db, app/http\n")
        assert program.end() == 3


def test_a_stop_that_takes_too_long_is_forced_and_names_who_is_stuck(tmp_path: Path) -> None:
    with nestling_runs(tmp_path, NEVER_STOPS, "--stop-timeout", "0.1") as program:
        program.wait_for("app: running")
        program.send(SIGTERM)
        assert program.wait_for("forced").endswith("app: forced: app/db, app/http\n")
        assert program.end() == 3
    assert "error: 'app' did not stop within 0.1 s; stuck: 'app/db', 'app/http'\n" in program.lines


def test_a_signal_during_the_start_up_cancels_it(tmp_path: Path) -> None:
    with nestling_runs(tmp_path, NEVER_STARTS) as program:
        program.wait_for("app/db: running")
        program.send(SIGTERM)
        assert program.end() == 0
    assert "app/http: stopped before it was running\n" in program.output
    assert program.lines[-1].endswith("app: stopped before it was running\n")


def test_a_signal_while_the_target_is_imported_ends_without_a_traceback(tmp_path: Path) -> None:
    code = "print('importing', file=sys.stderr, flush=True)\ntime.sleep(1000)\n"
    with nestling_runs(tmp_path, code) as program:
        program.wait_for("importing")
        program.send(SIGINT)
        assert program.end() == 130
    assert program.lines == ["importing\n"]


def test_a_worker_thread_that_blocks_is_waited_for_until_the_third_signal(tmp_path: Path) -> None:
    code = """
def block():
    print("blocked", file=sys.stderr, flush=True)
    time.sleep(1000)

async def busy():
    await trio.to_thread.run_sync(block)

app = named("root", leaf(busy))
"""
    with nestling_runs(tmp_path, code) as program:
        program.wait_for("blocked")
        program.send(SIGTERM)
        program.wait_for("root: stopping")
        program.send(SIGTERM)
        program.wait_for("root: forced: root")
        program.send(SIGTERM)
        assert program.end() == 128 + SIGTERM
    assert ", in busy\n" in program.output


def test_a_report_that_nobody_reads_is_given_up_at_the_fourth_signal(tmp_path: Path) -> None:
    code = """
import fcntl, os, signal
os.set_blocking(2, True)
read, write = os.pipe()
fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)
os.write(write, b"x" * 4096)

def insist():
    while True:
        time.sleep(0.1)
        os.kill(os.getpid(), signal.SIGTERM)

async def main():
    async def full():
        os.dup2(write, 2)
        threading.Thread(target=insist, daemon=True).start()
        for _ in range(3):
            signal.raise_signal(signal.SIGTERM)
    await nestling.run_until_signal(named("root", leaf(full)))

trio.run(main)
"""
    file = tmp_path / "full.py"
    file.write_text(PRELUDE + code)
    with started(file) as program:
        assert program.end() == 128 + SIGTERM


def test_a_program_without_the_command_line_is_stopped_by_ctrl_c(tmp_path: Path) -> None:
    code = """
async def ready():
    print("ready", file=sys.stderr, flush=True)

nestling.run(chain(leaf(forever), start_stop(ready, nothing)))
print("after", file=sys.stderr)
"""
    file = tmp_path / "program.py"
    file.write_text(PRELUDE + code)
    with started(file) as program:
        program.wait_for("ready")
        program.send(SIGINT)
        assert program.end() == 0
    assert program.lines == ["ready\n", "after\n"]
