"""The formats of log lines: one function each, from lines to what they say (None: not of this format)."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import msgspec
import re2

from ..pipeline.options import Regex
from ..pipeline.record import Fields
from ._consoles import loguru, structlog
from ._containers import cri, docker
from ._pairs import unescape
from ._servers import combined, syslog
from ._text_lines import LEVELS, Reader, decoded, joined, level, with_rest
from ._timestamps import ZEROS

_TIME = r"\d{4}-\d\d-\d\d[T ][\d:.,+Z-]++"
_LEVEL = r"(?: -)?+ ++\[?+([A-Z]++)\]?+(?: -)?+ ++"
_LOGGER = r"[A-Za-z_<][\w.<>/$-]*+"

# Each pattern reads one line between NULs and matches any line, so that one `findall` gives one row a line.
# All repeats are possessive: no input makes them go back over a line.
_TIMED = re.compile(
    rf"\0(?:({_TIME}){_LEVEL}"
    rf"(?:({_LOGGER})(?:: ?+(?=[\s\0]|(?<= ))| - )|([A-Za-z_]\w*+(?:\.\w++)++) )?([^\0]*+)|[^\0]*+)"
)
_HEAD = re.compile(rf"{_LEVEL}({_LOGGER})")
_LEVEL_ONLY = re.compile(rb"%b[^ \x1b]" % _LEVEL.encode())
_LAYOUT = re.compile(r"0000-00-00[T ]00:00:00[.,]000")
_DASHED = re.compile(rf"\0(?:({_TIME}) - ([^\s\0]++) - ([A-Z]++) - ([^\0]*+)|[^\0]*+)")
_BARE = re.compile(r"\0(?:([A-Z]++):([^\s:\0]++):([^\0]*+)|[^\0]*+)")
_PREFIXED = re.compile(rf"\0(?:({_TIME}) ++\[?+([A-Z]++)\]?+ ++(\{{[^\0]*+)|[^\0]*+)")
_PAIR = re.compile(
    r'([^\s="]++)(=?+)(?:(?<==)"((?:[^"\\]|\\.)*+)"|([^\s"]*+))(?!\S)|(\S++)',
    re.DOTALL,
)
_STRICT_KEY = re.compile(r"[A-Za-z_@][\w.@/-]*", re.ASCII)

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_BAD_JSON = (msgspec.MsgspecError, ValueError, RecursionError)


def python(lines: Sequence[bytes]) -> list[Fields | None]:
    """Python's logging: time, level, logger and message in its usual orders, or `LEVEL:logger:message`; and loguru's.

    After a time, a word is the logger when `:` or ` - ` follows it or when it has dots; else the message starts there.
    """
    found = _usual(lines)
    if None not in found:
        return found
    known = LEVELS.get
    rest = [place for place, fields in enumerate(found) if fields is None]
    text = joined([lines[place] for place in rest])
    for place, (time, word, logger, dotted, message) in zip(rest, _TIMED.findall(text), strict=True):
        if name := known(word):
            fields = {"timestamp": time, "level": name, "logger": logger or dotted, "message": message}
            if not (logger or dotted):
                del fields["logger"]
            found[place] = fields
    if rest := [place for place in rest if found[place] is None]:
        text = joined([lines[place] for place in rest])
        for place, (time, logger, word, message) in zip(rest, _DASHED.findall(text), strict=True):
            if name := known(word):
                found[place] = {"timestamp": time, "level": name, "logger": logger, "message": message}
        for place, (word, logger, message) in zip(rest, _BARE.findall(text), strict=True):
            if name := known(word):
                found[place] = {"level": name, "logger": logger, "message": message}
    if rest := [place for place in rest if found[place] is None]:
        for place, other in zip(rest, loguru([lines[place] for place in rest]), strict=True):
            found[place] = other
    return found


def _usual(lines: Sequence[bytes]) -> list[Fields | None]:
    """The most usual lines, `2026-11-03 10:00:00,123 INFO app.db: ready`; None for each other one.

    Of 140 bytes 0.5 µs a line, where the general pattern takes 1.3.
    """
    known = _heads.__getitem__
    found: list[Fields | None] = [
        {"timestamp": head[:23], "level": names[0], "logger": names[1], "message": message}
        if colon and (names := known(head[23:]))
        else None
        for head, colon, message in [text.partition(": ") for text in decoded(lines)]
    ]
    stamps = [fields["timestamp"] for fields in found if fields]
    # All times are looked at together: with each digit as 0 they are one text again and again.
    layout = stamps[0].translate(ZEROS) if stamps else ""
    if stamps and (not _LAYOUT.fullmatch(layout) or "".join(stamps).translate(ZEROS) != layout * len(stamps)):
        return [None] * len(lines)
    return found


class _Heads(dict[str, tuple[str, str] | None]):
    """Level and logger in what stands between time and message, remembered: a program has few of them."""

    def __missing__(self, head: str) -> tuple[str, str] | None:
        match = _HEAD.fullmatch(head) if len(head) < 200 else None
        name = LEVELS.get(match[1]) if match else None
        names = (name, match[2]) if match and name else None
        if len(head) < 200:
            if len(self) > 4096:
                self.clear()
            self[head] = names
        return names


_heads = _Heads()


USUAL_TIME = 23
"""Characters of a time in the most usual lines."""


def times_and_levels(lines: Sequence[bytes]) -> tuple[str, list[str]] | None:
    """Every `timestamp`, all in one piece, and `level` as `python` finds them, without the rest.

    None if one line is not of the most usual layout. Nothing is decoded but these: a third of the time.
    """
    known = _levels.__getitem__
    levels = [known(line[USUAL_TIME:36]) for line in lines]
    if None in levels:
        return None
    table = b"".join([line[:USUAL_TIME] for line in lines]).decode("latin-1")
    layout = table[:USUAL_TIME].translate(ZEROS)
    if not _LAYOUT.fullmatch(layout) or table.translate(ZEROS) != layout * len(lines):
        return None
    return table, levels  # type: ignore[return-value]  # there is no None


class _Levels(dict[bytes, str | None]):
    """The level in the first bytes behind a time, remembered; None where these bytes alone do not tell."""

    def __missing__(self, start: bytes) -> str | None:
        match = _LEVEL_ONLY.match(start)
        if len(self) > 4096:
            self.clear()
        name = self[start] = LEVELS.get(match[1].decode()) if match else None
        return name


_levels = _Levels()


def prefixed_json(lines: Sequence[bytes]) -> list[Fields | None]:
    """What Python's loggers put before a message that is one JSON object: its fields, and those of the text."""
    found = _prefixed_json(lines)
    rest = [place for place, fields in enumerate(found) if fields is None]
    for place, fields in zip(rest, python([lines[place] for place in rest]), strict=True):
        if fields and fields["message"][:1] == "{" and (own := json_object(fields["message"])) is not None:
            del fields["message"]
            found[place] = fields | own
    return found


