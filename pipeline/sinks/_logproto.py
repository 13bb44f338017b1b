"""Loki's push request, written as protobuf bytes from ready-made pieces.

`logproto.PushRequest { streams = 1 }`, `Stream { labels = 1, entries = 2 }`, `Entry { timestamp = 1, line = 2,
structuredMetadata = 3 }`, `LabelPair { name = 1, value = 2 }`. Every field is length-delimited but the timestamp's two
varints, which are padded to five bytes each (decoders must accept that): so a timestamp always takes 12 bytes, and the
head of an entry depends on the length of its line alone.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, repeat
from operator import add
from struct import Struct
from typing import Any

TIMESTAMP = 12
MOST_LENGTHS = 20_000
"""Lengths of lines to keep the heads of."""
NANOS = 1_000_000_000
_LENGTH_BITS = 40
"""Room for the length of a line, below that of its metadata in one number."""

_MORE = [bytes((i | 128,)) for i in range(128)]
_LOW = [a + b for b in _MORE for a in _MORE]
"""The lower 14 bits of nanos, as the first two bytes of a varint."""

_LANES = 256
_GROUPS = [int.from_bytes((127 << 7 * group).to_bytes(8, "little") * _LANES, "little") for group in range(5)]
"""The bits of each byte of a varint, in as many numbers of 64 bits."""
_apart = Struct("5s3x" * _LANES).unpack
_GOES_ON = int.from_bytes((0x80808080).to_bytes(8, "little") * _LANES, "little")


def varint(n: int) -> bytes:
    """A number in base 128, least significant group first."""
    out = bytearray()
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    out.append(n)
    return bytes(out)


def nanos(values: Iterable[int]) -> list[bytes]:
    """Each of these (below 2**35) as a varint of five bytes.

    All bits are moved at once, in lanes of one long number. A table of ready-made bytes is as fast on paper, but each
    entry would come from another place of 3 MB of memory: with it, encoding took twice as long.
    """
    lanes = array("Q", values)
    count = len(lanes)
    lanes.frombytes(bytes(-count % _LANES * 8))
    if sys.byteorder == "big":
        lanes.byteswap()
    data, size = lanes.tobytes(), 8 * _LANES
    first, second, third, fourth, fifth = _GROUPS
    spread: list[bytes] = []
    for start in range(0, len(data), size):
        x = int.from_bytes(data[start : start + size], "little")
        x = x & first | (x & second) << 1 | (x & third) << 2 | (x & fourth) << 3 | (x & fifth) << 4 | _GOES_ON
        spread += _apart(x.to_bytes(size, "little"))
    return spread[:count]


def field(number: int, body: bytes) -> bytes:
    """A length-delimited field."""
    return bytes((number << 3 | 2,)) + varint(len(body)) + body


def _seconds(seconds: int) -> bytes:
    """The timestamp's seconds in five bytes and the tag of its nanos. 35 bits: until the year 3058, from 1970 on."""
    return (
        bytes(
            (
                seconds & 127 | 128,
                seconds >> 7 & 127 | 128,
                seconds >> 14 & 127 | 128,
                seconds >> 21 & 127 | 128,
                seconds >> 28 & 127,
            )
        )
        + b"\x10"
    )


def stream(labels: bytes, entries: Iterable[bytes]) -> tuple[bytes, bytes, bytes]:
    """One stream of a push request, in parts to be joined: its head, its labels, and what `Entries` gathered."""
    pair, body = field(1, labels), b"".join(entries)
    return b"\x0a" + varint(len(pair) + len(body)), pair, body


