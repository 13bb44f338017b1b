"""Events of several lines: log records with what stands under them, bare stack traces, lines of containers."""

from __future__ import annotations

from itertools import accumulate, pairwise
from typing import Literal

from . import _grammar
from .framing import EVENT, LINE, Framed, Limit
from .options import Regex


class Tracebacks(Limit):
    """A line that looks like the start of a log record begins an event, and every other line belongs to it.

    That holds for messages of several lines, SQL, code, and the traceback under `ERROR …`. Lines that come before any
    such line (a program without a logger, whose stderr is read) are events of their own, but a stack trace of Python
    (rich's boxes too), Java, JavaScript, Go, Ruby, C#, PHP, Rust or Dart is one event, with its causes, groups and
    notes. Blank lines between events ship nothing. A pattern of one's own replaces all of this: it begins an event,
    other lines belong to the one before.

    What the bytes cannot tell:
    - where the message ends in a bare Python traceback whose message has several lines. Indented lines, and one line
      before an indented one, belong to it; others do where a record or the traceback that it led to comes within 16
      lines and 16 KiB of them. Nothing that came before counts, as a restart would not know it. So in a log without
      records such lines are events of their own, and so they are where the records stop for the idle time. In other
      languages the frames come last, and as many lines of message are waited for.
    - whether a line that looks like a record is part of a message: the message is cut there. A JSON object counts as a
      record only if it has a key for time, level or message.
    - whether a line printed bare after a record is part of it: it is taken as such.
    - whether a Ruby error right under another is its cause or the next one: the next one if it is the same.
    """

    def __init__(self, max_bytes: int, on_long: Literal["split", "truncate"], start: Regex | None = None) -> None:
        super().__init__(max_bytes, on_long)
        self._start = start

    def split(self, data: bytes, offset: int, final: bool, skip: int = 0) -> Framed:
        """Cut before each line that begins an event; the last event is taken when the next one begins or at `final`.

        A bare event over `max_bytes` is one up to the end of the line that was cut; its other lines are judged anew.
        """
        out = Framed([], [], skip=skip)
        # A line that is not whole is not judged, unless there is as much of it as a judgement looks at.
        line = data.rfind(b"\n") + 1
        judged = final or len(data) - line >= _grammar.HEAD or (skip != 0 and line == 0)
        body = data if judged else data[:line]
        sure = len(body) if judged else line - 1  # no event ends before this place, unless one was found to
        at = 0
        while at < len(body) or out.skip:
            if out.skip:
                end = data.find(b"\n", at) if out.skip == LINE else self._next(body, at)
                if end < 0 and not final:
                    stop = len(data) if out.skip == LINE else sure
                    at += self._go_on(out, data[at:stop], offset + at, closed=False)
                    break
                stop = end if end >= 0 else len(data)
                at += self._go_on(out, data[at:stop], offset + at, closed=True) + (end >= 0)
                out.skip = 0
            elif self._begins(body, at):
                at = self._records(out, body, at, sure, offset, final)
                break
            else:
                at, more = self._bare(out, body, at, offset, final)
                if not more:
                    break
        out.taken = at
        return out

    def _records(self, out: Framed, body: bytes, at: int, sure: int, offset: int, final: bool) -> int:
        """Ship the records from `at` on, which begins one; returns where the last one begins that may go on."""
        events, several = self._cut(body[at:])
        held = b"" if final else events.pop()
        sizes = list(map(len, events))
        under = [events[place] for place in several if place < len(events)] if several is not None else None
        plain = under is not None and b"\r" not in body and not any(raw.endswith(b"\n") for raw in under)
        if plain and events and not (final or out.events) and max(len(held), max(sizes)) <= self.max_bytes:
            # As nearly always: nothing to strip, none over-long. Where each starts is counted if somebody asks.
            out.events, out.sizes, out.first, out.single = events, sizes, offset + at, not under
            return len(body) - len(held)
        offsets = list(accumulate([size + 1 for size in sizes], initial=offset + at))
        at = len(body) if final else offsets[-1] - offset
        del offsets[-1]
        self._ship(out, events, offsets)
        if sure - at > self.max_bytes:
            held = held[: sure - at]
            used = self._begin(out, held, offset + at)
            at += used + self._go_on(out, held[used:], offset + at + used, closed=False)
            out.skip = EVENT
        return at

    def _bare(self, out: Framed, body: bytes, at: int, offset: int, final: bool) -> tuple[int, bool]:
        """Ship the lines and traces from `at` up to the next record; returns where it stopped and if it can go on."""
        end = self._next(body, at)
        closed = end >= 0 or final
        lines = body[at : end if end >= 0 else len(body)].split(b"\n")
        if end < 0 and not lines[-1]:
            lines.pop()
        broken = not closed and not body.endswith(b"\n")
        starts = list(accumulate([len(line) + 1 for line in lines], initial=offset + at))
        events: list[bytes] = []
        offsets: list[int] = []
        place = 0
        for head in [] if self._start else _grammar.heads(lines):
            if head < place:
                continue
            events += lines[place:head]
            offsets += starts[place:head]
            place, known = _grammar.trace_end(lines, head)
            if not known and end >= 0:
                longer, _ = _grammar.trace_end(lines, head, record_follows=True)
                place = longer if starts[head] + self.max_bytes >= offset + end else place
            raw = b"\n".join(lines[head:place])
            if len(raw) > self.max_bytes:
                self._ship(out, events, offsets)
                out.skip = LINE
                return starts[head] - offset + self._begin(out, raw, starts[head]), True
            if not closed and (not known or (broken and place == len(lines))):
                self._ship(out, events, offsets)
                return starts[head] - offset, False
            events.append(raw)
            offsets.append(starts[head])
        held = lines.pop() if broken else b""
        self._ship(out, events + lines[place:], offsets + starts[place : len(lines)])
        if len(held) > self.max_bytes:
            out.skip = LINE
            return starts[len(lines)] - offset + self._begin(out, held, starts[len(lines)]), True
        stop = end + 1 if end >= 0 else starts[len(lines)] - offset if broken else len(body)
        return stop, end >= 0

    def _begins(self, body: bytes, at: int) -> bool:
        """Whether the line at this place begins an event."""
        if self._start is None:
            return _grammar.record(body, at) is not None
        end = body.find(b"\n", at)
        return self._found(body[at : end if end >= 0 else len(body)])

    def _next(self, body: bytes, at: int) -> int:
        """Place of the next line break before a line that begins an event, or -1."""
        if self._start is None:
            found = _grammar.next_record.search(body, at)
            return found.start() if found else -1
        while (at := body.find(b"\n", at)) >= 0 and at + 1 < len(body):
            if self._begins(body, at + 1):
                return at
            at += 1
        return -1

    def _cut(self, body: bytes) -> tuple[list[bytes], list[int] | None]:
        """Cut at the line breaks before the lines that begin an event, as `body` does.

        Says too which events are several lines (None: not known); all blank lines are part of such a one.
        """
        if self._start is not None:
            lines = body.split(b"\n")
            whole = len(lines) - (not lines[-1])
            places = [place for place, line in enumerate(lines[:whole]) if self._found(line)]
            return [b"\n".join(lines[a:b]) for a, b in pairwise([*places, len(lines)])], None
        usual, at, several = _grammar.records(body)
        if at == len(body):
            return usual, several
        body = body[at:]
        events = _grammar.next_record.split(body)
        if _grammar.two_line_head(events[0]) or _grammar.has_two_line_heads(body):
            for place in range(len(events) - 2, -1, -1):
                head, body = events[place], events[place + 1]
                # The first cut of an over-long event must not fall between the two: the body would look like a record.
                short = len(head) + 4 < self.max_bytes
                if short and _grammar.two_line_head(head) and _grammar.two_line_body(body):
                    events[place : place + 2] = [head + b"\n" + body]
        return usual + events, None

    def _found(self, line: bytes) -> bool:
        return self._start is not None and self._start.search(line[: _grammar.HEAD]) is not None


