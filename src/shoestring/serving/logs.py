"""The log of a server: one JSON object on each line of stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

_LOGGER = logging.getLogger("shoestring.serving")


class _JsonLines(logging.Formatter):
    """Format a record as JSON: time (UTC), level, event or message, and the fields that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        values: dict[str, Any] = {"time": f"{seconds}.{int(record.msecs):03}Z", "level": record.levelname.lower()}
        values["event"] = record.getMessage()
        values |= getattr(record, "fields", {})
        if record.exc_info:
            values["traceback"] = self.formatException(record.exc_info)
        return json.dumps(values, ensure_ascii=True, default=str)


def start_logging(*, quiet: bool = False) -> None:
    """Write the log to stderr from now on; with `quiet`, only warnings and errors."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    own = logging.WARNING if quiet else logging.INFO
    for name, level in {_LOGGER.name: own, "uvicorn.error": logging.ERROR, "python_multipart": logging.ERROR}.items():
        logger = logging.getLogger(name)  # the others warn about broken requests, of which there may be thousands
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def log(event: str, *, level: int = logging.INFO, error: BaseException | None = None, **fields: Any) -> None:
    """Log an event with more values, and the traceback of an error."""
    _LOGGER.log(level, event, extra={"fields": fields}, exc_info=error)
