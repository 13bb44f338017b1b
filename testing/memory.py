"""Batches from lines, and sources and sinks in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

import msgspec

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch, Chunk, Position
from ..pipeline.columns import Following
from ..pipeline.component import Rejected, Sink, Source, Stage
from ..pipeline.record import Record

READ_AT = 1_790_000_000_000_000_000
"""The read time of every batch that `batch_of` makes, in ns."""


def batch_of(
    *lines: bytes | Mapping[str, Any], labels: Mapping[str, str] | None = None, state: dict[str, Any] | None = None
) -> Batch:
    """A batch of records: of bytes as a file source gives them, of a map a JSON record as `parse` leaves it."""
    labels = labels or {"source": "test"}
    texts = [line if isinstance(line, bytes) else msgspec.json.encode(line) for line in lines]
    end = sum(len(text) + 1 for text in texts)
    chunk = Chunk("test", {"offset": end}, texts, list(Following(texts, 0)), labels, end)
    ack = Ack(chunk.position, end, ())
    batch = Batch.of_chunk(chunk, labels.get("source", "test"), ack, READ_AT, {} if state is None else state)
    for place, line in enumerate(lines):
        if not isinstance(line, bytes):
            batch.records[place].format = "json"
    return batch


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
