"""The probe: how fast chunk-wise Python can be on one core. Without checkpoints, options or error handling, so it
is a limit to aim at, not a design: `python probe.py CONFIG`, CONFIG as in configs/probe.s1.json."""

from __future__ import annotations

import asyncio
import calendar
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

import aiohttp
import cramjam
import msgspec
import re2
import uvloop

CHUNK = 1 << 20
PUSHES_AT_ONCE = 3


class Config(msgspec.Struct):
    """What to ship, how, and where to."""

    scenario: Literal["s1", "s2", "s3", "s4", "s5"]
    input: str
    port: int
    output: str


class Level(msgspec.Struct, gc=False):
    """The fields of a JSON line that somebody reads."""

    level: str = ""
    timestamp: str = ""


def chunks(path: str) -> Iterator[bytes]:
    """The file in pieces of about 1 MiB that end with a line."""
    rest = b""
    with open(path, "rb", buffering=0) as file:
        while data := file.read(CHUNK):
            end = data.rfind(b"\n") + 1
            if not end:
                rest += data
                continue
            yield rest + data[:end] if rest else data[:end]
            rest = data[end:]
    if rest:
        yield rest


# Loki's push request: a field of varying length is written with its number, its length, and itself. A timestamp's
# seconds and nanoseconds are varints of 7 bits a byte; padded to five bytes each, they always have 12 bytes together.
TIMESTAMP = b"\x0a\x0c\x08"
TIMESTAMP_SIZE = 14
LOW_BITS = [bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(1 << 14)]
"""The lower 14 bits of the nanoseconds; `high_bits` writes the others."""


@cache
def varint(number: int) -> bytes:
    """As protobuf writes it."""
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def high_bits(bits: int) -> bytes:
    """All but the lower 14 bits of the nanoseconds."""
    return bytes((bits & 127 | 128, bits >> 7 & 127 | 128, bits >> 14))


@lru_cache(maxsize=4096)
def seconds(number: int) -> bytes:
    """Unix seconds, and the number of the field for the nanoseconds."""
    return bytes((*(number >> shift & 127 | 128 for shift in (0, 7, 14, 21)), number >> 28)) + b"\x10"


@lru_cache(maxsize=4096)
def seconds_of(date: str) -> bytes:
    """The same for a date in UTC."""
    return seconds(calendar.timegm(datetime.fromisoformat(date).timetuple()))


HEADS: dict[int, tuple[bytes, bytes]] = {}


def entry_head(length: int) -> tuple[bytes, bytes]:
    """For a line of this length: what comes before its timestamp, and what comes between timestamp and line."""
    head = HEADS.get(length)
    if head is None:
        size = varint(length)
        whole = varint(TIMESTAMP_SIZE + 1 + len(size) + length)
        head = HEADS[length] = b"\x12" + whole + TIMESTAMP, b"\x12" + size
    return head


def stream(labels: bytes, entries: bytes) -> bytes:
    """All entries with the same labels."""
    labels = b"\x0a" + varint(len(labels)) + labels
    return b"\x0a" + varint(len(labels) + len(entries)) + labels + entries


def streams(by_level: dict[bytes, list[bytes]]) -> bytes:
    """One stream for each level."""
    return b"".join([stream(b'{job="bench",level="%s"}' % level, b"".join(e)) for level, e in by_level.items()])


class Ticks:
    """Raw lines with times 1 ns apart."""

    def __init__(self) -> None:
        self._next = 1_762_000_000_000_000_000

    def encode(self, chunk: bytes) -> bytes:
        """One stream for everything."""
        lines = chunk.splitlines()
        second, nanosecond = divmod(self._next, 10**9)
        self._next += len(lines)
        high, low = divmod(nanosecond, 1 << 14)
        heads: dict[int, tuple[bytes, bytes]] = {}  # with the bytes of the time that stay the same for many lines
        out: list[bytes] = []
        for line in lines:
            length = len(line)
            head = heads.get(length)
            if head is None:
                before, after = entry_head(length)
                head = heads[length] = before + seconds(second), high_bits(high) + after
            out += (head[0], LOW_BITS[low], head[1], line)
            low += 1
            if low == 1 << 14:
                low = 0
                high += 1
                heads.clear()
        return stream(b'{job="bench"}', b"".join(out))


decode_levels = msgspec.json.Decoder(Level).decode_lines


