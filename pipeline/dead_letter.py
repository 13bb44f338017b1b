"""The dead letter: records that cannot go on, kept with where they came from and why."""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from . import clock
from .batch import Batch, Dead, Position
from .checkpoint import sync
from .log import log
from .record import Record, rfc3339

FILE = "dead_letter.jsonl"
"""Its name in the state folder; the generation before it is `dead_letter.1.jsonl`."""
MAX_BYTES = 100 << 20

Kind: TypeAlias = Literal["stage", "sink"]
WhenFull: TypeAlias = Literal["wait", "drop_oldest"]
Key: TypeAlias = tuple[str, str, int, str, int]


class Letter(msgspec.Struct, omit_defaults=True):
    """One line of the dead letter."""

    source: str
    partition: str
    offset: int
    """Where the record starts in its partition: with the partition its identity."""
    where: str
    """The stage or sink that gave it up."""
    reason: str
    hint: str = ""
    time: str = ""
    """The record's own time."""
    line: str | None = None
    """The line as it would have shipped; absent when it may hold what was to be hidden."""
    raw: bytes | None = None
    """Base64, instead of `line`, for bytes that are not UTF-8."""
    kind: Kind = "sink"
    read: str = ""
    """When the record was read; the same after a crash."""
    format: Literal["text", "json"] = "text"
    fields: dict[str, Any] = {}
    """What sinks got beside the line: of a text line its fields, of a JSON line those that stages added."""
    labels: dict[str, str] = {}
    """Of the partition."""
    position: Position = {}
    """Without a line: of the end of the chunk that it was read with, by which the source finds it again."""
    span: tuple[int, int] = (0, 0)
    """Without a line: where that chunk starts and ends."""
    traceback: list[str] = []
    """Of an error in a stage: file, line, function and code of each call, the innermost last."""

    @property
    def key(self) -> Key:
        """The same for what a crash had written down again; the line tells the parts of a split record apart."""
        return self.source, self.partition, self.offset, self.where, hash((self.line, self.raw))

    @property
    def withheld(self) -> bool:
        """Its line is not in it."""
        return self.line is None and self.raw is None

    def record(self) -> Record:
        """The record as it was. Raises ValueError when its line is not in the letter, or not what it says it is."""
        line = self.raw if self.line is None else self.line.encode()
        if line is None:
            raise ValueError("the letter has no line")
        record = Record(line, self.offset)
        if self.kind == "sink":
            record.format, record.time_ns = self.format, _ns(self.time)
            if self.format == "json":
                record.parsed = record.fields | self.fields
                record.added = self.fields or None
            else:
                record.parsed = self.fields or None
        return record

    @property
    def read_at_ns(self) -> int:
        """When it was read, in Unix ns; 0 when that is not known."""
        return _ns(self.read) or 0


_decode = msgspec.json.Decoder(Letter).decode