class Containers(Limit):
    """As `Tracebacks`, for lines that Kubernetes (CRI) or Docker (`json-file`) wrapped: judged by what is inside.

    Parts of a line that the runtime split are one event; so are a log record and the lines under it, and a bare stack
    trace, as long as they come from one stream. An event of several lines that would be longer than `max_bytes` ends
    before the line that is too much.
    """

    def split(self, data: bytes, offset: int, final: bool, skip: int = 0) -> Framed:
        """Cut before each line that begins an event; the last event is taken when the next one begins or at `final`."""
        out = Framed([], [])
        if skip and not self._ended(out, data, offset, final, skip):
            return out
        lines = data[out.taken :].split(b"\n")
        starts = list(accumulate([len(line) + 1 for line in lines], initial=offset + out.taken))
        rest = b"" if final else lines.pop()
        if final and not lines[-1]:
            lines.pop()
        told = [_grammar.unwrapped(line) for line in lines]
        place = 0
        while place < len(lines):
            end, known = self._end(lines, told, place)
            size = starts[end] - 1 - starts[place]
            # A rest that is too long belongs to nothing.
            if not known and not final and size <= self.max_bytes and len(rest) <= self.max_bytes:
                break
            while end > place + 1 and starts[end] - 1 - starts[place] > self.max_bytes:
                end -= 1
            self._ship(out, [b"\n".join(lines[place:end])], [starts[place]])
            place = end
        out.taken = min(starts[place] - offset, len(data))
        if len(rest) > self.max_bytes:
            used = self._begin(out, rest, starts[place])
            out.taken += used + self._go_on(out, rest[used:], starts[place] + used, closed=False)
            out.skip = LINE
        return out

    def _end(self, lines: list[bytes], told: list[tuple[bytes, bytes, bool]], begin: int) -> tuple[int, bool]:
        """Where the event that begins at this line ends, and whether lines that come later cannot change that."""
        stream, first, goes_on = told[begin]
        if len(lines[begin]) > self.max_bytes:
            return begin + 1, True
        is_record = _grammar.record(first) is not None
        is_trace = not is_record and bool(_grammar.heads([first]))
        texts, ends, most = [first], [begin + 1], 64
        end, record_follows = begin + 1, False
        while end < len(told) and told[end][0] == stream and len(lines[end]) <= self.max_bytes:
            _, text, more = told[end]
            if goes_on:
                ends[-1] = end + 1
            elif not (is_record or is_trace) or (record_follows := _grammar.record(text) is not None):
                break
            else:
                if is_trace and len(texts) == most:
                    count, sure = _grammar.trace_end(texts, 0)
                    if sure:
                        return ends[count - 1], True
                    most *= 2
                texts.append(text)
                ends.append(end + 1)
            goes_on = more
            end += 1
        known = end < len(told)
        if not is_trace:
            return end, known or not (is_record or goes_on)
        count, sure = _grammar.trace_end(texts, 0, record_follows)
        return ends[count - 1], known or (sure and not (count == len(texts) and goes_on))
