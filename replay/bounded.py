"""The sources of a replay: files that are there, read once from their beginning, and ranges of Kafka."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from ..pipeline.component import Source
from ..pipeline.sources._content import open_content
from ..pipeline.sources._folder import Folder
from ..pipeline.sources._followed import HEAD_BYTES
from ..pipeline.sources.file import File
from ..pipeline.sources.kafka import Kafka
from ..query.search import ARCHIVE, archives
from .kafka_range import KafkaRange, parse, ranged, told

PLAIN = "replay"
"""The name of a source that the config does not have."""
_ARCHIVE = re.compile(r".*\.(?:jsonl|ndjson)(?:\.gz|\.zst|\.bz2)?")


class NoSource(ValueError):
    """What was asked for cannot be read; the message says what would do."""


def sources_of(
    known: Mapping[str, Source], asked: Iterable[str], start_ns: int | None = None, end_ns: int | None = None
) -> dict[str, Source]:
    """`NAME` (of the config), `NAME=PATH` (other files, read as that source does), or `PATH`; nothing: all files.

    A path is a file, a pattern, or a folder of archives; of a Kafka source, what `kafka_range.parse` takes. The times
    say which messages of it. Raises NoSource.
    """
    files = {name: source for name, source in known.items() if isinstance(source, File)}
    found: dict[str, Source] = {}
    for text in asked:
        name, _, path = text.partition("=")
        if isinstance(kafka := known.get(name), Kafka):
            try:
                _add(found, ranged(kafka, [parse(path)] if path else [], start_ns, end_ns))
            except ValueError as error:
                raise NoSource(str(error)) from None
        elif text in files:
            found[text] = _bounded(files[text], files[text].include, files[text].exclude)
        elif text in known:
            raise NoSource(f"{text!r} is a {known[text].word()}: only files and ranges of Kafka can be replayed")
        elif path and name in files:
            _add(found, _bounded(files[name], _patterns(path)))
        elif not _ARCHIVE.fullmatch(text) and not Path(text).is_dir() and len(files) == 1:
            _add(found, _bounded(next(iter(files.values())), _patterns(text)))
        else:
            _add(found, File(name=PLAIN, include=_patterns(text)))
    if not found:
        found = {name: _bounded(file, file.include, file.exclude) for name, file in files.items()}
    if not found:
        raise NoSource(
            "no source of the config reads files: say with --source what to replay, such as --source archive/"
        )
    return found


async def fingerprint(sources: Mapping[str, Source]) -> str:
    """Of what is there now: the names, sizes and times of files, the offsets in Kafka. Raises OSError."""
    seen = hashlib.sha256()
    for name, source in sorted(sources.items()):
        if isinstance(source, File):
            seen.update(repr((name, _files(source))).encode())
        elif isinstance(source, KafkaRange):
            seen.update(repr((name, told(await source.spans()))).encode())
    return seen.hexdigest()


def _files(source: File) -> list[tuple[str, int, int]]:
    paths = Folder(source.include, source.exclude).matching(lambda path, error: None).values()
    found = [(path, Path(path).stat()) for path in sorted(paths)]
    return [(path, status.st_size, status.st_mtime_ns) for path, status in found]


def in_order(sources: Mapping[str, Source]) -> list[tuple[str, Source]]:
    """Each file by itself, the one that was written to longest ago first: so most of it comes in the order of time.

    Those that begin alike stay together: one may be a copy of another, which their source leaves out.
    """
    parts: list[tuple[int, str, str, Source]] = []
    for name, source in sources.items():
        if not isinstance(source, File):
            parts.append((0, "", name, source))
            continue
        folder, failed = Folder(source.include, source.exclude), list[str]()
        there = folder.matching(lambda path, error: failed.append(path)).values()  # noqa: B023  # called at once
        if failed:
            parts.append((0, "", name, source))  # which will tell
            continue
        for paths in _alike(there):
            oldest = min((folder.mtime_ns(path), path) for path in paths)
            parts.append((*oldest, name, _bounded(source, [_literally(path) for path in paths])))
    return [(name, source) for *_, name, source in sorted(parts, key=lambda part: part[:3])]


def _alike(paths: Iterable[str]) -> list[list[str]]:
    heads = sorted((_head(path), path) for path in paths)
    found: list[list[str]] = []
    first = b""
    for head, path in heads:
        if first and head.startswith(first):
            found[-1].append(path)
        else:
            found.append([path])
            first = head
    return found


def _head(path: str) -> bytes:
    try:
        with closing(open_content(path)) as content:
            return content.read(0, HEAD_BYTES)
    except OSError:
        return b""  # its source will tell


def _add(found: dict[str, Source], source: File | KafkaRange) -> None:
    before = found.get(source.name)
    if isinstance(before, File) and isinstance(source, File):
        before.include += source.include
    elif isinstance(before, KafkaRange) and isinstance(source, KafkaRange):
        taken = {(one.topic, one.partition) for one in before.wanted}
        for one in source.wanted:
            numbers = {number for topic, number in taken if topic == one.topic}
            if numbers and (numbers & {one.partition, None} or one.partition is None):
                raise NoSource(f"two ranges of {one.topic}: replay them one after the other")
        before.wanted += source.wanted
    else:
        found[source.name] = source


def _bounded(file: File, include: list[str], exclude: list[str] | None = None) -> File:
    """With none of what it knows of its files: that is held in fields of its own."""
    options = {name: getattr(file, name) for name in file.__struct_fields__ if not name.startswith("_")}
    own: dict[str, Any] = {"include": list(include), "exclude": list(exclude or []), "start_at": "beginning"}
    return type(file)(**options | own)


def _patterns(text: str) -> list[str]:
    path = Path(text)
    if path.is_dir():
        inside = archives([path])
        if not inside:
            raise NoSource(f"no archives ({ARCHIVE.pattern}) in {text}")
        return [_literally(str(file)) for file in inside]
    return [_literally(text) if path.exists() else text]


def _literally(path: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", path)
