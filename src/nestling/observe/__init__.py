"""Ring 2: looking at compositions, before they run and while they do."""

from nestling._kernel._events import (
    Event as Event,
    Observer as Observer,
    Restarting as Restarting,
    Running as Running,
    Starting as Starting,
    Stopped as Stopped,
    Stopping as Stopping,
)
from nestling._kernel._runnable import Description as Description
from nestling.observe._describe import describe as describe
from nestling.observe._log import log_events as log_events
from nestling.observe._render import render as render

__all__ = [
    "Description",
    "Event",
    "Observer",
    "Restarting",
    "Running",
    "Starting",
    "Stopped",
    "Stopping",
    "describe",
    "log_events",
    "render",
]
