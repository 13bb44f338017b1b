"""What the readers of text formats share: lines as text, levels, and the further lines of an event."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from ..pipeline.record import Fields

Reader: TypeAlias = Callable[[Sequence[bytes]], list[Fields | None]]
"""A format. Each line's result depends on that line alone, and no line makes it raise."""

_ALIASES = {"WARN": "warning", "FATAL": "critical"}
LEVELS = {
    name: _ALIASES.get(name, name.lower())
    for name in ("TRACE", "DEBUG", "INFO", "NOTICE", "SUCCESS", "WARN", "WARNING", "ERROR", "CRITICAL", "FATAL")
}
"""The levels that Python's loggers write, and what they are called here."""

_COLOUR = re.compile(rb"\x1b\[[\d;]*m")


def level(name: str) -> str:
    """A level in lower case, `warn` as `warning` and `fatal` as `critical`."""
    return _ALIASES.get(name.upper(), name.lower())


def joined(lines: Sequence[bytes]) -> str:
    """The lines as text with a NUL before each; a NUL of their own becomes U+FFFD."""
    text = b"\0".join([b"", *_tidy(lines)]).decode("utf-8", "replace")
    return text.replace("\0\ufeff", "\0") if "\ufeff" in text else text


def decoded(lines: Sequence[bytes]) -> list[str]:
    """Each line as text; bytes that are not UTF-8 and NUL become U+FFFD."""
    lines = _tidy(lines)
    try:
        return list(map(bytes.decode, lines))
    except UnicodeDecodeError:
        return [line.decode("utf-8", "replace") for line in lines]


def _tidy(lines: Sequence[bytes]) -> Sequence[bytes]:
    """The lines without the CR at their end and without colours, U+FFFD for NUL."""
    whole = b"".join(lines)
    if b"\0" in whole:
        lines = [line.replace(b"\0", b"\xef\xbf\xbd") for line in lines]
    if b"\x1b" in whole:
        lines = [_COLOUR.sub(b"", line) for line in lines]
    if b"\r" in whole:
        lines = [line.removesuffix(b"\r") for line in lines]
    return lines


def with_rest(fields: Fields, rest: str, name: str = "message") -> Fields:
    """The further lines of an event (a traceback) belong to its message."""
    if rest:
        message = fields.get(name)
        fields[name] = f"{message}\n{rest}" if isinstance(message, str) else rest
    return fields
