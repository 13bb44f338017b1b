"""Batches as the streams of a push request: which stream a record belongs to, and its entry there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, groupby, repeat
from operator import add
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..batch import Batch, LineForm
from ..excerpt import digest, excerpt
from ..labels import sanitize
from ..options import Template
from ..record import Record
from ._logproto import Entries, Pairs, stream

if TYPE_CHECKING:
    from ._refusal import Sent

Parts: TypeAlias = tuple[bytes, bytes, bytes]
"""A stream in a push request: its head, its labels, its entries."""

Key: TypeAlias = tuple[str | None, ...]
"""Values of the fields that labels are made of."""

MOST_LABELS = 10_000
"""Labels to remember."""
_TEXT = frozenset({str, type(None)})


FILE, OFFSET, BYTES, SHA256, ARCHIVED = POINTER = (
    *("source_file", "source_offset", "line_bytes", "line_sha256"),
    "archive_sha256",
)
"""Metadata of an excerpt: where its whole line was read, how long that is, the start of its SHA-256, and of that of the
line of JSON which an archive has of the record."""


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
    """Encodes with the labels, metadata and line of one sink; a line over `max_line` bytes (0: none) as an excerpt."""

    def __init__(
        self, labels: Mapping[str, Template], metadata: Sequence[str], line: LineForm, max_line: int = 0
    ) -> None:
        self._labels = _Labels(labels)
        self._metadata_fields = [(_metadata_name(field), field) for field in metadata]
        own = [name for name, _ in self._metadata_fields]
        self._pairs = [Pairs(name) for name in own]
        self._line = line
        self._max_line = max_line
        self._pointers = {name: Pairs(name) for name in POINTER if name not in own} if max_line else {}
        self.names = [*own, *self._pointers]
        """Of the metadata."""
        self._entries = Entries()

    def encode(self, batches: Iterable[Batch]) -> dict[bytes, Parts]:
        """Each stream of the batches by its labels, as it stands in a push request: all parts joined, they are one."""
        streams: dict[bytes, list[bytes]] = {}
        self._entries.seconds.clear()
        for batch in filter(len, batches):
            lines, sizes, pointers = self._shipped(batch)
            times = batch.times
            pieces = _Pieces(streams, self._labels, self._columns(batch))
            metadata = self._metadata(batch, pointers) if self._metadata_fields or pointers else None
            if isinstance(times, range) and not self._labels.fields and metadata is None:
                self._entries.write_ticks(pieces[()], lines, sizes, times)
            else:
                self._entries.write(pieces, pieces.keys_of_entries, lines, sizes, times, metadata)
        return {labels: stream(labels, entries) for labels, entries in streams.items()}

    def span(self) -> tuple[int, int]:
        """The Unix seconds of the oldest and the newest entry that the last `encode` wrote."""
        seconds = self._entries.seconds
        return (min(seconds), max(seconds)) if seconds else (0, 0)

    def entries(self, batches: Iterable[Batch]) -> list[Entry]:
        """The records with their streams, in the order of the batches."""
        labels = self._labels
        return [
            Entry(labels[key], batch, record)
            for batch in batches
            for key, record in zip(_keys(self._columns(batch)), batch.records, strict=False)
        ]

    def sent(self, entries: Sequence[Entry]) -> list[Sent]:
        """What Loki sees of the entries."""
        from ._refusal import Sent  # 5 ms for its patterns, which are for what Loki refuses

        seen: list[Sent] = []
        for entry, (line, pairs) in zip(entries, self.shown(entries), strict=True):
            size = sum(len(name) + len(value.encode()) for name, value in pairs.items())
            seen.append(Sent(entry.stream.decode(), entry.time_ns, len(line), size, len(pairs)))
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
            lines, _, pointers = self._shipped(part)
            for place, pointer in pointers.items():
                pairs[place] |= pointer
            seen += zip(lines, pairs, strict=True)
        return seen

    @property
    def fields(self) -> tuple[str, ...]:
        """Those that labels are made of."""
        return self._labels.fields

    def labels_of(self, key: Key) -> str:
        """The labels of a record with these values of `fields`."""
        return self._labels[key].decode()

    def taken_apart(self, batch: Batch) -> tuple[list[Key], list[bytes], list[list[str | None]]]:
        """Of each record the values of `fields`, the line as it is sent, and its metadata in the order of `names`."""
        lines, _, pointers = self._shipped(batch)
        columns = [_texts(batch.values(field)) for _, field in self._metadata_fields]
        for name in self._pointers:
            column: list[str | None] = [None] * len(lines)
            for place, pointer in pointers.items():
                column[place] = pointer.get(name)
            columns.append(column)
        keys: list[Key] = list(_keys(self._columns(batch))) if self.fields else [()] * len(lines)
        return keys, lines, columns

    def _shipped(self, batch: Batch) -> tuple[list[bytes], list[int], dict[int, dict[str, str]]]:
        """The lines that ship, their bytes, and by its place what points to the whole of one that is an excerpt."""
        lines = batch.shipped(self._line)
        sizes = batch.sizes if self._line == "raw" else list(map(len, lines))
        most = self._max_line
        if not most or max(sizes, default=0) <= most:
            return lines, sizes, {}
        shipped = list(lines)
        pointers: dict[int, dict[str, str]] = {}
        archived = batch.shipped("json")
        for place, line in enumerate(lines):
            if len(line) > most:
                shipped[place] = excerpt(line, most)
                pointer = {
                    FILE: batch.labels.get("file", ""),
                    OFFSET: str(batch.records[place].offset),
                    BYTES: str(len(line)),
                    SHA256: digest(line),
                    ARCHIVED: digest(archived[place]),
                }
                pointers[place] = {name: text for name, text in pointer.items() if text and name in self._pointers}
        return shipped, list(map(len, shipped)), pointers

    def _columns(self, batch: Batch) -> list[list[str | None]]:
        """The values that labels are made of."""
        return [_texts(batch.values(field)) for field in self._labels.fields]

    def _metadata(self, batch: Batch, pointers: Mapping[int, Mapping[str, str]]) -> Sequence[bytes]:
        found = [b""] * len(batch)
        for pairs, (_, field) in zip(self._pairs, self._metadata_fields, strict=True):
            values = _texts(batch.values(field))
            missing = values.count(None)
            if missing * 2 <= len(values):
                column = pairs.column(values)
                found = list(map(add, found, column)) if any(found) else column
            elif missing < len(values):
                for place, value in enumerate(values):
                    if value:
                        found[place] += pairs.column([value])[0]
        for place, pointer in pointers.items():
            found[place] += b"".join(self._pointers[name].column([text])[0] for name, text in pointer.items())
        return found


def _keys(columns: Sequence[Sequence[str | None]]) -> Iterable[Key]:
    """Row by row."""
    return zip(*columns, strict=True) if columns else repeat(())


class _Labels(dict[Key, bytes]):
    """By the values that they are made of, labels as Loki writes them, sorted by name; those it made it remembers."""

    def __init__(self, templates: Mapping[str, Template]) -> None:
        self.fields = tuple(dict.fromkeys(chain.from_iterable(template.fields for template in templates.values())))
        self._templates = sorted(templates.items())

    def __missing__(self, key: Key) -> bytes:
        values = dict(zip(self.fields, key, strict=True))
        pairs = []
        for name, template in self._templates:
            value = template.render(lambda field: sanitize(values[field]))
            if value:
                pairs.append(f"{name}={json.dumps(value, ensure_ascii=False)}")
        labels = ("{" + ", ".join(pairs or ['source="unknown"']) + "}").encode()
        if len(self) >= MOST_LABELS:
            self.clear()
        self[key] = labels
        return labels


class _Pieces(dict[Any, list[bytes]]):
    """What was written of each stream, by those values of its labels in which the entries differ."""

    def __init__(self, streams: dict[bytes, list[bytes]], labels: _Labels, columns: Sequence[list[str | None]]) -> None:
        self._streams = streams
        self._labels = labels
        self._first = [column[0] for column in columns]
        self._differ = [place for place, column in enumerate(columns) if column.count(column[0]) < len(column)]
        differ = [columns[place] for place in self._differ]
        self.keys_of_entries: Iterable[Any] = differ[0] if len(differ) == 1 else _keys(differ)
        """A value where one column differs, for tuples take twice the time."""

    def __missing__(self, key: Any) -> list[bytes]:
        whole = list(self._first)
        for place, value in zip(self._differ, [key] if len(self._differ) == 1 else key, strict=True):
            whole[place] = value
        # Several values may come to the same labels.
        pieces = self[key] = self._streams.setdefault(self._labels[tuple(whole)], [])
        return pieces


def regroup(entries: Iterable[Entry]) -> list[Batch]:
    """Batches that hold just these records in just this order."""
    return [part for part, _ in _runs(entries)]


def _runs(entries: Iterable[Entry]) -> list[tuple[Batch, list[Entry]]]:
    runs = [list(run) for _, run in groupby(entries, key=lambda entry: id(entry.batch))]
    return [(run[0].batch.with_records([entry.record for entry in run]), run) for run in runs]


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _texts(values: list[Any]) -> list[str | None]:
    """The values as text, so that a list can be a key, and 1, 1.0 and true are three of them."""
    try:
        "".join(values)  # takes nothing but text, in a quarter of the time of asking each for its type
    except TypeError:
        if not _TEXT.issuperset(map(type, values)):
            return [None if value is None else _text(value) for value in values]
    return values


def _metadata_name(field: str) -> str:
    """Loki takes letters, digits and `_` only."""
    return re.sub(r"[^a-zA-Z0-9_]", "_", field)
