"""One followed file: what is open, what was read of it, and what it is known by."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping, Sequence

from ..batch import Chunk, Position
from ..component import Lag
from ..framing import Framed, Framer
from ._content import TAIL_BYTES, Content, Plain, open_content

HEAD_BYTES = 1024
"""A file is known by a hash of its first plain bytes, as many as there are up to this, and of the last ones in front of
the position: together they tell a copy or a compressed file from another one."""

MOST_EVENTS = 16_384
"""Very short lines are read in smaller pieces: a record takes some 200 bytes beside its line."""

Identity = tuple[int, int]
"""Device and inode."""


class Rewritten(Exception):
    """The file no longer holds what was read of it: it was cut, or written anew."""


class Followed:
    """A file read from a position on. Raises OSError where the file system does."""

    def __init__(
        self,
        key: str,
        path: str,
        content: Content,
        framing: Framer,
        position: Position | None,
        ends: Sequence[int] = (),
    ) -> None:
        self.key = key
        self.path = path
        """Where the file is now."""
        start = position or {}
        self.first_path = str(start.get("first_path", path))
        self.newer_than = int(start.get("newer_than", -1))
        """Older generations that nobody asked for were last written to at this time (in ns) or before."""
        self.rest = b""
        """Read, but not yet a whole event."""
        self._framing = framing
        self._skip = int(start.get("skip", 0))
        self._content: Content | None = content
        status = content.status()
        self.identity: Identity = (status.st_dev, status.st_ino)
        self._begin = content.begin() if position is None and isinstance(content, Plain) else 0
        self.offset = int(start.get("offset", self._begin))
        # Before anything is read, for a restart that has to find the file (one with data behind a hole: later).
        self.head = content.read(0, min(HEAD_BYTES, self.offset) if self.offset and content.rewinds else HEAD_BYTES)
        self._told = int(start.get("head_bytes", -1))
        """So many of the first bytes are in a saved position …"""
        self._held_until = 0.0
        """… and until then (monotonic) the first few of a new file wait for more to know it by."""
        self._tail = b""
        """The last bytes that were read …"""
        unchanged = position is not None and is_untouched(status, position)
        if not unchanged or content.rewinds:  # else each start would unpack all that was ever compressed
            self._tail = content.read(max(0, self.offset - TAIL_BYTES), min(TAIL_BYTES, self.offset))
        self._before = self._tail
        """… and those in front of `rest`."""
        self._ends = [end for end in ends if end > self.offset]
        self._most = 1 << 16
        self._seen = (status.st_size, status.st_mtime_ns) if unchanged else (-1, -1)
        self._grown_at = self._at_end_at = time.monotonic()
        self.missing_since = 0.0
        """Monotonic time at which it was first not found under any name; 0 when it is there."""

    def read(
        self, labels: Mapping[str, str], most: int, *, final: bool, idle: float, wait: float, settle: float
    ) -> Chunk | None:
        """The next whole events, or None where there are none yet.

        `final`, or a quiet time of `idle` seconds (`wait`, where the last line is whole), makes what is left an event.
        Before the first events comes a chunk without any: so a restart knows the file by what will be delivered of it.
        A new file has `settle` seconds to become known by more than its first bytes.

        Raises:
            Rewritten: what was read is no longer there.
        """
        if self._told < 0:
            return self.mark(labels)
        while True:
            data = self._more(min(most, self._most))
            if data:
                self._grown_at = time.monotonic()
                self.rest = self.rest + data if self.rest else data
            elif not self.rest:
                self._at_end_at = time.monotonic()
                return None
            framed = self._frame(data, final=final, idle=idle, wait=wait)
            if framed.taken and not self._is_held(0.0 if final else settle):
                return self._chunk(framed, labels) if self._is_told() else self.mark(labels)
            if not data:
                return None

    def _frame(self, data: bytes, *, final: bool, idle: float, wait: float) -> Framed:
        """The events in `rest`, of which `data` was read just now: nothing of it, at the end of the file."""
        if self._ends and len(self.rest) >= (size := self._ends[0] - self.offset):
            # The same chunk as before the crash, even if its last event has become longer since.
            return self._framing.split(self.rest[:size], self.offset, final=True, skip=self._skip)
        if self._ends and data:
            return Framed([], [])
        self._ends = []  # the file is shorter than it was: there is nothing to repeat
        quiet = not data and self.quiet_for() >= (wait if self.rest.endswith(b"\n") else idle)
        return self._framing.split(self.rest, self.offset, final=not data and (final or quiet), skip=self._skip)

    def _is_told(self) -> bool:
        """A restart would know the file; once something is delivered of it, only the checkpoint tells more."""
        return self._told >= len(self.head) or self.offset > self._begin

    def _is_held(self, settle: float) -> bool:
        """What is there waits for more: it would be all that the file is known by."""
        if self.offset > self._begin or len(self.head) >= HEAD_BYTES or self._ends:
            return False
        self._held_until = self._held_until or time.monotonic() + settle
        return time.monotonic() < self._held_until

    def finish(self, labels: Mapping[str, str]) -> list[Chunk]:
        """What was read before the file was cut, as its last events."""
        if not self.rest:
            return []
        told = [] if self._is_told() else [self.mark(labels)]
        framed = self._framing.split(self.rest, self.offset, final=True, skip=self._skip)
        return [*told, self._chunk(framed, labels)]

    def seek_end(self, labels: Mapping[str, str]) -> Chunk:
        """Leave out what is there; the empty chunk carries the position of the end."""
        while data := self._more(1 << 20):
            self.offset += len(data)
        self._before = self._tail
        return self.mark(labels)

    def move_to(self, path: str, content: Content) -> None:
        """Go on in another file that holds all that was read of this one: its copy, or the same compressed."""
        self.close()
        self._content, self.path = content, path
        status = content.status()
        self.identity, self._seen = (status.st_dev, status.st_ino), (-1, -1)

    def mark(self, labels: Mapping[str, str]) -> Chunk:
        """A chunk without events, to save the position."""
        self._told = len(self.head)
        return self._chunk(Framed([], []), labels)

    def tell(self) -> None:
        """Have the position saved anew before anything is delivered: the file is not where it was."""
        self._told = -1

    def is_in(self, content: Content) -> bool:
        """The content begins with all that is known of this file."""
        if not self.head or content.read(0, len(self.head)) != self.head:
            return False
        return not self._tail or content.read(self._at() - len(self._tail), len(self._tail)) == self._tail

    def begins_like(self, head: bytes) -> bool:
        """These first bytes are the same as its own, as far as there are both: else no copy is worth a look."""
        return self.head.startswith(head) or head.startswith(self.head)

    def is_being_copied_to(self, content: Content, head: bytes) -> bool:
        """The content, whose first bytes are `head`, is this file's as far as it goes: a copy, done or under way."""
        own = self._content or self._open_again()
        try:
            if own is None or not own.rewinds or own.read(self._at() - len(self._tail), len(self._tail)) != self._tail:
                # Cut, compressed or gone: there is nothing to compare with but what was read of it.
                return head.startswith(self.head) and (content.torn or self.is_in(content))
            if own.read(0, len(head)) != head:
                return False
            if content.torn:
                return True
            end, tail = content.end()
            return end <= own.status().st_size and own.read(end - len(tail), len(tail)) == tail
        finally:
            if own is not None and own is not self._content:
                own.close()

    def is_all(self, head: bytes) -> bool:
        """It holds just these bytes, and nothing else."""
        own = self._content or self._open_again()
        if own is None or not own.rewinds:
            return self._at() == len(head) and self.head == head
        try:
            return own.read(0, len(head) + 1) == head
        finally:
            if own is not self._content:
                own.close()

    def was_cut(self) -> bool:
        """It no longer holds what was read of it, which the next read will tell as well."""
        content = self._content or self._open_again()
        if content is None:
            return False
        try:
            return content.rewinds and bool(self.head) and not self.is_in(content)
        finally:
            if content is not self._content:
                content.close()

    def at_end(self) -> bool:
        """Nothing was there at the last look that is not read."""
        if self._content is None:
            return True
        status = self._content.status()
        return (status.st_size, status.st_mtime_ns) == self._seen

    def quiet_for(self) -> float:
        """Seconds since the file last grew."""
        return time.monotonic() - self._grown_at

    def due_in(self, idle: float) -> float:
        """Seconds until what was read may be an event although the file does not grow; below 0: it was looked at."""
        held = self._held_until - time.monotonic()
        return held if held > 0 else idle - self.quiet_for()

    def lag(self) -> Lag:
        """Bytes not yet taken (unknown, so 0, for a compressed file), and the seconds since everything was."""
        behind = 0
        if isinstance(self._content, Plain):
            behind = max(0, self._content.status().st_size - self.offset)
        return Lag(self.path, behind, time.monotonic() - self._at_end_at if behind else 0.0)

    @property
    def torn(self) -> bool:
        """Its end, as it was last read, is in the middle of a compressed block."""
        return self._content is not None and self._content.torn

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

    def _open_again(self) -> Content | None:
        """The content of a parked file, if it is where it was."""
        try:
            content = open_content(self.path)
        except FileNotFoundError:
            return None
        status = content.status()
        if (status.st_dev, status.st_ino) == self.identity:
            return content
        content.close()
        return None

    def _more(self, most: int) -> bytes:
        """The bytes after those read, once it is sure that they follow them."""
        try:
            status = self._content.status() if self._content else os.stat(self.path)  # noqa: PTH116  # one call
        except FileNotFoundError:
            return b""  # the next look at the folder finds where it is
        seen = (status.st_size, status.st_mtime_ns)
        if seen == self._seen:
            return b""
        opened = self._content is None
        self._content = self._content or self._open_again()
        if self._content is None:
            return b""
        content, at = self._content, self._at()
        data = content.read(at, most)
        # Looked at after the read, for the file may be cut at any moment. A compressed one only changes altogether:
        # when it is another one that got its inode.
        if (content.rewinds or opened) and self.head and not self.is_in(content):
            if opened:
                self.close()  # it is none of this file's
            raise Rewritten
        if len(data) < most:
            self._seen = seen  # all of it; else there is more to read although nothing changes
        if data:
            self._tail = (self._tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
            if at == 0:
                self.head = data[:HEAD_BYTES]
            elif at <= len(self.head) < HEAD_BYTES:  # not to be read later: by then the file may have been cut
                self.head = (self.head[:at] + data)[:HEAD_BYTES]
        return data

    def _chunk(self, framed: Framed, labels: Mapping[str, str]) -> Chunk:
        if len(framed.lines) > MOST_EVENTS:
            self._most = max(4096, framed.taken * MOST_EVENTS // len(framed.lines) // 2)
        elif len(framed.lines) < MOST_EVENTS // 4:
            self._most = min(self._most * 2, 1 << 26)
        if framed.taken:
            end = self.rest[max(0, framed.taken - TAIL_BYTES) : framed.taken]
            self._before = (self._before + end)[-TAIL_BYTES:]
            self.rest = self.rest[framed.taken :]
        self.offset += framed.taken
        self._ends = [end for end in self._ends if end > self.offset]
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
        size, mtime_ns = (-1, -1) if self.rest else self._seen
        return {
            "offset": self.offset,
            "path": self.path,
            "first_path": self.first_path,
            "device": self.identity[0],
            "inode": self.identity[1],
            "head": digest(self.head),
            "head_bytes": len(self.head),
            "tail": digest(self._before),
            "tail_bytes": len(self._before),
            "size": size,
            "mtime_ns": mtime_ns,
            "newer_than": self.newer_than,
            "skip": self._skip,
        }


def digest(data: bytes) -> str:
    """Positions hold hashes, not what was logged."""
    return hashlib.sha256(data).hexdigest()[:32]


def continues(content: Content, position: Position) -> bool:
    """The content begins with all that was read up to a saved position."""
    if is_untouched(content.status(), position):
        return True
    offset, head, tail = (int(position[name]) for name in ("offset", "head_bytes", "tail_bytes"))
    return digest(content.read(0, head)) == position["head"] and (
        not tail or digest(content.read(offset - tail, tail)) == position["tail"]
    )


def is_untouched(status: os.stat_result, position: Position) -> bool:
    """Nothing was done to the file since all of it had been read up to this position."""
    now = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return now == tuple(position.get(name) for name in ("device", "inode", "size", "mtime_ns"))
