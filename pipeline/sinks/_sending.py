"""One send to Loki on its way: in which pushes, what of it is done, and what was refused.

Loki answers a push with what became of the *last* stream in it: where one before that was too far behind, too fast or
one too many, entries are gone and the answer is still 204 (measured on Loki 3.7). So a stream that could be refused is
pushed alone, and only small pieces of known streams with recent entries share a push.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TypeAlias

from ..batch import Batch
from ..record import Record
from ._refusal import Reason
from ._streams import Entry, Parts, Streams, regroup

NANOS = 1_000_000_000
SMALL = 16 << 10
"""Bytes. Less of a stream shares its push: its rate cannot be what Loki refuses."""
MARGIN = 600
"""Seconds by which others may be ahead: Loki itself takes entries from 10 minutes ahead (creation_grace_period)."""
REMEMBERED = 600.0
"""Seconds for which Loki keeps a stream in mind at the least, so that pushing to it again makes no new one."""
MANY = 50_000

Lane: TypeAlias = "deque[Push]"
"""Pushes that go one after the other; lanes have no stream in common."""


class Push:
    """What one request holds."""

    __slots__ = ("_entries", "body", "stored", "streams")

    def __init__(
        self, streams: Mapping[bytes, Parts], entries: Callable[[], list[Entry]], *, stored: bool = False
    ) -> None:
        self.body = b"".join(chain.from_iterable(streams.values()))
        self.streams = frozenset(streams)
        self.stored = stored
        """An answer said that Loki has each of them that is not over a limit of its own."""
        self._entries = entries

    def entries(self) -> list[Entry]:
        """Found again when they are asked for: most pushes are taken, and nobody asks."""
        return [entry for entry in self._entries() if entry.stream in self.streams]


class Sending:
    """The batches of a send and what is still to be done about them. Stays the same over attempts that fail."""

    def __init__(self, batches: Sequence[Batch], lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        self.rejected: list[tuple[Record, Reason]] = []
        self._batches = list(batches)

    def is_of(self, batches: Sequence[Batch]) -> bool:
        """True when it is these batches that are tried again."""
        return list(map(id, self._batches)) == list(map(id, batches))


class Plan:
    """Divides sends into pushes, knowing which streams Loki has seen."""

    def __init__(self, streams: Streams, window: float) -> None:
        self._streams = streams
        self._window = window
        self._known: dict[bytes, float] = {}

    def lanes(self, batches: Sequence[Batch], now: float) -> list[Lane]:
        """The pushes for these batches at this Unix time."""
        ends = [r.time_ns or 0 for batch in batches if batch.records for r in (batch.records[0], batch.records[-1])]
        if not ends:
            return []
        if max(ends) - min(ends) > self._window * NANOS:
            return self._apart(batches)
        streams = self._streams.encode(batches)
        oldest, newest = self._streams.span()
        if newest + 1 - oldest > self._window:
            return self._apart(batches)
        old = oldest < now - self._window + MARGIN

        def entries() -> list[Entry]:
            return sorted(self._streams.entries(batches), key=lambda entry: entry.time_ns)

        alone, together = [], {}
        for labels, parts in streams.items():
            if old or len(parts[2]) > SMALL or now - self._known.get(labels, 0.0) > REMEMBERED:
                alone.append({labels: parts})
            else:
                together[labels] = parts
        if not alone:
            alone.append({})
        alone[0] = together | alone[0]  # Loki tells about the last one
        return [deque([Push(own, entries)]) for own in alone]

    def push(self, entries: Sequence[Entry], *, stored: bool = False) -> Push:
        """One push for just these entries."""
        return Push(self._streams.encode(regroup(entries)), lambda: list(entries), stored=stored)

    def halves(self, entries: Sequence[Entry], *, stored: bool = False) -> list[Push]:
        """Two pushes for more than one entry: of different streams, while there are several."""
        entries = sorted(entries, key=lambda entry: (entry.stream, entry.time_ns))
        middle = len(entries) // 2
        if entries[0].stream != entries[-1].stream:
            names = [entry.stream for entry in entries]
            middle = min(
                (place for place in range(1, len(names)) if names[place] != names[place - 1]),
                key=lambda place: abs(place - middle),
            )
        return [self.push(half, stored=stored) for half in (entries[:middle], entries[middle:])]

    def taken(self, push: Push, now: float) -> None:
        """Note the streams that Loki has now."""
        if len(self._known) > MANY:
            self._known.clear()
        self._known.update(dict.fromkeys(push.streams, now))

    def _apart(self, batches: Sequence[Batch]) -> list[Lane]:
        """Each stream by itself, oldest first, cut where it becomes longer than the window.

        So no entry makes another one of its push too old, neither at once nor when the push has to be repeated; and
        the next piece is only sent when this one has been taken.
        """
        lanes: dict[bytes, Lane] = {}
        streams: dict[bytes, list[Entry]] = {}
        for entry in self._streams.entries(batches):
            streams.setdefault(entry.stream, []).append(entry)
        for stream, entries in streams.items():
            entries.sort(key=lambda entry: entry.time_ns)
            start = 0
            lanes[stream] = deque()
            for place, entry in enumerate(entries):
                if entry.time_ns - entries[start].time_ns > self._window * NANOS:
                    lanes[stream].append(self.push(entries[start:place]))
                    start = place
            lanes[stream].append(self.push(entries[start:]))
        return list(lanes.values())
