"""What the server and hypercorn have to say, under the path of the server's node."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypercorn.config import Config


class NodeLogger(logging.Logger):
    """A logger that puts a node's path before each message, and into the field ``path``.

    A logger and not an adapter, because hypercorn takes nothing else. It is not registered: there
    is one for each run, and it goes when the run does.
    """

    def __init__(self, path: str) -> None:
        super().__init__("nestling.asgi")
        self.parent = logging.getLogger(self.name)
        self._path = path

    def handle(self, record: logging.LogRecord) -> None:
        """Pass the record on with the path."""
        record.path = self._path
        path = self._path.replace("%", "%%") if record.args else self._path
        record.msg = f"{path}: {record.msg}"
        super().handle(record)


def with_log(config: Config, log: logging.Logger) -> Config:
    """Return a copy of ``config`` in which hypercorn logs to ``log``.

    Its default is a handler of its own on stderr, so that each line appears twice where logging is
    configured. Where something else was chosen, that is kept.
    """
    config = copy.copy(config)
    # A config whose logger was looked at keeps it.
    vars(config).pop("_log", None)
    if config.errorlog == "-":
        config.errorlog = log
    return config
