"""The folders that agents may ask: each file is opened step by step from its folder, and no link is followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from stat import S_ISDIR, S_ISREG

from ..search import ARCHIVE, written_order

_STEP = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe in the way is not waited for


class Outside(ValueError):
    """A path that may not be read; the message does not say whether there is anything."""


class Held(type(Path())):  # type: ignore[misc]  # the class for paths of this system
    """A path that opens as the file that was checked, even when another is put in its place meanwhile."""

    folders: Folders | None = None
    parts_inside: tuple[str, ...] = ()
    root = Path()

    def __fspath__(self) -> str:
        """For `open` and `stat`: the file itself, by its descriptor. Raises OSError when it is no file any more."""
        if self.folders is None:
            return str(self)
        return f"/proc/self/fd/{self.folders.hold(self)}"


class Folders:
    """Finds and opens files in some folders and nowhere else. For one thread at a time."""

    def __init__(self, roots: Iterable[Path]) -> None:
        self._roots = [root.resolve() for root in roots]
        self._held = -1

    def close(self) -> None:
        """Let the file go that was opened last."""
        if self._held >= 0:
            os.close(self._held)
            self._held = -1

    def files(self, path: str = "") -> list[Held]:
        """The logs and archives of all folders, or of a path in one, in the order in which they were written.

        Raises Outside for a path that leads out of them, or to nothing.
        """
        found: dict[str, Held] = {}
        for root, inside in self._meant(path):
            with suppress(OSError):
                for held in self._below(root, inside):
                    found.setdefault(str(held), held)
        if path and not found:
            raise Outside(f"nothing to read at {path!r}: name a file or folder in {', '.join(map(str, self._roots))}")
        return list(found.values())

    def hold(self, held: Held) -> int:
        """A descriptor of the file, good until the next one is asked for. Raises OSError."""
        descriptor = _opened(held.root, held.parts_inside)
        if not S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise FileNotFoundError(f"no file: {held}")
        self.close()
        self._held = descriptor
        return descriptor

    def _meant(self, path: str) -> Iterator[tuple[Path, tuple[str, ...]]]:
        if not path:
            yield from ((root, ()) for root in self._roots)
            return
        given = PurePosixPath(path)
        if "\0" in path or ".." in given.parts or len(path) > 4096:
            return
        for root in self._roots:
            if not given.is_absolute():
                yield root, given.parts
            elif given.is_relative_to(root):
                yield root, given.relative_to(root).parts

    def _below(self, root: Path, inside: tuple[str, ...]) -> list[Held]:
        if any(part.startswith(".") for part in inside):
            return []
        descriptor = _opened(root, inside)
        try:
            if not S_ISDIR(os.fstat(descriptor).st_mode):
                return [self._held_path(root, inside)]
            names = [PurePosixPath(*parts) for parts in _listed(descriptor, ())]
        finally:
            os.close(descriptor)
        return [self._held_path(root, (*inside, *name.parts)) for name in sorted(map(Path, names), key=written_order)]

    def _held_path(self, root: Path, inside: tuple[str, ...]) -> Held:
        held = Held(root.joinpath(*inside))
        held.folders, held.root, held.parts_inside = self, root, inside
        return held


def _opened(root: Path, inside: tuple[str, ...]) -> int:
    """A descriptor of what is there, with no link on the way below the root. Raises OSError."""
    descriptor = os.open(root, _STEP | os.O_DIRECTORY)
    for part in inside:
        try:
            deeper = os.open(part, _STEP, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = deeper
    return descriptor


def _listed(folder: int, before: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """The names of archives in a folder and below."""
    with os.scandir(folder) as entries:
        found = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in found:
        if entry.is_dir(follow_symlinks=False):
            with suppress(OSError):  # gone since, or a link by now
                deeper = os.open(entry.name, _STEP | os.O_DIRECTORY, dir_fd=folder)
                try:
                    yield from _listed(deeper, (*before, entry.name))
                finally:
                    os.close(deeper)
        elif ARCHIVE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            yield (*before, entry.name)
