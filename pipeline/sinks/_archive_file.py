"""One archive file: appended to, synced, and taken back to its last good length when a write fails."""

from __future__ import annotations

import os
import time
from pathlib import Path


class ArchiveFile:
    """An open file and the length up to which it is known to be good. Raises OSError where the file system does."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
        self._good = self._length = os.fstat(self._fd).st_size
        self._begun = time.monotonic()

    @classmethod
    def next_of(cls, path: Path, most_bytes: int | None, most_seconds: float | None) -> ArchiveFile:
        """The file to go on with: the newest of `name.jsonl`, `name.1.jsonl` …, or the one after it if that is due."""
        if most_bytes is None and most_seconds is None:
            return cls(path)
        stem, dot, suffixes = path.name.partition(".")
        n = 0
        while (path.parent / f"{stem}.{n + 1}{dot}{suffixes}").exists():
            n += 1
        file = cls(path if n == 0 else path.parent / f"{stem}.{n}{dot}{suffixes}")
        # When it was begun is not on record after a restart: the last write is the nearest thing that is.
        quiet = time.time() - os.fstat(file._fd).st_mtime
        if file.is_due(most_bytes, None) or (most_seconds is not None and quiet > most_seconds):
            file.close()
            return cls(path.parent / f"{stem}.{n + 1}{dot}{suffixes}")
        return file

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
