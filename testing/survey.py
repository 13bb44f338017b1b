"""What a config does to a sample of real lines: how often each stage has something to do, labels, streams, limits."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from ..config.case import series, series_text
from ..config.load import Config
from ..pipeline.batch import Batch, Chunk
from ..pipeline.record import Record, rfc3339
from .memory import READ_AT
from .rehearsal import Rehearsal, Sent, metrics_of

MAX_STREAMS = 5000
"""Loki's default `max_global_streams_per_user`."""
MAX_VALUES = 100
"""Values of one label from which on it is worth a word."""
MAX_LINE = 256 << 10
MAX_VALUE = 2048
MAX_METADATA = 64 << 10
MAX_PAIRS = 128
"""Loki's defaults for one entry."""
TIMES = 10
"""The projection is for a log of so many times the sample."""


class StageReport(msgspec.Struct, kw_only=True):
    """What one stage did with the sample."""

    stage: str
    events: int = 0
    """That came to it."""
    touched: int = 0
    """Whose line, fields or time it changed."""
    dropped: dict[str, int] = {}
    """Left out, by reason."""
    dead: int = 0
    """Given up, to the dead letter."""
    counts: dict[str, float] = {}
    """What it counts itself: redactions by rule, failures by reason."""


class SinkReport(msgspec.Struct, kw_only=True):
    """What one sink would get of the sample."""

    sink: str
    events: int = 0
    bytes: int = 0
    files: int = 0
    """Files that it would write."""
    streams: int | None = None
    """Different sets of labels; None for a sink without labels."""
    new_streams: int = 0
    """Those of them that came up in the second half of the sample only."""
    projected_streams: int = 0
    """At ten times the sample, if many new ones came up in its second half and that goes on."""
    labels: dict[str, int] = {}
    """How many values each label has."""
    examples: dict[str, list[str]] = {}
    """The most frequent values of each label."""
    over: dict[str, int] = {}
    """Records that Loki would refuse by its default limits, by reason."""


class Survey(msgspec.Struct, kw_only=True):
    """What a config does to a sample."""

    events: int = 0
    bytes: int = 0
    long: int = 0
    """Events over the source's `max_event`."""
    stages: list[StageReport] = []
    sinks: list[SinkReport] = []
    timed: int = 0
    """Of the events that ship, those with a time of their own; others get that of the one before, or of the read."""
    shipped: int = 0
    first: str = ""
    """Earliest and latest time of what ships, RFC 3339."""
    last: str = ""
    warnings: list[str] = []


