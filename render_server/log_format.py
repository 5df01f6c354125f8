"""Formats of log lines: text for people, JSON for log collectors."""

import datetime
import json
import logging

#: Names of the formats.
LOG_FORMATS = ("text", "json")

#: Lowest levels that can be chosen.
LOG_LEVELS = ("debug", "info", "warning", "error")

_TEXT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object: time (UTC), level, logger, pid, message, and the items of `fields`.

    `fields` comes from `extra={"fields": ...}`. The traceback of an exception goes to `exception`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        time = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        line = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "pid": record.process,
            "message": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure_logging(level: str, log_format: str) -> None:
    """Send the log of this process to standard error.

    Args:
        level: one of `LOG_LEVELS`.
        log_format: one of `LOG_FORMATS`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler])
