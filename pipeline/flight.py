"""What is on its way: each chunk is written down before its first send and when it was taken.

So a restart knows what was in flight, repeats just that, and repeats it byte for byte.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from .batch import Position
from .log import log

COMPACT_BYTES = 4 << 20
"""The file is written anew with what is still open when it has grown to this."""

WAIT_SECONDS = 1.0
"""Between attempts to write to a disk that refuses."""


class Flown(msgspec.Struct, frozen=True, array_like=True, tag="read"):
    """One chunk that was read: its place, and what must be the same when it is read again after a crash."""

    source: str
    partition: str
    start: int
    end: int
    read_at_ns: int
    slot: int
    """The partition's number, which keeps equal times of several partitions apart."""
    inside: bool = False
    """It ends inside an event over the limit: no place at which a second reading could end a chunk."""
    number: int = 0
    """Counts up with those of the others: one that the checkpoint's is not below, of a partition that the checkpoint
    does not hold, is of one that was done with since."""


class Begun(msgspec.Struct, frozen=True, array_like=True, tag="begun"):
    """Where a partition begins, before anything of it is delivered: so a restart finds it wherever it is then."""

    number: int
    """Counts up: what the checkpoint already holds is not applied again."""
    source: str
    partition: str
    position: Position
    slot: int
    """See Flown."""
    state: msgspec.Raw = msgspec.Raw(b"{}")
    """What the stages carry there, as JSON."""
    anew: bool = False
    """It goes on from another process: what is known of it from before counts no more."""
    taken: dict[str, int] = {}
    """For each sink the offset before which it has everything."""


class Taken(msgspec.Struct, frozen=True, array_like=True, tag="taken"):
    """What a sink has taken with one send."""

    number: int
    """Counts up: what the checkpoint already holds is not applied again."""
    sink: str
    position: Position
    """Of the sink, after this send."""
    chunks: list[tuple[str, str, int, int]]
    """Source, partition, start and end of each."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Flown | Begun | Taken).decode


class Flight:
    """An append-only file beside the checkpoint. Many chunks share one fsync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._size = 0
        self._waiting: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._busy = asyncio.Lock()
        self._unsaved: deque[Begun | Taken] = deque()
        """Those that the checkpoint does not hold yet."""
        self._late: list[bytes] = []

    def load(self) -> list[Flown | Begun | Taken]:
        """What was written down, in its order; a torn last line told of nothing that was done, and is left out."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        entries = []
        for line in lines[:-1]:
            try:
                entries.append(_decode(line))
            except msgspec.DecodeError:
                log.warning("unreadable line in the state, left out", path=self.path)
        return entries

    def open(self, still: Iterable[Flown]) -> None:
        """Begin with those that are still open. Raises OSError."""
        data = b"".join(_encode(one) + b"\n" for one in (*self._unsaved, *still))
        temp = self.path.with_suffix(".tmp")
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.write(fd, data)
        os.fdatasync(fd)
        temp.replace(self.path)
        self.close()
        self._fd, self._size = fd, len(data)

    async def note(self, one: Flown | Begun) -> None:
        """Return when it is on disk, waiting as long as the disk refuses."""
        if isinstance(one, Begun):
            self._unsaved.append(one)
        self._waiting.append(_encode(one) + b"\n")
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        async with self._busy:
            if not written.done():
                data, self._waiting, self._written = b"".join(self._waiting), [], None
                await self._write(data)
                written.set_result(None)
                self._append(self._late, sync=False)

    def take(self, taken: Taken) -> None:
        """Note what a sink has taken. Not synced: what is lost of it in a power cut is only repeated."""
        self._unsaved.append(taken)
        self._late.append(_encode(taken) + b"\n")
        if not self._busy.locked():
            self._append(self._late, sync=False)

    def saved(self, number: int) -> None:
        """The checkpoint holds everything up to this number."""
        while self._unsaved and self._unsaved[0].number <= number:
            self._unsaved.popleft()

    async def compact(self, still: Callable[[], Iterable[Flown]]) -> None:
        """Leave out what was delivered, now and then. A disk that refuses is no harm: the file only grows."""
        if self._size > COMPACT_BYTES:
            async with self._busy:
                with suppress(OSError):
                    self.open(still())

    async def _write(self, data: bytes) -> None:
        while True:
            try:
                await asyncio.to_thread(self._append, [data], sync=True)
                return
            except OSError as error:
                log.error("cannot write the state, waiting", path=self.path, error=error.strerror)
                await asyncio.sleep(WAIT_SECONDS)

    def _append(self, lines: list[bytes], *, sync: bool) -> None:
        data = b"".join(lines)
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            if sync:
                os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            if sync:
                raise
            return  # kept in `lines`, to be written with the next
        self._size += len(data)
        lines.clear()

    def close(self) -> None:
        """Let the handle go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