def _prefixed_json(lines: Sequence[bytes]) -> list[Fields | None]:
    """Time, level, then the object."""
    found: list[Fields | None] = []
    for time, word, text in _PREFIXED.findall(joined(lines)):
        name = LEVELS.get(word)
        fields = json_object(text) if name else None
        found.append(None if fields is None else {"timestamp": time, "level": name, **fields})
    return found


def logfmt(lines: Sequence[bytes]) -> list[Fields | None]:
    """`key=value` pairs, values in quotes with JSON's escapes or bare; a key without `=` is true."""
    return [_event(line.decode("utf-8", "replace")) for line in lines]


def regex(pattern: Regex) -> Reader:
    """The pattern's named groups are the fields, and `message` is the whole text unless a group has that name."""
    # A match object of re2 asks the library for the number of groups whenever one is read, which takes four times as
    # long as the search. What it is made from holds all spans at once: 3 µs a line where 8 were spent.
    find, anywhere = re2.compile(pattern.text.encode())._regexp.Match, re2._Anchor.UNANCHORED
    names, places = list(pattern.groups), list(pattern.groups.values())

    def fields_of(data: bytes) -> Fields | None:
        spans = find(anywhere, data, 0, len(data))
        if spans[0][0] < 0:
            return None
        named = zip(names, [spans[place] for place in places], strict=True)
        if data.isascii():  # then one character is one byte
            text = data.decode()
            return {name: text[start:end] for name, (start, end) in named if start >= 0}
        return {name: data[start:end].decode("utf-8", "replace") for name, (start, end) in named if start >= 0}

    def one(line: bytes) -> Fields | None:
        head, newline, rest = line.partition(b"\n")
        fields = fields_of(head)
        if fields is None:
            # A pattern may be written for events of several lines.
            if not newline or (fields := fields_of(line)) is None:
                return None
            rest = b""
        if "level" in fields:
            fields["level"] = level(fields["level"])
        if "message" not in fields:
            fields["message"] = line.decode("utf-8", "replace")
            return fields
        return with_rest(fields, rest.decode("utf-8", "replace"))

    return lambda lines: list(map(one, lines))


