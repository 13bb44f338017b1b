"""Chunk and batch: what a source read at once, before and inside the chain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import compress
from typing import Any, Literal, TypeAlias

import msgspec

from .ack import Ack
from .columns import Columns, Following
from .record import Fields, Record

Position: TypeAlias = dict[str, int | str]
"""Where a partition was read up to; only its source understands it. `offset` is in the records' own count."""

LineForm: TypeAlias = Literal["raw", "json"]
"""`raw`: the line as the stages left it. `json`: all fields as one JSON object."""


class Chunk(msgspec.Struct, gc=False):
    """Whole events that a source read from one partition, and the position after the last of them."""

    partition: str
    """Names the partition for good: stays the same over restarts and renames."""
    position: Position
    lines: Sequence[bytes]
    """One item an event, without its last line break; a traceback is one event of several lines."""
    offsets: Sequence[int]
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
    times: Sequence[int | None] = ()
    """When each event was made, in Unix ns, where the source knows that: its time, unless a stage finds another."""
    read_at_ns: int = 0
    """What counts as the time of reading, for a source of which several processes would read the same."""
    fields: Mapping[str, Sequence[Any]] = {}
    """Fields that the source knows of single events, one value each; None where one does not have it."""
    dead: Sequence[tuple[int, str]] = ()
    """Events that the source could read but not take: where they start, and why. None of `lines`."""

    @classmethod
    def of_lines(cls, partition: str, data: bytes, offset: int, labels: Mapping[str, str]) -> Chunk:
        """A chunk of single lines from contiguous bytes (the last line break may be missing)."""
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        return cls(partition, {"offset": offset + len(data)}, lines, Following(lines, offset), labels, len(data))


class Dead(msgspec.Struct, frozen=True):
    """A record that cannot go on, and why."""

    record: Record
    where: str
    """The stage or sink that gave it up."""
    reason: str
    hint: str = ""
    withheld: bool = False
    """The line may hold what was to be hidden: only its place in the source is written down."""
    traceback: tuple[str, ...] = ()
    """Where a stage raised: file, line, function and code of each call, the innermost last."""


