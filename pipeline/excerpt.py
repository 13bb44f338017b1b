"""What is kept of something too long: its start and end, and between them how long it was and its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

SMALLEST = 80
"""The marker itself takes up to 70 characters: a lower limit would leave nothing but markers."""

_encode = msgspec.json.encode
_members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_text = msgspec.json.Decoder(str).decode


def marker(length: int, unit: str, data: bytes) -> str:
    """What stands in the place of something that was left out: its length, and the start of its SHA-256."""
    return f"…(truncated, {length} {unit}, sha256 {digest(data)})"


def digest(data: bytes) -> str:
    """The first 12 digits of the SHA-256, as markers tell them."""
    return hashlib.sha256(data).hexdigest()[:12]


def shortened(data: bytes, limit: int, mark: bytes, *, ends: bool) -> bytes:
    """The start, the mark, and (`ends`) the end of the data, `limit` bytes at most; no character is cut in two."""
    room = max(0, limit - len(mark))
    tail = room // 2 if ends else 0
    return _head(data, room - tail) + mark + _tail(data, tail)


def excerpt(line: bytes, limit: int) -> bytes:
    """Start and end of a line over `limit` bytes (2 * `SMALLEST` or more), cut to it; an object in JSON stays one.

    Of an object the longest members are cut, to a common length: a string stays one, of a list or an object the start
    and end of its JSON is kept as a string.
    """
    if len(line) <= limit:
        return line
    return _of_object(line, limit) or shortened(line, limit, marker(len(line), "bytes", line).encode(), ends=True)


def level(lengths: Sequence[int], excess: int) -> int:
    """The length (longest first) to which all longer ones are cut to save `excess`; at least `SMALLEST`."""
    total = 0
    for count, length in enumerate(lengths, 1):
        total += length
        below = lengths[count] if count < len(lengths) else 0
        if total - count * below >= excess:
            return max(SMALLEST, (total - excess) // count)
    return SMALLEST


def _of_object(line: bytes, limit: int) -> bytes | None:
    """An object with the same keys; where they are too many, with a `message` alone. None for what is no object."""
    if line.lstrip()[:1] != b"{":
        return None
    try:
        fields = _members(line)
    except RecursionError:  # too deep for this reader: others may be able to read it
        fields = {}
    except (msgspec.MsgspecError, ValueError):
        return None
    raws = {name: bytes(raw) for name, raw in fields.items()}
    cap = level(sorted(map(len, raws.values()), reverse=True), len(line) - limit)
    cut = {name: fields[name] if len(raw) <= cap else msgspec.Raw(_string(raw, cap)) for name, raw in raws.items()}
    new = _encode(cut)
    return new if fields and len(new) <= limit else b'{"message":' + _string(line, limit - 12) + b"}"


def _string(raw: bytes, limit: int) -> bytes:
    """A JSON string of at most `limit` bytes with the start and end of another one, or of any JSON."""
    data = raw
    if raw[:1] == b'"':
        try:
            data = _text(raw).encode()
        except (msgspec.MsgspecError, ValueError):  # half a surrogate pair, or bytes that are not UTF-8
            data = raw[1:-1]
    whole = _encode(data.decode("utf-8", "replace"))
    if len(whole) <= limit:  # written with more escapes than it needs
        return whole
    mark = marker(len(data), "bytes", data).encode()
    room = min(limit - 2, len(data))
    while len(new := _encode(shortened(data, room, mark, ends=True).decode("utf-8", "replace"))) > limit:
        room = room * limit // len(new) - 1  # escapes take more room than what they stand for
    return new


def _head(data: bytes, size: int) -> bytes:
    for _ in range(3):
        if 0 < size < len(data) and data[size] & 0xC0 == 0x80:
            size -= 1
    return data[:size]


def _tail(data: bytes, size: int) -> bytes:
    start = len(data) - size
    for _ in range(3):
        if start < len(data) and data[start] & 0xC0 == 0x80:
            start += 1
    return data[start:]
