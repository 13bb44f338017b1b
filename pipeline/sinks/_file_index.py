"""The file that lists the files of an archive: a row of JSON for each, on disk together with the file's first lines."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..record import encode, rfc3339
from ._archive_file import ArchiveFile


class FileIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A list of an archive's files, for programs that look for one."""

    name: str
    """Its file name, such as `llm_io_index.jsonl`; it lies in the folder of the archive."""
    row: dict[str, str] = {}
    """Fixed fields of each row, such as `{ type: llm_io, mode: sanitized }`. Behind them come `created_at` (time of the
    file's first event, UTC), `log_path`, and `pid` of the process that began the file."""


class IndexFile:
    """An index open for writing. Raises OSError where the file system does."""

    def __init__(self, path: Path, fixed: Mapping[str, str]) -> None:
        self.file = ArchiveFile(path)
        self._fixed = dict(fixed)
        data = path.read_bytes()
        self._listed = set(filter(None, map(_log_path, data.split(b"\n"))))
        self._begin = b"\n" if data and not data.endswith(b"\n") else b""  # another program did not end its row

    def append(self, files: Mapping[Path, int]) -> None:
        """Add a row for each file that has none yet, not yet for good. `files`: time of the first event in ns."""
        rows = [self._row(str(path), at) for path, at in files.items() if str(path) not in self._listed]
        if rows:
            self.file.append(self._begin + b"".join(rows))

    def keep(self, files: Mapping[Path, int]) -> None:
        """The rows of these files stay."""
        self.file.keep()
        self._listed.update(map(str, files))
        self._begin = b""

    def _row(self, path: str, at: int) -> bytes:
        created = rfc3339(at)[:-4] + "Z"  # microseconds, as Python writes them
        return encode(self._fixed | {"created_at": created, "log_path": path, "pid": os.getpid()}) + b"\n"


def _log_path(row: bytes) -> str | None:
    try:
        return msgspec.json.decode(row, type=_Row).log_path
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


class _Row(msgspec.Struct):
    log_path: str | None = None
