"""tailrace's own operational log: logfmt on stderr, one line an event, repeats counted instead of printed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from time import gmtime, monotonic
from typing import Any

REPEAT_SECONDS = 10.0
"""A message that was printed less than this ago is only counted."""


def _value(value: object) -> str:
    text = str(value)
    if text and not any(c in ' ="\\' or not c.isprintable() for c in text):
        return text
    return json.dumps(text, ensure_ascii=False)


class Log:
    """`log.info("what happened", key=value)`; equal words with equal `sink`, `source` and `path` are a repeat."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("tailrace")
        self._printed: dict[tuple[object, ...], tuple[float, int]] = {}
        self.always: dict[str, Any] = {}
        """What every line ends with: which of several processes it is."""
        self.clean: Callable[[str], str] = str
        """Takes secrets out of every value that is written; of the run that has begun last."""

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        key = (level, message, fields.get("sink"), fields.get("source"), fields.get("path"))
        last, repeats = self._printed.get(key, (0.0, 0))
        now = monotonic()
        if last and now - last < REPEAT_SECONDS:
            self._printed[key] = (last, repeats + 1)
            return
        if len(self._printed) > 1000:
            self._printed.clear()
        self._printed[key] = (now, 0)
        if repeats:
            fields = fields | {"repeats": repeats}
        plain = {name: v if isinstance(v, int | float) else self.clean(str(v)) for name, v in fields.items()}
        self._logger.log(level, message, extra={"fields": plain | self.always})

    def info(self, message: str, **fields: Any) -> None:
        """Something that a reader of the log wants to know once."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something is wrong that tailrace goes on trying."""
        self._log(logging.WARNING, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Something that somebody has to do something about."""
        self._log(logging.ERROR, message, fields)


class _Logfmt(logging.Formatter):
    converter = staticmethod(gmtime)

    def format(self, record: logging.LogRecord) -> str:
        parts = {
            "ts": self.formatTime(record, "%Y-%m-%dT%H:%M:%SZ"),
            "level": record.levelname.lower(),
            "msg": record.getMessage(),
        }
        return " ".join(f"{key}={_value(value)}" for key, value in (parts | getattr(record, "fields", {})).items())


def to_stderr(level: int = logging.INFO) -> None:
    """Print the operational log to stderr from now on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Logfmt())
    logger = logging.getLogger("tailrace")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False


log = Log()
