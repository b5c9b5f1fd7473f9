"""`log_events`: the life of each node, as lines of the standard library's logging.

========================  =======  ========================================
event                     level    message
========================  =======  ========================================
Starting                  INFO     ``shop/http: starting``
Running                   INFO     ``shop/http: running``
Stopping                  INFO     ``shop/http: stopping``
Stopped                   INFO     ``shop/http: stopped``
Restarting                WARNING  ``shop/http: restart 1 in 0.1 s: OSError: ...``
Stopped, never ran        INFO     ``shop/http: stopped before it was running``
Stopped, error            ERROR    ``shop/http: failed: OSError: ...``
Stopped, never ran, error ERROR    ``shop/http: failed to start: OSError: ...``
Stopped, errors hidden    ERROR    ``shop/http: failed as well: OSError: ...``
========================  =======  ========================================
"""

from __future__ import annotations

import logging
from typing import cast

from nestling._kernel._checks import describe_value
from nestling._kernel._events import (
    Event,
    Observer,
    Restarting,
    Running,
    Starting,
    Stopped,
    Stopping,
)
from nestling._kernel._node import Node
from nestling._kernel._outcome import summary


def log_events(logger: logging.Logger | None = None) -> Observer:
    """Make an observer that logs what happens to each node, in one line.

    Messages begin with the path of the node, and records carry it in the field ``path``. A run of
    `nestling.run` logs to the logger ``nestling`` by itself, unless it is given such an observer.

    Args:
        logger: where to; by default the logger ``nestling``.

    Example::

        run(shop, observers=[log_events(logging.getLogger("shop.services"))])
    """
    if logger is None:
        return LogEvents(logging.getLogger("nestling"))
    if not isinstance(cast("object", logger), (logging.Logger, logging.LoggerAdapter)):
        raise TypeError(
            f"logger of log_events() must be a logging.Logger, not {describe_value(logger)}"
        )
    return LogEvents(logger)


class LogEvents:
    """An observer that logs."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._ran: set[Node] = set()

    def __call__(self, event: Event) -> None:
        """Log an event."""
        if isinstance(event, Starting):
            self._write(logging.INFO, event, "starting")
        elif isinstance(event, Running):
            self._ran.add(event.node)
            self._write(logging.INFO, event, "running")
        elif isinstance(event, Stopping):
            self._write(logging.INFO, event, "stopping")
        elif isinstance(event, Stopped):
            self._stopped(event)
        elif isinstance(event, Restarting):
            why = "" if event.error is None else f": {one_line(event.error)}"
            text = f"restart {event.attempt} in {event.delay:.3g} s{why}"
            self._write(logging.WARNING, event, text)

    def _stopped(self, event: Stopped) -> None:
        ran = event.node in self._ran
        self._ran.discard(event.node)
        if event.error is not None:
            verb = "failed" if ran else "failed to start"
            self._write(logging.ERROR, event, f"{verb}: {one_line(event.error)}")
        else:
            message = "stopped" if ran else "stopped before it was running"
            self._write(logging.INFO, event, message)
        for error in event.suppressed:
            self._write(logging.ERROR, event, f"failed as well: {one_line(error)}")

    def _write(self, level: int, event: Event, message: str) -> None:
        self._logger.log(level, "%s: %s", event.path, message, extra={"path": event.path})


def one_line(error: BaseException) -> str:
    """Describe ``error`` in one line, whatever its message contains."""
    return " ".join(summary(error).split())