class DeadLetter:
    """A JSONL file in the state folder, bounded. Safe to use by several threads and processes at once."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES, when_full: WhenFull = "wait") -> None:
        self.path = path
        self.older = path.with_suffix(f".1{path.suffix}")
        """The generation before, with `drop_oldest`; each may have half of `max_bytes`."""
        self.written = 0
        """Letters since the start."""
        self.dropped = 0
        """Letters that gave way to newer ones since the start."""
        self.problem = ""
        """Why nothing can be written now."""
        self._max_bytes = max_bytes
        self._when_full = when_full

    def write(self, batch: Batch, dead: Sequence[Dead], kind: Kind = "sink") -> None:
        """Append; returns when it is on disk. Raises OSError, and then nothing of it was kept: try again."""
        data = b"".join([_encode(letter_of(batch, one, kind)) + b"\n" for one in dead])
        with self._locked() as file:
            end = file.seek(0, os.SEEK_END)
            if self._is_full(end, len(data)):
                if self._when_full == "drop_oldest":
                    self._rotate(data)
                    self.written += len(dead)
                    return
                raise OSError(errno.EDQUOT, "full: see what is in it, then `tailrace dlq retry` or `tailrace dlq drop`")
            # After a crash in the middle of a letter the next one begins on a line of its own.
            if end and os.pread(file.fileno(), 1, end - 1) != b"\n":
                data = b"\n" + data
            try:
                _write(file, data)
            except OSError:
                file.truncate(end)
                raise
        self.written += len(dead)

    def letters(self) -> Iterator[Letter]:
        """All that there are when the first is asked for, oldest first, each once. Raises OSError."""
        seen = set()
        with ExitStack() as opened:
            files = []
            for path in (self.older, self.path):
                with suppress(FileNotFoundError):
                    files.append(opened.enter_context(open(path, "rb")))
            for _, letter in chain.from_iterable(map(_read, files)):
                if letter.key not in seen:
                    seen.add(letter.key)
                    yield letter

    def counts(self) -> dict[str, int]:
        """How many letters each stage and sink has. Raises OSError."""
        return dict(sorted(Counter(letter.where for letter in self.letters()).items()))

    def drop(self, goes: Callable[[Letter], bool]) -> int:
        """Leave out those that go; returns how many. Raises OSError."""
        gone = {letter.key for letter in self.letters() if goes(letter)}
        if gone:
            with self._locked():
                self._stage(gone, (), "tmp")
                self._put("tmp")
        return len(gone)

    def replace(self, gone: set[Key], born: Iterable[Letter], number: int, save: Callable[[], None]) -> None:
        """Leave letters out and put others in, in one step with `save`, which saves the checkpoint of this number.

        A crash before `save` is done leaves all as it was; after it, `recover` does the rest. Only for who holds the
        state folder. Raises OSError.
        """
        with self._locked():
            self._stage(gone, born, str(number))
            save()
            self._put(str(number))

    def recover(self, number: int) -> None:
        """After a crash: finish the change that this checkpoint holds, forget one that it does not. Raises OSError."""
        for staged in sorted(self.path.parent.glob(f"{self.path.stem}.*")):
            suffix = staged.suffix[1:]
            if not suffix.isdecimal():
                continue
            if int(suffix) > number:
                staged.unlink(missing_ok=True)
            else:
                self._put(suffix)

    def _stage(self, gone: set[Key], born: Iterable[Letter], suffix: str) -> None:
        """Write each generation as it is to be beside it."""
        seen = set(gone)
        for path in (self.older, self.path):
            if path.exists():
                lines = []
                with open(path, "rb") as now:
                    for line, letter in _read(now):
                        if letter.key not in seen:
                            seen.add(letter.key)
                            lines.append(line)
                if path == self.path:
                    lines += [_encode(letter) for letter in born]
                with open(path.with_name(f"{path.name}.{suffix}"), "wb", buffering=0) as file:
                    _write(file, b"".join([line + b"\n" for line in lines]))
        sync(self.path.parent)

    def _put(self, suffix: str) -> None:
        """Let what was staged take its place."""
        for path in (self.older, self.path):
            staged = path.with_name(f"{path.name}.{suffix}")
            if staged.exists():
                staged.replace(path)
        sync(self.path.parent)

    def _is_full(self, size: int, more: int) -> bool:
        """Has no room for this many bytes more. When it is empty it takes them whatever the limit."""
        if self._when_full == "drop_oldest":
            return size > 0 and size + more > self._max_bytes // 2
        size += self.older.stat().st_size if self.older.exists() else 0
        return size > 0 and size + more > self._max_bytes

    def _rotate(self, data: bytes) -> None:
        """Begin a new generation with this; the one before the last is gone with its letters."""
        gone = self.older.read_bytes().count(b"\n") if self.older.exists() else 0
        staged = self.path.with_suffix(".tmp")
        with open(staged, "wb", buffering=0) as file:
            _write(file, data)
        self.older.unlink(missing_ok=True)
        self.older.hardlink_to(self.path)  # the path is never free: whoever waits for the lock would take it
        staged.replace(self.path)
        sync(self.path.parent)
        self.dropped += gone
        if gone:
            log.warning("the dead letter is full, its oldest letters were dropped", path=self.older, letters=gone)

    @contextmanager
    def _locked(self) -> Iterator[FileIO]:
        """The file, opened for nobody else at the same time, in this process or another."""
        while True:
            # Unbuffered: a buffer that could not be written would be written again when the file is closed.
            with open(self.path, "a+b", buffering=0) as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                try:
                    same = os.path.samestat(os.fstat(file.fileno()), self.path.stat())
                except FileNotFoundError:
                    same = False
                if same:
                    yield file
                    return


def letter_of(batch: Batch, dead: Dead, kind: Kind) -> Letter:
    """What is written down of a record that cannot go on."""
    record = dead.record
    letter = Letter(batch.source, batch.partition, record.offset, dead.where, dead.reason, dead.hint, kind=kind)
    letter.traceback = list(dead.traceback)
    letter.labels = dict(batch.labels)
    if 0 < batch.read_at_ns < clock.END:
        letter.read = rfc3339(batch.read_at_ns)
    if record.time_ns is not None and 0 <= record.time_ns < clock.END:
        letter.time = rfc3339(record.time_ns)
    if dead.withheld:
        letter.position, letter.span = batch.ack.position or {}, batch.span
        return letter
    try:
        letter.line = record.line.decode()
    except UnicodeDecodeError:
        letter.raw = record.line
    if kind == "sink":
        letter.format = record.format
        letter.fields = (record.added if record.format == "json" else record.parsed) or {}
    return letter


def _encode(letter: Letter) -> bytes:
    """As JSON, whatever a stage of a user's own has put into it."""
    try:
        return msgspec.json.encode(letter)
    except (TypeError, ValueError, OverflowError, RecursionError):
        plain = {name: _plain(getattr(letter, name)) for name in ("reason", "hint", "fields")}
        return msgspec.json.encode(msgspec.structs.replace(letter, **plain))


def _plain(value: Any) -> Any:
    """What JSON cannot say (lone surrogates, objects) as text."""
    try:
        text = json.dumps(value, default=_as_text, skipkeys=True, ensure_ascii=False)
        return json.loads(text.encode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return type(value)()


def _as_text(value: object) -> str:
    """An object of a stage of a user's own, whose `__str__` may raise anything."""
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def _read(file: Iterable[bytes]) -> Iterator[tuple[bytes, Letter]]:
    """The letters of one file. A line that is none was cut short by a crash: its record is read again."""
    for line in file:
        try:
            yield line.rstrip(b"\n"), _decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _write(file: FileIO, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    os.fsync(file.fileno())


def _ns(time: str) -> int | None:
    """Unix ns of a time as `rfc3339` writes it; None for anything else."""
    try:
        seconds = datetime.fromisoformat(f"{time[:19]}+00:00").timestamp()
        return int(seconds) * 1_000_000_000 + int(time[20:29])
    except ValueError:
        return None
