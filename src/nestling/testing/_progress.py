"""How far a long examination has come, on a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

WIDTH = 30
SECONDS_BETWEEN = 0.1


class Progress:
    """A progress bar on the standard error stream; nothing where that is no terminal."""

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._all = 0
        self._done = 0
        self._last = 0.0

    def more(self, number: int) -> None:
        """There is more to do."""
        self._all += number

    def done(self) -> None:
        """One of them is done."""
        self._done += 1
        if self._shown and time.monotonic() - self._last > SECONDS_BETWEEN:
            self._last = time.monotonic()
            full = WIDTH * self._done // max(self._all, 1)
            bar = "#" * full + "." * (WIDTH - full)
            sys.stderr.write(f"\r[{bar}] {self._done}/{self._all} points")
            sys.stderr.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
