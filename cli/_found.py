"""How found records are shown: readable on a terminal, as JSON lines in a pipe."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ..pipeline.match import text_of
from ..pipeline.record import Fields, rfc3339
from ..query.search import TIMES, fields_of
from ..stages._timestamps import Clock

if TYPE_CHECKING:
    from rich.text import Text

_COLOURS = {"debug": "dim", "info": "green", "warn": "yellow", "err": "red", "crit": "bold red", "fatal": "bold red"}
"""By the beginning of the level's name."""
read_time = Clock().read
_is_object = msgspec.json.Decoder(msgspec.defstruct("Object", [])).decode


class Shown(NamedTuple):
    """A line that is not shown as it is stored: of Loki, or written anew."""

    line: bytes
    time_ns: int | None
    labels: Mapping[str, str] = {}


def show(lines: Iterable[bytes | Shown], json: bool | None, colour: bool | None = None) -> None:
    """Print them; `json`: as JSON (True), as they are stored (False), or as suits what they are printed to.

    `colour`: as for a terminal also where there is none, or never. What cannot wait (a tail) is flushed by the caller.
    """
    if sys.stdout.isatty() or (colour and json is None):
        print_one = _on_terminal(json, colour)
        for line in lines:
            print_one(line)
        return
    out = sys.stdout.buffer
    for line in lines:
        text = line if isinstance(line, bytes) else line.line
        out.write((text if json is False else as_json(line)) + b"\n")
    out.flush()


def _on_terminal(json: bool | None, colour: bool | None) -> Callable[[bytes | Shown], None]:
    if json is not None:
        return lambda line: print(
            printable(as_json(line).decode(), "\\u{:04x}")
            if json
            else printable((line if isinstance(line, bytes) else line.line).decode("utf-8", "replace"))
        )
    from rich.console import Console  # slow to import, and only terminals need it

    console = Console(force_terminal=colour or None, no_color=True if colour is False else None)
    return lambda line: console.print(readable(line), soft_wrap=True)


def as_json(found: bytes | Shown) -> bytes:
    """The line itself if it is a JSON object; else one with its time, if known, and the text as its message."""
    line = found if isinstance(found, bytes) else found.line
    try:
        _is_object(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        time_ns = None if isinstance(found, bytes) else found.time_ns
        timed = {} if time_ns is None else {"timestamp": rfc3339(time_ns)}
        return msgspec.json.encode({**timed, "message": line.decode("utf-8", "replace")})
    return line


def readable(found: bytes | Shown) -> Text:
    """One record for the eye: time, level, source, message, in colours, with nothing that a terminal would obey."""
    from rich.text import Text

    line = found if isinstance(found, bytes) else found.line
    fields = fields_of(line)
    if not isinstance(found, bytes):
        timed = {} if found.time_ns is None else {"timestamp": rfc3339(found.time_ns)}
        fields = {**found.labels, **timed, **fields}
    level = _first(fields, ("level", "severity", "levelname"))
    style = next((style for name, style in _COLOURS.items() if level.lower().startswith(name)), "")
    message = _first(fields, ("message", "msg", "event")) or line.decode("utf-8", "replace")
    parts = [
        (_clock(fields), "dim"),
        (f"{level.upper():8}", style) if level else ("", ""),
        (_first(fields, ("source", "logger")), "cyan"),
        (message, ""),
    ]
    return Text(" ").join(Text(printable(text), style) for text, style in parts if text)


def _first(fields: Fields, names: Iterable[str]) -> str:
    return next((text for name in names if (text := text_of(fields.get(name)))), "")


def _clock(fields: Fields) -> str:
    text = _first(fields, TIMES)
    time_ns = read_time(text)
    if time_ns is None:
        return text
    moment = datetime.fromtimestamp(time_ns // 10**9, UTC)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{time_ns % 10**9 // 10**6:03}"


def printable(text: str, escape: str = "") -> str:
    r"""The text with what a terminal may obey (control, format, direction characters) shown as escapes: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or unicodedata.category(c) == "Zs" else _escaped(c, escape) for c in text)


def _escaped(char: str, escape: str) -> str:
    if not escape:
        return char.encode("unicode_escape").decode()
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(escape.format(int.from_bytes(units[i : i + 2], "big")) for i in range(0, len(units), 2))
