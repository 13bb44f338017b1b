"""Looks into the folders of the patterns: which files match, and which are older generations of a log."""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ..labels import sanitize
from ._followed import Identity

_SUFFIX = r"[.\-_]\d[\d.\-_T:Z]*"
"""What rotation tools add to a name: `.1`, `-20261103`, `.2026-11-03T10:00`."""
_PACKED = r"\.(?:gz|bz2|zst|zstd)"
_GENERATION = re.compile(rf"(?P<name>.+?)(?:{_SUFFIX})?(?P<suffix>\.[A-Za-z]\w*)?(?:{_SUFFIX})?(?:{_PACKED})?")


class Folder:
    """The file system as one source sees it. Files are told by device and inode, so one that matches twice is one."""

    def __init__(self, include: Sequence[str], exclude: Sequence[str]) -> None:
        self._include = include
        self._exclude = exclude

    def matching(self, report: Callable[[str, OSError], None]) -> dict[Identity, str]:
        """Regular files that match now and are not excluded, in the order of their paths."""
        paths = {p for pattern in self._include for p in glob.glob(pattern, recursive=True)}  # noqa: PTH207  # absolute
        there: dict[Identity, str] = {}
        for path in sorted(paths):
            if any(fnmatch.fnmatchcase(path, pattern) for pattern in self._exclude):
                continue
            try:
                path.encode()
                status = Path(path).stat()
            except UnicodeEncodeError:  # no label and no state file could hold it
                report(ascii(path), OSError(0, "the name is not UTF-8: rename it"))
                continue
            except OSError as error:
                report(path, error)
                continue
            if stat.S_ISREG(status.st_mode):
                there.setdefault((status.st_dev, status.st_ino), path)
        return there

    def forbidden(self) -> Path | None:
        """A folder of the patterns that is there and may not be read."""
        for pattern in self._include:
            folder = Path(pattern).parent
            if not glob.has_magic(str(folder)) and folder.exists() and not os.access(folder, os.R_OK | os.X_OK):
                return folder
        return None

    @staticmethod
    def stat(paths: Iterable[str]) -> dict[Identity, str]:
        """Those of the paths that are regular files, by identity."""
        files: dict[Identity, str] = {}
        for path in paths:
            with suppress(OSError):
                status = Path(path).stat()
                if stat.S_ISREG(status.st_mode):
                    files[(status.st_dev, status.st_ino)] = path
        return files

    @staticmethod
    def exists(path: str) -> bool:
        """The folder that holds this path is there."""
        return Path(path).parent.exists()

    @staticmethod
    def mtime_ns(path: str) -> int:
        """When the file was last written to, in ns; 0 when it is gone."""
        with suppress(OSError):
            return Path(path).stat().st_mtime_ns
        return 0

    def path_of(self, identity: Identity, paths: Iterable[str]) -> str | None:
        """Under which of the paths the file is now."""
        return self.stat(paths).get(identity)


@lru_cache(maxsize=4096)
def base_of(path: str) -> str:
    """The path without what rotation adds: `app.log` for `app.log.1`, `app.log-20261103.gz`, `app-2026-11-03.log`."""
    folder, name = os.path.split(path)
    found = _GENERATION.fullmatch(name)
    return os.path.join(folder, found["name"] + (found["suffix"] or "")) if found else path  # noqa: PTH118  # no "./"


@lru_cache(maxsize=4096)
def owner_of(path: str, workers: int) -> int:
    """Which of several processes reads the log that this path is a generation of.

    By a hash of its folder and name, without what rotation adds and without ids: logs that come to one label of Loki
    are one process's.
    """
    name = sanitize(os.path.abspath(base_of(path)))  # noqa: PTH100  # on text, as all of this
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest()) % workers


def rotations_of(path: str) -> list[str]:
    """Paths beside this one whose names say that they are older generations of the same log, in order."""
    base = base_of(path)
    folder, name = os.path.split(base)
    start = name.partition(".")[0]
    try:
        names = os.listdir(folder or ".")  # noqa: PTH208  # a third of the time, and folders may be large
    except OSError:
        return []
    paths = [os.path.join(folder, one) for one in names if one.startswith(start)]  # noqa: PTH118  # no "./"
    return sorted(one for one in paths if one != base and base_of(one) == base)
