"""The parts of a LogQL expression, each of which decides for a whole batch which records match."""

from __future__ import annotations

import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, compress
from typing import Any

import msgspec
import re2

from .batch import Batch
from .options import Regex
from .record import Record

NUMBER = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
COMPARE: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_KNOWN = 4096
_encode = msgspec.json.Encoder(enc_hook=str).encode
_is_number = re.compile(NUMBER).fullmatch


def text_of(value: Any) -> str:
    """A field's value as text: numbers and booleans as JSON writes them, null and missing as empty text."""
    if isinstance(value, str):
        return value
    try:
        return "" if value is None else _encode(value).decode()
    except UnicodeEncodeError:  # a lone surrogate inside a list or object
        return str(value)


def number_of(value: Any) -> float | None:
    """A field's value as a number; None where it is none."""
    if isinstance(value, int | float):
        return None if isinstance(value, bool) else value
    return float(value) if isinstance(value, str) and _is_number(value) else None


def column_of(batch: Batch, name: str) -> list[Any]:
    """One field of every record; where there is no field `a.b`, what `b` is inside of `a`."""
    values = batch.values(name)
    if "." not in name:
        return values
    path = name.split(".")
    return [_inside(fields, path) if v is None else v for fields, v in zip(batch.fields, values, strict=True)]


def _inside(value: Any, path: Iterable[str]) -> Any:
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def line_scanner(pattern: str) -> Any:
    r"""An RE2 that finds in lines joined by `\n` what the pattern finds in each; None where it could differ."""
    if re.search(r"\\[AzC]|\(\?[A-Za-z]*-", pattern):
        return None
    options = re2.Options()
    options.log_errors = False
    options.never_nl = True
    try:
        return re2.compile(f"(?m:{pattern})".encode(), options)
    except re2.error:  # too large with the few bytes more
        return None


