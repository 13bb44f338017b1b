"""tailrace's own operational log: logfmt on stderr, one line an event, repeats counted instead of printed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from time import gmtime, monotonic
from typing import Any, TypeAlias

from .troubles import Troubles

REPEAT_SECONDS = 10.0
"""A message that was printed less than this ago is only counted."""
MOST_KINDS = 1000
"""How many different messages are remembered."""
DETAILS = ("path", "error", "reason")
"""The fields that tell what the trouble is."""


def _value(value: object) -> str:
    text = str(value)
    if text and not any(c in ' ="\\' or not c.isprintable() for c in text):
        return text
    return json.dumps(text, ensure_ascii=False)


_Kind: TypeAlias = tuple[int, str, object, object, object]
"""Level, words, sink, source and path."""


class _Said:
    """When a message was printed last, and what has been counted of it since."""

    __slots__ = ("at", "fields", "repeats")

    def __init__(self, at: float) -> None:
        self.at = at
        self.repeats = 0
        self.fields: dict[str, Any] = {}


class Log:
    """`log.info("what happened", key=value)`; equal words with equal `sink`, `source` and `path` are a repeat."""

    def __init__(self) -> None:
        self._logger = logging.getLogger("tailrace")
        self._printed: dict[_Kind, _Said] = {}
        self.always: dict[str, Any] = {}
        """What every line ends with: which of several processes it is."""
        self.clean: Callable[[str], str] = str
        """Takes secrets out of every value that is written; of the run that has begun last."""
        self.troubles = Troubles()
        """What was a warning or worse, for those who look at the run."""

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        if level >= logging.WARNING:
            where = str(fields.get("sink") or fields.get("source") or "")
            detail = ": ".join(str(fields[name]) for name in DETAILS if fields.get(name))
            self.troubles.note(where, message, self.clean(detail))
        key = (level, message, fields.get("sink"), fields.get("source"), fields.get("path"))
        now, said = monotonic(), self._printed.get(key)
        if said and now - said.at < REPEAT_SECONDS:
            said.repeats, said.fields = said.repeats + 1, fields
            return
        repeats = self._printed.pop(key).repeats if said else 0
        if len(self._printed) >= MOST_KINDS:
            self.tell(everything=True)
            self._printed.clear()
        self.tell(of=key[2:])
        self._printed[key] = _Said(now)
        self._print(level, message, fields, repeats)

    def tell(self, *, everything: bool = False, of: tuple[object, ...] | None = None) -> None:
        """Print what was only counted for long enough, and what was of this sink, source and path; or everything.

        The last of the repeats is what is printed: lines and their `repeats` add up to how often it was.
        """
        now = monotonic()
        for key, said in list(self._printed.items()):
            if said.repeats and (everything or now - said.at >= REPEAT_SECONDS or key[2:] == of):
                self._printed[key] = _Said(now)
                self._print(key[0], key[1], said.fields, said.repeats - 1)

    def _print(self, level: int, message: str, fields: dict[str, Any], repeats: int) -> None:
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
