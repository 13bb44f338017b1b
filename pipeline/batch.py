"""Chunk and batch: what a source read at once, before and inside the chain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from itertools import accumulate, repeat
from typing import Any, Literal, TypeAlias, overload

import msgspec

from .ack import Ack
from .record import Fields, Format, Record

Position: TypeAlias = dict[str, int | str]
"""Where a partition was read up to; only its source understands it. `offset` is in the records' own count."""

LineForm: TypeAlias = Literal["raw", "json"]
"""`raw`: the line as the stages left it. `json`: all fields as one JSON object."""


class Following(Sequence[int]):
    """Where lines start that follow each other, one line break between them: counted only when somebody asks."""

    def __init__(self, lines: Sequence[bytes], start: int) -> None:
        self._lines = lines
        self._start = start

    @cached_property
    def _all(self) -> list[int]:
        starts = list(accumulate([len(line) + 1 for line in self._lines], initial=self._start))
        del starts[-1]
        return starts

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        return self._all[place]

    def __eq__(self, other: object) -> bool:
        return self._all == (other._all if isinstance(other, Following) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list


class Chunk(msgspec.Struct, gc=False):
    """Whole events that a source read from one partition, and the position after the last of them."""

    partition: str
    """Names the partition for good: stays the same over restarts and renames."""
    position: Position
    lines: list[bytes]
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

    Records are made of the chunk's lines when somebody asks for them: where no stage does, and a sink takes `lines` and
    `times`, there are none (that is 40 % of the time of raw lines to Loki).
    """

    __slots__ = (
        "_lines",
        "_offsets",
        "_records",
        "_times",
        "ack",
        "dead",
        "labels",
        "partition",
        "read_at_ns",
        "repeated",
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
        self._records: list[Record] | None = records
        self._lines: list[bytes] = []
        self._offsets: Sequence[int] = ()
        self._times: Sequence[int] | None = None
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
        self.dead: list[Dead] = []
        """Records of the chunk that a stage could not take; shared by all that `with_records` makes."""

    @classmethod
    def of_chunk(
        cls, chunk: Chunk, source: str, ack: Ack, read_at_ns: int, state: dict[str, Any], **more: Any
    ) -> Batch:
        """All events of a chunk, as text."""
        batch = cls([], source, chunk.partition, chunk.labels, ack, read_at_ns, state, **more)
        batch._records, batch._lines, batch._offsets = None, chunk.lines, chunk.offsets
        return batch

    def with_records(self, records: list[Record]) -> Batch:
        """The same batch with other records: what a stage that keeps, drops or splits returns."""
        batch = copy(self)
        batch._records = records
        return batch

    @property
    def records(self) -> list[Record]:
        """The records, in the order of the partition."""
        if self._records is None:
            self._records = list(map(Record, self._lines, self._offsets))
            if self._times is not None:
                self.set_times(self._times)
            self._lines, self._offsets, self._times = [], (), None
        return self._records

    def make(self, form: Format, times: Sequence[int | None], parsed: Sequence[Fields]) -> None:
        """Make the records of an untouched batch with what a parser found, in a third of the time of one by one."""
        lines, offsets = self._lines, self._offsets
        self._records = list(map(Record, lines, offsets, times, repeat(form), repeat(None), parsed))
        self._lines, self._offsets, self._times = [], (), None

    def __len__(self) -> int:
        """How many records there are."""
        return len(self._lines if self._records is None else self._records)

    @property
    def untouched(self) -> bool:
        """Nobody has asked for the records: they are as they were read."""
        return self._records is None

    @property
    def lines(self) -> list[bytes]:
        """The line of every record."""
        return self._lines if self._records is None else [r.line for r in self._records]

    @property
    def times(self) -> Sequence[int]:
        """The time of every record, which the clock has set, in ns; a range where each is 1 ns after the other."""
        if self._records is None and self._times is not None:
            return self._times
        return [r.time_ns or 0 for r in self.records]

    def ends(self) -> tuple[int, int]:
        """The times of the first and of the last record, in ns."""
        if self._records is None and self._times is not None:
            return self._times[0], self._times[-1]
        return self.records[0].time_ns or 0, self.records[-1].time_ns or 0

    def set_times(self, times: Sequence[int]) -> None:
        """Give every record its time."""
        if self._records is None:
            self._times = times
            return
        for record, time_ns in zip(self._records, times, strict=True):
            record.time_ns = time_ns

    def shipped(self, line: LineForm) -> list[bytes]:
        """What a sink ships of every record."""
        if line == "raw":
            return self.lines
        return [r.line if r.format == "json" and not r.added else r.to_json() for r in self.records]

    def values(self, field: str) -> list[Any]:
        """One field of every record, None where it is missing; partition labels count as fields."""
        fixed = self.labels.get(field)
        if fixed is None:
            # `parsed` first: an attribute costs a quarter of a property, and it is nearly always there.
            return [(r.parsed or r.fields).get(field) for r in self.records]
        return [(r.parsed or r.fields).get(field, fixed) for r in self.records]

    def measure(self) -> int:
        """Bytes of the lines that ship."""
        return sum(map(len, self.lines))
