"""An external sort by time in bounded memory: sorted runs on disk, merged into one file."""

from __future__ import annotations

import heapq
import shutil
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.clock import set_times
from ..pipeline.columns import Columns
from .block import BLOCK_BYTES, Rows, Writer, blocks

RUN_BYTES = 24 << 20
"""Of lines in memory before they are sorted and written …"""
RUN_RECORDS = 150_000
"""… and so many at most, however short they are."""
FAN_IN = 48
"""Runs that are merged at once."""
OUT_BYTES = 1 << 20
"""Of lines in a block of the sorted file: what one push holds."""
OUT_RECORDS = 16_384

Rank = tuple[int, str]
"""The time of a file's first record, and its path: in this order equal times stand."""


class Sorter:
    """Takes rows in any order and writes them in one: by time, then by file, then as they stood in it.

    So it does not depend on how much was read at once. Raises OSError where the disk does.
    """

    def __init__(self, folder: Path, *, run_bytes: int = RUN_BYTES) -> None:
        self.records = 0
        self._folder = folder
        self._run_bytes = run_bytes
        self._ranks: dict[int, Rank] = {}
        self._held: list[tuple[int, Rows]] = []
        self._bytes = self._count = 0
        self._runs: list[Path] = []
        self._made = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, file: int, path: str, rows: Rows) -> None:
        """More of a file (by its number), in the order in which it stands there."""
        self._ranks.setdefault(file, (rows.times[0], path))
        self._held.append((file, rows))
        self._bytes += sum(map(len, rows.lines))
        self._count += len(rows)
        self.records += len(rows)
        if self._bytes >= self._run_bytes or self._count >= RUN_RECORDS:
            self._spill()

    def finish(self, into: Path) -> Iterator[Rows]:
        """Write all of it, sorted, each with a time of its own; yields each block that was written.

        A record that has the time of another ticks one ns further, deterministically: Loki takes two of one time, line
        and stream for one.
        """
        self._spill()
        while len(self._runs) > FAN_IN:
            first, self._runs = self._runs[:FAN_IN], self._runs[FAN_IN:]
            self._runs.insert(0, self._write(_in_blocks(merged(first, self._ranks), BLOCK_BYTES)))
            for run in first:
                run.unlink()
        writer = Writer(into)
        batch = Batch([], "", "", {}, Ack(None, 0, ()), 0, {})
        for rows in _in_blocks(merged(self._runs, self._ranks), OUT_BYTES):
            batch.columns = Columns(rows.lines, range(len(rows)), rows.times)
            set_times(batch)
            rows.times = list(batch.times)
            writer.write(rows)
            yield rows
        writer.close()
        shutil.rmtree(self._folder)

    def _spill(self) -> None:
        if not self._held:
            return
        # Sorting keeps what is equal as it is; so the files' order is made first.
        held, self._held = sorted(self._held, key=lambda one: self._ranks[one[0]]), []
        rows = Rows.empty()
        for _, part in held:
            rows.extend(part)
        rows.sort()
        self._runs.append(self._write(_cut(rows)))
        self._bytes = self._count = 0

    def _write(self, parts: Iterator[Rows]) -> Path:
        self._made += 1
        writer = Writer(self._folder / f"{self._made}.run")
        for part in parts:
            writer.write(part)
        writer.close()
        return writer.path


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


def _cut(rows: Rows) -> Iterator[Rows]:
    start = size = 0
    for place, line in enumerate(rows.lines):
        size += len(line)
        if size >= BLOCK_BYTES or place - start >= OUT_RECORDS:
            yield rows.part(start, place + 1)
            start, size = place + 1, 0
    if start < len(rows):
        yield rows.part(start, len(rows))


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
