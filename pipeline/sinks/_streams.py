"""Batches as the streams of a push request: which stream a record belongs to, and its entry there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby, repeat
from typing import Any, Literal, NamedTuple, TypeAlias

from ..batch import Batch
from ..labels import sanitize
from ..options import Template
from ..record import Record
from ._logproto import Entries, stream
from ._refusal import Sent

Parts: TypeAlias = tuple[bytes, bytes, bytes]
"""A stream in a push request: its head, its labels, its entries."""

_TEXT = frozenset({str, type(None)})


class Entry(NamedTuple):
    """One record and its stream."""

    stream: bytes
    batch: Batch
    record: Record

    @property
    def time_ns(self) -> int:
        """Unix time in ns."""
        return self.record.time_ns or 0


class Streams:
    """Encodes with the labels, metadata and line of one sink."""

    def __init__(self, labels: Mapping[str, Template], metadata: Sequence[str], line: Literal["raw", "json"]) -> None:
        self._templates = sorted(labels.items())
        self._fields = tuple(dict.fromkeys(chain.from_iterable(template.fields for template in labels.values())))
        self._metadata_fields = [(_metadata_name(field), field) for field in metadata]
        self.names = [name for name, _ in self._metadata_fields]
        """Of the metadata."""
        self._line = line
        self._entries = Entries()

    def encode(self, batches: Iterable[Batch]) -> dict[bytes, Parts]:
        """Each stream of the batches by its labels, as it stands in a push request: all parts joined, they are one."""
        streams: dict[bytes, list[bytes]] = {}
        self._entries.seconds.clear()
        for batch in batches:
            lines, times = self.lines(batch), batch.times
            if self._metadata_fields:
                self._entries.write_with(self._pieces(batch, streams), lines, times, self._metadata(batch))
            elif isinstance(times, range) and not self._fields:
                self._entries.write_ticks(streams.setdefault(self._labels({}), []), lines, times)
            else:
                self._entries.write(self._pieces(batch, streams), lines, times)
        return {labels: stream(labels, entries) for labels, entries in streams.items()}

    def span(self) -> tuple[int, int]:
        """The Unix seconds of the oldest and the newest entry that the last `encode` wrote."""
        seconds = self._entries.seconds
        return (min(seconds), max(seconds)) if seconds else (0, 0)

    def entries(self, batches: Iterable[Batch]) -> list[Entry]:
        """The records with their streams, in the order of the batches."""
        streams: dict[bytes, list[bytes]] = {}
        found: list[Entry] = []
        for batch in batches:
            pieces = list(self._pieces(batch, streams))
            names = {id(own): labels for labels, own in streams.items()}
            found += [Entry(names[id(own)], batch, r) for own, r in zip(pieces, batch.records, strict=True)]
        return found

    def sent(self, entries: Sequence[Entry]) -> list[Sent]:
        """What Loki sees of the entries."""
        seen: list[Sent] = []
        for part, group in _runs(entries):
            columns = [
                [
                    0 if value is None or value == "" else len(name) + len(_text(value).encode("utf-8", "replace"))
                    for value in part.values(field)
                ]
                for name, field in self._metadata_fields
            ]
            sizes: Iterable[tuple[int, ...]] = zip(*columns, strict=True) if columns else repeat((), len(group))
            seen += [
                Sent(entry.stream.decode(), entry.time_ns, len(line), sum(size), len(size) - size.count(0))
                for entry, line, size in zip(group, self.lines(part), sizes, strict=True)
            ]
        return seen

    def shown(self, entries: Sequence[Entry]) -> list[tuple[bytes, dict[str, str]]]:
        """Line and metadata of the entries, as they are sent."""
        seen: list[tuple[bytes, dict[str, str]]] = []
        for part, _ in _runs(entries):
            pairs: list[dict[str, str]] = [{} for _ in part.records]
            for name, field in self._metadata_fields:
                for own, value in zip(pairs, part.values(field), strict=True):
                    if value is not None and value != "":
                        own[name] = _text(value).encode("utf-8", "replace").decode()
            seen += zip(self.lines(part), pairs, strict=True)
        return seen

    def lines(self, batch: Batch) -> list[bytes]:
        """The lines that ship."""
        return batch.lines if self._line == "raw" else [r.to_json() for r in batch.records]

    def _pieces(self, batch: Batch, streams: dict[bytes, list[bytes]]) -> Iterable[list[bytes]]:
        """For each record the list of pieces of its stream."""
        fields = self._fields
        if not fields:
            return repeat(streams.setdefault(self._labels({}), []), len(batch))
        columns = [_keys(batch.values(field)) for field in fields]
        keys: list[Any] = columns[0] if len(columns) == 1 else list(zip(*columns, strict=True))
        known: dict[Any, list[bytes]] = {}
        pieces = []
        for key in keys:
            out = known.get(key)
            if out is None:
                values = dict(zip(fields, key if len(fields) > 1 else (key,), strict=True))
                out = known[key] = streams.setdefault(self._labels(values), [])
            pieces.append(out)
        return pieces

    def _labels(self, values: Mapping[str, object]) -> bytes:
        """The labels as Loki writes them, sorted by name."""
        pairs = []
        for name, template in self._templates:
            value = template.render(lambda field: sanitize(values[field]) if values[field] is not None else "")
            if value:
                pairs.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
        return ("{" + ", ".join(pairs or ['source="unknown"']) + "}").encode()

    def _metadata(self, batch: Batch) -> Sequence[bytes]:
        pair = self._entries.pair
        columns = [
            [b"" if value is None or value == "" else pair(name, _text(value)) for value in batch.values(field)]
            for name, field in self._metadata_fields
        ]
        return columns[0] if len(columns) == 1 else [b"".join(pairs) for pairs in zip(*columns, strict=True)]


def regroup(entries: Iterable[Entry]) -> list[Batch]:
    """Batches that hold just these records in just this order."""
    return [part for part, _ in _runs(entries)]


def _runs(entries: Iterable[Entry]) -> list[tuple[Batch, list[Entry]]]:
    runs = [list(run) for _, run in groupby(entries, key=lambda entry: id(entry.batch))]
    return [(run[0].batch.with_records([entry.record for entry in run]), run) for run in runs]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _keys(values: list[Any]) -> list[str | None]:
    """The values as text, so that a list can be a key, and 1, 1.0 and true are three of them."""
    if _TEXT.issuperset(map(type, values)):
        return values
    return [None if value is None else _text(value) for value in values]


def _metadata_name(field: str) -> str:
    """Loki takes letters, digits and `_` only."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", field)
