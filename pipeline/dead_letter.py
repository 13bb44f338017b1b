"""The dead letter: records that cannot go on, kept with where they came from and why."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import msgspec

from . import clock
from .batch import Batch, Dead
from .record import rfc3339


class Letter(msgspec.Struct, omit_defaults=True):
    """One line of the dead letter."""

    source: str
    partition: str
    offset: int
    """Where the record starts in its partition: with the partition its identity."""
    where: str
    reason: str
    hint: str = ""
    time: str = ""
    line: str | None = None
    """The line as it would have shipped; absent when it may hold what was to be hidden."""
    raw: bytes | None = None
    """Base64, instead of `line`, for bytes that are not UTF-8."""


class DeadLetter:
    """An append-only JSONL file in the state folder. `write` returns when the letters are on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.written = 0
        """Letters since the start."""
        self._writing = Lock()

    def write(self, batch: Batch, dead: Sequence[Dead]) -> None:
        """Append and fsync. Raises OSError, and then nothing of it was kept: try again."""
        data = b"".join(msgspec.json.encode(_letter(batch, one)) + b"\n" for one in dead)
        # Unbuffered: a buffer that could not be written would be written again when the file is closed.
        with self._writing, open(self.path, "ab", buffering=0) as file:
            end = file.tell()
            try:
                view = memoryview(data)
                while view:
                    view = view[file.write(view) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)
                raise
        self.written += len(dead)


def _letter(batch: Batch, dead: Dead) -> Letter:
    record = dead.record
    letter = Letter(batch.source, batch.partition, record.offset, dead.where, dead.reason, dead.hint)
    if record.time_ns is not None and 0 <= record.time_ns < clock.END:
        letter.time = rfc3339(record.time_ns)
    if not dead.withheld:
        try:
            letter.line = record.line.decode()
        except UnicodeDecodeError:
            letter.raw = record.line
    return letter
