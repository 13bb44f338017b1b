"""Rows on disk: records as a sink will get them, many to a block, sorted or to be sorted."""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterator, Sequence
from itertools import accumulate, islice, pairwise
from operator import add, le
from pathlib import Path
from struct import Struct
from typing import BinaryIO, NamedTuple

import cramjam
import msgspec

from ..pipeline.checkpoint import sync

Column = list[str | None]
BLOCK_BYTES = 256 << 10
"""Of lines in a block of a run."""
LEVEL = 1
"""Of zstd."""
_HEAD = Struct("<II")
_encode = msgspec.msgpack.Encoder().encode


class Rows(msgspec.Struct, gc=False):
    """Records, column by column."""

    times: list[int]
    """In Unix ns."""
    keys: list[int]
    """Which values its labels (or its path) are made of, as the number of a `Keys`."""
    files: list[int]
    """From which file, by number."""
    lines: list[bytes]
    columns: list[Column]
    """Further fields, in an order that is the same for all."""

    def __len__(self) -> int:
        """How many there are."""
        return len(self.times)

    def part(self, start: int, end: int) -> Rows:
        """Some of them that follow each other."""
        return Rows(
            self.times[start:end],
            self.keys[start:end],
            self.files[start:end],
            self.lines[start:end],
            [column[start:end] for column in self.columns],
        )

    def extend(self, other: Rows) -> None:
        """Take others in, behind these."""
        self.times += other.times
        self.keys += other.keys
        self.files += other.files
        self.lines += other.lines
        if not self.columns:
            self.columns = [[] for _ in other.columns]
        for own, more in zip(self.columns, other.columns, strict=True):
            own += more

    def sort(self) -> None:
        """By time; where times are equal they stay as they are."""
        times = self.times
        if all(map(le, times, islice(times, 1, None))):
            return
        order = sorted(range(len(times)), key=times.__getitem__)
        self.times = [times[place] for place in order]
        self.keys = [self.keys[place] for place in order]
        self.files = [self.files[place] for place in order]
        self.lines = [self.lines[place] for place in order]
        empty = len(times)
        self.columns = [
            column if column.count(None) == empty else [column[place] for place in order] for column in self.columns
        ]

    @classmethod
    def empty(cls) -> Rows:
        """None as yet."""
        return cls([], [], [], [], [])


class Outline(NamedTuple):
    """What a block holds, without its lines: enough to plan and to count."""

    times: Sequence[int]
    keys: Sequence[int]
    sizes: Sequence[int]
    """Bytes of each line."""
    metadata: Sequence[int]
    """Bytes of each record's further fields, without their names."""
    pairs: Sequence[int]
    """How many of those it has."""


class Writer:
    """A file of blocks, which counts only when `close` has put it in its place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.bytes = 0
        """Of lines."""
        self._temp = path.with_suffix(".tmp")
        self._file = open(self._temp, "wb")  # noqa: SIM115  # held as long as it is written

    def write(self, rows: Rows) -> None:
        """Append a block. Raises OSError."""
        sizes = list(map(len, rows.lines))
        size_of, pairs_of = _metadata(rows)
        outline = _encode(
            (
                array("q", rows.times).tobytes(),
                array("I", rows.keys).tobytes(),
                array("I", sizes).tobytes(),
                array("I", size_of).tobytes(),
                array("H", pairs_of).tobytes(),
            )
        )
        rest = _encode((array("I", rows.files).tobytes(), b"".join(rows.lines), _columns(rows.columns)))
        packed = bytes(cramjam.zstd.compress(rest, level=LEVEL))
        self._file.write(_HEAD.pack(len(outline), len(packed)))
        self._file.write(outline)
        self._file.write(packed)
        self.records += len(rows)
        self.bytes += sum(sizes)

    def close(self) -> None:
        """Have it on disk and in its place. Raises OSError."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._temp.replace(self.path)
        sync(self.path.parent)


def blocks(path: Path) -> Iterator[Rows]:
    """The blocks of a file. Raises OSError."""
    return (rows for _, rows in numbered(path))


def numbered(path: Path, skip: int = 0) -> Iterator[tuple[int, Rows]]:
    """The number of its first record, and each block but for those that lie within the first `skip` records."""
    number = 0
    with open(path, "rb") as file:
        while head := _head(file):
            outline = file.read(head[0])
            count = len(_outline(outline).times) if number < skip else 0
            if count and number + count <= skip:
                number += count
                file.seek(head[1], os.SEEK_CUR)
                continue
            rows = _rows(outline, file.read(head[1]))
            yield number, rows
            number += len(rows)


def outlines(path: Path) -> Iterator[Outline]:
    """The blocks of a file without their lines: a small part of what is on disk is read. Raises OSError."""
    with open(path, "rb") as file:
        while head := _head(file):
            yield _outline(file.read(head[0]))
            file.seek(head[1], os.SEEK_CUR)


def retime(path: Path) -> Iterator[list[int]]:
    """The times of each block, to be changed where they lie: what they are when the next is asked for is written.

    Raises OSError.
    """
    with open(path, "r+b") as file:
        while head := _head(file):
            place, outline = file.tell(), file.read(head[0])
            times = list(_outline(outline).times)
            before = times.copy()
            yield times
            if times != before:
                parts = msgspec.msgpack.decode(outline, type=list[bytes])
                file.seek(place)
                file.write(_encode([array("q", times).tobytes(), *parts[1:]]))
            file.seek(place + head[0] + head[1])
        file.flush()
        os.fsync(file.fileno())


def _head(file: BinaryIO) -> tuple[int, int] | None:
    data = file.read(_HEAD.size)
    if not data:
        return None
    first, second = _HEAD.unpack(data)
    return first, second


def _outline(data: bytes) -> Outline:
    times, keys, sizes, metadata, pairs = msgspec.msgpack.decode(data, type=tuple[bytes, bytes, bytes, bytes, bytes])
    return Outline(array("q", times), array("I", keys), array("I", sizes), array("I", metadata), array("H", pairs))


def _rows(outline: bytes, packed: bytes) -> Rows:
    known = _outline(outline)
    rest = bytes(cramjam.zstd.decompress(packed))
    files, text, columns = msgspec.msgpack.decode(rest, type=tuple[bytes, bytes, list[Column]])
    ends = accumulate(known.sizes, initial=0)
    lines = [text[start:end] for start, end in pairwise(ends)]
    columns = [column or [None] * len(lines) for column in columns]
    return Rows(list(known.times), list(known.keys), list(array("I", files)), lines, columns)


def _metadata(rows: Rows) -> tuple[list[int], list[int]]:
    count = len(rows)
    sizes, pairs = [0] * count, [0] * count
    for column in rows.columns:
        missing = column.count(None)
        if not missing and "" not in column and "".join(column).isascii():  # type: ignore[arg-type]  # there is no None
            sizes = list(map(add, sizes, map(len, column)))  # type: ignore[arg-type]  # as above
            pairs = [number + 1 for number in pairs]
        elif missing < count:
            own = [len(text.encode("utf-8", "replace")) if text else 0 for text in column]
            sizes = list(map(add, sizes, own))
            pairs = [number + (size > 0) for number, size in zip(pairs, own, strict=True)]
    return sizes, pairs


def _columns(columns: list[Column]) -> list[Column]:
    """Empty ones left out, and with nothing in them that is no Unicode: as the sink sends it in the end."""
    columns = [[] if column.count(None) == len(column) else column for column in columns]
    try:
        _encode(columns)
    except UnicodeEncodeError:
        return [
            [None if text is None else text.encode("utf-8", "replace").decode() for text in column]
            for column in columns
        ]
    return columns
