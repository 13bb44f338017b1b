"""Sink `jsonl`: archives records as JSON lines in files, partitioned by date or field, compressed when asked."""

from __future__ import annotations

import asyncio
import gzip
import os
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from threading import Lock

import cramjam
import msgspec

from ..batch import Batch, LineForm, Position
from ..checkpoint import sync
from ..component import ProbeError, Sink
from ..log import log
from ..options import Duration, Size, Template
from ..record import Record
from ._archive_file import ArchiveFile
from ._file_index import FileIndex, IndexFile

DAY_NS = 86_400_000_000_000
HOUR_NS = DAY_NS // 24
NAME_CHARS = 200
"""For all fields in a path together; file systems take 255 bytes, and the template has text of its own."""
MAX_OPEN = 64
"""Files kept open; the one not written to for the longest is closed first."""
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    # Each write is a frame of its own: what is on disk can be read at any moment, whatever is still to come.
    ".zst": lambda data: bytes(cramjam.zstd.compress(data, level=3)),
    ".gz": lambda data: gzip.compress(data, 6, mtime=0),
}


async def _unsaved() -> None:
    """Before `resume` there is no state to save."""


class Jsonl(Sink):
    """Appends each record as one JSON object a line; a JSON line that no stage changed is written byte for byte.

    `send` returns when the lines are on disk (fsync). A path that ends in `.zst` or `.gz` is compressed.
    """

    path: Template
    """Where to write: `{source}`, `{date}` and `{hour}` (of the event, UTC), or any `{field}`. Values are made safe for
    a file name, and nothing is written outside the folder in front of the first `{`."""
    line: LineForm = "json"
    """`json` writes all fields as one JSON object, `raw` the line as the stages left it: a plain copy of the log."""
    rotate_bytes: Size | None = None
    """Go on in a next file (`name.1.jsonl`, `name.2.jsonl` …) when this one has reached the size."""
    rotate_every: Duration | None = None
    """Go on in a next file when this one was begun longer ago."""
    index: FileIndex | None = None
    """List every file of the archive in one more file, such as `{ name: llm_io_index.jsonl, row: { type: llm_io } }`.
    A file's row is on disk together with its first lines, and a crash takes both back or none."""

    _open: OrderedDict[str, ArchiveFile] = msgspec.field(default_factory=OrderedDict)
    _current: dict[str, Path] = {}
    """Which file of a rotated series each path goes on in."""
    _lengths: Position = {}
    _save: Callable[[], Awaitable[None]] = _unsaved
    _beside: bool = False
    """Other processes may write there too: go on in no file that is not ours."""
    _own: set[str] = set()
    """Files that are."""
    _index: IndexFile | None = None

    def check(self) -> Iterable[tuple[str, str]]:
        """A path that is not confined or not a file."""
        head = self.path.parts[0]
        if ".." in Path(self.path.text).parts:
            yield "path", "`..` would leave the archive's folder: write the folder itself"
        if len(self.path.parts) > 1 and "/" not in head:
            yield "path", f"begin with a folder, such as archive/{self.path.text}: fields only choose names inside it"
        if self.path.text.endswith("/"):
            yield "path", "this is a folder: add a file name, such as {date}.jsonl"
        if self.rotate_bytes is not None and self.rotate_bytes < 1024:
            yield "rotate_bytes", "at least 1KiB"
        if self.index is not None and not re.fullmatch(r"\w[\w.-]*", self.index.name):
            yield "index.name", "a file name alone, such as llm_io_index.jsonl: it lies in the folder of the archive"

    def reads(self) -> Iterable[str]:
        """The fields in the path and those of `match`; a JSON line is written without looking at its fields."""
        return {*self.path.fields, *(self.match.fields if self.match else ())} - {"date", "hour"}

    def beside(self, apart: Iterable[frozenset[str]]) -> Iterable[tuple[str, str]]:
        """Two processes must not write to one file."""
        self._beside = True
        if missing := sorted(set().union(*apart).difference(self.path.fields)):
            more = " and ".join(f"{{{name}}}" for name in missing)
            yield "path", f"processes of one group must not write to one file: put {more} into the path"
        if self.index is not None:
            yield "index", "processes of one group must not write to one file, and the index is one: leave it out"

    def share(self, worker: int) -> None:
        """Each process writes files of its own: `app.jsonl.zst` becomes `app.worker-1.jsonl.zst`."""
        self.path = Template(_of_worker(self.path.text, worker))
        if self.index is not None:
            self.index = msgspec.structs.replace(self.index, name=_of_worker(self.index.name, worker))

    def cuts(self) -> bool:
        """Not where it copies them."""
        return self.line != "raw" or self.match is not None

    async def probe(self) -> None:
        """The folder, or the nearest one above it that exists, must take files."""
        folder = self.folder.absolute()
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
            raise ProbeError(f"cannot write into {folder}: not a folder, or no permission", "path")

    def position(self) -> Position:
        """The good length of each open file."""
        return dict(self._lengths)

    def resume(self, position: Position, save: Callable[[], Awaitable[None]]) -> None:
        """Cut off what a crash left behind the last checkpoint: it is read and written again."""
        self._save, self._own = save, set(position)
        for path, length in position.items():
            try:
                cut = ArchiveFile.cut_back(Path(path), int(length))
            except OSError as error:
                raise ProbeError(f"cannot cut {path} back to {length} bytes: {error.strerror}", "path") from None
            if cut:
                log.info("cut off what was not settled", sink=self.name, path=path, bytes=cut)

    async def send(self, batches: Sequence[Batch]) -> None:
        """Append and fsync; what a full disk cut short is taken back, and the send fails to be tried again."""
        pieces: dict[str, list[bytes]] = {}
        begins: dict[str, int] = {}
        for batch in batches:
            for path, part in self.paths(batch):
                pieces.setdefault(path, []).append(part.joined(self.line))
                if self.index is not None and len(part):
                    begins.setdefault(path, part.ends()[0])
        data = {path: b"\n".join([*own, b""]) for path, own in pieces.items()}
        if new := await asyncio.to_thread(self._begin, data):
            # Written down before the first byte of it: only so can a restart cut off what came after.
            self._lengths |= new
            await self._save()
        self._lengths = await asyncio.to_thread(self._write, data, begins)

    async def close(self) -> None:
        """Close all files, once the write of a cancelled `send` is through: it goes on in its thread."""
        await asyncio.to_thread(self._close)

    def paths(self, batch: Batch) -> Iterable[tuple[str, Batch]]:
        """The batch in parts by the path they go to."""
        fields = self.path.fields
        if not fields:
            return [(self.path.text, batch)]
        if not len(batch):
            return []
        times = batch.times
        step = HOUR_NS if "hour" in fields else DAY_NS
        most = NAME_CHARS // max(1, len(fields))
        columns: list[Sequence[object]] = []
        for field in fields:
            if field in ("date", "hour"):
                first, last = min(times) // step, max(times) // step
                columns.append([first] * len(times) if first == last else [at // step for at in times])
            else:
                columns.append([_safe(value, most) for value in batch.values(field)])
        if all(column.count(column[0]) == len(column) for column in columns):
            return [(self._render([column[0] for column in columns], times[0]), batch)]
        keys = list(zip(*columns, strict=True))
        groups: dict[tuple[object, ...], list[Record]] = {}
        for key, record in zip(keys, batch.records, strict=True):
            groups.setdefault(key, []).append(record)
        return [
            (self._render(key, records[0].time_ns or 0), batch.with_records(records)) for key, records in groups.items()
        ]

    def _render(self, key: Sequence[object], at_ns: int) -> str:
        values = dict(zip(self.path.fields, key, strict=True))
        moment = time.gmtime(at_ns // 1_000_000_000)
        values["date"], values["hour"] = time.strftime("%Y-%m-%d", moment), time.strftime("%H", moment)
        return self.path.render(values.get)

    def _begin(self, data: Iterable[str]) -> Position:
        """In a thread: choose and create the files. Returns the lengths of those not yet in the position."""
        new: Position = {}
        with self._writing:
            for path in data:
                file = self._open.get(path)
                if file is None or file.is_due(self.rotate_bytes, self.rotate_every):
                    file = self._keep_open(path, self._next(Path(path)))
                    self._own.add(str(file.path))
                self._current[path] = file.path
                if str(file.path) not in self._lengths:
                    new[str(file.path)] = file.length
            if self.index is not None and self._index is None:
                self._index = IndexFile(self.folder / self.index.name, self.index.row)
                new[str(self._index.file.path)] = self._index.file.length
        for folder in {Path(path).parent for path, length in new.items() if not length}:
            sync(folder)  # else a power cut may leave a row of the index and not its file
        return new

    def _next(self, path: Path) -> ArchiveFile:
        if self._beside:
            return ArchiveFile.own_of(path, self._own, self.rotate_bytes, self.rotate_every)
        return ArchiveFile.next_of(path, self.rotate_bytes, self.rotate_every)

    def _write(self, data: dict[str, bytes], begins: dict[str, int]) -> Position:
        """In a thread: all files of one send, or none of them longer than before. Returns the good lengths."""
        written: list[ArchiveFile] = []
        listed: dict[Path, int] = {}
        with self._writing:
            try:
                for path, lines in data.items():
                    file = self._open.get(path) or self._keep_open(path, ArchiveFile(self._current[path]))
                    written.append(file)
                    file.append(self._compress(lines))
                    if path in begins:
                        listed[file.path] = begins[path]
                if self._index is not None:
                    written.append(self._index.file)  # the last: no row is on disk before its file
                    self._index.append(listed)
                for file in written:
                    file.sync()
            except BaseException:
                for file in written:
                    file.take_back()
                raise
            for file in written:
                file.keep()
            if self._index is not None:
                self._index.keep(listed)
            self._current = {path: file.path for path, file in self._open.items()}
            index = [self._index.file] if self._index is not None else []
            return {str(file.path): file.length for file in (*self._open.values(), *index)}

    def _keep_open(self, path: str, file: ArchiveFile) -> ArchiveFile:
        """Hold the file open, in place of the one before it, and let the oldest go when there are too many."""
        if before := self._open.pop(path, None):
            before.close()
        self._open[path] = file
        if len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].close()
        return file

    def _close(self) -> None:
        with self._writing:
            for file in self._open.values():
                file.close()
            self._open.clear()
            if self._index is not None:
                self._index.file.close()
                self._index = None

    @cached_property
    def _writing(self) -> Lock:
        return Lock()

    @cached_property
    def _compress(self) -> Callable[[bytes], bytes]:
        return COMPRESS.get(Path(self.path.text).suffix, lambda data: data)

    @cached_property
    def folder(self) -> Path:
        """The folder that nothing leaves."""
        head = self.path.parts[0]
        return Path(head).parent if len(self.path.parts) == 1 else Path(head + "x").parent


def _of_worker(path: str, worker: int) -> str:
    """The path with the worker's number before its suffixes."""
    end = re.search(r"(?:\.[A-Za-z0-9]+)*$", path)
    assert end  # at least the empty text
    return f"{path[: end.start()]}.worker-{worker}{end[0]}"


def _safe(value: object, most: int) -> str:
    """A field as part of a file name: no separators, no dots in front, bounded."""
    name = re.sub(r"[^A-Za-z0-9_.=@-]+", "_", "" if value is None else str(value))[:most].lstrip(".")
    return name or "unknown"
