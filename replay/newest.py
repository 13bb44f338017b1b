"""The newest entry that Loki has in each stream that is to be written to."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from ..pipeline.sinks.loki import Loki
from .limits import NANOS, Limits
from .receipt import Stream

ASK_AT_ONCE = 4
LONGEST_NS = 29 * 86_400 * NANOS
"""Loki answers no query over more than 30 days (max_query_length)."""


async def ask_newest(sink: Loki, streams: Sequence[Stream], now_ns: int, limits: Limits) -> list[int | None]:
    """The time of the newest entry that Loki shows in each of these streams. Raises OSError."""
    slots = asyncio.Semaphore(ASK_AT_ONCE)

    async def ask(stream: Stream) -> int | None:
        # An entry that decides on ours is younger than these; one before them all would leave them alone.
        start, end = stream.first_ns, now_ns + int(limits.grace * NANOS) + NANOS
        async with slots:
            return await newest(sink, stream.labels, start, end)

    return await asyncio.gather(*map(ask, streams))


async def newest(sink: Loki, labels: str, start_ns: int, end_ns: int) -> int | None:
    """The time of the newest entry of just this stream from `start_ns` on and before `end_ns`. Raises OSError."""
    while end_ns > start_ns:
        begin = max(start_ns, end_ns - LONGEST_NS)
        span = {"start": str(begin), "end": str(end_ns)}
        answer = await sink.get("/loki/api/v1/series", {"match[]": labels, **span})
        if answer.status != HTTPStatus.OK:
            raise OSError(f"Loki answers {answer.status} when it is asked for streams: {answer.body[:200]!r}")
        own = dict(pairs(labels))
        found = json.loads(answer.body).get("data") or []
        if any(is_own(own, series) for series in found):
            more = sorted({name for series in found for name in series if name not in own and not is_lokis(name)})
            selector = labels[:-1] + "".join(f', {name}=""' for name in more) + "}"
            parameters = {"query": selector, "limit": "1", "direction": "backward", **span}
            answer = await sink.get("/loki/api/v1/query_range", parameters)
            if answer.status != HTTPStatus.OK:
                raise OSError(f"Loki answers {answer.status} to a query: {answer.body[:200]!r}")
            result = json.loads(answer.body)["data"]["result"]
            times = [int(value[0]) for one in result for value in one["values"]]
            if times:
                return max(times)
        end_ns = begin
    return None


def pairs(labels: str) -> list[tuple[str, str]]:
    """Names and values of labels as Loki writes them."""
    return [(name, json.loads(value)) for name, value in re.findall(r'(\w+)=("(?:[^"\\]|\\.)*")', labels)]


def is_lokis(name: str) -> bool:
    """A label that Loki adds by itself."""
    return name == "service_name" or name.startswith("__")


def is_own(own: Mapping[str, str], series: Mapping[str, str]) -> bool:
    """These are the labels of this very stream, but for those that Loki adds."""
    return {name: value for name, value in series.items() if name in own or not is_lokis(name)} == own
