"""What failed, in one line for each node."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import cast

from nestling._kernel._errors import NestlingError
from nestling._kernel._events import Event, Running, Stopped
from nestling._kernel._node import Node
from nestling.observe._log import one_line

if sys.version_info < (3, 11):
    from exceptiongroup import BaseExceptionGroup


class Failures:
    """An observer that remembers who failed, in the order in which they did."""

    def __init__(self) -> None:
        self._ran: set[Node] = set()
        self._found: list[tuple[str, str, BaseException]] = []

    def __call__(self, event: Event) -> None:
        """Take notice of an event."""
        if isinstance(event, Running):
            self._ran.add(event.node)
        elif isinstance(event, Stopped):
            verb = "failed" if event.node in self._ran else "failed to start"
            for error in (event.error, *event.suppressed):
                if error is not None:
                    self._found.append((event.path, verb, error))

    def lines(self, error: BaseException) -> Iterator[str]:
        """Name each failed node with its error, and then what is left in ``error``.

        What passed through further nodes, alone or in a group, is told once: of the node where it
        was raised, which is the first to end.
        """
        told: set[int] = set()
        for path, verb, found in self._found:
            for part in _parts(found):
                if id(part) not in told:
                    told.add(id(part))
                    yield f"{path} {verb}: {one_line(part)}"
        for part in _parts(error):
            if id(part) not in told:
                # What nestling itself found names the node already.
                by_itself = isinstance(part, NestlingError)
                yield " ".join(str(part).split()) if by_itself else one_line(part)


def _parts(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for part in cast("BaseExceptionGroup[BaseException]", error).exceptions:
            yield from _parts(part)
    else:
        yield error
