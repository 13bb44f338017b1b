"""A sort by time in bounded memory: what is in order already is only written down, the rest merged from sorted runs."""

from __future__ import annotations

import heapq
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.checkpoint import sync
from ..pipeline.clock import set_times
from ..pipeline.columns import Columns
from .block import BLOCK_BYTES, Rows, Writer, blocks, retime
from .survey import Hashes

RUN_BYTES = 24 << 20
"""Of lines in memory before they are sorted and written …"""
RUN_RECORDS = 150_000
"""… and so many at most, however short they are."""
FAN_IN = 48
"""Runs that are merged at once."""
MOST_OPEN = 8
"""Runs that may still grow."""
OUT_BYTES = 1 << 20
"""Of lines in a block of the sorted file: what one push holds."""
OUT_RECORDS = 16_384

Rank = tuple[int, str]
"""The time of a file's first record, and its path: in this order equal times stand."""


class _Run:
    """A sorted file, to which what is not older than its end can be added."""

    def __init__(self, path: Path, number: int, most: int) -> None:
        self.number = number
        self.last: tuple[int, Rank] = (-1, (0, ""))
        self._writer = Writer(path)
        self._most = most
        self._rest = Rows.empty()
        self._size = 0

    def append(self, rows: Rows, last: tuple[int, Rank]) -> None:
        """In blocks of about `most` bytes."""
        self.last = last
        size = sum(map(len, rows.lines))
        if size > 2 * self._most or len(rows) > OUT_RECORDS:
            self._flush()
            for part in _cut(rows, self._most):
                self._writer.write(part)
            return
        if self._size + size > self._most or len(self._rest) + len(rows) > OUT_RECORDS:
            self._flush()
        self._rest.extend(rows)
        self._size += size

    def close(self) -> Path:
        """Have it on disk."""
        self._flush()
        self._writer.close()
        return self._writer.path

    def _flush(self) -> None:
        if len(self._rest):
            self._writer.write(self._rest)
        self._rest, self._size = Rows.empty(), 0


