"""From the bytes of one partition to whole events: single lines, or log records with the tracebacks that follow them.

What an event is depends on the bytes from its beginning on and on nothing else: not on how much was read at once, not on
a clock. So a restart that reads the same bytes again cuts them into the same events.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Literal, Protocol

import msgspec

from . import _traceback
from .options import Regex

LINE: Final = 1
"""`skip`: the position lies inside an over-long event that ends with its line."""
EVENT: Final = 2
"""`skip`: the position lies inside an over-long event that ends where the next record starts."""


class StartPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A pattern of one's own for the line that an event begins with."""

    start: Regex
    """A line in which this is found (in its first 4 KiB) begins an event; all lines up to the next one belong to it."""


class Framed(msgspec.Struct):
    """What was cut out of the bytes given to `split`."""

    lines: list[bytes]
    """One item an event, without its last line break."""
    offsets: list[int]
    """Where each event (of an over-long one: each piece) starts in the partition, in bytes."""
    taken: int = 0
    """Bytes done with: up to the end of a whole event, unless `skip` says that it is inside an over-long one."""
    long: int = 0
    """Events longer than `max_bytes`, each counted once, when its first piece is cut."""
    cut: int = 0
    """Bytes that `truncate` left out."""
    skip: int = 0
    """0, `LINE` or `EVENT`: part of the position, and what the next `split` must be told."""


class Framer(Protocol):
    """Cuts the bytes of a partition into events. It holds no state: one serves any number of partitions."""

    def split(self, data: bytes, offset: int, final: bool, skip: int = 0) -> Framed:
        """Cut `data`: all that was read from `offset` on and was not taken yet.

        `final`: nothing more will come (idle flush, end of a rotated file): an unfinished last event is taken as it is.
        `skip`: what the last call returned. Keeps no more than `max_bytes` and a few KiB waiting for their end.
        """
        ...


def framer(
    multiline: Literal["off", "traceback"] | StartPattern, max_bytes: int, on_long: Literal["split", "truncate"]
) -> Framer:
    """The framer for a source's options: `off` makes `Lines`, all else `Tracebacks`."""
    if multiline == "off":
        return Lines(max_bytes, on_long)
    return Tracebacks(max_bytes, on_long, multiline.start if isinstance(multiline, StartPattern) else None)


class _Limit:
    """What becomes of events over `max_bytes`: `split` ships them in pieces, `truncate` the first piece alone."""

    def __init__(self, max_bytes: int, on_long: Literal["split", "truncate"]) -> None:
        self.max_bytes = max_bytes
        self.on_long = on_long

    def _ship(self, out: Framed, events: list[bytes], offsets: Sequence[int]) -> None:
        """Ship whole events; those with nothing but line breaks in them are left out, their bytes count as taken."""
        if max(map(len, events), default=0) > self.max_bytes:
            for raw, offset in zip(events, offsets, strict=True):
                used = self._begin(out, raw, offset) if len(raw) > self.max_bytes else 0
                self._rest(out, raw[used:], offset + used, closed=True)
            return
        lines = [raw.rstrip(b"\r\n") for raw in events]
        if not all(lines):
            offsets = [offset for offset, line in zip(offsets, lines, strict=True) if line]
            lines = list(filter(None, lines))
        out.lines += lines
        out.offsets += offsets

    def _begin(self, out: Framed, raw: bytes, offset: int) -> int:
        """Ship the first piece of an over-long event; its length."""
        out.long += 1
        end = self._boundary(raw, 0)
        out.lines.append(raw[:end])
        out.offsets.append(offset)
        return end

    def _rest(self, out: Framed, raw: bytes, offset: int, closed: bool) -> int:
        """Go on with an event, up to its end if that is known (`closed`); the bytes done with."""
        if out.skip and self.on_long == "truncate":
            out.cut += len(raw)
            return len(raw)
        done = 0
        while len(raw) - done > self.max_bytes:
            end = self._boundary(raw, done)
            out.lines.append(raw[done:end])
            out.offsets.append(offset + done)
            done = end
        if closed:
            if line := raw[done:].rstrip(b"\r\n"):
                out.lines.append(line)
                out.offsets.append(offset + done)
            done = len(raw)
        return done

    def _boundary(self, raw: bytes, start: int) -> int:
        """Where the piece that begins at `start` ends: not inside a character, if this is UTF-8."""
        end = start + self.max_bytes
        for cut in range(end, max(end - 4, start), -1):
            if raw[cut] & 0xC0 != 0x80:
                return cut
        return end
