"""Reads bounded sources once through the chain, and sorts what comes out of it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

from ..config.data_flow import wanted
from ..pipeline.ack import Ack
from ..pipeline.batch import Batch, Chunk
from ..pipeline.chain import Chain
from ..pipeline.component import Source, Stage
from ..pipeline.dead_letter import DeadLetter
from .bounded import in_order
from .merge import Sorter
from .receipt import Read, ReadFile
from .target import Target

END = 1 << 62


class Gather:
    """One reading of the sources. What it counts is in `read` and `files`."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        stages: Sequence[Stage],
        target: Target,
        sorter: Sorter,
        dead_letter: DeadLetter,
        *,
        start_ns: int | None = None,
        end_ns: int | None = None,
        told: Callable[[Read], None] = lambda read: None,
    ) -> None:
        """`told` is called after each chunk with what was read so far."""
        self.read = Read()
        self.files: list[ReadFile] = []
        self._sources = sources
        self._untimed = _Untimed(name="untimed")
        self._redacting = [_Watched(name=stage.name, inner=stage) for stage in stages if stage.protects]
        watched = {stage.name: stage for stage in self._redacting}
        chain = [watched.get(stage.name, stage) for stage in stages] + [self._untimed]
        sink = target.sink
        self._chain = Chain(chain, [*wanted(list(stages), [sink]), frozenset()])
        self._target = target
        self._sorter = sorter
        self._dead_letter = dead_letter
        self._start, self._end = start_ns or 0, END if end_ns is None else end_ns
        self._told = told
        self._states: dict[tuple[str, str], dict[str, Any]] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._hashes: list[Any] = []

    @property
    def clean(self) -> Callable[[str], str]:
        """Takes secrets out of a text, as the stages do."""
        return self._chain.clean

    async def run(self) -> None:
        """Read all of it. Raises OSError where the disk that is sorted on fails."""
        for name, source in in_order(self._sources):
            try:
                async with aclosing(source.chunks({}, once=True)) as chunks:
                    async for chunk in chunks:
                        if chunk.lines or chunk.dead:
                            self._take(name, chunk)
                            self._told(self.read)
            finally:
                await source.close()
            self.read.unreadable |= {self.clean(path): why for path, why in source.failing().items()}
        for file, digest in zip(self.files, self._hashes, strict=True):
            file.sha256 = digest.hexdigest()
        self.read.redactions = _redactions(self._redacting)
        self.read.redacted = sum(stage.changed for stage in self._redacting)
        self.read.untimed = self._untimed.count

    def _take(self, source: str, chunk: Chunk) -> None:
        place = (source, chunk.partition)
        number = self._numbers.setdefault(place, len(self._numbers))
        path = chunk.labels.get("file", chunk.partition)
        if number == len(self.files):
            self.files.append(ReadFile(self.clean(path)))
            self._hashes.append(hashlib.sha256())
        file, read = self.files[number], self.read
        state = self._states.setdefault(place, {})
        # No record may get its time from the moment of the replay: the next one would make others of them.
        read_at_ns = chunk.read_at_ns or _written_at(path)
        batch = Batch.of_chunk(chunk, source, Ack(None, 0, ()), read_at_ns, state)
        self._hashes[number].update(b"\n".join([*chunk.lines, b""]))
        count, changed = len(batch) + len(batch.dead), [stage.changed for stage in self._redacting]
        read.events += count
        read.bytes += chunk.size
        file.events += count
        file.bytes += chunk.size
        batch = self._chain.run(batch)
        file.redacted += sum(stage.changed for stage in self._redacting) - sum(changed)
        if batch.dead:
            read.dead += len(batch.dead)
            self._dead_letter.write(batch, batch.dead, "stage")
        read.dropped += count - len(batch) - len(batch.dead)
        before = len(batch)
        if self._target.sink.match is not None and before:
            batch = batch.with_records(self._target.sink.match.select(batch))
            read.no_match += before - len(batch)
            before = len(batch)
        if before:
            times = batch.times
            if min(times) < self._start or max(times) >= self._end:
                kept = [r for r, at in zip(batch.records, times, strict=True) if self._start <= at < self._end]
                batch = batch.with_records(kept)
                read.out_of_range += before - len(batch)
        if len(batch):
            rows = self._target.rows(batch, number)
            file.records += len(rows)
            read.records += len(rows)
            self._sorter.add(number, path, rows)


def _written_at(path: str) -> int:
    with suppress(OSError):
        return Path(path).stat().st_mtime_ns
    return 1


class _Untimed(Stage):
    """Counts the records in which no stage found a time."""

    count: int = 0

    def process(self, batch: Batch) -> Batch:
        found = batch.found_times
        self.count += len(batch) if found is None else list(found).count(None)
        return batch


class _Watched(Stage):
    """A stage that hides secrets, and how many records it changed."""

    inner: Stage
    changed: int = 0

    protects = True

    def prepare(self, wanted: frozenset[str] | None) -> None:
        self.inner.prepare(wanted)

    def clean(self, text: str) -> str:
        return self.inner.clean(text)

    def process(self, batch: Batch) -> Batch:
        before = list(batch.lines)
        batch = self.inner.process(batch)
        after = batch.lines
        if len(after) == len(before):
            self.changed += sum(old is not new and old != new for old, new in zip(before, after, strict=True))
        return batch


def _redactions(stages: Sequence[_Watched]) -> dict[str, int]:
    """How often each rule hid something: its name, never a value."""
    found: dict[str, int] = {}
    for stage in stages:
        for family in stage.inner.collect():
            for sample in family.samples:
                if rule := sample.labels.get("rule"):
                    found[rule] = found.get(rule, 0) + int(sample.value)
    return dict(sorted(found.items()))
