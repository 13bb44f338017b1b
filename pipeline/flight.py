"""What is on its way: each chunk is written down before its first send, so that a restart repeats just that."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from .log import log

COMPACT_BYTES = 4 << 20
"""The file is written anew with what is still open when it has grown to this."""

WAIT_SECONDS = 1.0
"""Between attempts to write to a disk that refuses."""


class Flown(msgspec.Struct, frozen=True, array_like=True):
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


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Flown).decode


class Flight:
    """An append-only file beside the checkpoint. Many chunks share one fsync."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = -1
        self._size = 0
        self._waiting: list[bytes] = []
        self._written: asyncio.Future[None] | None = None
        self._busy = asyncio.Lock()

    def load(self) -> list[Flown]:
        """What was written down and may be on its way; a torn last line was never sent, and is left out."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        flown = []
        for line in lines[:-1]:
            try:
                flown.append(_decode(line))
            except msgspec.DecodeError:
                log.warning("unreadable line in the state, left out", path=self.path)
        return flown

    def open(self, still: Iterable[Flown]) -> None:
        """Begin with those that are still open. Raises OSError."""
        data = b"".join(_encode(one) + b"\n" for one in still)
        temp = self.path.with_suffix(".tmp")
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o640)
        os.write(fd, data)
        os.fdatasync(fd)
        temp.replace(self.path)
        self.close()
        self._fd, self._size = fd, len(data)

    async def note(self, one: Flown) -> None:
        """Return when it is on disk, waiting as long as the disk refuses."""
        self._waiting.append(_encode(one) + b"\n")
        if self._written is None:
            self._written = asyncio.get_running_loop().create_future()
        written = self._written
        async with self._busy:
            if not written.done():
                data, self._waiting, self._written = b"".join(self._waiting), [], None
                await self._write(data)
                written.set_result(None)

    async def compact(self, still: Callable[[], Iterable[Flown]]) -> None:
        """Leave out what was delivered, now and then. A disk that refuses is no harm: the file only grows."""
        if self._size > COMPACT_BYTES:
            async with self._busy:
                with suppress(OSError):
                    self.open(still())

    async def _write(self, data: bytes) -> None:
        while True:
            try:
                await asyncio.to_thread(self._append, data)
                return
            except OSError as error:
                log.error("cannot write the state, waiting", path=self.path, error=error.strerror)
                await asyncio.sleep(WAIT_SECONDS)

    def _append(self, data: bytes) -> None:
        try:
            written = 0
            while written < len(data):
                written += os.write(self._fd, data[written:])
            os.fdatasync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self._size)
            raise
        self._size += len(data)

    def close(self) -> None:
        """Let the handle go."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
