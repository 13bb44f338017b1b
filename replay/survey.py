"""What is in each stream of a sorted file: counted from its outlines, its lines hashed as they are written."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Callable, Iterable
from typing import Any

from .block import Outline, Rows
from .receipt import Stream


class Hashes:
    """SHA-256 of the lines of each key, a line break behind each."""

    def __init__(self) -> None:
        self._digests: dict[int, Any] = {}

    def add(self, rows: Rows) -> None:
        """More of them, in their order."""
        for key, lines in _by_key(rows.keys, rows.lines).items():
            lines.append(b"")
            self._digests.setdefault(key, hashlib.sha256()).update(b"\n".join(lines))

    def of(self, key: int) -> str:
        """As hexadecimal digits."""
        return str(self._digests.get(key, hashlib.sha256()).hexdigest())


class _Found:
    def __init__(self, first: int) -> None:
        self.records = self.bytes = 0
        self.first = self.last = first
        self.times = hashlib.sha256()


def survey(outlines: Iterable[Outline], keys: int, labels: Callable[[int], str], hashes: Hashes) -> list[Stream]:
    """The streams, by the number of their key."""
    found: dict[int, _Found] = {}
    for block in outlines:
        sizes = _by_key(block.keys, block.sizes)
        for key, times in _by_key(block.keys, block.times).items():
            own = found.setdefault(key, _Found(times[0]))
            own.records += len(times)
            own.bytes += sum(sizes[key])
            own.last = times[-1]
            own.times.update(array("q", times).tobytes())
    streams = []
    for key in range(keys):
        own = found.get(key) or _Found(0)
        stream = Stream(labels(key), own.records, own.bytes, own.first, own.last, hashes.of(key), own.times.hexdigest())
        streams.append(stream)
    return streams


def _by_key(keys: Iterable[int], values: Iterable[Any]) -> dict[int, list[Any]]:
    parts: dict[int, list[Any]] = {key: [] for key in sorted(set(keys))}
    takes = {key: part.append for key, part in parts.items()}
    for key, value in zip(keys, values, strict=True):
        takes[key](value)
    return parts
