"""What the tests of the page for those who come from elsewhere have in common."""

from __future__ import annotations

from typing import Any

from nestling import Runnable
from nestling.supervise import Backoff
from nestling.testing import Probe, Trace

AT_ONCE = Backoff(initial=0)


def steps(trace: Trace, *names: str) -> list[str]:
    """Return what has happened to these nodes, in order, without the parts of probes."""
    return [
        f"{event.path} {type(event).__name__.lower()}"
        for event in trace.events
        if event.path in names
    ]


def events(trace: Trace, kind: str) -> list[Any]:
    return [event for event in trace.events if type(event).__name__ == kind]


def failing(after: float = 1, error: BaseException | None = None) -> Runnable:
    return Probe("inside", run=after, fail=error or OSError("lost"))


def notes(error: BaseException) -> list[str]:
    return list(vars(error).get("__notes__", []))


async def nothing() -> None:
    pass
