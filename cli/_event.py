"""The event that a line of a log file belongs to, and what the state folder knows of its partition."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from os import PathLike
from os import path as paths
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from ..config.load import Config
from ..pipeline.batch import Chunk, Position
from ..pipeline.division import folders, read
from ..pipeline.flight import Flight, Flown
from ..pipeline.framing import framer
from ..pipeline.partition import Partition
from ..pipeline.sources._content import Content, open_content
from ..pipeline.sources._folder import Folder, base_of, rotations_of
from ..pipeline.sources._followed import continues
from ..pipeline.sources._reread import find, is_telling
from ..pipeline.sources.file import File
from ..pipeline.tap import identified, identity

BEFORE_BYTES = 4 << 20
"""So much in front of an event is run through the stages again, for what they remember."""
_PIECE = 1 << 20
_PLACE = re.compile(r"(?P<path>.+?)(?:@(?P<offset>\d+)|:(?P<line>\d+))")


class NotFound(Exception):
    """There is no such event; the message says what there is."""


class Place(NamedTuple):
    """What was asked for: one of three."""

    path: str = ""
    line: int = 0
    """From 1; 0: the offset says where."""
    offset: int = 0
    id: str = ""


class Known(NamedTuple):
    """A partition of the state folder."""

    source: str
    key: str
    partition: Partition
    position: Position
    folder: Path
    worker: int | None


class Event(NamedTuple):
    """One event, and what comes before it in its partition."""

    source: str
    chunk: Chunk
    """Of this event alone."""
    end: int
    """The offset behind it."""
    path: str
    """Where it was read now."""
    known: Known | None
    flown: Flown | None
    """The chunk that it was read with, if that is still written down."""
    before: list[tuple[Chunk, int]]
    """What is to go through the stages first, and when it counts as read."""
    state: dict[str, Any]
    """What stages carry in front of that."""
    read_at_ns: int
    """When it was read; 0: nobody knows."""
    slot: int
    guessed: str
    """Why the time and what stages carry may have been others; empty: they were these."""

    @property
    def offset(self) -> int:
        """Where it starts."""
        return self.chunk.offsets[0]

    @property
    def id(self) -> str:
        """As `tailrace tap` shows it."""
        return identity(self.source, self.chunk.partition, self.offset)


def place_of(text: str, id: str) -> Place:
    """From the command line. Raises ValueError."""
    if id:
        identified(id)
        return Place(id=id)
    found = _PLACE.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is no place: write FILE:LINE, FILE@OFFSET (in bytes), or --id ID")
    if found["line"] == "0":
        raise ValueError("lines are counted from 1")
    return Place(found["path"], int(found["line"] or 0), int(found["offset"] or 0))


def event_of(config: Config, place: Place) -> Event:
    """The event at a place. Raises NotFound, OSError, StateError."""
    partitions = list(_partitions(config))
    if place.id:
        source, key, offset = identified(place.id)
        known = next((one for one in partitions if (one.source, one.key) == (source, key)), None)
        file = _file_source(config, source)
        content, path = _content_of(file, known, key)
    else:
        try:
            content, path = open_content(place.path), place.path
        except OSError as error:
            raise NotFound(f"{place.path}: {error.strerror}") from None
        offset = _offset_of(content, place)
        known = _known(content, partitions)
        file = _file_source(config, known.source) if known else _reader_of(config, path)
    with closing(content):
        return _event(file, content, path, offset, known)


def _partitions(config: Config) -> Iterator[Known]:
    for number, folder in enumerate(workers := folders(config.state) or [config.state]):
        left = read(folder, config.sources, config.sinks)
        for source in config.sources:
            for key, partition in left.partitions.of(source).items():
                if position := partition.ledger.position:
                    worker = number if len(workers) > 1 else None
                    yield Known(source, key, partition, position, folder, worker)


def _known(content: Content, partitions: Sequence[Known]) -> Known | None:
    """The partition that this content was read as: by its file, else by what is in it."""
    status = content.status()
    files = [one for one in partitions if {"device", "inode", "head"} <= one.position.keys()]
    for one in files:
        same = (one.position["device"], one.position["inode"]) == (status.st_dev, status.st_ino)
        if same and continues(content, one.position):
            return one
    telling = [one for one in files if is_telling(one.position) and continues(content, one.position)]
    return max(telling, key=lambda one: int(one.position["offset"]), default=None)


def _file_source(config: Config, name: str) -> File:
    source = config.sources.get(name)
    if source is None:
        raise NotFound(f"the config has no source {name!r}: {', '.join(config.sources)}")
    if not isinstance(source, File):
        raise NotFound(f"what the source {name!r} ({source.word()}) read cannot be read again: only files can")
    return source


def _content_of(file: File, known: Known | None, key: str) -> tuple[Content, str]:
    """What a partition holds, wherever it is now."""
    first = key.rpartition("#")[0] or key
    if known is not None:
        content = find(Folder(file.include, file.exclude), known.position)
        if content is not None:
            return content, str(known.position["path"])
        raise NotFound(f"{first}: the file is no longer there, under any name")
    try:
        return open_content(first), first
    except OSError as error:
        raise NotFound(f"nothing is known of {key}, and {first} cannot be read: {error.strerror}") from None


def _reader_of(config: Config, path: str) -> File:
    """The source that reads a file of which the state folder tells nothing."""
    files = [source for source in config.sources.values() if isinstance(source, File)]
    for source in files:
        there = Folder(source.include, source.exclude).matching(lambda path, error: None).values()
        near = {_whole(one) for found in there for one in (found, *rotations_of(found))}
        if _whole(path) in near or _whole(base_of(path)) in {_whole(base_of(found)) for found in there}:
            return source
    patterns = ", ".join(pattern for source in files for pattern in source.include)
    raise NotFound(f"{path}: no source of the config reads it ({patterns or 'none reads files'})")


def _whole(path: str | PathLike[str]) -> str:
    return paths.realpath(path)


def _offset_of(content: Content, place: Place) -> int:
    """Where the line begins, in plain bytes."""
    if not place.line:
        return place.offset
    at, left, ends = 0, place.line - 1, True
    while data := content.read(at, _PIECE):
        count = data.count(b"\n")
        if count >= left:
            found = -1
            for _ in range(left):
                found = data.find(b"\n", found + 1)
            if found + 1 < len(data) or content.read(at + len(data), 1):
                return at + found + 1
        left -= count
        at += len(data)
        ends = data.endswith(b"\n")
    there = place.line - 1 - left + (not ends)
    raise NotFound(f"{place.path}: there is no line {place.line:,}, the file has {there:,}")


def _event(file: File, content: Content, path: str, offset: int, known: Known | None) -> Event:
    flown = _flown(known, offset) if known else None
    start, state, guessed = _start(content, offset, known)
    events = framer(file.multiline, file.max_event, file.on_long)
    first = known is not None and start == int(known.position["offset"])
    size = offset - start + file.max_event + _PIECE
    data = content.read(start, size)
    skip = int(known.position.get("skip", 0)) if known and first else 0
    framed = events.split(data, start, final=len(data) < size, skip=skip)
    starts = list(framed.offsets)
    place = max((at for at, one in enumerate(starts) if one <= offset), default=-1)
    end = starts[place + 1] if place + 1 < len(starts) else start + framed.taken
    if place < 0 or offset >= end:
        raise NotFound(
            f"{path}@{offset}: there is no event" + ("" if data[offset - start :] else ", the file ends before")
        )
    if not data[offset - start :].split(b"\n", 1)[0].strip(b"\r"):
        raise NotFound(f"{path}@{offset}: an empty line, which is no event")
    labels = {"source": file.name, "file": str(known.position["first_path"]) if known else base_of(path)}
    key = known.key if known else f"{labels['file']}#{content.status().st_ino}"

    def chunk(begin: int, stop: int) -> Chunk:
        last = starts[stop] if stop < len(starts) else start + framed.taken
        own = framed.lines[begin:stop]
        return Chunk(key, {"offset": last}, own, starts[begin:stop], labels, last - starts[begin])

    read_at_ns = flown.read_at_ns if flown else 0
    guess = read_at_ns or content.status().st_mtime_ns
    # What was read with it counts as read at the same moment, what was read before it as read before.
    split = next((at for at, one in enumerate(starts) if flown and one >= flown.start), place)
    before = [
        (chunk(begin, stop), at)
        for begin, stop, at in ((0, min(split, place), guess - 1), (min(split, place), place, guess))
        if begin < stop
    ]
    return Event(
        file.name,
        chunk(place, place + 1),
        end,
        path,
        known,
        flown,
        before,
        state,
        read_at_ns,
        flown.slot if flown else known.partition.slot if known else 0,
        guessed,
    )


def _start(content: Content, offset: int, known: Known | None) -> tuple[int, dict[str, Any], str]:
    """From where to run the stages, what they carry there, and why that may have been something else."""
    if known is not None:
        position = int(known.position["offset"])
        if position <= offset <= position + BEFORE_BYTES:
            return position, msgspec.json.decode(bytes(known.partition.ledger.state)), ""
    if offset <= BEFORE_BYTES:
        return 0, {}, ""
    start = offset - BEFORE_BYTES
    start += content.read(start, BEFORE_BYTES).find(b"\n") + 1
    return start, {}, f"the stages were run again from {BEFORE_BYTES >> 20} MiB before it"


def _flown(known: Known, offset: int) -> Flown | None:
    """What was written down when it was read; the last time counts."""
    found = None
    for one in Flight(known.folder / "flight.jsonl").load():
        if isinstance(one, Flown) and (one.source, one.partition) == (known.source, known.key):
            found = one if one.start <= offset < one.end else found
    return found
