"""Asking Loki which of some entries it has already."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias

HEADERS = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
"""Loki then tells the structured metadata apart from the labels of the stream."""
BYTES = 512 << 10
"""Of lines asked for at once: Loki's own components send each other no more than 4 MB."""
RANGE_NS = 29 * 86_400 * 1_000_000_000
"""Loki answers no query over more than 30 days (max_query_length)."""
ENTRIES = 4000
MORE = 500
"""Our own of a page, and how many of others it may hold beside them: Loki gives at most 5000."""
OWN = frozenset(("service_name",))
"""Labels that Loki adds, as those that start with `__`."""

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*")')

Ask: TypeAlias = Callable[[Mapping[str, str]], Awaitable[bytes]]


class Wanted(NamedTuple):
    """One entry to look for."""

    stream: bytes
    time_ns: int
    line: bytes


async def stored(wanted: Sequence[Wanted], ask: Ask) -> set[int]:
    """The places of those that Loki has. `ask` sends the parameters of a range query and returns the answer's body."""
    found: set[int] = set()
    for places in _portions(wanted):
        first, last = wanted[places[0]], wanted[places[-1]]
        there: set[tuple[int, str]] = set()
        start, limit = first.time_ns, len(places) + MORE
        while start <= last.time_ns:
            parameters = {
                "query": first.stream.decode(),
                "start": str(start),
                "end": str(last.time_ns + 1),
                "limit": str(limit),
                "direction": "forward",
            }
            page, times = _read(await ask(parameters), first.stream)
            there |= page
            if len(times) < limit:
                break
            start = max(times) if max(times) > start else start + 1
        found |= {place for place in places if (wanted[place].time_ns, _shown(wanted[place].line)) in there}
    return found


def queries(push_url: str) -> str:
    """Where Loki answers range queries, from where it takes pushes; empty when that cannot be known."""
    path, mark, parameters = push_url.partition("?")
    return path.removesuffix("push") + "query_range" + mark + parameters if path.endswith("/api/v1/push") else ""


def _portions(wanted: Sequence[Wanted]) -> Iterator[list[int]]:
    """Places of one stream each, oldest first, in portions that Loki can answer at once."""
    places: list[int] = []
    size = 0
    for place in sorted(range(len(wanted)), key=lambda place: wanted[place][:2]):
        entry = wanted[place]
        size += len(entry.line)
        if places and (
            entry.stream != wanted[places[0]].stream
            or size > BYTES
            or len(places) == ENTRIES
            or entry.time_ns - wanted[places[0]].time_ns > RANGE_NS
        ):
            yield places
            places, size = [], len(entry.line)
        places.append(place)
    if places:
        yield places


def _read(answer: bytes, stream: bytes) -> tuple[set[tuple[int, str]], list[int]]:
    """Time and line of the stream's entries, and the times of all that the page holds."""
    labels = {name: json.loads(value) for name, value in _PAIR.findall(stream.decode())}
    there: set[tuple[int, str]] = set()
    times: list[int] = []
    for one in json.loads(answer)["data"]["result"]:
        values = [(int(value[0]), value[1]) for value in one["values"]]
        times += [time_ns for time_ns, _ in values]
        added = one["stream"].keys() - labels.keys()
        if one["stream"].items() >= labels.items() and all(name in OWN or name.startswith("__") for name in added):
            there.update(values)
    return there, times


def _shown(line: bytes) -> str:
    """As Loki's answers show it, which are text."""
    return line.decode("utf-8", "replace")
