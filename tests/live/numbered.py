"""Numbered log lines: each says itself which number it is, so that what became of every single one can be counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from ..services.loki import Entry, Loki
from .shipper import archived

BEGAN_NS = 1_762_128_000_000_000_000
"""The time of line 0 is 1 ns later than this, 2025-11-03T00:00:00Z, and each next one's 1 µs later than the last."""
SHARDS = 4
_ID = re.compile(rb'"id":(\d+)')


def line(number: int) -> bytes:
    """A line of about 200 bytes, with a time of its own in ns, so that no digit of it is left to tailrace."""
    return (
        b'{"timestamp":"2025-11-03T00:00:%02d.%06d001Z","level":"info","shard":"s%d","id":%d,"message":"request '
        b'completed status=200 duration_ms=%d path=/api/v1/sessions/%08x agent=planner model=gpt-4o-mini tokens=%d"}'
    ) % (number // 1_000_000, number % 1_000_000, number % SHARDS, number, number % 977, number, number % 4096)


def write(path: Path, numbers: Iterable[int]) -> None:
    """Append these lines to a file."""
    with path.open("ab") as file:
        file.write(b"".join([line(number) + b"\n" for number in numbers]))


def config(loki: Loki, *apps: str) -> str:
    """From `logs/` to `archive/`, and to Loki by a sink for each app (the first: `loki`), a stream for each shard."""
    sinks = [
        f'  loki{place or ""}: {{ use: loki, url: "{loki.url}", labels: {{ app: {app}, shard: "{{shard}}" }} }}'
        for place, app in enumerate(apps)
    ]
    return f"""
sources:
  app: {{ use: file, include: ["logs/*.log"] }}
stages:
  - {{ use: parse, format: json }}
sinks:
{chr(10).join(sinks)}
  archive: {{ use: jsonl, path: "archive/{{date}}.jsonl.zst" }}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
"""


def in_loki(loki: Loki, app: str, count: int) -> list[int]:
    """The numbers of the lines that a log query finds, each as it was written, in its stream and at its time."""
    found: list[int] = []
    for shard in range(SHARDS):
        labels = {"app": app, "shard": f"s{shard}"}
        logql = "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"
        for entry in loki.query(logql, BEGAN_NS, BEGAN_NS + count * 1000, page=50_000):
            number = _number(entry.line.encode())
            wanted = Entry(labels, BEGAN_NS + number * 1000 + 1, line(number).decode(), {})
            assert entry == wanted, f"Loki holds {entry} and not {wanted}"
            found.append(number)
    return found


def in_archive(folder: Path) -> list[int]:
    """The numbers of the lines in the archive, each as it was written."""
    lines = archived(folder)
    numbers = [_number(one) for one in lines]
    assert lines == [line(number) for number in numbers]
    return numbers


def each_once(numbers: list[int], count: int) -> None:
    """Assert that every number below `count` is there, just once, and no other."""
    wanted = set(range(count))
    missing, strange = wanted.difference(numbers), set(numbers) - wanted
    repeated = [number for number, times in Counter(numbers).items() if times > 1]
    assert not missing, f"{len(missing)} of {count} are missing, such as {sorted(missing)[:5]}"
    assert not repeated, f"{len(repeated)} of {count} came more than once, such as {sorted(repeated)[:5]}"
    assert not strange, f"{sorted(strange)[:5]} were never written"


def _number(one: bytes) -> int:
    found = _ID.search(one)
    assert found, f"not a numbered line: {one[:300]!r}"
    return int(found[1])
