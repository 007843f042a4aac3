"""Logs: one line an event, a constant message and its keys, as text or JSON, on standard error."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from exporter.config.model import Log

#: What every LogRecord has; anything else came in through `extra=`.
_USUAL = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def keys_of(record: logging.LogRecord) -> dict[str, Any]:
    """The keys that were logged with `extra=`."""
    return {key: value for key, value in vars(record).items() if key not in _USUAL}


class TextFormatter(logging.Formatter):
    """`2026-11-20T12:00:00.000Z WARNING poll failed server=prod reason=auth`."""

    def format(self, record: logging.LogRecord) -> str:
        """One line; line breaks in values are escaped, names are chosen by clients."""
        pairs = (f"{key}={_value(value)}" for key, value in keys_of(record).items())
        line = " ".join([_time(record), record.levelname, record.getMessage(), *pairs])
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with `time`, `level`, `event` and the keys."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        event = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **keys_of(record),
        }
        if record.exc_info:
            event["exception"] = self.formatException(record.exc_info)
        return json.dumps(event, default=str)


def set_up(config: Log) -> None:
    """Write this process's events as `config` says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(config.level.upper())
    # Every request is an INFO line there; what matters of them we log ourselves. Libraries that log
    # secrets are silenced whatever `config` says, where they are used: by notify and sources.
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    # It warns whenever a turn is still under way: with every one while a server is frozen.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


def _time(record: logging.LogRecord) -> str:
    at = datetime.fromtimestamp(record.created, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _value(value: object) -> str:
    text = str(value)
    return text if text and text.isprintable() and " " not in text else json.dumps(text)
