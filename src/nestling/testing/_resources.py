"""What a run leaves behind in the interpreter: files, coroutines, garbage that complains."""

from __future__ import annotations

import atexit
import gc
import sys
import warnings
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path

import trio

LEFT_OPEN = "law 6: file descriptors left open"

_OPEN_FILES = Path("/proc/self/fd")


@contextmanager
def watching_resources(problems: list[str]) -> Generator[None, None, None]:
    """Add to ``problems`` what is left open, and what Python complains of."""
    before = _open_files()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        warnings.filterwarnings("always", message=".*was never awaited")
        yield
        gc.collect()
        gc.freeze()  # what is left is looked at no more
    problems += [f"law 6: {warning.message}" for warning in caught]
    if (left := _open_files() - before) > 0:
        problems.append(f"{LEFT_OPEN}: {left}")


def _open_files() -> int:
    return sum(1 for _ in _OPEN_FILES.iterdir()) if _OPEN_FILES.is_dir() else 0


_kept: list[trio.lowlevel.Task] = []


def keep(tasks: Iterable[trio.lowlevel.Task]) -> None:
    """Keep tasks of a run that trio has given up: dropped, they complain of that, one by one."""
    if not _kept:
        atexit.register(_silence)
    _kept.extend(tasks)


def _silence() -> None:
    sys.unraisablehook = _say_nothing


def _say_nothing(unraisable: object) -> None:
    del unraisable
