"""Chunk and batch: what a source read at once, before and inside the chain."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate
from typing import Any, TypeAlias

import msgspec

from .ack import Ack
from .record import Record

Position: TypeAlias = dict[str, int | str]
"""Where a partition was read up to; only its source understands it. `offset` is in the records' own count."""


class Chunk(msgspec.Struct, gc=False):
    """Whole events that a source read from one partition, and the position after the last of them."""

    partition: str
    """Names the partition for good: stays the same over restarts and renames."""
    position: Position
    lines: list[bytes]
    """One item an event, without its last line break; a traceback is one event of several lines."""
    offsets: list[int]
    """Where each event starts, as long as `lines`."""
    labels: Mapping[str, str]
    """Facts that hold for the whole partition and never change: `source`, `file`, `topic` …"""
    size: int
    """Bytes read for this chunk, line breaks included."""
    long: int = 0
    """Events that were longer than the source's limit and handled by its policy."""
    cut: int = 0
    """Bytes that this policy left out."""
    inside: bool = False
    """Ends inside an event that was too long: such a place is no boundary to come back to."""

    @classmethod
    def of_lines(cls, partition: str, data: bytes, offset: int, labels: Mapping[str, str]) -> Chunk:
        """A chunk of single lines from contiguous bytes (the last line break may be missing)."""
        lines = data.split(b"\n")
        offsets = list(accumulate((len(line) + 1 for line in lines), initial=offset))
        offsets.pop()
        if not lines[-1]:
            lines.pop()
            offsets.pop()
        return cls(partition, {"offset": offset + len(data)}, lines, offsets, labels, len(data))


class Dead(msgspec.Struct, frozen=True):
    """A record that cannot go on, and why."""

    record: Record
    where: str
    """The stage or sink that gave it up."""
    reason: str
    hint: str = ""
    withheld: bool = False
    """The line may hold what was to be hidden: only its place in the source is written down."""


class Batch(msgspec.Struct):
    """The records of one chunk on their way through the chain, with the ack they owe."""

    records: list[Record]
    source: str
    partition: str
    labels: Mapping[str, str]
    ack: Ack
    read_at_ns: int
    """Unix time of the read in ns: the only clock a stage may use, saved with the position before the first send."""
    state: dict[str, Any]
    """What stages carry from batch to batch of this partition, by stage name; saved with the position as JSON."""
    size: int = 0
    """Bytes of the lines, as the chain left them: measured once, not by everyone who asks."""
    slot: int = 0
    """The partition's number among all: goes into the digits of a time that its source does not use."""
    repeated: bool = False
    """Was on its way when the last run crashed: a sink may have taken it although no answer came."""
    span: tuple[int, int] = (0, 0)
    """Where the chunk starts and ends in its partition."""
    dead: list[Dead] = []
    """Records of the chunk that a stage could not take; shared by all that `with_records` makes."""

    def with_records(self, records: list[Record]) -> Batch:
        """The same batch with other records: what a stage that keeps, drops or splits returns."""
        return msgspec.structs.replace(self, records=records)

    def values(self, field: str) -> list[Any]:
        """One field of every record, None where it is missing; partition labels count as fields."""
        fixed = self.labels.get(field)
        if fixed is None:
            # `parsed` first: an attribute costs a quarter of a property, and it is nearly always there.
            return [(r.parsed or r.fields).get(field) for r in self.records]
        return [(r.parsed or r.fields).get(field, fixed) for r in self.records]

    def measure(self) -> int:
        """Bytes of the lines that ship."""
        return sum([len(r.line) for r in self.records])
