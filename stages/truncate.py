"""Cuts what is too long, and says how long it was and what it was."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from ..pipeline.batch import Batch
from ..pipeline.component import Stage
from ..pipeline.excerpt import SMALLEST, level, marker, shortened
from ..pipeline.record import Fields, Record
from ._chats import ROLE, is_media, is_message, nested, without_media
from ._fields import record_at
from ._raw_json import RawObject, items, members, plain

if TYPE_CHECKING:  # only the exporter needs it at run time
    from prometheus_client.core import Metric

_LINE = "line"
_encode = msgspec.json.encode


class Truncate(Stage):
    """Cut long fields, or the long line, to a limit that the marker counts towards.

    The marker tells the original length and the start of its SHA-256: `…(truncated, 12345 chars, sha256 1a2b3c4d5e6f)`.
    A JSON line stays JSON with its types: only strings are cut, and without `fields` the longest ones until it fits;
    where even that is not enough (an object of numbers alone), the record goes to the dead letter.
    It knows what chats with language models look like: of an image or a sound in base64 (a `data:` URL, or `data`
    beside `type: base64` or `format`) nothing is kept but its kind, and the arguments of a tool call stay JSON.
    """

    max_chars: int | None = None
    """The longest a field or line may be, in characters."""
    max_bytes: int | None = None
    """The longest a field or line may be, in bytes of UTF-8; a JSON line counts as it is written, escapes and all."""
    fields: list[str] = []
    """The fields to look at; `request.body` is `body` within `request`, and of an object or a list each string is.
    Without any it is the line itself."""
    keep: Literal["head", "head_tail"] = "head"
    """`head`: what is kept is the start. `head_tail`: start and end, with the marker between them."""
    max_messages: int | None = None
    """The most messages that a list of chat messages in a JSON line may keep: the first one (the system prompt) and the
    last ones. One between them says how many were left out, their length and SHA-256."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Say what is wrong with the limit."""
        limits = (self.max_chars is not None) + (self.max_bytes is not None)
        if limits == 2 or (limits == 0 and self.max_messages is None):
            found = "both are given" if self.max_chars is not None else "neither is given"
            yield "max_chars", f"write max_chars or max_bytes, one of the two ({found})"
        if self.max_messages is not None and self.max_messages < 3:
            yield "max_messages", f"{self.max_messages} leaves no room for first, marker and last: write 3 or more"
        for option, limit in (("max_chars", self.max_chars), ("max_bytes", self.max_bytes)):
            if limit is not None and limit < SMALLEST:
                yield option, f"{limit} leaves no room beside the marker: write {SMALLEST} or more"
        for place, path in enumerate(self.fields):
            if not all(path.split(".")):
                yield f"fields[{place}]", f"{path!r} is not a field: write a name, or names with dots between them"

    # No `reads`: naming the fields there would have the engine decode the longest values of every record, while
    # only lines over the limit need a look, and these are decoded here.

    def process(self, batch: Batch) -> Batch:
        """Cut what is too long. Raises ValueError on a JSON record that cannot be cut to the limit."""
        columns = batch.columns
        if columns is None or columns.rows or not self._first.isdisjoint(columns.added):
            self._cut_records(batch.records)
            return batch
        changed: dict[int, tuple[bytes, Fields | None]] = {}
        for place in self._places(columns.lines, chats=columns.format == "json"):
            record = record_at(batch, place)
            self._cut_record(record)
            if record.line is not columns.lines[place] or record.parsed != (columns.parsed and columns.parsed[place]):
                changed[place] = (record.line, record.parsed)
        if changed:
            columns.replace(changed)
        return batch

    def _places(self, lines: list[bytes], *, chats: bool) -> Sequence[int]:
        """Where a line is that may have to be cut."""
        limit = self._limit or sys.maxsize
        if self.max_messages and chats:
            return [place for place, line in enumerate(lines) if len(line) > limit or ROLE in line]
        if not [line for line in lines if len(line) > limit]:  # as nearly always, and in two thirds of the time
            return ()
        return [place for place, line in enumerate(lines) if len(line) > limit]

    def _cut_records(self, records: list[Record]) -> None:
        for place in self._places([record.line for record in records], chats=True):
            self._cut_record(records[place])
        if self.fields:
            for record in records:
                # added fields may come from anywhere: the line's length says nothing about them
                if record.added and not self._first.isdisjoint(record.added):
                    self._cut_dict(record.added, record)

    def _cut_record(self, record: Record) -> None:
        """Cut the line of one record, or the fields in it."""
        is_json = record.format == "json"
        if self.max_messages and is_json and ROLE in record.line:
            self._drop_messages(record)
        if not self._limit or len(record.line) <= self._limit:
            return
        if not self.fields:
            self._cut_line(record)
        elif is_json:
            self._cut_fields(record)
        elif record.parsed is not None:
            self._cut_dict(record.parsed, record)
        elif "message" in self.fields:  # a line that nobody parsed is its own message
            self._cut_line(record)

    def collect(self) -> Iterable[Metric]:
        """Values cut, by field."""
        from prometheus_client.core import CounterMetricFamily

        family = CounterMetricFamily("tailrace_truncations", "Values cut to a limit.", labels=["component", "field"])
        for field, number in sorted(self._counts.items()):
            family.add_metric([self.name, field], number)
        yield family

    @cached_property
    def _counts(self) -> Counter[str]:
        return Counter()

    @property
    def _limit(self) -> int:
        return self.max_chars or self.max_bytes or 0

    @cached_property
    def _paths(self) -> list[tuple[str, list[str]]]:
        return [(path, path.split(".")) for path in self.fields]

    @cached_property
    def _first(self) -> frozenset[str]:
        """The fields that hold those to look at."""
        return frozenset(names[0] for _, names in self._paths)

    # text

    def _cut(self, text: str, limit: int | None = None) -> str:
        """The text itself if it fits, else what is kept of it with the marker."""
        limit = self._limit if limit is None else limit
        if "base64" in text and len(text) > limit:
            short = without_media(text)
            if short is not text:
                return self._cut(short, limit)
        if self.max_chars is not None:
            return text if len(text) <= limit else self._shortened(text, limit)
        if len(text) * 4 <= limit:
            return text
        data = text.encode("utf-8", "surrogatepass")
        return text if len(data) <= limit else self._shortened_bytes(data, limit).decode("utf-8", "surrogatepass")

    def _shortened(self, text: str, limit: int) -> str:
        mark = marker(len(text), "chars", text.encode("utf-8", "surrogatepass"))
        room = max(0, limit - len(mark))
        tail = room // 2 if self.keep == "head_tail" else 0
        return text[: room - tail] + mark + (text[len(text) - tail :] if tail else "")

    def _shortened_bytes(self, data: bytes, limit: int) -> bytes:
        return shortened(data, limit, marker(len(data), "bytes", data).encode(), ends=self.keep == "head_tail")

    # records

    def _cut_line(self, record: Record) -> None:
        if record.format == "json":
            self._fit_json(record)
            return
        line = record.line
        if self.max_bytes is not None:
            cut = self._shortened_bytes(line, self.max_bytes)
        else:
            text = line.decode("utf-8", "surrogateescape")  # each stray byte counts as a character and stays
            if len(text) <= self._limit:
                return
            mark = marker(len(text), "chars", line)
            room = self._limit - len(mark)
            tail = room // 2 if self.keep == "head_tail" else 0
            short = text[: room - tail] + mark + (text[len(text) - tail :] if tail else "")
            cut = short.encode("utf-8", "surrogateescape")
        if record.parsed is not None and record.parsed.get("message") == record.text:
            record.parsed["message"] = cut.decode("utf-8", "replace")
        record.line = cut
        self._counts[_LINE] += 1

    def _fit_json(self, record: Record) -> None:
        """Cut the longest strings to a common length that lets the line fit."""
        excess = self._size(record.line) - self._limit
        if excess <= 0:
            return
        if b"base64" in record.line:
            # Images first: neither URLs nor markers need escapes, so the line is JSON as before.
            record.line = without_media(record.line.decode("utf-8", "replace")).encode()
            self._keep_step(record, record.parsed or {}, members(record.line))
            excess = self._size(record.line) - self._limit
            if excess <= 0:
                self._counts[_LINE] += 1
                return
        fields = members(record.line)
        lengths = sorted(self._lengths(bytes(raw) for raw in fields.values()), reverse=True)
        cap = level(lengths, excess)
        while True:
            new = {name: self._cut_raw(raw, cap) for name, raw in fields.items()}
            line = _encode(new)
            if self._size(line) <= self._limit:
                break
            if cap == SMALLEST:
                raise ValueError(f"nothing left to cut: the line cannot be brought to {self._limit}")
            cap = max(SMALLEST, cap * 3 // 4)  # escapes take more room than what they stand for
        record.line = line
        self._keep_step(record, {name for name, raw in new.items() if raw is not fields[name]}, new)
        self._counts[_LINE] += 1

    def _lengths(self, raws: Iterable[bytes], depth: int = 0) -> Iterator[int]:
        for raw in raws:
            if raw[:1] == b'"':
                text = _text(raw)
                yield len(text) if self.max_chars is not None else len(text.encode())
            elif raw[:1] == b"{":
                yield from self._lengths(map(bytes, members(raw, depth).values()), depth + 1)
            elif raw[:1] == b"[":
                yield from self._lengths(map(bytes, items(raw, depth)), depth + 1)

    def _cut_raw(self, value: msgspec.Raw, cap: int, depth: int = 0) -> msgspec.Raw:
        """The value with its strings cut to `cap`; itself when none is longer."""
        raw = bytes(value)
        if len(raw) <= cap:
            return value
        if raw[:1] == b'"':
            text = _text(raw)
            cut = self._cut(text, cap)
            return value if cut is text else msgspec.Raw(_encode(cut))
        if raw[:1] == b"{":
            fields = members(raw, depth)
            new = {name: self._cut_member(name, item, cap, depth + 1, fields) for name, item in fields.items()}
            return msgspec.Raw(_encode(new)) if any(new[name] is not fields[name] for name in new) else value
        if raw[:1] == b"[":
            olds = items(raw, depth)
            cuts = [self._cut_raw(item, cap, depth + 1) for item in olds]
            same = all(cut is item for cut, item in zip(cuts, olds, strict=True))
            return value if same else msgspec.Raw(_encode(cuts))
        return value

    def _cut_member(self, name: str, value: msgspec.Raw, cap: int, depth: int, siblings: RawObject) -> msgspec.Raw:
        """As `_cut_raw`; what chats hold under this name is cut so that it stays of use."""
        raw = bytes(value)
        if len(raw) > cap and raw[:1] == b'"':
            if name == "arguments" and (inner := nested(raw)) is not None:
                # JSON within a string: escapes take room, so what is kept of its strings must be shorter.
                room = max(SMALLEST, cap // 2)
                text = bytes(self._cut_raw(inner, room, depth + 1)).decode("utf-8", "replace")
                return msgspec.Raw(_encode(self._cut(text, cap)))
            if name == "data" and is_media(siblings):
                text = _text(raw)
                mark = marker(len(text), "chars", text.encode("utf-8", "surrogatepass"))
                return msgspec.Raw(_encode(mark)) if len(mark) < len(text) else value
        return self._cut_raw(value, cap, depth)

    def _drop_messages(self, record: Record) -> None:
        """Leave messages in the middle of a chat out."""
        fields = members(record.line)
        changed = {name for name in fields if self._without_messages(fields, name)}
        if changed:
            record.line = _encode(fields)
            self._keep_step(record, changed, fields)
            self._counts["messages"] += 1

    def _without_messages(self, holder: RawObject, name: str, depth: int = 0) -> bool:
        raw = bytes(holder[name])
        if ROLE not in raw:
            return False
        if raw[:1] == b"{":
            inner = members(raw, depth)
            if not {key for key in inner if self._without_messages(inner, key, depth + 1)}:
                return False
            holder[name] = msgspec.Raw(_encode(inner))
            return True
        most = self.max_messages or 0
        if raw[:1] != b"[" or len(chat := items(raw, depth)) <= most or not all(map(is_message, chat)):
            return False
        left = [bytes(message) for message in chat[1 : len(chat) - most + 2]]
        mark = marker(len(left), "messages", b"\n".join(left))
        chat[1 : len(chat) - most + 2] = [msgspec.Raw(_encode({"role": "system", "content": mark}))]
        holder[name] = msgspec.Raw(_encode(chat))
        return True

    def _size(self, line: bytes) -> int:
        return len(line) if self.max_bytes is not None else len(line.decode("utf-8", "replace"))

    def _cut_fields(self, record: Record) -> None:
        fields = members(record.line)
        changed: set[str] = set()
        for path, names in self._paths:
            new = self._cut_at(fields, names, 0)
            if new is not fields:
                fields = new
                changed.add(names[0])
                self._counts[path] += 1
        if changed:
            record.line = _encode(fields)
            self._keep_step(record, changed, fields)

    def _cut_at(self, fields: RawObject, names: list[str], depth: int) -> RawObject:
        """The object with the value at the end of the path cut; itself when that is short enough."""
        value = fields.get(names[depth])
        if value is None or len(raw := bytes(value)) <= self._limit:
            return fields
        if depth == len(names) - 1:
            new = self._cut_raw(value, self._limit)
        elif raw[:1] == b"{":
            inner = members(raw, depth)
            cut = self._cut_at(inner, names, depth + 1)
            new = value if cut is inner else msgspec.Raw(_encode(cut))
        else:
            return fields
        return fields if new is value else {**fields, names[depth]: new}

    def _keep_step(self, record: Record, names: Iterable[str], fields: RawObject) -> None:
        """What was decoded of the line before says the same as the line now, which has these fields."""
        parsed, added = record.parsed or {}, record.added or {}
        for name in names:
            if name in parsed and name not in added:
                parsed[name] = plain(fields[name])

    def _cut_dict(self, fields: dict[str, Any], record: Record) -> None:
        """Cut decoded fields; a text line that shows the same value is cut with it."""
        for path, names in self._paths:
            holder: Any = fields
            for name in names[:-1]:
                holder = holder.get(name) if isinstance(holder, dict) else None
            old = holder.get(names[-1]) if isinstance(holder, dict) else None
            new = self._cut_value(old)
            if new is old:
                continue
            holder[names[-1]] = new
            self._counts[path] += 1
            if fields is record.added:
                if record.parsed is not None and names[0] in record.parsed:
                    record.parsed[names[0]] = fields[names[0]]
            elif isinstance(old, str):
                shown = old.encode("utf-8", "surrogatepass")
                record.line = record.line.replace(shown, new.encode("utf-8", "surrogatepass"), 1)

    def _cut_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return self._cut(value)
        if isinstance(value, dict):
            new = {name: self._cut_value(item) for name, item in value.items()}
            return new if any(new[name] is not item for name, item in value.items()) else value
        if isinstance(value, list):
            cuts = [self._cut_value(item) for item in value]
            return cuts if any(new is not old for new, old in zip(cuts, value, strict=True)) else value
        return value


def _text(raw: bytes) -> str:
    return str(plain(raw))
