"""The sorted file as a source, and what stands around the sink that gets it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from ..pipeline.batch import Batch, Chunk, Position
from ..pipeline.component import Sink, Source, Stage
from ..pipeline.sinks.loki import Loki
from .block import Rows, numbered
from .pace import Pace
from .target import Target

PARTITION = "replay"


class Sorted(Source, kw_only=True):
    """The sorted file as a source of one partition; a position is a number of records."""

    path: Path
    target: Target
    window_ns: int
    """No chunk spans more: what is cut here need not be cut by the sink, record by record."""
    pace: Pace = msgspec.field(default_factory=lambda: Pace(0.0, lambda: 0))
    told: Callable[[int], None] = lambda read: None
    at: int = 0
    whole: bool = False
    """All of it was read."""

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Block by block: the same at each start."""
        self.at = int(resume.get(PARTITION, {}).get("offset", 0))
        for start, rows in pieces(self.path, self.window_ns, self.at):
            self.at = start + len(rows)
            size = sum(map(len, rows.lines))
            await self.pace.take(size)
            yield Chunk(
                PARTITION,
                {"offset": self.at},
                rows.lines,
                range(start, self.at),
                {},
                size,
                times=rows.times,
                fields=self.target.fields_of(rows),
            )
            self.told(self.at)
        self.whole = True


def pieces(path: Path, window_ns: int, skip: int = 0) -> Iterator[tuple[int, Rows]]:
    """The number of its first record, and each piece that does not lie within the first `skip` records."""
    for number, rows in numbered(path, skip):
        start, times = 0, rows.times
        while start < len(times):
            end = bisect_right(times, times[start] + window_ns, start)
            if number + end > skip:
                yield number + start, rows if end - start == len(times) else rows.part(start, end)
            start = end


class AskFirst(Stage):
    """Some of it may be there already."""

    rewrites = False

    def process(self, batch: Batch) -> Batch:
        """Each batch is one that a sink may have taken."""
        batch.repeated = True
        return batch


class Dry(Sink, kw_only=True):
    """Encodes as the sink would, and sends nothing."""

    inner: Sink

    async def send(self, batches: Sequence[Batch]) -> None:
        """Throw it away."""
        if isinstance(self.inner, Loki):
            self.inner.streams.encode(batches)