def json_by_level(chunk: bytes) -> bytes:
    """JSON lines with their own times."""
    by_level: dict[str, list[bytes]] = {}
    last = ""
    second = b""
    for line, fields in zip(chunk.splitlines(), decode_levels(chunk), strict=True):
        out = by_level.get(fields.level)
        if out is None:
            out = by_level[fields.level] = []
        timestamp = fields.timestamp
        date = timestamp[:19]
        if date != last:
            second, last = seconds_of(date), date
        nanosecond = int(timestamp[20:26]) * 1000
        before, after = HEADS.get(len(line)) or entry_head(len(line))
        out += (before, second, LOW_BITS[nanosecond & 16383], high_bits(nanosecond >> 14), after, line)
    return streams({level.encode(): out for level, out in by_level.items()})


SECRETS = {
    b"aws": rb"AKIA[0-9A-Z]{16}",
    b"bearer": rb"(?i:bearer)\s+[A-Za-z0-9._~+/=-]{20,}",
    b"email": rb"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}",
    b"card": rb"\b(?:4\d{3}|5[1-5]\d{2})[- ]?\d{4}[- ]?\d{4}[- ]?\d{4}\b",
}


def _any_secret() -> Any:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    return re2.compile(b"|".join(b"(%s)" % pattern for pattern in SECRETS.values()), options)


ANY_SECRET = _any_secret()
HIDDEN = [b"[REDACTED:%s]" % name for name in SECRETS]


def redact(chunk: bytes) -> bytes:
    """The chunk without secrets, found by one scan for all kinds."""
    out: list[bytes] = []
    done = 0
    for found in ANY_SECRET.finditer(chunk):
        start, end = found.span()
        kind = next(kind for kind in range(len(HIDDEN)) if found.start(kind + 1) >= 0)
        out += (chunk[done:start], HIDDEN[kind])
        done = end
    return b"".join((*out, chunk[done:])) if out else chunk


def redacted_json_by_level(chunk: bytes) -> bytes:
    """JSON lines without secrets."""
    return json_by_level(redact(chunk))


HEAD_LINE = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) ([A-Z]+) ([^:\s]+): ").match
NEXT_EVENT = b"\n2026-"


def whole_events(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes, cut before an event."""
    rest = b""
    for piece in pieces:
        piece = rest + piece
        end = piece.rfind(NEXT_EVENT) + 1
        rest = piece[end:]
        if end:
            yield piece[:end]
    if rest:
        yield rest


def tracebacks_by_level(chunk: bytes) -> bytes:
    """Events of one or more lines with their own times."""
    events: list[tuple[re.Match[bytes], bytes]] = []
    for line in chunk.splitlines():
        if head := HEAD_LINE(line):
            events.append((head, line))
        elif events:
            head, event = events[-1]
            events[-1] = head, event + b"\n" + line
    by_level: dict[bytes, list[bytes]] = {}
    last = second = b""
    for head, event in events:
        date, millisecond, level, _ = head.groups()
        out = by_level.get(level)
        if out is None:
            out = by_level[level] = []
        if date != last:
            second, last = seconds_of(date.decode()), date
        nanosecond = int(millisecond) * 1_000_000
        before, after = HEADS.get(len(event)) or entry_head(len(event))
        out += (before, second, LOW_BITS[nanosecond & 16383], high_bits(nanosecond >> 14), after, event)
    return streams(by_level)


async def push(pieces: Iterator[bytes], encode: Callable[[bytes], bytes], port: int) -> None:
    """Push each piece; three are on their way at once while the next one is encoded."""
    url = f"http://127.0.0.1:{port}/loki/api/v1/push"
    free = asyncio.Semaphore(PUSHES_AT_ONCE)

    async def post(body: bytes) -> None:
        async with session.post(url, data=body) as answer:
            assert answer.status == 204, answer.status
        free.release()

    headers = {"Content-Type": "application/x-protobuf"}
    async with aiohttp.ClientSession(headers=headers) as session, asyncio.TaskGroup() as posts:
        for piece in pieces:
            body = bytes(cramjam.snappy.compress_raw(encode(piece)))
            await free.acquire()
            posts.create_task(post(body))
            await asyncio.sleep(0)


async def main(config: Config) -> None:
    """Ship the input, then wait to be ended as a shipper that follows a file does."""
    pieces = chunks(config.input)
    if config.scenario == "s4":
        with open(config.output, "wb", buffering=0) as file:  # noqa: ASYNC230  # nothing else is going on
            for piece in pieces:
                file.write(piece)
            os.fsync(file.fileno())
    elif config.scenario == "s3":
        await push(whole_events(pieces), tracebacks_by_level, config.port)
    else:
        encode = {"s1": Ticks().encode, "s2": redacted_json_by_level, "s5": json_by_level}[config.scenario]
        await push(pieces, encode, config.port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    gc.disable()
    uvloop.run(main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Config)))
