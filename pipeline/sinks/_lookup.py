"""Asking Loki which of some entries it has already."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeAlias

HEADERS = {"X-Loki-Response-Encoding-Flags": "categorize-labels", "Cache-Control": "no-cache"}
"""Loki then tells the structured metadata apart from the labels of the stream, and what it has now, not a while ago."""
BYTES = 512 << 10
"""Of lines asked for at once: Loki's own components send each other no more than 4 MB."""
RANGE_NS = 29 * 86_400 * 1_000_000_000
"""Loki answers no query over more than 30 days (max_query_length)."""
ENTRIES = 3500
MORE = 50
"""Our own of a page, and how many of others it may at least hold beside them."""
GAPS, GAP_NS = 8, 10_000_000
"""Where an eighth of the time, and 10 ms, hold none of ours, what others have there is not asked for."""
MOST, LEAST = 5000, 10
"""Entries of a page: more Loki does not give, and so many of the longest lines that it takes are within its 4 MB."""
OWN = frozenset(("service_name",))
"""Labels that Loki adds, as those that start with `__`."""
BASE64 = ' | line_format "{{__line__ | b64enc}}"'
"""An answer is text, in which lines that are no UTF-8 may look alike: so all of them are told by their bytes."""

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')

Ask: TypeAlias = Callable[[Mapping[str, str]], Awaitable[bytes]]
Shown: TypeAlias = tuple[int, str, tuple[tuple[str, str], ...]]
"""Time, line and metadata, as Loki's answers show them."""


class NotTold(Exception):
    """Loki refuses to be asked, and always will."""


class TooMuch(OSError):
    """A page is more than Loki can answer at once."""


class Wanted(NamedTuple):
    """One entry to look for."""

    stream: bytes
    time_ns: int
    line: bytes
    metadata: Mapping[str, str]


class Lookup:
    """Asks with `ask`, which sends the parameters of a range query and returns the answer's body.

    Only an entry with equal labels, time, line and metadata is the one; metadata that Loki added is not of the `names`.
    """

    def __init__(self, ask: Ask, names: Collection[str]) -> None:
        self._ask = ask
        self._names = frozenset(names)
        self._most = MOST

    async def stored(self, wanted: Sequence[Wanted]) -> set[int]:
        """The places of those that Loki has. Raises what `ask` raises."""
        found: set[int] = set()
        for places in _portions(wanted):
            lines = [wanted[place].line for place in places]
            texts = [line.decode("utf-8", "replace") for line in lines]
            query = wanted[places[0]].stream.decode()
            if any("\ufffd" in text for text in texts):
                query, texts = query + BASE64, [b64encode(line).decode() for line in lines]
            there = await self._portion([wanted[place] for place in places], query)
            found |= {
                place
                for place, text in zip(places, texts, strict=True)
                if (wanted[place].time_ns, text, _pairs(wanted[place].metadata)) in there
            }
        self._most = min(MOST, 2 * self._most)
        return found

    async def _portion(self, wanted: Sequence[Wanted], query: str) -> set[Shown]:
        """What the stream has in the time of these, page by page."""
        there: set[Shown] = set()
        start, last = wanted[0].time_ns, wanted[-1].time_ns
        limit = min(len(wanted) + max(MORE, len(wanted) // 4), self._most)
        while start <= last:
            parameters = {
                "query": query,
                "start": str(start),
                "end": str(last + 1),
                "limit": str(limit),
                "direction": "forward",
            }
            try:
                answer = await self._ask(parameters)
            except (TooMuch, TimeoutError) as error:
                self._most = max(LEAST, limit // 4)
                if limit <= LEAST or isinstance(error, TimeoutError):
                    raise
                limit = self._most
                continue
            try:
                data = json.loads(answer)
            except ValueError:
                raise OSError("the answer to a query is cut short") from None
            try:
                page, times = self._read(data, wanted[0].stream)
            except (AttributeError, LookupError, TypeError, ValueError):
                raise NotTold("the answer to a query is not as Loki's are") from None
            there |= page
            if len(times) < limit:
                break
            if max(times) > start:
                start = max(times)
            elif limit == self._most:
                start += 1  # what else there is of this time remains unseen, and is pushed again
            limit = min(2 * limit, self._most)
        return there

    def _read(self, data: Any, stream: bytes) -> tuple[set[Shown], list[int]]:
        """The stream's entries, and the times of all that the page holds."""
        labels = {name: json.loads(value) for name, value in _PAIR.findall(stream.decode())}
        there: set[Shown] = set()
        times: list[int] = []
        for one in data["data"]["result"]:
            values = [(int(time_ns), line, *more) for time_ns, line, *more in one["values"]]
            times += [value[0] for value in values]
            added = one["stream"].keys() - labels.keys()
            if one["stream"].items() >= labels.items() and all(name in OWN or name.startswith("__") for name in added):
                there.update((time_ns, line, self._metadata(more)) for time_ns, line, *more in values)
        return there, times

    def _metadata(self, more: Sequence[Mapping[str, Mapping[str, str]]]) -> tuple[tuple[str, str], ...]:
        """Of one value of an answer, without what Loki or others have added."""
        pairs = more[0].get("structuredMetadata", {}) if more and self._names else {}
        return _pairs({name: value for name, value in pairs.items() if name in self._names})


def queries(push_url: str) -> str:
    """Where Loki answers range queries, from where it takes pushes; empty when that cannot be known."""
    path, mark, parameters = push_url.partition("?")
    return path.removesuffix("push") + "query_range" + mark + parameters if path.endswith("/api/v1/push") else ""


def _portions(wanted: Sequence[Wanted]) -> Iterator[list[int]]:
    """Places of one stream each, oldest first, in portions that Loki can answer at once."""
    order = sorted(range(len(wanted)), key=lambda place: wanted[place][:2])
    for _, group in groupby(order, key=lambda place: wanted[place].stream):
        own = list(group)
        first, *rest = own
        gap = max(GAP_NS, (wanted[own[-1]].time_ns - wanted[first].time_ns) // GAPS)
        places, size = [first], len(wanted[first].line)
        for place in rest:
            entry = wanted[place]
            size += len(entry.line)
            if (
                size > BYTES
                or len(places) == ENTRIES
                or entry.time_ns - wanted[places[-1]].time_ns > gap
                or entry.time_ns - wanted[places[0]].time_ns > RANGE_NS
            ):
                yield places
                places, size = [], len(entry.line)
            places.append(place)
        yield places


def _pairs(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """In one order; Loki itself makes a space of U+FFFD."""
    return tuple(sorted((name, value.replace("\ufffd", " ")) for name, value in metadata.items()))