class Node:
    """A part of an expression: which fields it reads, and which records of a batch match."""

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields that it reads."""
        return ()

    def mask(self, batch: Batch) -> list[bool]:
        """For each record whether it matches. None is made for that."""
        raise NotImplementedError

    def select(self, batch: Batch) -> list[Record]:
        """The records that match, in their order."""
        return list(compress(batch.records, self.mask(batch)))


@dataclass(frozen=True)
class Field(Node):
    """A field compared as text: `level="error"`, `level=~"err.*"`; regexes must match all of it."""

    name: str
    op: str
    value: str

    @property
    def fields(self) -> tuple[str, ...]:
        """The name, and for a dotted one the field that may hold it."""
        return tuple(dict.fromkeys((self.name, self.name.partition(".")[0])))

    @cached_property
    def test(self) -> Callable[[str], bool]:
        """Whether a value passes."""
        if self.op in ("=", "!="):
            return self.value.__eq__ if self.op == "=" else self.value.__ne__
        return _Known(Regex(rf"\A(?s:{self.value})\z").search, self.op == "=~").__getitem__

    def mask(self, batch: Batch) -> list[bool]:
        """Whether its value passes."""
        test = self.test
        return [test(v if v.__class__ is str else text_of(v)) for v in column_of(batch, self.name)]


class _Known(dict[str, bool]):
    """What a regex said about the values seen so far: a label has few of them."""

    def __init__(self, search: Callable[[bytes], Any], want: bool) -> None:
        self._search = search
        self._want = want

    def __missing__(self, text: str) -> bool:
        found = (self._search(text.encode("utf-8", "surrogatepass")) is not None) is self._want
        if len(text) <= 256:
            if len(self) >= _KNOWN:
                self.clear()
            self[text] = found
        return found


@dataclass(frozen=True)
class Number(Node):
    """A field compared as a number: `status >= 500`. What is missing or no number never matches."""

    name: str
    op: str
    value: float

    fields = Field.fields

    def mask(self, batch: Batch) -> list[bool]:
        """Whether its number compares so."""
        compare, value = COMPARE[self.op], self.value
        return [n is not None and compare(n, value) for n in map(number_of, column_of(batch, self.name))]


@dataclass(frozen=True)
class Line(Node):
    """A line filter: `|=`, `!=`, `|~`, `!~`; one of the values is enough (none may be there for the negative ones)."""

    op: str
    values: tuple[str, ...]

    @cached_property
    def pattern(self) -> str:
        """All values as one RE2 pattern."""
        return "|".join(f"(?:{value if self.op.endswith('~') else re2.escape(value)})" for value in self.values)

    @cached_property
    def _scanner(self) -> Any:
        return line_scanner(self.pattern)

    @cached_property
    def _search(self) -> Callable[[bytes], Any]:
        return Regex(self.pattern).search

    def mask(self, batch: Batch) -> list[bool]:
        """Whether its line passes."""
        want, lines, columns = self.op.startswith("|"), batch.lines, batch.columns
        if self.op.endswith("=") and len(self.values) == 1:
            text = self.values[0].encode()
            if columns is not None and text not in columns.text:  # one look at all lines, as other stages take it too
                return [not want] * len(lines)
            return [(text in line) is want for line in lines]
        found = self._found(lines)
        return list(found if want else map(operator.not_, found))

    def _found(self, lines: list[bytes]) -> Iterable[bool]:
        joined = b"\n".join(lines)
        if self._scanner is None or joined.count(b"\n") != len(lines) - 1:
            return [self._search(line) is not None for line in lines]
        ends = list(accumulate([len(line) + 1 for line in lines]))
        found = [False] * len(lines)
        start = place = 0
        while start <= len(joined) and (hit := self._scanner.search(joined, start)):
            place = bisect_right(ends, hit.start(), place)
            found[place] = True
            start = ends[place]
        return found


@dataclass(frozen=True)
class Pattern(Node):
    """A line filter by a pattern, `|>` or `!>`: `<_>` stands for any text but the empty one. Raises ValueError.

    As in Loki the line must end where the pattern does but may begin before it, and nothing is tried a second time.
    """

    op: str
    values: tuple[str, ...]

    def __post_init__(self) -> None:
        for value in self.values:
            if "<_><_>" in value:
                raise ValueError("two <_> side by side: write one")
            if named := re.search("<[A-Za-z]\\w*>", value):
                raise ValueError(f"{named[0]} has a name: in a line filter write <_>")

    @cached_property
    def _parts(self) -> list[list[bytes]]:
        return [value.encode().split(b"<_>") for value in self.values]

    def mask(self, batch: Batch) -> list[bool]:
        """Whether its line passes."""
        want = self.op.startswith("|")
        return [any(_like(line, parts) for parts in self._parts) is want for line in batch.lines]


def _like(line: bytes, parts: list[bytes]) -> bool:
    place = 0
    for number, text in enumerate(parts):
        if not text:
            continue
        found = line.find(text, place)
        if found < 0 or (number and found == place):
            return False
        place = found + len(text)
    if not line or parts == [b""]:
        return not line and parts == [b""]
    return (place != len(line)) is (not parts[-1])


@dataclass(frozen=True)
class And(Node):
    """All parts; none of them (`{}`) selects everything."""

    parts: tuple[Node, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of all parts."""
        return tuple(dict.fromkeys(name for part in self.parts for name in part.fields))

    def mask(self, batch: Batch) -> list[bool]:
        """Each part sees only what the ones before it left."""
        mask = [True] * len(batch)
        for part in self.parts:
            found = iter(part.mask(batch.where(mask)))
            mask = [left and next(found) for left in mask]
        return mask


@dataclass(frozen=True)
class Or(Node):
    """Any part."""

    parts: tuple[Node, ...]

    fields = And.fields

    def mask(self, batch: Batch) -> list[bool]:
        """Each part sees only what the ones before it left over."""
        mask = [False] * len(batch)
        for part in self.parts:
            found = iter(part.mask(batch.where(list(map(operator.not_, mask)))))
            mask = [taken or next(found) for taken in mask]
        return mask


@dataclass(frozen=True)
class Not(Node):
    """What the part does not select."""

    part: Node

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the part."""
        return self.part.fields

    def mask(self, batch: Batch) -> list[bool]:
        """The other records."""
        return list(map(operator.not_, self.part.mask(batch)))
