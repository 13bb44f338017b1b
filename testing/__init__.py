"""What tests are built from, tailrace's own and yours: batches from lines, sources and sinks in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch, Chunk, Position
from ..pipeline.component import Rejected, Sink, Source, Stage
from ..pipeline.record import Record

__all__ = ["ListSink", "ListSource", "batch_of", "lines_of", "run_stage"]

READ_AT = 1_790_000_000_000_000_000
"""The read time of every batch that `batch_of` makes, in ns."""


def batch_of(*lines: bytes, labels: Mapping[str, str] | None = None, state: dict[str, Any] | None = None) -> Batch:
    """A batch of text records, as a file source would give it."""
    labels = labels or {"source": "test"}
    *offsets, end = accumulate((len(line) + 1 for line in lines), initial=0)
    return Batch(
        records=list(map(Record, lines, offsets)),
        source=labels.get("source", "test"),
        partition="test",
        labels=labels,
        ack=Ack({"offset": end}, end, ()),
        read_at_ns=READ_AT,
        state={} if state is None else state,
    )


def lines_of(batch: Batch) -> list[bytes]:
    """The lines that ship."""
    return [record.line for record in batch.records]


def run_stage(stage: Stage, batch: Batch, wanted: Sequence[str] | None = None) -> Batch:
    """Prepare the stage as the engine does and put one batch through it."""
    stage.name = stage.name or stage.word()
    stage.prepare(None if wanted is None else frozenset(wanted))
    return stage.process(batch)


class ListSource(Source):
    """Yields the given batches of lines from one partition; the position counts lines."""

    lines: list[list[bytes]] = []
    """One list a chunk."""

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Resume at the first chunk that was not delivered."""
        start = int(resume.get("list", {}).get("offset", 0))
        offset = 0
        for lines in self.lines:
            first, offset = offset, offset + len(lines)
            if first >= start:
                yield Chunk(
                    partition="list",
                    position={"offset": offset},
                    lines=lines,
                    offsets=list(range(first, offset)),
                    labels={"source": self.name},
                    size=sum(map(len, lines)) + len(lines),
                )


class ListSink(Sink):
    """Keeps what it was sent."""

    fail_times: int = 0
    """Raise OSError this many times first."""
    reject: str = ""
    """Reject records whose line holds this text."""
    _got: list[Record] = []

    @property
    def got(self) -> list[Record]:
        """The records delivered so far."""
        return self._got

    async def send(self, batches: Sequence[Batch]) -> None:
        """Take them, unless told otherwise."""
        if self.fail_times:
            self.fail_times -= 1
            raise OSError("told to fail")
        bad = [r for b in batches for r in b.records if self.reject and self.reject in r.text]
        self._got.extend(r for b in batches for r in b.records if r not in bad)
        if bad:
            raise Rejected([(r, "told to reject") for r in bad], hint="do not say that")
