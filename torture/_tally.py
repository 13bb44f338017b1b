"""Counting what arrived: in Loki by its log query and by `count_over_time`, and in the archive."""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from ._lines import count

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PAGE = 5000
"""Loki's default max_entries_limit_per_query."""


async def in_loki(session: aiohttp.ClientSession, url: str, selector: str, start_ns: int, end_ns: int) -> Counter[int]:
    """How often each number stands in what a log query finds, page by page. Raises OSError for a refusal."""
    found: Counter[int] = Counter()
    while True:
        parameters = {
            "query": selector,
            "start": str(start_ns),
            "end": str(end_ns),
            "limit": str(PAGE),
            "direction": "forward",
        }
        result = (await _ask(session, f"{url}/loki/api/v1/query_range", parameters))["result"]
        entries = sorted((int(value[0]), value[1]) for stream in result for value in stream["values"])
        if len(entries) < PAGE:
            return found + count(line for _, line in entries)
        last = entries[-1][0]  # the page may end among equal times: the next one begins with all of them
        found += count(line for at, line in entries if at < last)
        if entries[0][0] == last:
            raise OSError(f"more than {PAGE} entries at one time")
        start_ns = last


async def by_metric(session: aiohttp.ClientSession, url: str, selector: str, end_ns: int) -> int:
    """What `count_over_time` makes of the last hour."""
    query = f"sum(count_over_time({selector}[1h]))"
    found = (await _ask(session, f"{url}/loki/api/v1/query", {"query": query, "time": str(end_ns)}))["result"]
    return int(found[0]["value"][1]) if found else 0


def in_archive(folder: Path) -> Counter[int]:
    """How often each number stands in the archive's files."""
    found: Counter[int] = Counter()
    for path in sorted(folder.rglob("*.jsonl*")):
        found += count(_content(path))
    return found


def events_in_archive(folder: Path) -> int:
    """How many lines the archive's files have."""
    return sum(data.count(b"\n") for path in folder.rglob("*.jsonl*") for data in _content(path))


def _content(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield zstd.decompress(data) if path.suffix == ".zst" else gzip.decompress(data) if path.suffix == ".gz" else data


async def _ask(session: aiohttp.ClientSession, url: str, parameters: dict[str, str]) -> dict[str, Any]:
    async with session.get(url, params=parameters) as answer:
        body = await answer.text(errors="replace")
        if answer.status != 200:
            raise OSError(f"{url} answers {answer.status}: {body[:300].strip()}")
        data: dict[str, Any] = json.loads(body)["data"]
        return data
