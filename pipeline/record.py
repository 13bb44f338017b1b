"""The record: one event on its way from a source to every sink."""

from __future__ import annotations

import json
import time
from functools import lru_cache
from typing import Any, Literal

import msgspec

Fields = dict[str, Any]
Format = Literal["text", "json"]

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_decode_raw = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_fast_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """As JSON, whatever is in it: what msgspec cannot say (lone surrogates, objects of a stage) becomes text."""
    try:
        return _fast_encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return json.dumps(value, default=str, skipkeys=True).encode()


@lru_cache(maxsize=4096)
def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339(time_ns: int) -> str:
    """Unix ns as RFC 3339 in UTC with nine digits of fraction."""
    seconds, ns = divmod(time_ns, 1_000_000_000)
    return f"{_second(seconds)}.{ns:09d}Z"


def text_as_json(time_ns: int | None, fields: Fields) -> bytes:
    """A text line's fields as one JSON object, its time in front."""
    stamp = {} if time_ns is None else {"timestamp": rfc3339(time_ns)}
    return encode(stamp | fields | stamp)


def with_members(line: bytes, members: bytes) -> bytes:
    """A line that is a JSON object with more members (`"a":1,"b":2`) behind its own."""
    head = line.rstrip()[:-1]
    return head + (members if head.rstrip().endswith(b"{") else b"," + members) + b"}"


class Record(msgspec.Struct, gc=False):
    """One event: the line that ships, its time, its fields, and its place in the partition.

    Sinks share records, so only stages change them, and only through the methods below.
    """

    line: bytes
    """What ships as the line, without the line break. As it was read until a stage changes it."""
    offset: int = 0
    """Where the event starts in its partition (bytes of a file, offset of a Kafka message): its identity there."""
    time_ns: int | None = None
    """Unix time in ns; None until a stage finds one (the clock then fills the gap before delivery)."""
    format: Format = "text"
    """`json`: the line is one JSON object and is itself the fields. `text`: the fields were parsed from the line."""
    added: Fields | None = None
    """The fields that stages put beside the line's own."""
    parsed: Fields | None = None
    """What a parser found: all of it, or (for JSON) only the fields that somebody reads. Read `fields` instead."""

    @property
    def fields(self) -> Fields:
        """The fields that somebody reads. Plain text is `{"message": …}`."""
        if self.parsed is None:
            self.parsed = _decode(self.line) if self.format == "json" else {"message": self.text}
        return self.parsed

    @property
    def text(self) -> str:
        """The line as text; bytes that are not UTF-8 become U+FFFD."""
        return self.line.decode("utf-8", "replace")

    def set(self, name: str, value: Any) -> None:
        """Put a field beside the line's own; the line that ships stays as it is."""
        self.fields[name] = value
        if self.added is None:
            self.added = {}
        self.added[name] = value

    def whole(self) -> Fields:
        """All fields, those that nobody declared to read included. A new dict: change it freely, then `replace`."""
        if self.format == "json":
            return _decode(self.line) | (self.added or {})
        return dict(self.fields)

    def replace(self, fields: Fields) -> None:
        """Make these the fields. A JSON record's line is encoded anew from them; a text line stays."""
        self.parsed = fields
        if self.format == "json":
            self.line = encode(fields)
            self.added = None

    def to_json(self) -> bytes:
        """The record as one JSON object: a JSON line byte for byte, with the added fields behind its own keys.

        A text line becomes `timestamp` (UTC), `message`, and what a parser found in it.
        """
        if self.format == "text":
            return text_as_json(self.time_ns, self.fields)
        if not self.added:
            return self.line
        own = _decode_raw(self.line)  # values as they were written: numbers that fit no type stay
        if not own.keys().isdisjoint(self.added):
            return _fast_encode(own | {name: msgspec.Raw(encode(value)) for name, value in self.added.items()})
        return with_members(self.line, encode(self.added)[1:-1])
