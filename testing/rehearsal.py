"""A config on lines of your own: the engine's framing, chain and records, the sinks' own labels; nothing is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from ..config import data_flow
from ..config.case import series, series_text, time_ns
from ..config.load import Config, load
from ..pipeline.ack import Ack
from ..pipeline.batch import Batch, Chunk
from ..pipeline.chain import Chain
from ..pipeline.component import Component, Sink, Source, Stage
from ..pipeline.framing import framer
from ..pipeline.record import Fields, Record
from .memory import READ_AT

__all__ = ["Lost", "Rehearsal", "Sent", "Shipped", "anew", "ship"]

C = TypeVar("C", bound=Component)

_LABEL = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')


class Sent(msgspec.Struct, kw_only=True):
    """One record as a sink gets it."""

    line: str
    """What ships; bytes that are not UTF-8 as U+FFFD."""
    time_ns: int
    """Unix time in ns."""
    fields: Fields
    """All fields, added ones included."""
    labels: dict[str, str] = {}
    """Of a sink that has labels: as it sends them, ids taken out."""
    metadata: dict[str, str] = {}
    """Of a sink that has structured metadata."""
    path: str = ""
    """Of a sink that writes files: which one."""
    bytes: int = 0
    """How long the line is."""
    metadata_bytes: int = 0
    """How long the names and values of the metadata are."""


class Lost(msgspec.Struct, kw_only=True):
    """One record that a stage gave up."""

    stage: str
    reason: str
    hint: str = ""
    line: str | None = None
    """None where it may hold what was to be hidden."""


class Shipped(msgspec.Struct, kw_only=True):
    """What became of the lines."""

    sinks: dict[str, list[Sent]]
    """By sink the records that it gets."""
    dropped: dict[str, int] = {}
    """By stage how many records it left out."""
    dead: list[Lost] = []
    """What goes to the dead letter."""
    metrics: dict[str, float] = {}
    """The stages' metrics by series: `calls_total{model="gpt-4o"}`."""

    def lines(self, sink: str) -> list[str]:
        """The lines that a sink gets."""
        return [sent.line for sent in self.sinks[sink]]

    def metric(self, text: str) -> float | None:
        """The value of a series, its labels in any order; None where there is none."""
        return self.metrics.get(series_text(*series(text)))


class Watch(Stage):
    """Shows each batch that passes to whoever wants to see it."""

    _see: Callable[[Batch], None] = lambda batch: None

    def process(self, batch: Batch) -> Batch:
        """Leave it as it is."""
        self._see(batch)
        return batch


class Rehearsal:
    """One run of a config without its sources: new stages, one partition for each source and file.

    `watch` is called with each batch before the first stage (0), after it (1) and so on.
    """

    def __init__(self, config: Config, watch: Callable[[int, Batch], None] | None = None) -> None:
        self.config = config
        self.sinks = {name: anew(sink) for name, sink in config.sinks.items()}
        self.stages: list[Stage] = [anew(stage) for stage in config.stages]
        wanted = data_flow.wanted(self.stages, self.sinks.values())
        chain = self.stages
        if watch is not None:
            chain = []
            places = [*wanted, None]
            for place, stage in enumerate([*self.stages, None]):
                chain += [_watcher(watch, place), *([stage] if stage else [])]
            wanted = [fields for one in places[:-1] for fields in (None, one)] + [None]
        self.chain = Chain(chain, wanted)
        self._states: dict[tuple[str, str], dict[str, Any]] = {}
        self._ends: dict[tuple[str, str], int] = {}

    def read(self, data: bytes, source: str = "", *, file: str = "", read_at_ns: int = READ_AT) -> Batch:
        """The batch as it ships of what a source reads, cut into events as that source does."""
        name = source or next(iter(self.config.sources))
        return self.follow(name, self.chunk(data, name, file=file), read_at_ns)

    def chunk(self, data: bytes, source: str, *, file: str = "") -> Chunk:
        """What a source reads as one chunk."""
        chosen = self.config.sources[source]
        # A source that cuts bytes into events has these three options.
        events = framer(
            getattr(chosen, "multiline", "off"),
            getattr(chosen, "max_event", 1 << 20),
            getattr(chosen, "on_long", "split"),
        ).split(data, 0, final=True)
        partition = file or source
        start = self._ends.get((source, partition), 0)
        return Chunk(
            partition=partition,
            position={"offset": start + events.taken},
            lines=events.lines,
            offsets=[start + offset for offset in events.offsets],
            labels={"source": source} | ({"file": file or _file_of(chosen)} if "file" in chosen.writes() else {}),
            size=events.taken,
        )

    def begin(self, source: str, partition: str, offset: int, state: dict[str, Any]) -> None:
        """Go on in a partition at this offset, with what stages carry there."""
        self._ends[source, partition], self._states[source, partition] = offset, state

    def state(self, source: str, partition: str) -> dict[str, Any]:
        """What stages carry at the end of what was read of a partition."""
        return self._states.get((source, partition), {})

    def follow(self, source: str, chunk: Chunk, read_at_ns: int = READ_AT, slot: int = 0) -> Batch:
        """The batch as it ships of a chunk that follows the last one of its partition."""
        key = (source, chunk.partition)
        start, end = self._ends.get(key, 0), int(chunk.position["offset"])
        self._ends[key] = end
        ack = Ack(chunk.position, end, self.sinks)
        state = self._states.setdefault(key, {})
        batch = self.chain.run(Batch.of_chunk(chunk, source, ack, read_at_ns, state, slot=slot, span=(start, end)))
        # As after a restart: what a stage keeps otherwise than as JSON would be lost there.
        self._states[key] = msgspec.json.decode(msgspec.json.encode(state))
        return batch

    def part_of(self, sink: str, batch: Batch) -> Batch:
        """What a sink takes of a batch."""
        match = self.sinks[sink].match
        return batch if match is None else batch.with_records(match.select(batch))

    def sent(self, sink: str, batch: Batch) -> list[Sent]:
        """What a sink is given of a batch, as it sends it."""
        return _sent(self.sinks[sink], self.part_of(sink, batch))

    def dropped(self) -> dict[str, int]:
        """By stage how many records it left out so far."""
        return {
            meter.component: sum(meter.dropped.values())
            for stage, meter in zip(self.chain.stages, self.chain.meters, strict=True)
            if meter.dropped and not isinstance(stage, Watch)
        }

    def metrics(self) -> dict[str, float]:
        """The stages' metrics so far."""
        return metrics_of(self.stages)


