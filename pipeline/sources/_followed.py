"""One followed file: what is open, what was read of it, and what it is known by."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence

from ..batch import Chunk, Position
from ..component import Lag
from ..framing import Framed, Framer
from ._content import Content, Plain, open_content

HEAD_BYTES = 1024
"""A file is known by a hash of its first plain bytes, as many as there are up to this …"""
TAIL_BYTES = 64
"""… and by the bytes in front of the position: together they tell a copy or a compressed file from another one."""

MOST_EVENTS = 16_384
"""Very short lines are read in smaller pieces: a record takes some 200 bytes beside its line."""

Identity = tuple[int, int]
"""Device and inode."""


class Rewritten(Exception):
    """The file no longer holds what was read of it: it was cut, or written anew."""


class Followed:
    """A file read from a position on. Raises OSError where the file system does."""

    def __init__(
        self, key: str, path: str, framing: Framer, position: Position | None, ends: Sequence[int] = ()
    ) -> None:
        self.key = key
        self.path = path
        """Where the file is now."""
        start = position or {}
        self.first_path = str(start.get("first_path", path))
        self.rest = b""
        """Read, but not yet a whole event."""
        self._framing = framing
        self._skip = int(start.get("skip", 0))
        self._content: Content | None = open_content(path)
        status = self._content.status()
        self.identity: Identity = (status.st_dev, status.st_ino)
        self._begin = self._content.begin() if position is None and isinstance(self._content, Plain) else 0
        self.offset = int(start.get("offset", self._begin))
        # What is compressed does not change, so all of its head may be known before it is read.
        self.head = self._content.read(0, min(HEAD_BYTES, self.offset) if self._content.rewinds else HEAD_BYTES)
        self._tail = self._content.read(max(0, self.offset - TAIL_BYTES), min(TAIL_BYTES, self.offset))
        self._announced = position is not None
        self._ends = [end for end in ends if end > self.offset]
        self._most = 1 << 16
        self._seen = (-1, -1)
        self._grown_at = self._at_end_at = time.monotonic()

    def read(self, labels: Mapping[str, str], most: int, *, final: bool, idle: float, wait: float) -> Chunk | None:
        """The next whole events, or None where there are none yet.

        `final`, or a quiet time of `idle` seconds (`wait`, where the last line is whole), makes what is left an event.

        Raises:
            Rewritten: what was read is no longer there.
        """
        if not self._announced:
            # An empty chunk first: the partition is in the checkpoint before anything of it is delivered.
            self._announced = True
            return self.mark(labels)
        while True:
            data = self._more(min(most, self._most))
            if data:
                self._grown_at = time.monotonic()
                self.rest += data
            elif not self.rest:
                self._at_end_at = time.monotonic()
                return None
            if self._ends and len(self.rest) >= self._ends[0] - self.offset:
                return self._again(labels)
            if not data:
                self._ends = []  # the file is shorter than it was: there is nothing to repeat
            quiet = not data and self.quiet_for() >= (wait if self.rest.endswith(b"\n") else idle)
            framed = self._framing.split(self.rest, self.offset, final=not data and (final or quiet), skip=self._skip)
            if framed.taken and not self._ends:
                self.rest = self.rest[framed.taken :]
                return self._chunk(framed, labels)
            if not data:
                return None

    def _again(self, labels: Mapping[str, str]) -> Chunk:
        """The same chunk as before the crash, even if its last event has become longer since."""
        size = self._ends.pop(0) - self.offset
        framed = self._framing.split(self.rest[:size], self.offset, final=True, skip=self._skip)
        self.rest = self.rest[size:]
        return self._chunk(framed, labels)

    def finish(self, labels: Mapping[str, str]) -> Chunk | None:
        """What was read before the file was cut, as its last events."""
        if not self.rest:
            return None
        framed = self._framing.split(self.rest, self.offset, final=True, skip=self._skip)
        self.rest = b""
        return self._chunk(framed, labels)

    def seek_end(self, labels: Mapping[str, str]) -> Chunk:
        """Leave out what is there; the empty chunk carries the position of the end."""
        while data := self._more(1 << 20):
            self.offset += len(data)
        self._announced = True
        return self.mark(labels)

    def move_to(self, path: str) -> None:
        """Go on in another file that holds all that was read of this one: its copy, or the same compressed."""
        content = open_content(path)
        self.close()
        self._content, self.path = content, path
        status = content.status()
        self.identity, self._seen = (status.st_dev, status.st_ino), (-1, -1)

    def mark(self, labels: Mapping[str, str]) -> Chunk:
        """A chunk without events, to save the position."""
        return self._chunk(Framed([], []), labels)

    def is_in(self, content: Content) -> bool:
        """The content begins with all that was read of this file."""
        if len(self.head) < TAIL_BYTES or content.read(0, len(self.head)) != self.head:
            return False
        return content.read(self._at() - len(self._tail), len(self._tail)) == self._tail

    def is_being_copied_to(self, content: Content, head: bytes) -> bool:
        """The content, whose first bytes are `head`, is this file's as far as it goes: a copy, done or under way."""
        if len(head) < TAIL_BYTES or not head.startswith(self.head[: len(head)]) or self._content is None:
            return False
        if self.is_in(content) or content.torn:
            return True
        start = min(content.status().st_size, self._at()) - TAIL_BYTES if content.rewinds else -1
        return start >= 0 and content.read(start, TAIL_BYTES) == self._content.read(start, TAIL_BYTES)

    def at_end(self) -> bool:
        """Nothing was there at the last look that is not read."""
        if self._content is None:
            return True
        status = self._content.status()
        return (status.st_size, status.st_mtime_ns) == self._seen

    def quiet_for(self) -> float:
        """Seconds since the file last grew."""
        return time.monotonic() - self._grown_at

    def lag(self) -> Lag:
        """Bytes not yet taken (unknown, so 0, for a compressed file), and the seconds since everything was."""
        behind = 0
        if isinstance(self._content, Plain):
            behind = max(0, self._content.status().st_size - self.offset)
        return Lag(self.path, behind, time.monotonic() - self._at_end_at if behind else 0.0)

    @property
    def parked(self) -> bool:
        """Its handle was let go for others; it is opened again when it grows."""
        return self._content is None

    def close(self) -> None:
        """Let the handle go."""
        if self._content:
            self._content.close()
            self._content = None

    def _at(self) -> int:
        return self.offset + len(self.rest)

    def _more(self, most: int) -> bytes:
        """The bytes after those read, once it is sure that they follow them."""
        status = self._content.status() if self._content else os.stat(self.path)  # noqa: PTH116  # one call
        seen = (status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return b""
        if self._content is None:
            if (status.st_dev, status.st_ino) != self.identity:
                return b""  # renamed; the next look at the folder finds where to
            self._content = open_content(self.path)
        content, at = self._content, self._at()
        if not content.rewinds:
            data = content.read(at, most)
        else:
            data = content.read(at - len(self._tail), len(self._tail) + most)
            if not data.startswith(self._tail):
                raise Rewritten
            data = data[len(self._tail) :]
        if len(data) < most:
            self._seen = seen  # all of it; else there is more to read although nothing changes
        if data:
            self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        return data

    def _chunk(self, framed: Framed, labels: Mapping[str, str]) -> Chunk:
        if len(framed.lines) > MOST_EVENTS:
            self._most = max(4096, framed.taken * MOST_EVENTS // len(framed.lines) // 2)
        elif len(framed.lines) < MOST_EVENTS // 4:
            self._most = min(self._most * 2, 1 << 26)
        self.offset += framed.taken
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
            inside=bool(framed.skip),
        )

    def _position(self) -> Position:
        if self._content and self._content.rewinds and len(self.head) < min(HEAD_BYTES, self.offset):
            self.head = self._content.read(0, min(HEAD_BYTES, self.offset))
        tail = b""
        if self._content and self._content.rewinds:
            tail = self._content.read(max(0, self.offset - TAIL_BYTES), min(TAIL_BYTES, self.offset))
        return {
            "offset": self.offset,
            "path": self.path,
            "first_path": self.first_path,
            "device": self.identity[0],
            "inode": self.identity[1],
            "head": digest(self.head),
            "head_bytes": len(self.head),
            "tail": digest(tail),
            "tail_bytes": len(tail),
            "mtime_ns": self._seen[1],
            "skip": self._skip,
        }


def digest(data: bytes) -> str:
    """Positions hold hashes, not what was logged."""
    return hashlib.sha256(data).hexdigest()[:32]


def continues(content: Content, position: Position) -> bool:
    """The content begins with all that was read up to a saved position."""
    offset, head, tail = (int(position[name]) for name in ("offset", "head_bytes", "tail_bytes"))
    return (
        digest(content.read(0, head)) == position["head"]
        and digest(content.read(offset - tail, tail)) == position["tail"]
    )