class Entries:
    """Writes entries as pieces of bytes; keeps the heads of line lengths it has seen."""

    def __init__(self) -> None:
        self.seconds: set[int] = set()
        """The Unix seconds of all entries written since it was last emptied."""
        self._heads = _Heads()
        self._stamped = _Stamped(0)
        self._tails = _Tails()

    def write_ticks(self, out: list[bytes], lines: Sequence[bytes], sizes: Sequence[int], times: range) -> None:
        """Append the entries of one stream, each 1 ns after the one before, in a third of the time of `write`."""
        place = 0
        while place < len(lines):
            second, ns = divmod(times[place], NANOS)
            low = ns & 16383
            end = min(len(lines), place + 16384 - low, place + NANOS - ns)
            if self._stamped.second != second:
                self._stamped = _Stamped(second)
            self.seconds.add(second)
            part, lengths = lines[place:end], sizes[place:end]
            heads, tails = map(self._stamped.__getitem__, lengths), map(self._tails.__getitem__, lengths)
            lows = _LOW[low : low + len(part)]
            high = bytes((ns >> 14 & 127 | 128, ns >> 21 & 127 | 128, ns >> 28))
            out.extend(chain.from_iterable(zip(heads, lows, repeat(high), tails, part, strict=False)))
            place = end

    def write(
        self,
        streams: Mapping[Any, list[bytes]],
        keys: Iterable[object],
        lines: Sequence[bytes],
        sizes: Sequence[int],
        times: Sequence[int],
        metadata: Sequence[bytes] | None = None,
    ) -> None:
        """Append each entry to the pieces of the stream with its key; `metadata` (made by `Pairs`) behind the lines.

        `sizes`: the bytes of each line.
        """
        heads = self._heads
        if metadata is not None:
            sizes = list(map(add, sizes, [len(pairs) << _LENGTH_BITS for pairs in metadata]))
        last, stamp = -1, b""  # a second that no entry is in
        stamps, behind = nanos([at % NANOS for at in times]), metadata or repeat(b"")
        for key, line, size, at, ns, pairs in zip(keys, lines, sizes, times, stamps, behind, strict=False):
            head, tail = heads[size]
            if (second := at // NANOS) != last:
                last, stamp = second, _seconds(second)
                self.seconds.add(second)
            out = streams[key]
            out += (head, stamp, ns, tail, line, pairs)


class Pairs(dict[int, bytes]):
    """Structured metadata of one name: for each length of value what stands in front of it."""

    def __init__(self, name: str) -> None:
        self._name = field(1, name.encode())

    def __missing__(self, length: int) -> bytes:
        start = self._name + b"\x12" + varint(length)
        head = b"\x1a" + varint(len(start) + length) + start
        if len(self) < MOST_LENGTHS:
            self[length] = head
        return head

    def column(self, values: Sequence[str | None]) -> list[bytes]:
        """One piece for each value; none for an empty one."""
        # Ids are all of one length: with the same head before each, they take half the time of one by one.
        lengths = set(map(len, values)) if None not in values else ()  # type: ignore[arg-type]  # there is no None
        if len(lengths) == 1 and 0 not in lengths:
            (length,) = lengths
            text = "\0".join(["", *values])  # type: ignore[list-item]  # there is no None
            pieces = text.encode().replace(b"\0", b"\0" + self[length]).split(b"\0") if text.isascii() else []
            if len(pieces) == len(values) + 1:
                return pieces[1:]
        column = [value.encode("utf-8", "replace") if value else b"" for value in values]
        return [self[len(data)] + data if data else b"" for data in column]


class _Tails(dict[int, bytes]):
    """For each length of line what stands between its entry's timestamp and the line."""

    def __missing__(self, length: int) -> bytes:
        tail = b"\x12" + varint(length)
        if len(self) < MOST_LENGTHS:
            self[length] = tail
        return tail


class _Heads(dict[int, tuple[bytes, bytes]]):
    """By the lengths of line and metadata: what stands before the timestamp, and between it and the line."""

    def __missing__(self, size: int) -> tuple[bytes, bytes]:
        length, more = size & (1 << _LENGTH_BITS) - 1, size >> _LENGTH_BITS
        tail = b"\x12" + varint(length)
        head = b"\x12" + varint(2 + TIMESTAMP + len(tail) + length + more) + b"\x0a\x0c\x08"
        if len(self) < MOST_LENGTHS:
            self[size] = head, tail
        return head, tail


class _Stamped(dict[int, bytes]):
    """For each length of line what stands in front of the nanos of an entry in this second."""

    def __init__(self, second: int) -> None:
        self.second = second
        self._stamp = _seconds(second)

    def __missing__(self, length: int) -> bytes:
        head = b"\x12" + varint(2 + TIMESTAMP + 1 + len(varint(length)) + length) + b"\x0a\x0c\x08" + self._stamp
        if len(self) < MOST_LENGTHS:
            self[length] = head
        return head
