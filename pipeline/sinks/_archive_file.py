"""One archive file: appended to, synced, and taken back to its last good length when a write fails."""

from __future__ import annotations

import os
import time
from collections.abc import Container
from pathlib import Path


class ArchiveFile:
    """An open file and the length up to which it is known to be good. Raises OSError where the file system does."""

    def __init__(self, path: Path, *, new: bool = False) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        flags = os.O_EXCL if new else 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | flags, 0o640)
        self._good = self._length = os.fstat(self._fd).st_size
        self._begun = time.monotonic()

    @classmethod
    def next_of(cls, path: Path, most_bytes: int | None, most_seconds: float | None) -> ArchiveFile:
        """The file to go on with: the newest of `name.jsonl`, `name.1.jsonl` …, or the one after it if that is due."""
        if most_bytes is None and most_seconds is None:
            return cls(path)
        n = 0
        while _numbered(path, n + 1).exists():
            n += 1
        file = cls(_numbered(path, n))
        # When it was begun is not on record after a restart: the last write is the nearest thing that is.
        quiet = time.time() - os.fstat(file._fd).st_mtime
        if file.is_due(most_bytes, None) or (most_seconds is not None and quiet > most_seconds):
            file.close()
            return cls(_numbered(path, n + 1))
        return file

    @classmethod
    def own_of(cls, path: Path, own: Container[str], most_bytes: int | None, most_seconds: float | None) -> ArchiveFile:
        """The same where others write too: the newest that is ours, else one that was not there."""
        found, n = None, 0
        while (name := _numbered(path, n)).exists():
            found, n = name if str(name) in own else found, n + 1
        if found:
            file = cls(found)
            if not file.is_due(most_bytes, most_seconds):
                return file
            file.close()
        while True:
            try:
                return cls(_numbered(path, n), new=True)
            except FileExistsError:
                n += 1

    @staticmethod
    def cut_back(path: Path, length: int) -> int:
        """Take off what is behind the good length, and a file of which nothing is good. Returns the bytes cut off."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return 0
        if length == 0:
            path.unlink()
        elif size > length:
            os.truncate(path, length)
        return max(0, size - length)

    @property
    def length(self) -> int:
        """Bytes in the file, those not yet kept included."""
        return self._length

    def is_due(self, most_bytes: int | None, most_seconds: float | None) -> bool:
        """It has reached the size or age to go on in a next one."""
        if most_bytes is not None and self._length >= most_bytes:
            return True
        return most_seconds is not None and self._length > 0 and time.monotonic() - self._begun > most_seconds

    def append(self, data: bytes) -> None:
        """Write all of it, not yet for good."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            self._length += written
            view = view[written:]

    def sync(self) -> None:
        """Have what was appended on disk."""
        if self._fd >= 0:
            os.fdatasync(self._fd)

    def keep(self) -> None:
        """What was appended stays."""
        self._good = self._length

    def take_back(self) -> None:
        """Cut off what was appended since the last `keep`."""
        os.truncate(self._fd if self._fd >= 0 else self.path, self._good)
        self._length = self._good

    def close(self) -> None:
        """Let the handle go; what was appended is on disk, and can still be kept or taken back."""
        self.sync()
        os.close(self._fd)
        self._fd = -1


def _numbered(path: Path, number: int) -> Path:
    """`name.jsonl`, `name.1.jsonl` …"""
    stem, dot, suffixes = path.name.partition(".")
    return path.with_name(f"{stem}.{number}{dot}{suffixes}") if number else path
