"""One send to Loki on its way: in which pushes, what of it is done, and what was refused.

Loki answers a push with what became of the *last* stream in it: where one before that was too far behind, too fast or
one too many, entries are gone and the answer is still 204 (measured on Loki 3.7). So a stream that could be refused is
pushed alone, and only small pieces of known streams with recent entries share a push.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from http import HTTPStatus
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import cramjam

from ..batch import Batch
from ..record import Record
from ._answer import Answer
from ._streams import Entry, Parts, Streams, regroup

if TYPE_CHECKING:
    from ._refusal import Reason

NANOS = 1_000_000_000
SMALL = 16 << 10
"""Bytes. Less of a stream shares its push: its rate cannot be what Loki refuses."""
MARGIN = 600
"""Seconds by which others may be ahead: Loki itself takes entries from 10 minutes ahead (creation_grace_period)."""
REMEMBERED = 600.0
"""Seconds for which Loki keeps a stream in mind at the least, so that pushing to it again makes no new one."""
MANY = 20_000
"""Streams to remember."""
THROTTLED_BYTES = 64 << 10
PATIENCE = 3
"""A push over this that Loki has throttled more often goes in halves: one over the burst would never get through."""
TOO_LARGE = "raise Loki's server.grpc_server_max_recv_msg_size, or lower `batch_bytes`"
SEE = "see Loki's limits_config"

Lane: TypeAlias = "deque[Push]"
"""Pushes that go one after the other; lanes have no stream in common."""


def compress(request: bytes) -> bytes:
    """Snappy, in its block format."""
    return bytes(cramjam.snappy.compress_raw(request))


class Push:
    """What one request holds."""

    __slots__ = ("_entries", "body", "doubtful", "size", "stored", "streams", "throttled")

    def __init__(
        self, streams: Mapping[bytes, Parts], entries: Callable[[], list[Entry]], *, stored: bool = False
    ) -> None:
        request = b"".join(chain.from_iterable(streams.values()))
        self.body = compress(request)
        self.size = len(request)
        self.streams = frozenset(streams)
        self.throttled = 0
        """How often it was answered 429."""
        self.stored = stored
        """An answer said that Loki has each of them that is not over a limit of its own."""
        self.doubtful = False
        """Loki may have some of it: it was sent before, and no answer said that none of it was taken."""
        self._entries = entries

    def entries(self) -> list[Entry]:
        """Found again when they are asked for: most pushes are taken, and nobody asks."""
        return [entry for entry in self._entries() if entry.stream in self.streams]


class Outcome(NamedTuple):
    """What a refused push comes to."""

    pushes: list[Push]
    """Still to be sent in its place."""
    rejected: list[tuple[Record, Reason]]
    weather: str = ""
    """Why not at once."""


class Sending:
    """The batches of a send and what is still to be done about them. Stays the same over attempts that fail."""

    def __init__(self, batches: Sequence[Batch], lanes: Sequence[Lane]) -> None:
        self.lanes = lanes
        if any(batch.repeated for batch in batches):
            for push in chain.from_iterable(lanes):
                push.doubtful = True
        self.rejected: list[tuple[Record, Reason]] = []
        self.failing = False
        """A push of this attempt failed: no other is begun."""
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
        self.clock: Callable[[], float] = time.time
        """Unix time in seconds. What a push holds hangs on it, never what an entry is."""

    def lanes(self, batches: Sequence[Batch]) -> list[Lane]:
        """The pushes for these batches."""
        ends = [at for batch in batches if len(batch) for at in batch.ends()]
        if not ends:
            return []
        if max(ends) - min(ends) > self._window * NANOS:
            return self._apart(batches)
        streams = self._streams.encode(batches)
        oldest, newest = self._streams.span()
        if newest + 1 - oldest > self._window:
            return self._apart(batches)
        now = self.clock()
        old = oldest < now - self._window + MARGIN

        def entries() -> list[Entry]:
            return sorted(self._streams.entries(batches), key=lambda entry: entry.time_ns)

        alone: list[dict[bytes, Parts]] = []
        together: dict[bytes, Parts] = {}
        for labels, parts in streams.items():
            if old or len(parts[2]) > SMALL or now - self._known.get(labels, 0.0) > REMEMBERED:
                alone.append({labels: parts})
            else:
                together[labels] = parts
        if not alone:
            alone.append({})
        alone[0] = together | alone[0]  # Loki tells about the last one
        return [deque([Push(own, entries)]) for own in alone]

    def taken(self, push: Push) -> None:
        """Note the streams that Loki has now."""
        if len(self._known) > MANY:
            self._known.clear()
        self._known.update(dict.fromkeys(push.streams, self.clock()))

    def rest(self, push: Push, entries: Sequence[Entry]) -> Push:
        """Of a push of which Loki has the others."""
        if len(entries) == len(push.entries()):
            push.doubtful = False
            return push
        rest = self._push(entries, stored=push.stored)
        rest.throttled = push.throttled
        return rest

    def after(self, push: Push, answer: Answer) -> Outcome | None:
        """What is to be done after an answer that is not 204; None: all of it again."""
        from ._refusal import Reason, brief  # 5 ms for its patterns, which few runs need

        # An ingester that gets more than its gRPC limit says so in a 500.
        if answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or "message larger than max" in answer.text:
            return self._smaller(push, Reason(brief(answer.text), TOO_LARGE))
        if answer.status == HTTPStatus.BAD_REQUEST:
            return self._refused(push, answer.text)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS:
            push.throttled += 1
            if push.throttled > PATIENCE and push.size > THROTTLED_BYTES and len(push.entries()) > 1:
                return self._smaller(push, Reason(answer.text, SEE))._replace(weather=answer.text)
        return None

    def _refused(self, push: Push, text: str) -> Outcome:
        """Something in this push can never be taken."""
        from ._refusal import Reason, brief, judge

        entries = push.entries()
        verdict = judge(text, self._streams.sent(entries))
        rest = [entry for place, entry in enumerate(entries) if place not in verdict.refused]
        rejected = [
            (entries[place].record, why)
            for place, why in verdict.refused.items()
            if not (why.behind and push.stored)  # Loki has it: only this repeat of it is too far behind
        ]
        if verdict.rest == "taken":
            return Outcome([], rejected)
        if verdict.refused or verdict.weather:
            again = self._by_stream(rest, stored=push.stored or verdict.rest == "hidden")
            return Outcome(again, rejected, verdict.weather)
        return self._smaller(push, Reason(brief(text), SEE))

    def _smaller(self, push: Push, why: Reason) -> Outcome:
        """The parts of a push that is refused as a whole; a single entry is rejected for this reason."""
        entries = push.entries()
        if len(entries) == 1:
            return Outcome([], [(entries[0].record, why)])
        if len(push.streams) > 1:
            return Outcome(self._by_stream(entries, stored=push.stored), [])
        middle = len(entries) // 2
        halves = [self._push(half, stored=push.stored) for half in (entries[:middle], entries[middle:])]
        return Outcome(halves, [])

    def _push(self, entries: Sequence[Entry], *, stored: bool = False) -> Push:
        return Push(self._streams.encode(regroup(entries)), lambda: list(entries), stored=stored)

    def _by_stream(self, entries: Sequence[Entry], *, stored: bool) -> list[Push]:
        return [self._push(own, stored=stored) for own in _streams(entries).values()]

    def _apart(self, batches: Sequence[Batch]) -> list[Lane]:
        """Each stream by itself, oldest first, cut where it becomes longer than the window.

        So no entry makes another one of its push too old, neither at once nor when the push has to be repeated; and
        the next piece is only sent when this one has been taken.
        """
        lanes: list[Lane] = []
        for entries in _streams(self._streams.entries(batches)).values():
            lane: Lane = deque()
            start = 0
            for place, entry in enumerate(entries):
                if entry.time_ns - entries[start].time_ns > self._window * NANOS:
                    lane.append(self._push(entries[start:place]))
                    start = place
            lane.append(self._push(entries[start:]))
            lanes.append(lane)
        return lanes


def _streams(entries: Iterable[Entry]) -> dict[bytes, list[Entry]]:
    """The entries of each stream, oldest first."""
    streams: dict[bytes, list[Entry]] = {}
    for entry in entries:
        streams.setdefault(entry.stream, []).append(entry)
    for own in streams.values():
        own.sort(key=lambda entry: entry.time_ns)
    return streams
