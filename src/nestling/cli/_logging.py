"""Where the command line's log lines go: to the standard error stream, as text or as JSON."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime, timezone

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("text", "json")


def configure(level: str, style: str) -> None:
    """Log everything from ``level`` on, the whole process's records, not only nestling's."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        JsonFormatter()
        if style == "json"
        else logging.Formatter("%(asctime)s %(levelname)-7s %(message)s")
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class JsonFormatter(logging.Formatter):
    """Formats a record as an object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its break."""
        fields: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        path = getattr(record, "path", None)
        if path is not None:
            fields["path"] = path
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False, default=str)
