"""Real processes, for what only real signals can show."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

PRELUDE = """\
import sys, threading, time
import trio
import nestling
from nestling import chain, leaf, named, nop, parallel, runnable, start_stop

async def nothing(): pass
async def forever(): await trio.sleep_forever()
"""

TIME_LIMIT = 60


def wait_until_refused(port: int) -> None:
    """Connect until no connection is taken any more: that a server stops is told a moment before.

    If it stops while somebody connects, that may end in a reset.
    """
    taken = True
    while taken:
        with suppress(ConnectionResetError):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                taken = False


class Program:
    """A process whose error stream is read line by line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        """Read lines until one contains ``text``."""
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if text in line:
                return line
        raise AssertionError(f"{text!r} was never written:\n{self.output}")

    def send(self, *signals: signal.Signals) -> None:
        """Send signals, one right after the other."""
        for number in signals:
            os.kill(self._process.pid, number)

    def end(self) -> int:
        """Read what is left, wait for the end, and return the exit status."""
        assert self._process.stderr is not None
        self.lines += self._process.stderr.readlines()
        return self._process.wait()

    @property
    def output(self) -> str:
        """What was read so far."""
        return "".join(self.lines)


@contextmanager
def started(*arguments: str | Path, cwd: Path | None = None) -> Generator[Program, None, None]:
    """Start Python with these arguments; at the latest it ends with the ``with`` statement."""
    process = subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=cwd,
    )
    limit = threading.Timer(TIME_LIMIT, process.kill)
    limit.start()
    try:
        yield Program(process)
    finally:
        limit.cancel()
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


@contextmanager
def nestling_runs(folder: Path, code: str, *options: str) -> Generator[Program, None, None]:
    """Run ``app`` of a file that consists of the prelude and ``code``."""
    file = folder / "service.py"
    file.write_text(PRELUDE + code)
    with started("-m", "nestling", "run", f"{file}:app", *options) as program:
        yield program
