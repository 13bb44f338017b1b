"""A batch's events before it has records: column by column, which costs a third of record by record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import accumulate, compress, repeat
from operator import add, contains
from typing import Any, NamedTuple, overload

import msgspec

from .record import Fields, Format, Record, encode, with_members


class Following(Sequence[int]):
    """Where events start that follow each other, a line break between them: counted only when somebody asks."""

    def __init__(
        self, lines: Sequence[bytes], start: int, sizes: list[int] | None = None, *, single: bool = True
    ) -> None:
        self._lines = lines
        self._start = start
        if sizes is not None:
            self.sizes = sizes
        self.single = single
        """Each event is one line."""

    @cached_property
    def sizes(self) -> list[int]:
        """Bytes of each line."""
        return list(map(len, self._lines))

    @cached_property
    def _all(self) -> list[int]:
        starts = list(accumulate([size + 1 for size in self.sizes], initial=self._start))
        del starts[-1]
        return starts

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[int]:
        return iter(self._all)

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> list[int]: ...
    def __getitem__(self, place: int | slice) -> int | list[int]:
        return self._all[place]

    def __eq__(self, other: object) -> bool:
        return self._all == (other._all if isinstance(other, Following) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list


class Joined(Sequence[bytes]):
    """Lines in one piece, a line break between them: cut when somebody looks at one."""

    def __init__(self, text: bytes, count: int) -> None:
        self._text: bytes | None = text
        self._count = count
        self._lines: list[bytes] = []

    @property
    def text(self) -> bytes:
        """All of them."""
        return b"\n".join(self._lines) if self._text is None else self._text

    def cut(self) -> list[bytes]:
        """The lines; the piece itself is let go of."""
        if self._text is not None:
            self._lines, self._text = self._text.split(b"\n"), None
        return self._lines

    def measure(self) -> int:
        """Bytes of the lines."""
        return sum(map(len, self._lines)) if self._text is None else len(self._text) - self._count + 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.cut())

    @overload
    def __getitem__(self, place: int) -> bytes: ...
    @overload
    def __getitem__(self, place: slice) -> list[bytes]: ...
    def __getitem__(self, place: int | slice) -> bytes | list[bytes]:
        return self.cut()[place]

    def __eq__(self, other: object) -> bool:
        return self.cut() == (other.cut() if isinstance(other, Joined) else other)

    __hash__ = None  # type: ignore[assignment]  # as a list


class Unread(NamedTuple):
    """What a parser will find in every line, once somebody asks for it."""

    parse: Callable[[], list[Fields]]
    names: frozenset[str]
    """All fields that it may find."""
    known: Mapping[str, Sequence[Any]]
    """Those that it found already."""

    def through(self, some: Callable[[Iterable[Any]], list[Any]]) -> Unread:
        """Of some of the lines."""
        known = {name: some(values) for name, values in self.known.items()}
        return Unread(lambda: some(self.parse()), self.names, known)


class Columns(msgspec.Struct, gc=False):
    """Every event of a chunk. Stages that change single events ask the batch for its records instead."""

    _lines: Sequence[bytes]
    offsets: Sequence[int]
    """Where each event starts in its partition."""
    times: Sequence[int | None] | None = None
    """Unix times in ns; None until somebody reads or sets them."""
    format: Format = "text"
    """Of all of them: `json` when every line is one JSON object, and is itself the fields."""
    sought: frozenset[str] | None = None
    """The fields that the parser looked for; None: all that there are."""
    added: dict[str, Sequence[Any]] = {}
    """Fields that stages put beside the lines' own, one value an event; None where one does not have it."""
    rows: dict[int, Fields] = {}
    """Fields that stages put beside few of the lines, by the events' places."""
    asked: set[str] = set()
    """Fields whose values somebody asked for, of this batch or, where the parser keeps the set, of those before."""
    _sizes: list[int] | None = None
    _parsed: list[Fields] | None = None
    _unread: Unread | None = None
    _text: bytes | None = None
    _values: dict[str, list[Any]] = {}

    @property
    def count(self) -> int:
        """How many events there are."""
        return len(self._lines)

    @property
    def lines(self) -> list[bytes]:
        """What ships as the lines."""
        if isinstance(self._lines, Joined):
            self._text = self._lines.text
            self._lines = self._lines.cut()
        return self._lines  # type: ignore[return-value]  # else it is a list

    @property
    def parsed(self) -> list[Fields] | None:
        """What a parser found in each line."""
        if self._unread is not None:
            self._parsed, self._unread = self._unread.parse(), None
        return self._parsed

    @property
    def text(self) -> bytes:
        """All lines in one piece, `\\n` between them: for scans that rarely find anything."""
        if self._text is None:
            self._text = self.joined()
        return self._text

    def joined(self) -> bytes:
        """The same, not kept for the next one who asks."""
        if self._text is not None:
            return self._text
        return self._lines.text if isinstance(self._lines, Joined) else b"\n".join(self._lines)

    def measure(self) -> int:
        """Bytes of all lines."""
        return self._lines.measure() if isinstance(self._lines, Joined) else sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Bytes of each line: each look at a line that is not in the processor's cache costs as much as copying it."""
        if self._sizes is None:
            starts = self.offsets
            self._sizes = starts.sizes if isinstance(starts, Following) else list(map(len, self.lines))
        return self._sizes

    @property
    def single(self) -> bool:
        """Every event is one line."""
        return (isinstance(self.offsets, Following) and self.offsets.single) or b"\n" not in b" ".join(self.lines)

    @property
    def extended(self) -> bool:
        """Stages put fields beside the lines' own."""
        return bool(self.added or self.rows)

    @property
    def is_json(self) -> bool:
        """The lines are all that there is of every event, as JSON."""
        return self.format == "json" and not self.extended

    def forget(self) -> None:
        """Let go of what can be made again."""
        self._text = None

    def read(
        self, form: Format, parsed: list[Fields] | Unread, times: Sequence[int | None], sought: frozenset[str] | None
    ) -> None:
        """Take what a parser found in every line, or will find."""
        self.format, self.times, self.sought = form, times, sought
        self._parsed, self._unread = (None, parsed) if isinstance(parsed, Unread) else (parsed, None)
        self._values = {}
        if self._parsed is not None:
            # While what was parsed is still in the processor's cache this takes a fifth of the time.
            for name in self.asked:
                self.values(name)

    def add(self, name: str, values: Sequence[Any]) -> None:
        """Put a field beside the lines' own, in front of one of the same name; None leaves an event as it is."""
        before = self.added.get(name)
        if before is not None:
            values = [old if new is None else new for old, new in zip(before, values, strict=True)]
        self.added = self.added | {name: values}
        self._values.pop(name, None)

    def add_to(self, rows: Mapping[int, Fields]) -> None:
        """Put fields beside the lines of a few events, in front of others of the same name."""
        self.rows = self.rows | {place: self.rows.get(place, {}) | fields for place, fields in rows.items() if fields}
        self._values = {}

    def replace(self, places: Mapping[int, tuple[bytes, Fields | None]]) -> None:
        """Give some of the events another line, and other parsed fields."""
        lines, sizes = list(self.lines), list(self.sizes)
        parsed = None if self.parsed is None else list(self.parsed)
        values = {} if parsed is None or self.extended else {name: list(own) for name, own in self._values.items()}
        for place, (line, fields) in places.items():
            lines[place], sizes[place] = line, len(line)
            if parsed is not None:
                parsed[place] = fields or {}
            for name, own in values.items():
                own[place] = (fields or {}).get(name)
        self._lines, self._sizes, self._text = lines, sizes, None
        self._parsed, self._values = parsed, values

    def where(self, mask: Sequence[bool]) -> Columns:
        """Some of the events, by a value for each."""

        def some(column: Iterable[Any]) -> list[Any]:
            return list(compress(column, mask))

        unread, parsed = self._unread, self._parsed
        return Columns(
            some(self.lines),
            some(self.offsets),
            None if self.times is None else some(self.times),
            self.format,
            self.sought,
            {name: some(values) for name, values in self.added.items()},
            {place: self.rows[old] for place, old in enumerate(some(range(len(mask)))) if old in self.rows},
            self.asked,
            some(self.sizes),
            None if parsed is None else some(parsed),
            unread
            and Unread(lambda: some(unread.parse()), unread.names, {n: some(v) for n, v in unread.known.items()}),
            None,
            {name: some(values) for name, values in self._values.items()},
        )

    @property
    def fields(self) -> list[Fields]:
        """All that somebody reads of every event. To be read only."""
        if not self.extended and self.parsed is not None:
            return self.parsed
        return [record.fields for record in self.records()]

    def values(self, field: str, fixed: str | None = None) -> list[Any]:
        """One field of every event, `fixed` where it is missing. The same list for all who ask: to be read only."""
        if fixed is not None:  # what is said of the partition may change, and is asked for once
            return self._values_of(field, fixed)
        found = self._values.get(field)
        if found is None:
            found = self._values[field] = self._values_of(field, None)
            self.asked.add(field)
        return found

    def _values_of(self, field: str, fixed: str | None) -> list[Any]:
        unread = self._unread
        if unread is not None and field in unread.known:
            own = list(unread.known[field])
        elif unread is not None and field not in unread.names:
            own = [fixed] * self.count
        elif self.parsed is not None:
            own = [fields.get(field, fixed) for fields in self.parsed]
        elif self.format == "text" and field == "message":
            own = [line.decode("utf-8", "replace") for line in self.lines]
        else:
            own = [fixed] * self.count
        if field in self.added:
            own = [mine if new is None else new for new, mine in zip(self.added[field], own, strict=True)]
        for place, fields in self.rows.items():
            if field in fields:
                own[place] = fields[field]
        return own

    def records(self) -> list[Record]:
        """A record of each event."""
        count = len(self.lines)
        times: Sequence[int | None] = [None] * count if self.times is None else self.times
        parsed = repeat(None) if self.parsed is None else self.parsed
        records = list(map(Record, self.lines, self.offsets, times, repeat(self.format), repeat(None), parsed))
        for name, values in self.added.items():
            for record, value in zip(records, values, strict=True):
                if value is not None:
                    record.set(name, value)
        for place, fields in self.rows.items():
            for name, value in fields.items():
                records[place].set(name, value)
        return records

    def to_json(self) -> list[bytes]:
        """Every event as one JSON object, as `Record.to_json` writes it."""
        if self.is_json:
            return self.lines
        if self.format == "text" or self._overlap():
            return [record.to_json() for record in self.records()]
        members = [b""] * len(self.lines)
        for name, values in self.added.items():
            members = list(map(add, members, _members(name, values)))
        for place, fields in self.rows.items():
            members[place] += b"," + encode(fields)[1:-1]
        if _PLAIN_ENDS.issuperset([line[-2:] for line in self.lines]):
            return [b"%b%b}" % (line[:-1], more) for line, more in zip(self.lines, members, strict=True)]
        both = zip(self.lines, members, strict=True)
        return [with_members(line, more[1:]) if more else line for line, more in both]

    def _overlap(self) -> bool:
        """Whether a line may have a member of the name of an added field, or two fields of one name were added."""
        parsed, names = self.parsed, {name for fields in self.rows.values() for name in fields}
        if parsed is None or (self.sought is not None and not self.sought.issuperset(names.union(self.added))):
            return True
        return (
            not names.isdisjoint(self.added)
            or any(not fields.keys().isdisjoint(parsed[place]) for place, fields in self.rows.items())
            or any(any(map(contains, parsed, repeat(name))) for name in self.added)
        )


_PLAIN_ENDS = frozenset(bytes((byte,)) + b"}" for byte in b'"]}0123456789elEL')
"""How an object ends that has members and nothing behind it."""


def _members(name: str, values: Sequence[Any]) -> list[bytes]:
    """A column as members of JSON objects, a comma before each; nothing for None."""
    key = b"," + encode(name) + b":"
    if set(map(type, values)) == {str}:
        if len(set(values)) == 1:
            return [key + encode(values[0])] * len(values)
        # All at once. In JSON a quotation mark inside a string has a backslash before it: this is found nowhere else.
        texts = encode(values)[2:-2].split(b'","')
        if len(texts) == len(values):
            return [b'%b"%b"' % (key, text) for text in texts]
    return [b"" if value is None else key + encode(value) for value in values]