class Surveyor:
    """Puts chunks through a config and keeps count; `survey` tells."""

    def __init__(self, config: Config, source: str, max_streams: int = MAX_STREAMS) -> None:
        self._source = source
        self._max_streams = max_streams
        self._rehearsal = Rehearsal(config, self._watch)
        self._survey = Survey()
        self._touched = [0] * len(self._rehearsal.stages)
        self._before: dict[int, tuple[Any, ...]] = {}
        self._ends: list[int] = []
        self._streams: dict[str, dict[frozenset[tuple[str, str]], int]] = {}
        """By sink and labels the sink's event at which they came up first."""
        self._values: dict[str, dict[str, Counter[str]]] = {}
        self._files: dict[str, set[str]] = {}
        self._sinks = {name: SinkReport(sink=name) for name in self._rehearsal.sinks}

    def take(self, chunk: Chunk, read_at_ns: int = READ_AT) -> None:
        """One more chunk of the sample."""
        batch = self._rehearsal.follow(self._source, chunk, read_at_ns)
        if len(batch):
            times = batch.times
            self._ends += [min(times), max(times)]
        for name, report in self._sinks.items():
            self._arrive(name, report, self._rehearsal.sent(name, batch))
        self._survey.events += len(chunk.lines)
        self._survey.bytes += chunk.size
        self._survey.long += chunk.long
        self._survey.shipped += len(batch)

    def survey(self) -> Survey:
        """What was found in all of it."""
        survey = self._survey
        meters = {meter.component: meter for meter in self._rehearsal.chain.meters}
        for stage, touched in zip(self._rehearsal.stages, self._touched, strict=True):
            meter = meters[stage.name]
            survey.stages.append(
                StageReport(
                    stage=stage.name,
                    events=meter.events_in,
                    touched=touched,
                    dropped=meter.dropped,
                    dead=meter.dead,
                    counts={_own(key): value for key, value in metrics_of([stage]).items() if value},
                )
            )
        if self._ends:
            survey.first, survey.last = rfc3339(min(self._ends)), rfc3339(max(self._ends))
        for name, report in self._sinks.items():
            report.files = len(self._files.get(name, ()))
            values = dict(sorted(self._values.get(name, {}).items()))
            report.labels = {label: len(counted) for label, counted in values.items()}
            report.examples = {
                label: [value for value, _ in counted.most_common(5)] for label, counted in values.items()
            }
            if (streams := self._streams.get(name)) is not None:
                report.streams = len(streams)
                report.new_streams = sum(at >= report.events / 2 for at in streams.values())
                growing = report.new_streams > max(10, len(streams) / 20)
                report.projected_streams = len(streams) + growing * report.new_streams * 2 * (TIMES - 1)
            survey.sinks.append(report)
        survey.warnings = [*self._warnings()]
        return survey

    def _watch(self, place: int, batch: Batch) -> None:
        now = {record.offset: _look(record) for record in batch.records}
        if place:
            before = self._before
            self._touched[place - 1] += sum(_differs(before.get(offset), seen) for offset, seen in now.items())
        if place == len(self._touched):
            self._survey.timed += sum(record.time_ns is not None for record in batch.records)
        self._before = now

    def _arrive(self, name: str, report: SinkReport, sent: list[Sent]) -> None:
        for number, one in enumerate(sent, report.events):
            report.bytes += one.bytes
            if one.path:
                self._files.setdefault(name, set()).add(one.path)
            if one.labels:
                streams = self._streams.setdefault(name, {})
                streams.setdefault(frozenset(one.labels.items()), number)
                for label, value in one.labels.items():
                    self._values.setdefault(name, {}).setdefault(label, Counter())[value] += 1
                for reason in _refused(one):
                    report.over[reason] = report.over.get(reason, 0) + 1
        report.events += len(sent)

    def _warnings(self) -> list[str]:
        survey = self._survey
        dead = [stage for stage in survey.stages if stage.dead]
        told = [f"stage {stage.stage}: {stage.dead} events would go to the dead letter" for stage in dead]
        for sink in survey.sinks:
            for label, values in sink.labels.items():
                if values > MAX_VALUES:
                    told.append(f"sink {sink.sink}: label {label!r} has {values} values: move it to `metadata`")
            if (sink.streams or 0) > self._max_streams:
                told.append(f"sink {sink.sink}: {sink.streams} streams, Loki takes {self._max_streams} at a time")
            elif sink.projected_streams > self._max_streams:
                told.append(
                    f"sink {sink.sink}: {sink.streams} streams and more to come: about {sink.projected_streams} at "
                    f"{TIMES} times the sample, Loki takes {self._max_streams} at a time"
                )
            told += [f"sink {sink.sink}: Loki would refuse {n} records: {reason}" for reason, n in sink.over.items()]
        if survey.shipped and not survey.timed:
            told.append("no event has a time of its own: each gets the time when it is read")
        return told


def _look(record: Record) -> tuple[Any, ...]:
    parsed = None if record.parsed is None else dict(record.parsed)
    return record.line, record.format, record.time_ns, dict(record.added or ()), parsed


def _differs(before: tuple[Any, ...] | None, after: tuple[Any, ...]) -> bool:
    if before is None or before[:4] != after[:4]:
        return True
    # Fields that were only decoded here were in the line before.
    return before[4] != after[4] and not (before[4] is None and (after[1] == "json" or set(after[4]) == {"message"}))


def _refused(sent: Sent) -> list[str]:
    """Why Loki would refuse it, by its default limits."""
    found = []
    if sent.bytes > MAX_LINE:
        found.append("line over 256 KiB (put `truncate` in front)")
    if any(len(value.encode()) > MAX_VALUE for value in sent.labels.values()):
        found.append("label value over 2048 bytes")
    if sent.metadata_bytes > MAX_METADATA:
        found.append("metadata over 64 KiB")
    if len(sent.metadata) > MAX_PAIRS:
        found.append("over 128 pairs of metadata")
    return found


def _own(key: str) -> str:
    """A series without the name of the component, which stands beside it."""
    name, labels = series(key)
    labels.pop("component", None)
    return series_text(name, labels)
