"""Looks up what a file held at a place that was read before."""

from __future__ import annotations

from contextlib import closing, suppress

from ..batch import Position
from ._content import Content, Plain, open_content
from ._folder import Folder, rotations_of
from ._followed import continues

TELLING_BYTES = 64
"""With so many known bytes a content is told from others whatever its file is."""


def find(folder: Folder, position: Position) -> Content | None:
    """The content that was read up to a position, under whatever name and in whatever form it is there now."""
    there = folder.matching(lambda path, error: None)
    for path in dict.fromkeys((str(position["path"]), *rotations_of(str(position["first_path"])), *there.values())):
        with suppress(OSError):
            content = open_content(path)
            if _is(content, position):
                return content
            content.close()
    return None


def extent(position: Position) -> int | None:
    """The size of the file that was read up to a position, if it is plain and still there under its name."""
    with suppress(OSError), closing(open_content(str(position["path"]))) as content:
        if isinstance(content, Plain) and _identity(content) == (position["device"], position["inode"]):
            return content.status().st_size
    return None


def is_telling(position: Position) -> bool:
    """The content that was read up to a position can be told by what is known of it, whatever its file is."""
    return int(position["head_bytes"]) + int(position["tail_bytes"]) >= TELLING_BYTES


def _is(content: Content, position: Position) -> bool:
    same = is_telling(position) or _identity(content) == (position["device"], position["inode"])
    return same and continues(content, position)


def _identity(content: Content) -> tuple[int, int]:
    status = content.status()
    return status.st_dev, status.st_ino
