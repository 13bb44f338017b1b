"""Where a record landed: looked up in archives, and asked of Loki."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Literal

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.component import ProbeError, Sink
from ..pipeline.excerpt import digest
from ..pipeline.record import rfc3339
from ..pipeline.sinks._lookup import NotTold
from ..pipeline.sinks.jsonl import Jsonl
from ..pipeline.sinks.loki import Loki
from ..pipeline.sources._content import open_content

PATIENCE = 5.0
"""Seconds that Loki has to answer."""
DARK_NS = 9_600_000_000_000
"""What is older (2h40m) Loki by default does not show before it is flushed."""
AROUND_NS = 3_600_000_000_000
"""Before and after the likely time, where a record is looked for whose time is not known for sure."""
_PIECE = 4 << 20
_STAMP = b'{"timestamp":"'
_STAMPED = len(_STAMP) + len(rfc3339(0)) + 1

Found = Literal["found", "missing", "not_visible", "unreachable", "not_looked"]


class Spot(msgspec.Struct, omit_defaults=True):
    """What a look at a destination has shown."""

    found: Found
    why: str = ""
    """Of what was not found, or could not be looked for."""
    path: str = ""
    """Of an archive: the file."""
    offset: int | None = None
    """Where the line begins in it, in plain bytes."""
    bytes: int = 0
    sha256: str = ""
    """Its first digits, as `tailrace query --sha256` takes them."""
    equal: int = 0
    """So many more lines there are the same."""
    written: str = ""
    """When the file was last written to."""
    stream: str = ""
    """Of Loki: the labels."""
    time: str = ""
    """Under which the entry is there."""


def look(sink: Sink, part: Batch, *, sure: bool, secrets: bool) -> Spot:
    """Look for the one record of a batch. `sure`: it has the very time. `secrets`: the sink has its own."""
    if isinstance(sink, Jsonl):
        return _in_archive(sink, part, sure=sure)
    if isinstance(sink, Loki):
        if not secrets:
            return Spot("not_looked", "its secrets are not set here")
        return asyncio.run(_in_loki(sink, part, sure=sure))
    return Spot("not_looked", f"nothing can be looked up in a {sink.word()}")


def _in_archive(sink: Jsonl, part: Batch, *, sure: bool) -> Spot:
    (line,) = part.shipped(sink.line)
    stamped = not sure and line.startswith(_STAMP) and part.records[0].format == "text" and sink.line == "json"
    ((path, _),) = sink.paths(part)
    files = list(_files(Path(path), sink, sure=sure))
    for file in files:
        places = list(_places(file, line, stamped=stamped))
        if places:
            offset, found = places[0]
            written = rfc3339(file.stat().st_mtime_ns)
            return Spot(
                "found",
                path=str(file),
                offset=offset,
                bytes=len(found),
                sha256=digest(found),
                equal=len(places) - 1,
                written=written,
            )
    where = f"in {path}" if len(files) <= 1 else f"in {path} and {len(files) - 1} files beside it"
    return Spot("missing", f"not {where}" if files else f"there is no {path}", path=path)


def _files(path: Path, sink: Jsonl, *, sure: bool) -> Iterator[Path]:
    """The archive file, those that it goes on in and those of other workers; else all, newest first."""
    stem, _, end = path.name.partition(".")
    ending = f".{end}".rpartition(".jsonl")[1:] if ".jsonl" in path.name else ("", path.suffix)
    beside = sorted(path.parent.glob(f"{stem}*{''.join(ending)}")) if path.parent.is_dir() else []
    yield from sorted(beside, key=lambda one: one != path)
    base = Path(sink.path.parts[0] + "x").parent  # the template's first part is what stands before any field
    if not sure and base.is_dir() and {"date", "hour"}.intersection(sink.path.fields):
        others = [one for one in base.rglob(f"*{''.join(ending)}") if one.is_file() and one not in beside]
        yield from sorted(others, key=lambda one: -one.stat().st_mtime_ns)


def _places(file: Path, line: bytes, *, stamped: bool) -> Iterator[tuple[int, bytes]]:
    """Where lines begin that are this one; `stamped`: whatever time they have."""
    skipped = _STAMPED if stamped else 0
    needle = line[skipped:] + b"\n"
    with suppress(OSError), closing(open_content(str(file))) as content:
        at, rest = 0, b""
        while data := content.read(at, _PIECE):
            at += len(data)
            block, start = rest + data, at - len(rest) - len(data)
            end = block.rfind(b"\n") + 1
            found = block.find(needle, 0, end)
            while found >= 0:
                begin = found - skipped
                ours = begin == 0 or block[begin - 1 : begin] == b"\n"
                if begin >= 0 and ours and (not stamped or block.startswith(_STAMP, begin)):
                    yield start + begin, block[begin : found + len(needle) - 1]
                found = block.find(needle, found + 1, end)
            rest = block[end:]


async def _in_loki(sink: Loki, part: Batch, *, sure: bool) -> Spot:
    (entry,) = sink.streams.entries([part])
    spot = Spot("found", stream=entry.stream.decode(), time=rfc3339(entry.time_ns))
    try:
        async with asyncio.timeout(PATIENCE):
            await sink.open()
            try:
                if not await sink.missing([part]):
                    return spot
                if not sure and (at := await _near(sink, part)):
                    spot.time = rfc3339(at)
                    return spot
            finally:
                await sink.close()
    except (OSError, ProbeError, NotTold, ValueError) as error:
        told = "no answer" if isinstance(error, TimeoutError) else str(error)
        return Spot("unreachable", f"Loki cannot be asked: {told}", stream=spot.stream, time=spot.time)
    spot.found = "missing"
    spot.why = "Loki does not show it"
    if time.time_ns() - entry.time_ns > DARK_NS:
        spot.found = "not_visible"
        spot.why += "; what is older than 2h41m it shows only once it is flushed"
    return spot


async def _near(sink: Loki, part: Batch) -> int:
    """The time of an entry that has this line, near the likely time; 0 where there is none. Raises OSError."""
    (entry,) = sink.streams.entries([part])
    ((line, _),) = sink.streams.shown([entry])
    text = line.decode("utf-8", "replace")
    parameters = {
        "query": f"{entry.stream.decode()} |= {json.dumps(text[:200], ensure_ascii=False)}",
        "start": str(max(0, entry.time_ns - AROUND_NS)),
        "end": str(min(entry.time_ns + AROUND_NS, time.time_ns() + AROUND_NS)),
        "limit": "100",
    }
    answer = await sink.get("/loki/api/v1/query_range", parameters)
    if answer.status != HTTPStatus.OK:
        raise OSError(f"it answers {answer.status}")
    for stream in json.loads(answer.body)["data"]["result"]:
        for value in stream["values"]:
            if value[1] == text:
                return int(value[0])
    return 0
