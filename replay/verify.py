"""Counts what Loki has of a replay against what was sent, and looks closer where the two differ."""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_right
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from http import HTTPStatus
from pathlib import Path

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.columns import Columns
from ..pipeline.record import rfc3339
from ..pipeline.sinks.loki import Loki
from .block import Outline, Rows, blocks
from .limits import NANOS, Limits
from .newest import ASK_AT_ONCE
from .receipt import Stream, Verified
from .target import Target

STEP_NS = 3600 * NANOS
"""A bucket is this long; its first moment belongs to the one before, as in Loki's ranges."""
QUERY_STEPS = 29 * 24
"""Of one question: Loki answers none over more than 30 days (max_query_length)."""
SHOWN = 20
"""Places to name."""

Bucket = tuple[int, int]
"""The number of a stream, and in which step of time."""


def counted(outlines: Iterable[Outline], refused: bytearray) -> Counter[Bucket]:
    """How many records each stream must have in each bucket: all but the refused ones."""
    found: Counter[Bucket] = Counter()
    place = 0
    for block in outlines:
        start, times = 0, block.times
        while start < len(times):
            step = step_of(times[start])
            end = bisect_right(times, (step + 1) * STEP_NS, start)
            keys = block.keys[start:end]
            if any(refused[place + start : place + end]):
                keys = [key for at, key in enumerate(keys, place + start) if not refused[at]]
            found.update(Counter((key, step) for key in keys))
            start = end
        place += len(times)
    return found


def step_of(time_ns: int) -> int:
    """The number of the bucket that has this moment."""
    return (time_ns - 1) // STEP_NS


async def verify(
    sink: Loki,
    path: Path,
    target: Target,
    streams: Sequence[Stream],
    counts: Counter[Bucket],
    refused: bytearray,
    limits: Limits,
    *,
    alone: bool,
    now_ns: int,
) -> tuple[Verified, Counter[Bucket]]:
    """Ask for counts, and in each bucket where they differ for the very records. `sink` is open, with final labels.

    `alone`: nothing else is in these streams; else counts say nothing. Returns what was found, and how many are missing
    in each bucket. Raises OSError.
    """
    told = Verified(wanted=sum(counts.values()), buckets=len(counts))
    steps: dict[int, list[int]] = {}
    for stream, step in counts:
        steps.setdefault(stream, []).append(step)
    slots = asyncio.Semaphore(ASK_AT_ONCE)

    async def there(stream: int) -> dict[Bucket, int]:
        async with slots:
            found = await count(sink, streams[stream].labels, min(steps[stream]), max(steps[stream]))
        return {(stream, step): number for step, number in found.items()}

    has: dict[Bucket, int] = {}
    if alone:
        for found in await asyncio.gather(*map(there, steps)):
            has |= found
    differ = {bucket for bucket in counts if not alone or has.get(bucket, 0) != counts[bucket]}
    dark = -1 if limits.shown is None else now_ns - int(limits.shown * 10**9)
    # Nothing at all of what is old: it waits for its flush, and each single one need not be asked for.
    unseen = {one for one in differ if alone and not has.get(one) and one[1] * STEP_NS < dark}
    exact: Counter[Bucket] = Counter({bucket: counts[bucket] for bucket in unseen})
    if look := differ - unseen:
        async for bucket in _missing(sink, path, target, look, refused):
            exact[bucket] += 1
    for (stream, step), missing in sorted(exact.items()):
        told.missing += missing
        if step * STEP_NS < dark:
            told.unseen += missing
        if len(told.missing_in) < SHOWN:
            begin = rfc3339(step * STEP_NS)
            told.missing_in.append(f"{streams[stream].labels} from {begin}: {missing} of {counts[stream, step]}")
    told.found = told.wanted - told.missing
    return told, exact


async def count(sink: Loki, labels: str, first: int, last: int) -> dict[int, int]:
    """How many entries Loki counts in the buckets of a stream from the first to the last. Raises OSError."""
    found: dict[int, int] = {}
    seconds = STEP_NS // 10**9
    for begin in range(first, last + 1, QUERY_STEPS):
        end = min(last, begin + QUERY_STEPS - 1)
        parameters = {
            "query": f"sum(count_over_time({labels}[{seconds}s]))",
            "start": str((begin + 1) * STEP_NS),
            "end": str((end + 1) * STEP_NS),
            "step": f"{seconds}s",
        }
        answer = await sink.get("/loki/api/v1/query_range", parameters)
        if answer.status != HTTPStatus.OK:
            raise OSError(f"Loki answers {answer.status} when it is asked to count: {answer.body[:200]!r}")
        for one in json.loads(answer.body)["data"]["result"]:
            found |= {round(float(at)) // seconds - 1: int(number) for at, number in one["values"]}
    return found


async def _missing(
    sink: Loki, path: Path, target: Target, look: Iterable[Bucket], refused: bytearray
) -> AsyncIterator[Bucket]:
    """The bucket of each record in these that Loki does not show."""
    wanted = frozenset(look)
    place = 0
    for rows in blocks(path):
        chosen = [
            at
            for at, (time_ns, key) in enumerate(zip(rows.times, rows.keys, strict=True))
            if (key, step_of(time_ns)) in wanted and not refused[place + at]
        ]
        if chosen:
            batch = batch_of(rows, target)
            records = [batch.records[at] for at in chosen]
            number = {id(record): rows.keys[at] for record, at in zip(records, chosen, strict=True)}
            for entry in await sink.missing([batch.with_records(records)]):
                yield number[id(entry.record)], step_of(entry.time_ns)
        place += len(rows)


def batch_of(rows: Rows, target: Target, start: int = 0) -> Batch:
    """Rows as the final sink gets them."""
    batch = Batch([], "replay", "replay", {}, Ack(None, 0, ()), 0, {})
    columns = Columns(rows.lines, range(start, start + len(rows)), rows.times)
    for name, values in target.fields_of(rows).items():
        columns.add(name, values)
    batch.columns = columns
    batch.size = batch.measure()
    return batch
