"""The sources of a replay: files that are there, read once from their beginning."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from ..pipeline.component import Source
from ..pipeline.sources._folder import Folder
from ..pipeline.sources.file import File
from ..query.search import ARCHIVE, archives

PLAIN = "replay"
"""The name of a source that the config does not have."""
_ARCHIVE = re.compile(r".*\.(?:jsonl|ndjson)(?:\.gz|\.zst|\.bz2)?")


class NoSource(ValueError):
    """What was asked for cannot be read; the message says what would do."""


def sources_of(known: Mapping[str, Source], asked: Iterable[str]) -> dict[str, Source]:
    """`NAME` (of the config), `NAME=PATH` (other files, read as that source does), or `PATH`; nothing: all files.

    A path is a file, a pattern, or a folder of archives. Raises NoSource.
    """
    files = {name: source for name, source in known.items() if isinstance(source, File)}
    found: dict[str, Source] = {}
    for text in asked:
        name, _, path = text.partition("=")
        if text in files:
            found[text] = _bounded(files[text], files[text].include, files[text].exclude)
        elif text in known:
            raise NoSource(f"{text!r} is a {known[text].word()}: only files can be replayed")
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


def fingerprint(sources: Mapping[str, Source]) -> str:
    """Of the files that are there now: their names, sizes and times."""
    seen = hashlib.sha256()
    for name, source in sorted(sources.items()):
        if isinstance(source, File):
            for path in sorted(Folder(source.include, source.exclude).matching(lambda path, error: None).values()):
                status = Path(path).stat()
                seen.update(repr((name, path, status.st_size, status.st_mtime_ns)).encode())
    return seen.hexdigest()


def _add(found: dict[str, Source], source: File) -> None:
    before = found.get(source.name)
    if isinstance(before, File):
        before.include += source.include
    else:
        found[source.name] = source


def _bounded(file: File, include: list[str], exclude: list[str] | None = None) -> File:
    return msgspec.structs.replace(file, include=list(include), exclude=list(exclude or []), start_at="beginning")


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