def ship(
    config: Path | str | Config,
    lines: str | bytes | Iterable[str | bytes],
    *,
    source: str = "",
    file: str = "",
    now: str = "",
) -> Shipped:
    """What becomes of lines that a source reads: through the config's stages, up to what each sink would send.

    The clock stands still (at `now`, such as `2026-11-23T12:00:00Z`); secrets of the config need not be there; nothing
    is sent or written. Several sources: name the `source` that reads the lines. `file`: the path they are read from.

    Raises:
        ConfigError: the config has mistakes; the text holds all of them.
        ValueError: `now` is not a time, or there is no such source.
    """
    if not isinstance(config, Config):
        config = load(Path(config), secrets=False)
    if source not in config.sources and (source or len(config.sources) > 1):
        raise ValueError(f"source={source!r}: the config has the sources {', '.join(config.sources)}")
    rehearsal = Rehearsal(config)
    batch = rehearsal.read(_joined(lines), source, file=file, read_at_ns=time_ns(now) if now else READ_AT)
    return Shipped(
        sinks={name: rehearsal.sent(name, batch) for name in rehearsal.sinks},
        dropped=rehearsal.dropped(),
        dead=lost(batch),
        metrics=rehearsal.metrics(),
    )


def lost(batch: Batch) -> list[Lost]:
    """What stages gave up of a batch, as the dead letter would tell it."""
    return [
        Lost(stage=one.where, reason=one.reason, hint=one.hint, line=None if one.withheld else one.record.text)
        for one in batch.dead
    ]


def metrics_of(stages: Iterable[Stage]) -> dict[str, float]:
    """The metrics of these stages by series, as an exporter would serve them."""
    found: dict[str, float] = {}
    for stage in stages:
        for family in stage.collect():
            found |= {series_text(one.name, one.labels): one.value for one in family.samples}
    return found


def all_fields(record: Record) -> Fields:
    """A copy of all fields, nothing of the record decoded that was not."""
    copied = msgspec.structs.replace(record)
    try:
        return json.loads(msgspec.json.encode(copied.whole(), enc_hook=str))  # type: ignore[no-any-return]  # an object
    except (TypeError, ValueError, RecursionError):
        return dict(copied.fields)


def anew(component: C) -> C:
    """The same component as at the start: what it has counted or kept since is not in it."""
    public = {name: getattr(component, name) for name in component.__struct_fields__ if not name.startswith("_")}
    return type(component)(**public)


def _watcher(watch: Callable[[int, Batch], None], place: int) -> Watch:
    watcher = Watch(name=f"watch.{place}")
    watcher._see = lambda batch: watch(place, batch)
    return watcher


def _file_of(source: Source) -> str:
    """A path that the source could have read from."""
    patterns: list[str] = getattr(source, "include", [])
    return next((re.sub(r"\*+|\?|\[[^]]*\]", "test", pattern) for pattern in patterns), "test.log")


def _joined(lines: str | bytes | Iterable[str | bytes]) -> bytes:
    if isinstance(lines, str | bytes):
        return _bytes(lines)
    return b"\n".join(map(_bytes, lines))


def _bytes(line: str | bytes) -> bytes:
    return line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line


def _sent(sink: Sink, batch: Batch) -> list[Sent]:
    records = batch.records
    lines = batch.shipped(getattr(sink, "line", "raw"))
    labels: list[dict[str, str]] = [{} for _ in records]
    metadata: list[dict[str, str]] = [{} for _ in records]
    # Sinks have no public word for what they make of a batch; what they themselves work with is the truth.
    streams = getattr(sink, "_streams", None)
    if streams is not None and records:
        entries = streams.entries([batch])
        labels = [_labels(entry.stream.decode()) for entry in entries]
        shown = streams.shown(entries)
        lines, metadata = [line for line, _ in shown], [pairs for _, pairs in shown]
    paths: dict[int, str] = {}
    if records and (parts := getattr(sink, "paths", None)) is not None:
        paths = {id(record): path for path, part in parts(batch) for record in part.records}
    return [
        Sent(
            line=line.decode("utf-8", "replace"),
            time_ns=record.time_ns or 0,
            fields=all_fields(record),
            labels=own_labels,
            metadata=pairs,
            path=paths.get(id(record), ""),
            bytes=len(line),
            metadata_bytes=sum(len(name) + len(value.encode()) for name, value in pairs.items()),
        )
        for record, line, own_labels, pairs in zip(records, lines, labels, metadata, strict=True)
    ]


def _labels(stream: str) -> dict[str, str]:
    """Labels as Loki writes them, as a map."""
    return {name: json.loads(value) for name, value in _LABEL.findall(stream)}
