"""Follows files: what is written to them, also to new ones, also after they were rotated or cut."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import cramjam

from .search import GZIP, ZSTD, archives, frame_end

_READ = 1 << 20


class Follower:
    """Reads what is new. Not its own clock: `read` is called again and again."""

    def __init__(
        self, paths: Iterable[Path], *, from_start: bool = False, warn: Callable[[str], None] = lambda message: None
    ) -> None:
        """`from_start`: what is there already is read too."""
        self._paths = list(paths)
        self._warn = warn
        self._tails: dict[tuple[int, int], _Tail] = {}
        self._names: set[Path] = set()
        """Every file that was followed: compressed after its rotation, it has nothing new."""
        self._look(from_start)

    def read(self) -> Iterator[bytes]:
        """Whole lines that came since the last time, a chunk for each file. A file that is gone is read to its end."""
        there = self._look(True)
        for key, tail in list(self._tails.items()):
            yield from tail.chunks(self._warn)
            if key not in there:
                tail.file.close()
                del self._tails[key]

    def close(self) -> None:
        """Let go of all files."""
        for tail in self._tails.values():
            tail.file.close()
        self._tails.clear()

    def _look(self, from_start: bool) -> set[tuple[int, int]]:
        """Take up new files; what is there now."""
        there = set()
        for path in archives(path for path in self._paths if path.exists()):
            try:
                file = path.open("rb")
            except FileNotFoundError:  # it was just renamed
                continue
            status = os.fstat(file.fileno())
            key = (status.st_dev, status.st_ino)
            there.add(key)
            if key in self._tails:
                file.close()
                continue
            tail = self._tails[key] = _Tail(path, file)
            if not from_start or (path.suffix in (".gz", ".zst") and path.with_suffix("") in self._names):
                tail.skip()
            self._names.add(path)
        return there


class _Tail:
    """One file, and what was read of it but is no whole line, or no whole frame, yet."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file = path, file
        self._packed = b""
        self._text = b""
        self._kind: bytes | None = None

    def skip(self) -> None:
        """Only what comes from now on counts."""
        for _ in self._pieces(lambda message: None):
            pass

    def chunks(self, warn: Callable[[str], None]) -> Iterator[bytes]:
        """Whole lines."""
        for piece in self._pieces(warn):
            cut = piece.rfind(b"\n") + 1
            if cut:
                chunk, self._text = self._text + piece[:cut], piece[cut:]
                yield chunk
            else:
                self._text += piece

    def _pieces(self, warn: Callable[[str], None]) -> Iterator[bytes]:
        if os.fstat(self.file.fileno()).st_size < self.file.tell():  # cut, and written from the start
            self.file.seek(0)
            self._packed = self._text = b""
            self._kind = None
        while data := self.file.read(_READ):
            if self._kind is None:
                start = self._packed + data
                self._kind = next((kind for kind in (GZIP, ZSTD) if start.startswith(kind)), b"")
            if not self._kind:
                yield data
                continue
            self._packed += data
            try:
                yield from self._frames()
            except (cramjam.DecompressionError, zlib.error) as error:
                warn(f"{self.path}: {error}")
                self._packed = b""

    def _frames(self) -> Iterator[bytes]:
        """The whole frames or members of a compressed file, decompressed."""
        while self._packed:
            if self._kind == ZSTD:
                end = frame_end(self._packed, 0)
                if end is None:
                    return
                frame, self._packed = self._packed[:end], self._packed[end:]
                if frame.startswith(ZSTD):
                    yield bytes(cramjam.zstd.decompress(frame))
            else:
                member = zlib.decompressobj(31)
                text = member.decompress(self._packed)
                if not member.eof:
                    return
                self._packed = member.unused_data
                yield text
