"""How long each node took to start and to stop, as a table."""

from __future__ import annotations

import attrs

from nestling._kernel._events import Event, Running, Starting, Stopped, Stopping
from nestling._kernel._node import Node

HEADINGS = ("node", "kind", "start", "stop", "")


@attrs.define
class _Times:
    starting: float
    running: float | None = None
    stopping: float | None = None
    stopped: float | None = None
    failed: bool = False

    def row(self, node: Node) -> tuple[str, ...]:
        """Return the cells of the node's row."""
        ran = self.running is not None
        return (
            node.path,
            node.kind,
            _span(self.starting, self.running if ran else self.stopped),
            _span(self.stopping, self.stopped) if ran else "-",
            "failed" if self.failed else "" if ran else "did not run",
        )


class Timeline:
    """An observer that takes the times of each node's events."""

    def __init__(self) -> None:
        self._times: dict[Node, _Times] = {}

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        if isinstance(event, Starting):
            self._times[event.node] = _Times(event.time)
            return
        times = self._times.get(event.node)
        if times is None:
            return
        if isinstance(event, Running):
            times.running = event.time
        elif isinstance(event, Stopping):
            times.stopping = event.time
        elif isinstance(event, Stopped):
            times.stopped = event.time
            times.failed = event.error is not None

    def text(self) -> str:
        """Return a table: a row for each node, in the order in which they were started."""
        rows = [HEADINGS, *(times.row(node) for node, times in self._times.items())]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "".join(_line(row, widths) for row in rows)


def _line(row: tuple[str, ...], widths: list[int]) -> str:
    path, kind, start, stop, remark = row
    cells = (
        path.ljust(widths[0]),
        kind.ljust(widths[1]),
        start.rjust(widths[2]),
        stop.rjust(widths[3]),
        remark,
    )
    return "  ".join(cells).rstrip() + "\n"


def _span(start: float | None, end: float | None) -> str:
    return "-" if start is None or end is None else f"{end - start:.3f} s"