class Batch:
    """The records of one chunk on their way through the chain, with the ack they owe.

    Records are made when somebody asks for them. Where no stage does, and sinks take `lines`, `times` and `values`,
    there are none: that is 40 % of the time of raw lines to Loki.
    """

    __slots__ = (
        "_records",
        "ack",
        "columns",
        "dead",
        "labels",
        "partition",
        "read_at_ns",
        "repeated",
        "sent",
        "size",
        "slot",
        "source",
        "span",
        "state",
    )

    def __init__(
        self,
        records: list[Record],
        source: str,
        partition: str,
        labels: Mapping[str, str],
        ack: Ack,
        read_at_ns: int,
        state: dict[str, Any],
        *,
        slot: int = 0,
        repeated: bool = False,
        span: tuple[int, int] = (0, 0),
    ) -> None:
        self._records = records
        self.columns: Columns | None = None
        """The events column by column, as long as nobody asked for records."""
        self.source = source
        self.partition = partition
        self.labels = labels
        self.ack = ack
        self.read_at_ns = read_at_ns
        """Unix time of the read in ns: the only clock a stage may use, saved with the position before the first
        send."""
        self.state = state
        """What stages carry from batch to batch of this partition, by stage name; saved with the position as JSON."""
        self.size = 0
        """Bytes of the lines, as the chain left them: measured once, not by everyone who asks."""
        self.slot = slot
        """The partition's number among all: goes into the digits of a time that its source does not use."""
        self.repeated = repeated
        """Was on its way when the last run crashed: a sink may have taken it although no answer came."""
        self.span = span
        """Where the chunk starts and ends in its partition."""
        self.sent: tuple[Sequence[int], Sequence[int | None]] = ((), ())
        """When events were made, where their source knows that: their offsets, and their times."""
        self.dead: list[Dead] = []
        """Records of the chunk that a stage could not take; shared by all that `with_records` makes."""

    @classmethod
    def of_chunk(
        cls, chunk: Chunk, source: str, ack: Ack, read_at_ns: int, state: dict[str, Any], **more: Any
    ) -> Batch:
        """All events of a chunk, as text."""
        batch = cls([], source, chunk.partition, chunk.labels, ack, read_at_ns, state, **more)
        batch.columns = Columns(chunk.lines, chunk.offsets)
        if chunk.times:  # else nobody may want to know where each event starts
            batch.sent = chunk.offsets, chunk.times
        for name, values in chunk.fields.items():
            batch.columns.add(name, values)
        batch.dead = [Dead(Record(b"", offset), source, reason, withheld=True) for offset, reason in chunk.dead]
        return batch

    def with_records(self, records: list[Record]) -> Batch:
        """The same batch with other records: what a stage that keeps, drops or splits returns."""
        batch = copy(self)
        batch._records, batch.columns = records, None
        return batch

    def where(self, mask: Sequence[bool]) -> Batch:
        """The same batch with some of its records, by a value for each; itself where that is all of them."""
        if all(mask):
            return self
        if self.columns is None:
            return self.with_records(list(compress(self._records, mask)))
        batch = copy(self)
        batch.columns = self.columns.where(mask)
        return batch

    def with_labels(self, labels: Mapping[str, str]) -> Batch:
        """The same batch of a partition that other things are said of."""
        batch = copy(self)
        batch.labels = labels
        return batch

    @property
    def records(self) -> list[Record]:
        """The records, in the order of the partition. Made when somebody asks: from then on there are no columns."""
        if self.columns is not None:
            self._records, self.columns = self.columns.records(), None
        return self._records

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._records) if self.columns is None else self.columns.count

    @property
    def lines(self) -> list[bytes]:
        """The line of every record."""
        return [r.line for r in self._records] if self.columns is None else self.columns.lines

    @property
    def fields(self) -> list[Fields]:
        """The fields of every record that somebody reads. To be read only."""
        return [r.fields for r in self._records] if self.columns is None else self.columns.fields

    @property
    def sizes(self) -> list[int]:
        """Bytes of the line of every record."""
        return list(map(len, self.lines)) if self.columns is None else self.columns.sizes

    @property
    def found_times(self) -> Sequence[int | None] | None:
        """The time that a stage found for each record or its source knows, in ns; None where nobody looked for one."""
        found = [r.time_ns for r in self._records] if self.columns is None else self.columns.times
        if self.sent[0] and (found is None or None in found):
            by_offset = dict(zip(*self.sent, strict=False))
            offsets = [r.offset for r in self._records] if self.columns is None else self.columns.offsets
            times = found or [None] * len(offsets)
            return [by_offset.get(at) if time is None else time for at, time in zip(offsets, times, strict=True)]
        return found

    @property
    def times(self) -> Sequence[int]:
        """The time of every record, which the clock has set, in ns; a range where each is 1 ns after the other."""
        if self.columns is not None and self.columns.times is not None:
            return self.columns.times  # type: ignore[return-value]  # once the clock has set them there is no None
        return [time_ns or 0 for time_ns in self.found_times or [0] * len(self)]

    def ends(self) -> tuple[int, int]:
        """The times of the first and of the last record, in ns."""
        if self.columns is None:
            return self._records[0].time_ns or 0, self._records[-1].time_ns or 0
        times = self.columns.times or [0]
        return times[0] or 0, times[-1] or 0

    def set_times(self, times: Sequence[int]) -> None:
        """Give every record its time."""
        if self.columns is not None:
            self.columns.times = times
            return
        for record, time_ns in zip(self._records, times, strict=True):
            record.time_ns = time_ns

    def shipped(self, line: LineForm) -> list[bytes]:
        """What a sink ships of every record."""
        if line == "raw":
            return self.lines
        if self.columns is not None:
            return self.columns.to_json()
        return [r.line if r.format == "json" and not r.added else r.to_json() for r in self._records]

    def forget(self) -> None:
        """Let go of what nobody needs behind the chain: the batch may wait for its sinks for long."""
        self.sent = ((), ())
        if self.columns is not None:
            self.columns.forget()

    def joined(self, line: LineForm) -> bytes:
        """The same in one piece, a line break between them."""
        if self.columns is not None and (line == "raw" or self.columns.is_json):
            return self.columns.joined()
        return b"\n".join(self.shipped(line))

    def values(self, field: str) -> list[Any]:
        """One field of every record, None where it is missing; partition labels count as fields. To be read only."""
        fixed = self.labels.get(field)
        if self.columns is not None:
            return self.columns.values(field, fixed)
        if fixed is None:
            # `parsed` first: an attribute costs a quarter of a property, and it is nearly always there.
            return [(r.parsed or r.fields).get(field) for r in self._records]
        return [(r.parsed or r.fields).get(field, fixed) for r in self._records]

    def measure(self) -> int:
        """Bytes of the lines that ship."""
        return sum(self.sizes) if self.columns is None else self.columns.measure()
