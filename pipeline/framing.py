"""From the bytes of one partition to whole events: single lines, or log records with the tracebacks under them.

What an event is depends on the bytes from its beginning on and on nothing else: not on how much was read at once, not
on a clock. So a restart that reads the same bytes again cuts them into the same events.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Literal, Protocol

import msgspec
import re2

from .columns import Following, Joined
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

    events: list[bytes]
    """One item an event, without its last line break …"""
    starts: list[int]
    """Where each event (of an over-long one: each piece) starts in the partition, in bytes …"""
    taken: int = 0
    """Bytes done with: up to the end of a whole event, unless `skip` says that it is inside an over-long one."""
    long: int = 0
    """Events longer than `max_bytes`, each counted once, when its first piece is cut."""
    cut: int = 0
    """Bytes that `truncate` left out."""
    skip: int = 0
    """0, `LINE` or `EVENT`: part of the position, and what the next `split` must be told."""
    first: int | None = None
    """… but none are in `starts` where all events follow each other from here on."""
    single: bool = True
    """Each event is one line, then."""
    sizes: list[int] | None = None
    """Bytes of each event, where they were counted."""
    joined: Joined | None = None
    """… unless they are here: each is one line, and none was looked at."""

    @property
    def lines(self) -> Sequence[bytes]:
        """One item an event, without its last line break."""
        return self.events if self.joined is None else self.joined

    @property
    def offsets(self) -> Sequence[int]:
        """Where each event starts."""
        return self.starts if self.first is None else Following(self.lines, self.first, self.sizes, single=self.single)


class Framer(Protocol):
    """Cuts the bytes of a partition into events. It holds no state: one serves any number of partitions."""

    def split(self, data: bytes, offset: int, final: bool, skip: int = 0) -> Framed:
        """Cut `data`: all that was read from `offset` on and was not taken yet.

        `final`: nothing more will come (idle flush, end of a rotated file): an unfinished last event is taken as it is.
        `skip`: what the last call returned. Keeps no more than `max_bytes` and a few KiB waiting for their end.
        """
        ...


def framer(
    multiline: Literal["off", "traceback", "container"] | StartPattern,
    max_bytes: int,
    on_long: Literal["split", "truncate"],
    *,
    whole: bool = False,
) -> Framer:
    """The framer for a source's options: `off` makes `Lines`, `container` `Containers`, all else `Tracebacks`.

    `whole`: nobody looks at single lines.
    """
    if multiline == "off":
        return Lines(max_bytes, on_long, whole=whole)
    from ._multiline import Containers, Tracebacks  # 15 ms for its grammar, which single lines do without

    if multiline == "container":
        return Containers(max_bytes, on_long)
    return Tracebacks(max_bytes, on_long, multiline.start if isinstance(multiline, StartPattern) else None)


class Limit:
    """What becomes of events over `max_bytes`: `split` ships them in pieces, `truncate` the first piece alone."""

    def __init__(self, max_bytes: int, on_long: Literal["split", "truncate"]) -> None:
        self.max_bytes = max_bytes
        self.on_long = on_long

    def _ship(self, out: Framed, events: list[bytes], offsets: list[int], *, bare: bool = False) -> None:
        """Ship whole events; those with nothing but line breaks in them are left out, their bytes count as taken.

        `bare`: the events end without a line break already.
        """
        if max(map(len, events), default=0) > self.max_bytes:
            for raw, offset in zip(events, offsets, strict=True):
                if len(raw) > self.max_bytes:
                    used = self._begin(out, raw, offset)
                    self._go_on(out, raw[used:], offset + used, closed=True)
                else:
                    self._ship(out, [raw], [offset])
            return
        lines = events if bare else [raw.rstrip(b"\r\n") for raw in events]
        if not all(lines):
            offsets = [offset for offset, line in zip(offsets, lines, strict=True) if line]
            lines = list(filter(None, lines))
        out.events += lines
        out.starts += offsets

    def _begin(self, out: Framed, raw: bytes, offset: int) -> int:
        """Ship the first piece of an over-long event; returns its length."""
        out.long += 1
        return self._piece(out, raw, 0, offset)

    def _go_on(self, out: Framed, raw: bytes, offset: int, closed: bool) -> int:
        """Go on with an over-long event; `closed`: `raw` reaches to its end. Returns the bytes done with."""
        if self.on_long == "truncate":
            out.cut += len(raw)
            return len(raw)
        done = 0
        while len(raw) - done > self.max_bytes:
            done = self._piece(out, raw, done, offset)
        if closed:
            self._ship(out, [raw[done:]], [offset + done])
            done = len(raw)
        return done

    def _ended(self, out: Framed, data: bytes, offset: int, final: bool, skip: int) -> bool:
        """Go on with an over-long event that ends with its line; whether that end is in `data`."""
        end = data.find(b"\n")
        closed = end >= 0 or final
        out.taken = self._go_on(out, data[:end] if end >= 0 else data, offset, closed) + (end >= 0)
        out.skip = 0 if closed else skip
        return closed

    def _piece(self, out: Framed, raw: bytes, start: int, offset: int) -> int:
        """Ship `max_bytes` from `start` on, or up to three less, to not cut through a character; returns the end."""
        end = start + self.max_bytes
        while end > start + 1 and end > start + self.max_bytes - 4 and raw[end] & 0xC0 == 0x80:
            end -= 1
        if raw[end] & 0xC0 == 0x80:  # not UTF-8
            end = start + self.max_bytes
        out.events.append(raw[start:end])
        out.starts.append(offset + start)
        return end


_BREAK = 10
_blank = re2.compile(b"\n\n").search  # `in` takes twenty times as long, for it does not look for single bytes


def _breaks(data: bytes) -> int:
    """How many line breaks there are, in a quarter of the time of `count`, which looks at each byte."""
    return len(data) - len(data.replace(b"\n", b""))


class Lines(Limit):
    """Each line is an event. Empty lines are none: their bytes are taken, but nothing ships (white space does ship)."""

    def __init__(self, max_bytes: int, on_long: Literal["split", "truncate"], *, whole: bool = False) -> None:
        super().__init__(max_bytes, on_long)
        self._whole = whole

    def split(self, data: bytes, offset: int, final: bool, skip: int = 0) -> Framed:
        """Cut at the line breaks; `\\r` before one is part of it."""
        out = Framed([], [])
        # As nearly always: whole lines, none of them empty, over-long, or ended by \r\n.
        if self._whole and not skip and not final:
            end = data.rfind(b"\n")
            if end > 0 and data[0] != _BREAK and b"\r" not in data and not _blank(data) and self._has_no_long(data):
                text = data[:end]
                return Framed([], [], end + 1, first=offset, joined=Joined(text, _breaks(text) + 1))
        elif not skip and not final:
            lines = data.split(b"\n")
            sizes = list(map(len, lines))
            begun = sizes.pop()
            if sizes and 0 not in sizes and max(begun, max(sizes)) <= self.max_bytes and b"\r" not in data:
                lines.pop()
                return Framed(lines, [], len(data) - begun, first=offset, sizes=sizes)
        if skip:
            if not self._ended(out, data, offset, final, skip):
                return out
            data = data[out.taken :]
        start = offset + out.taken
        lines = data.split(b"\n")
        ends = list(accumulate([len(line) + 1 for line in lines], initial=start))
        rest, at = lines.pop(), ends[-2]
        if final and rest:
            lines.append(rest)
        # Without any \r there is nothing to strip: one scan of the whole costs a tenth of a strip a line.
        self._ship(out, lines, ends[: len(lines)], bare=b"\r" not in data)
        out.taken = at - offset
        if final:
            out.taken += len(rest)
        elif len(rest) > self.max_bytes:
            used = self._begin(out, rest, at)
            out.taken += used + self._go_on(out, rest[used:], at + used, closed=False)
            out.skip = LINE
        return out

    def _has_no_long(self, data: bytes) -> bool:
        """Whether no line is over-long, the unfinished one included."""
        at = -1  # of a line break
        while len(data) - at - 1 > self.max_bytes:
            following = data.rfind(b"\n", at + 1, at + self.max_bytes + 2)
            if following < 0:
                return False
            at = following
        return True
