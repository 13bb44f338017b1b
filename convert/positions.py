"""Promtail's positions become a checkpoint, so that tailrace goes on where Promtail stopped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import closing, suppress
from pathlib import Path

import msgspec

from ..config import _yaml
from ..config._yaml import Node
from ..config.load import Config
from ..config.problem import ConfigError, Problem, errors
from ..pipeline.batch import Position
from ..pipeline.checkpoint import Checkpoint, Saved, State, StateError
from ..pipeline.framing import framer
from ..pipeline.sources._content import Content, Plain, open_content
from ..pipeline.sources._folder import Folder, rotations_of
from ..pipeline.sources._followed import Followed
from ..pipeline.sources.file import File
from ._reader import children

_READ = 1 << 20


class TakenOver(msgspec.Struct):
    """What became of one entry of the positions file."""

    path: str
    source: str = ""
    """The source that goes on there; empty where none does."""
    offset: int = 0
    """In bytes of what the file holds, unpacked."""
    why_not: str = ""


def read(path: Path) -> dict[str, str]:
    """Offsets and cursors by path. Raises ConfigError for what is no positions file."""
    document, problems = _yaml.read(path)
    if errors(problems):
        raise ConfigError(problems)
    node = document.root.child("positions") if document.root else None
    if node is None or not (node.value is None or isinstance(node.value, dict)):
        place = node or document.root or Node(None)
        message = "no positions file of Promtail's: it has no map `positions`"
        raise ConfigError([Problem(file=str(path), line=place.line, column=place.column, message=message)])
    return {name: one.text for name, one in children(node).items()}


def take_over(positions: Mapping[str, str], config: Config) -> list[TakenOver]:
    """Write the checkpoint of a config that has not run yet; what no source of it reads is left out.

    Each file is looked at as it is now: Promtail must be stopped. Raises StateError when there is a state already.
    """
    checkpoint = Checkpoint(config.state)
    checkpoint.lock()
    try:
        if checkpoint.path.exists():
            raise StateError(f"{checkpoint.path}: is there already; give another `--state`, or move it away")
        state = State({name: {} for name in config.sources}, {})
        told = [_entry(path, text, config, state) for path, text in positions.items()]
        checkpoint.save(state)
    finally:
        checkpoint.unlock()
    return told


def _entry(path: str, text: str, config: Config, state: State) -> TakenOver:
    if not os.path.isabs(path):  # noqa: PTH117  # on text, as it stands there
        return TakenOver(path, why_not="the position of something else than a file")
    try:
        status = Path(path).stat()
    except OSError as error:
        return TakenOver(path, why_not=f"{error.strerror}")
    for name, source in config.sources.items():
        if not isinstance(source, File):
            continue
        there = Folder(source.include, source.exclude).matching(lambda _, error: None)
        if (own := there.get((status.st_dev, status.st_ino))) is None:
            continue
        try:
            with closing(open_content(own)) as content:
                offset = _offset(content, text)
                if offset is None:
                    return TakenOver(path, why_not=f"shorter than its position {text}: it is read from the beginning")
                position = _position(own, content, offset)
        except OSError as error:
            return TakenOver(path, why_not=f"{error.strerror}")
        slot = sum(map(len, state.sources.values()))
        state.sources[name][f"{own}#{status.st_ino}"] = Saved(position, slot=slot)
        return TakenOver(path, name, offset)
    return TakenOver(path, why_not="no source of this config reads it")


def _offset(content: Content, text: str) -> int | None:
    """Of a compressed file Promtail counts lines, else bytes; None where there is not as much."""
    number = int(text) if text.isdecimal() else -1
    if isinstance(content, Plain):
        return number if 0 <= number <= content.status().st_size else None
    offset = 0
    while number > 0:
        data = content.read(offset, _READ)
        if not data:
            return None
        lines = data.split(b"\n", number)
        if len(lines) > number:
            return offset + len(data) - len(lines[-1])
        number -= len(lines) - 1
        offset += len(data)
    return offset if number == 0 else None


def _position(path: str, content: Content, offset: int) -> Position:
    """What the source itself would save, had it read the file up to there."""
    newer_than = -1
    for one in rotations_of(path):
        with suppress(OSError):
            newer_than = max(newer_than, Path(one).stat().st_mtime_ns)
    start: Position = {"offset": offset, "newer_than": newer_than}
    return Followed("", path, content, framer("off", 1 << 20, "split"), start).mark({}).position