class Sorter:
    """Takes rows in any order and writes them in one: by time, then by file, then as they stood in it.

    So it does not depend on how much was read at once. Raises OSError where the disk does.
    """

    def __init__(self, folder: Path, *, run_bytes: int = RUN_BYTES) -> None:
        self.records = 0
        self.hashes = Hashes()
        """Of what `finish` has written."""
        self._folder = folder
        self._run_bytes = run_bytes
        self._ranks: dict[int, Rank] = {}
        self._newest: dict[int, int] = {}
        """Of each file, the latest time."""
        self._highest: dict[int, int] = {}
        """Of each file, the last of the runs that have some of it."""
        self._held: list[tuple[int, Rows]] = []
        self._waiting: set[int] = set()
        self._bytes = self._count = 0
        self._open: list[_Run] = []
        self._runs: list[Path] = []
        self._made = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, file: int, path: str, rows: Rows) -> None:
        """More of a file (by its number), in the order in which it stands there."""
        rank = self._ranks.setdefault(file, (rows.times[0], path))
        self.records += len(rows)
        if file not in self._waiting:
            rows.sort()
            if run := self._fitting((rows.times[0], rank), [file]) or (None if self._made else self._begin(OUT_BYTES)):
                self._append(run, rows, {file: rows.times[-1]})
                return
        self._waiting.add(file)
        self._held.append((file, rows))
        self._bytes += sum(map(len, rows.lines))
        self._count += len(rows)
        if self._bytes >= self._run_bytes or self._count >= RUN_RECORDS:
            self._spill()

    def finish(self, into: Path) -> Iterator[None]:
        """Write all of it, sorted, each with a time of its own; yields now and then.

        A record that has the time of another ticks one ns further, deterministically: Loki takes two of one time, line
        and stream for one.
        """
        self._spill()
        self._runs += [run.close() for run in self._open]
        batch = Batch([], "", "", {}, Ack(None, 0, ()), 0, {})
        if len(self._runs) == 1:
            self._runs[0].replace(into)
            for times in retime(into):
                batch.columns = Columns([b""] * len(times), range(len(times)), times)
                set_times(batch)
                times[:] = batch.times
                yield
            sync(into.parent)
        else:
            writer = Writer(into)
            for rows in _in_blocks(merged(self._few(), self._ranks), OUT_BYTES):
                batch.columns = Columns(rows.lines, range(len(rows)), rows.times)
                set_times(batch)
                rows.times = list(batch.times)
                writer.write(rows)
                self.hashes.add(rows)
                yield
            writer.close()
        shutil.rmtree(self._folder)

    def _fitting(self, first: tuple[int, Rank], files: Sequence[int]) -> _Run | None:
        """The run that ends the latest of those that what begins like this may follow."""
        # Equal times of a file stand in one run, or in the order of the runs' numbers.
        lowest = max((self._highest[f] for f in files if self._newest.get(f, -1) >= first[0]), default=0)
        found = [run for run in self._open if run.last <= first and run.number >= lowest]
        return max(found, key=lambda run: run.last, default=None)

    def _begin(self, most: int) -> _Run:
        self._made += 1
        if self._made == 2:
            self.hashes = Hashes()  # what was hashed is not all of it
        if len(self._open) >= MOST_OPEN:
            self._runs.append(self._open.pop(0).close())
        self._open.append(_Run(self._folder / f"{self._made}.run", self._made, most))
        return self._open[-1]

    def _append(self, run: _Run, rows: Rows, newest: Mapping[int, int]) -> None:
        for file, time_ns in newest.items():
            self._newest[file] = max(time_ns, self._newest.get(file, -1))
            self._highest[file] = max(run.number, self._highest.get(file, 0))
        if self._made == 1:
            self.hashes.add(rows)
        run.append(rows, (rows.times[-1], self._ranks[rows.files[-1]]))

    def _spill(self) -> None:
        if not self._held:
            return
        # Sorting keeps what is equal as it is; so the files' order is made first.
        held, self._held = sorted(self._held, key=lambda one: self._ranks[one[0]]), []
        rows, newest = Rows.empty(), dict[int, int]()
        for file, part in held:
            newest[file] = max(newest.get(file, -1), max(part.times))
            rows.extend(part)
        rows.sort()
        first = (rows.times[0], self._ranks[rows.files[0]])
        self._append(self._fitting(first, list(newest)) or self._begin(BLOCK_BYTES), rows, newest)
        self._waiting.clear()
        self._bytes = self._count = 0

    def _few(self) -> list[Path]:
        """The runs, as many as can be merged at once, in the order of their numbers."""
        runs = sorted(self._runs, key=lambda path: int(path.stem))
        while len(runs) > FAN_IN:
            self._made += 1
            first, runs = runs[:FAN_IN], runs[FAN_IN:]
            writer = Writer(self._folder / f"{self._made}.run")
            for part in _in_blocks(merged(first, self._ranks), BLOCK_BYTES):
                writer.write(part)
            writer.close()
            runs.insert(0, writer.path)
            for run in first:
                run.unlink()
        return runs


def merged(runs: Sequence[Path], ranks: Mapping[int, Rank]) -> Iterator[Rows]:
    """What is in sorted runs as one sequence, in pieces as long as they come from one run."""
    heads = []
    for number, path in enumerate(runs):
        parts = blocks(path)
        if (rows := next(parts, None)) is not None:
            heads.append((rows.times[0], ranks[rows.files[0]], number, 0, rows, parts))
    heapq.heapify(heads)
    while heads:
        time_ns, _, number, start, rows, parts = heapq.heappop(heads)
        if not heads:
            end = len(rows)
        elif time_ns < heads[0][0]:
            end = bisect_left(rows.times, heads[0][0], start)
        else:  # others of the same time: the next one may be of another run
            end = start + 1
        yield rows if not start and end == len(rows) else rows.part(start, end)
        if end == len(rows):
            more = next(parts, None)
            if more is None:
                continue
            rows, end = more, 0
        heapq.heappush(heads, (rows.times[end], ranks[rows.files[end]], number, end, rows, parts))


def _cut(rows: Rows, most: int) -> Iterator[Rows]:
    ends = list(accumulate(map(len, rows.lines)))
    start, before = 0, 0
    while start < len(rows):
        end = min(bisect_left(ends, before + most, start) + 1, start + OUT_RECORDS, len(rows))
        yield rows.part(start, end)
        start, before = end, ends[end - 1]


def _in_blocks(pieces: Iterator[Rows], most: int) -> Iterator[Rows]:
    out, size = Rows.empty(), 0
    for piece in pieces:
        out.extend(piece)
        size += sum(map(len, piece.lines))
        if size >= most or len(out) >= OUT_RECORDS:
            yield out
            out, size = Rows.empty(), 0
    if len(out):
        yield out
