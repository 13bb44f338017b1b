"""One followed file: its handle, what was read of it, and what it is known by."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path

from ..batch import Chunk, Position
from ..component import Lag
from ..framing import Framed, Framer

FINGERPRINT_BYTES = 1024
"""A file is known by device, inode, and a hash of its first bytes, as many as there are up to this."""


class Followed:
    """An open file, read from a position on. Raises OSError where the file system does."""

    def __init__(self, key: str, path: str, framing: Framer, position: Position | None) -> None:
        self.key = key
        self.path = path
        """Where the file is now."""
        self.rest = b""
        """Read, but not yet a whole event."""
        start = position or {}
        self.first_path = str(start.get("first_path", path))
        self._framing = framing
        self._offset = int(start.get("offset", 0))
        self._skip = int(start.get("skip", 0))
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        status = os.fstat(self._fd)
        self.identity = (status.st_dev, status.st_ino)
        self._head = b""
        self._grown_at = self._at_end_at = time.monotonic()

    def read(self, labels: Mapping[str, str], most: int, *, final: bool, idle: float, wait: float) -> Chunk | None:
        """The next whole events, or None where there are none yet.

        `final`, or a quiet time of `idle` seconds (`wait`, where the last line is whole), makes what is left an event.
        """
        while True:
            data = os.pread(self._fd, most, self._offset + len(self.rest))
            if data:
                self._grown_at = time.monotonic()
                self.rest += data
            elif not self.rest:
                self._at_end_at = time.monotonic()
                return None
            quiet = not data and self.quiet_for() >= (wait if self.rest.endswith(b"\n") else idle)
            framed = self._framing.split(self.rest, self._offset, final=not data and (final or quiet), skip=self._skip)
            if framed.taken:
                self.rest = self.rest[framed.taken :]
                return self._chunk(framed, labels)
            if not data:
                return None

    def finish(self, labels: Mapping[str, str]) -> Chunk:
        """What was read before the file was cut, as its last events."""
        framed = self._framing.split(self.rest, self._offset, final=True, skip=self._skip)
        self.rest = b""
        return self._chunk(framed, labels)

    def seek_end(self, labels: Mapping[str, str]) -> Chunk:
        """Leave out what is there; the empty chunk carries the position of the end."""
        self._offset = os.fstat(self._fd).st_size
        return self._chunk(Framed([], []), labels)

    def was_cut(self) -> bool:
        """The file is shorter than what was read of it."""
        return os.fstat(self._fd).st_size < self._offset + len(self.rest)

    def at_end(self) -> bool:
        """Everything that is there was read."""
        return os.fstat(self._fd).st_size <= self._offset + len(self.rest)

    def quiet_for(self) -> float:
        """Seconds since the file last grew."""
        return time.monotonic() - self._grown_at

    def lag(self) -> Lag:
        """Bytes not yet taken, and the seconds since everything was."""
        behind = max(0, os.fstat(self._fd).st_size - self._offset)
        return Lag(self.path, behind, time.monotonic() - self._at_end_at if behind else 0.0)

    def close(self) -> None:
        """Let the handle go."""
        os.close(self._fd)

    def _chunk(self, framed: Framed, labels: Mapping[str, str]) -> Chunk:
        self._offset += framed.taken
        self._skip = framed.skip
        return Chunk(
            partition=self.key,
            position=self._position(),
            lines=framed.lines,
            offsets=framed.offsets,
            labels=labels,
            size=framed.taken,
            long=framed.long,
            cut=framed.cut,
        )

    def _position(self) -> Position:
        if len(self._head) < FINGERPRINT_BYTES:
            self._head = os.pread(self._fd, min(FINGERPRINT_BYTES, self._offset), 0)
        return {
            "offset": self._offset,
            "path": self.path,
            "first_path": self.first_path,
            "device": self.identity[0],
            "inode": self.identity[1],
            "fingerprint": _hash(self._head),
            "fingerprint_bytes": len(self._head),
            "skip": self._skip,
        }


def _hash(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()[:32]


def is_continued_at(path: str, position: Position) -> bool:
    """The file at this path starts with what was read before, and is at least as long."""
    size = int(position["fingerprint_bytes"])
    try:
        with open(path, "rb") as file:
            long_enough = os.fstat(file.fileno()).st_size >= int(position["offset"])
            return long_enough and _hash(file.read(size)) == position["fingerprint"]
    except OSError:
        return False


def find(position: Position, there: Mapping[tuple[int, int], str]) -> str | None:
    """Where the file of a saved position is now: among the matching files, or renamed beside its last path."""
    identity = (int(position["device"]), int(position["inode"]))
    last = str(position["path"])
    if identity in there and is_continued_at(there[identity], position):
        return there[identity]
    try:
        with os.scandir(Path(last).parent) as entries:
            for entry in entries:
                if entry.inode() == identity[1] and is_continued_at(entry.path, position):
                    return entry.path
    except OSError:
        return None
    # Another inode or device (a restored backup, a volume mounted anew): the content alone must be telling enough.
    if int(position["fingerprint_bytes"]) >= 64 and is_continued_at(last, position):
        return last
    return None
