"""What loguru and structlog write to a console."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..pipeline.record import Fields
from ._pairs import pairs
from ._text_lines import LEVELS, joined, with_rest

_TIME = r"\d{4}-\d\d-\d\d[T ][\d:.,+Z-]++"
_LOGURU = re.compile(
    rf"\0(?:({_TIME}) ++\| ++([A-Z]++) *+\| ++([^\s:\0]*+):([^\s:\0]*+):(\d{{1,9}}) - ([^\0]*+)|[^\0]*+)", re.ASCII
)
# Without a time it is the level's column of nine that tells structlog from others.
_STRUCTLOG = re.compile(rf"\0(?:(?:({_TIME}) ++|(?=\[[a-z ]{{9}}\]))\[([a-z]++) *+\] ++([^\0]*+)|[^\0]*+)", re.ASCII)
_LOGGER = re.compile(r" ++\[([\w.<>]++)\]$")


def loguru(lines: Sequence[bytes]) -> list[Fields | None]:
    """`time | LEVEL | module:function:line - message`, loguru's own format."""
    found: list[Fields | None] = []
    for time, word, logger, function, number, message in _LOGURU.findall(joined(lines)):
        name = LEVELS.get(word)
        fields = {"timestamp": time, "level": name, "logger": logger, "function": function}
        found.append({**fields, "line": int(number), "message": message} if name else None)
    return found


def structlog(lines: Sequence[bytes]) -> list[Fields | None]:
    """`time [level    ] event   [logger] key=value …`, structlog's ConsoleRenderer; values are Python's reprs."""
    found: list[Fields | None] = []
    for time, word, text in _STRUCTLOG.findall(joined(lines)):
        name = LEVELS.get(word.upper())
        found.append(_event(time, name, text) if name else None)
    return found


def _event(time: str, name: str, text: str) -> Fields:
    line, _, rest = text.partition("\n")
    bound, begin = pairs(line, reprs=True)
    message = line[:begin].rstrip()
    fields: Fields = {"timestamp": time, "level": name}
    if not time:
        del fields["timestamp"]
    if logger := _LOGGER.search(message):
        fields["logger"] = logger[1]
        message = message[: logger.start()].rstrip()
    return with_rest({**fields, "message": message, **bound, **fields}, rest)
