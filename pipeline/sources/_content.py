"""What a file holds, compressed or not, read by its offset in the plain bytes."""

from __future__ import annotations

import bz2
import gzip
import os
import sys
from collections.abc import Callable
from typing import IO, BinaryIO, Protocol, cast

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_OPEN: dict[bytes, Callable[[BinaryIO], object]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),
    b"BZh": bz2.BZ2File,
    b"\x28\xb5\x2f\xfd": zstd.ZstdFile,
}
"""How to read a file that starts with these bytes. All three go on where one member or frame follows another."""
_SKIP_BYTES = 1 << 20
TAIL_BYTES = 64
"""So many last bytes tell, together with the length, one content from another that begins alike."""


class Content(Protocol):
    """An open file. Reading raises OSError where the file system does."""

    rewinds: bool
    """Going back costs nothing, so what was read before can be compared at every read."""
    torn: bool
    """The last read ended where the file does, in the middle of a compressed block: more may still be written."""

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` plain bytes from `offset` on; fewer only at the end of what is there."""
        ...

    def end(self) -> tuple[int, bytes]:
        """How many plain bytes there are, and the last ones of them (TAIL_BYTES)."""
        ...

    def status(self) -> os.stat_result:
        """Of the file itself."""
        ...

    def close(self) -> None:
        """Let the handle go."""
        ...


class Plain:
    """A file that is not compressed."""

    rewinds = True
    torn = False

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def read(self, offset: int, size: int) -> bytes:
        """See Content."""
        return os.pread(self._fd, size, offset)

    def end(self) -> tuple[int, bytes]:
        """See Content."""
        size = os.fstat(self._fd).st_size
        return size, os.pread(self._fd, TAIL_BYTES, max(0, size - TAIL_BYTES))

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._fd)

    def close(self) -> None:
        """See Content."""
        os.close(self._fd)

    def begin(self) -> int:
        """Where the data begins: behind the hole that a writer leaves when its file is cut under it."""
        try:
            return os.lseek(self._fd, 0, os.SEEK_DATA)
        except OSError:  # an empty file, or a file system that does not know
            return 0


class Packed:
    """A compressed file, read forwards; going back starts again from its beginning."""

    rewinds = False

    def __init__(self, fd: int, unpack: Callable[[BinaryIO], object]) -> None:
        self._file = open(fd, "rb")  # noqa: SIM115  # held as long as the content
        self._unpack = unpack
        self._plain: IO[bytes] | None = None
        self._at = 0
        self.torn = False

    def read(self, offset: int, size: int) -> bytes:
        """See Content. A file that is still being written ends where its last whole block does."""
        if self._plain is None or offset < self._at:
            self._file.seek(0)
            self._plain, self._at, self.torn = cast("IO[bytes]", self._unpack(self._file)), 0, False
        while self._at < offset:
            if not self._next(min(_SKIP_BYTES, offset - self._at)):
                return b""
        parts: list[bytes] = []
        while size and (data := self._next(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def end(self) -> tuple[int, bytes]:
        """See Content; unpacks all of it."""
        tail = self.read(0, TAIL_BYTES)
        while data := self._next(_SKIP_BYTES):
            tail = (tail + data[-TAIL_BYTES:])[-TAIL_BYTES:]
        return self._at, tail

    def _next(self, size: int) -> bytes:
        """Some plain bytes; none at the end, and where a block is torn or not yet written."""
        if self._plain is None:
            return b""
        try:
            data = self._plain.read1(size)  # type: ignore[attr-defined]  # all three have it
        except (EOFError, ValueError, zstd.ZstdError, OSError) as error:
            self._plain, self.torn = None, True  # begin again when there is more
            if isinstance(error, OSError) and error.errno is not None:
                raise
            return b""
        self._at += len(data)
        return bytes(data)

    def status(self) -> os.stat_result:
        """See Content."""
        return os.fstat(self._file.fileno())

    def close(self) -> None:
        """See Content."""
        self._file.close()


def open_content(path: str) -> Plain | Packed:
    """Open a file, compressed or not: its first bytes tell, whatever its name. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    magic = os.pread(fd, 4, 0)
    for start, unpack in _OPEN.items():
        if magic.startswith(start):
            return Packed(fd, unpack)
    return Plain(fd)