def json_object(data: bytes | str) -> Fields | None:
    """The fields of text that is nearly one JSON object, None for anything else.

    Taken as well: a byte order mark, bytes that are not UTF-8 and lone surrogates (replaced), NaN and infinities
    (null), and an object on the first line of an event, whose other lines then belong to `message`.
    """
    try:
        fields: Fields = _decode(data)
        return fields
    except _BAD_JSON:
        pass
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith("{"):
        return None
    try:
        loose, end = _LENIENT.raw_decode(text)
        # The detour replaces lone surrogates, which could not be written again.
        fields = _decode(json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace"))
    except _BAD_JSON:
        return None
    rest = text[end:].lstrip(" \t\r")
    if rest.strip() and not rest.startswith("\n"):
        return None
    return with_rest(fields, rest.strip("\n"))


def _constant(_name: str) -> None:
    return None


_LENIENT = json.JSONDecoder(parse_constant=_constant, strict=False)


def _event(text: str) -> Fields | None:
    head, newline, rest = text.partition("\n")
    fields = _pairs(head)
    if fields is None:
        # The line break may stand inside quotes.
        return _pairs(text) if newline else None
    return with_rest(fields, rest, "msg" if "msg" in fields else "message")


def _pairs(text: str) -> Fields | None:
    fields: Fields = {}
    for key, equals, quoted, plain, bad in _PAIR.findall(text):
        if bad or not (equals or fields):
            return None
        fields[key] = (unescape(quoted) if "\\" in quoted else quoted) if quoted else plain if equals else True
    if isinstance(word := fields.get("level"), str):
        fields["level"] = level(word)
    return fields or None


def _python_or_prefixed(lines: Sequence[bytes]) -> list[Fields | None]:
    found = python(lines)
    places = [place for place, fields in enumerate(found) if fields and fields["message"][:1] == "{"]
    for place, fields in zip(places, prefixed_json([lines[place] for place in places]), strict=True):
        found[place] = fields or found[place]
    return found


def _strict_logfmt(lines: Sequence[bytes]) -> list[Fields | None]:
    # Prose may hold a pair: here all of it must be pairs, at least two, with keys that look like names.
    found = logfmt(lines)
    return [
        fields
        if fields and len(fields) > 1 and True not in fields.values() and all(map(_STRICT_KEY.fullmatch, fields))
        else None
        for fields in found
    ]


def _inside(lines: Sequence[bytes]) -> list[Fields | None]:
    """What a program wrote, whatever its format."""
    found = [json_object(line) if line.lstrip(b"\xef\xbb\xbf \t")[:1] == b"{" else None for line in lines]
    for read in _PROGRAMS.values():
        rest = [place for place, fields in enumerate(found) if fields is None]
        for place, fields in zip(rest, read([lines[place] for place in rest]), strict=True):
            found[place] = fields
    return found


_PROGRAMS: dict[str, Reader] = {
    "prefixed_json": _prefixed_json,
    "python": _python_or_prefixed,
    "structlog": structlog,
    "combined": combined,
    "syslog": syslog,
    "logfmt": _strict_logfmt,
}

FORMATS: dict[str, Reader] = {
    "prefixed_json": prefixed_json,
    "python": python,
    "structlog": structlog,
    "logfmt": logfmt,
    "cri": cri(_inside),
    "docker": docker(_inside),
    "syslog": syslog,
    "combined": combined,
}
"""The text formats by their name in the config."""

AUTO: dict[str, Reader] = {"cri": FORMATS["cri"], **_PROGRAMS}
"""The formats that `auto` tries, strict enough that a line gets the same fields whichever is tried first."""
