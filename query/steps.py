"""What may stand behind a selector: parsers, label filters, formats; each changes a row or leaves it out."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
import re2

from ..pipeline.ack import Ack
from ..pipeline.batch import Batch
from ..pipeline.match import COMPARE, Field, Node
from ..pipeline.record import Record
from . import units
from .row import DETAILS, ERROR, Row, flattened, sanitized
from .template import Template

_ANSI = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_PAIR = re.compile(rb'([^\s="]+)(?:=(?:"((?:[^"\\]|\\.)*)("?)|([^\s"]*)))?|(\S)')
_NO_ACK = Ack(None, 0, ())


class Step:
    """One step: `names` are the labels that it reads, `whole` whether it looks at all of a line by itself."""

    names: tuple[str, ...] = ()
    whole = False

    def __call__(self, row: Row) -> bool:
        """Change the row; False leaves it out."""
        raise NotImplementedError


@dataclass(frozen=True)
class Filter(Step):
    """A line filter behind other steps."""

    node: Node

    def __call__(self, row: Row) -> bool:
        """Whether the line passes as it is now."""
        return self.node.mask(Batch([Record(row.line)], "", "", {}, _NO_ACK, 0, {}))[0]


@dataclass(frozen=True)
class Text(Step):
    """A label compared as text: `level="error"`; a missing one is empty."""

    field: Field

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """The label."""
        return (self.field.name,)

    def __call__(self, row: Row) -> bool:
        """Whether it passes."""
        return self.field.test(row.get(self.field.name) or "")


@dataclass(frozen=True)
class Amount(Step):
    """A label compared as a number, a duration (ns) or a size (bytes); what cannot be read passes, with an error."""

    name: str
    op: str
    value: float
    read: Callable[[str], float | None]

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """The label."""
        return (self.name,)

    def __call__(self, row: Row) -> bool:
        """Whether it passes."""
        text = row.get(self.name)
        if text is None:
            return False
        number = self.read(text)
        if number is None:
            row.fail("LabelFilterErr", f"{text[:100]!r} cannot be compared")
            return True
        return COMPARE[self.op](number, self.value)


@dataclass(frozen=True)
class Both(Step):
    """All of several filters; as in Loki each one is looked at."""

    parts: tuple[Step, ...]

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """Those of all parts."""
        return tuple(name for part in self.parts for name in part.names)

    def __call__(self, row: Row) -> bool:
        """Whether all pass."""
        passed = [part(row) for part in self.parts]
        return all(passed)


@dataclass(frozen=True)
class Any_(Step):
    """One of several filters."""

    parts: tuple[Step, ...]

    names = Both.names

    def __call__(self, row: Row) -> bool:
        """Whether one passes."""
        return any(part(row) for part in self.parts)


@dataclass(frozen=True)
class Json(Step):
    """`| json`: all values of a JSON line, those inside of objects as `outer_inner`; lists are left out."""

    def __call__(self, row: Row) -> bool:
        """Add the labels."""
        if row.simple and row.line is row.stored:
            row.open = row.parsed = True
            return True
        try:
            flattened(row.line, row)
        except (ValueError, msgspec.DecodeError, RecursionError):
            row.fail("JSONParserErr", "the line is no JSON object")
        return True


@dataclass(frozen=True)
class JsonPaths(Step):
    """`| json model="request.model", first="items[0]"`: some values of a JSON line."""

    paths: tuple[tuple[str, tuple[str | int, ...]], ...]

    def __call__(self, row: Row) -> bool:
        """Add the labels; empty ones for what is not there."""
        if not row.line:
            return True
        try:
            fields: Any = msgspec.json.decode(row.line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            row.fail("JSONParserErr", "the line is no JSON")
            return True
        for name, path in self.paths:
            value = fields
            for key in path:
                if isinstance(key, int):
                    value = value[key] if isinstance(value, list) and key < len(value) else None
                else:
                    value = value.get(key) if isinstance(value, dict) else None
            row.add(name, value if isinstance(value, str) else "" if value is None else _json(value))
        return True


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


@dataclass(frozen=True)
class Logfmt(Step):
    """`| logfmt`: `key=value` pairs; with `paths` only those, by other names."""

    strict: bool = False
    keep_empty: bool = False
    paths: tuple[tuple[str, str], ...] = ()

    def __call__(self, row: Row) -> bool:
        """Add the labels."""
        wanted = {key: name for name, key in self.paths}
        for name in wanted.values():
            if name not in row.stream:
                row.labels[name] = ""
        for key, quoted, closed, bare, wrong in _PAIR.findall(row.line):
            if wrong or (quoted and not closed):
                if self.strict:
                    row.fail("LogfmtParserErr", "the line is no logfmt")
                    break
                continue
            name = sanitized(key.decode("utf-8", "replace"))
            value = (_unquoted(quoted) if quoted else bare).decode("utf-8", "replace").replace("\ufffd", " ")
            if wanted:
                name = wanted.get(name, "")
            if name and (value or self.keep_empty or wanted):
                row.add(name, value)
        return True


def _unquoted(text: bytes) -> bytes:
    if b"\\" not in text:
        return text
    try:
        return str(msgspec.json.decode(b'"' + text + b'"')).encode()
    except msgspec.DecodeError:
        return text


@dataclass(frozen=True)
class Regexp(Step):
    """`| regexp "(?P<name>re)"`: what named groups find first."""

    pattern: str

    @cached_property
    def _search(self) -> Callable[[bytes], Any]:
        return re2.compile(self.pattern.encode()).search  # type: ignore[no-any-return]  # re2 has no types

    @cached_property
    def _groups(self) -> list[tuple[str, int]]:
        groups = re2.compile(self.pattern).groupindex
        return [(sanitized(name), number) for name, number in groups.items()]

    def __call__(self, row: Row) -> bool:
        """Add the labels."""
        if found := self._search(row.line):
            for name, number in self._groups:
                row.add(name, (found[number] or b"").decode("utf-8", "replace"))
        return True


@dataclass(frozen=True)
class Parts(Step):
    """`| pattern "<ip> - <_> [<time>]"`: text between the texts that are given; `<_>` is left out."""

    pattern: str

    @cached_property
    def _pieces(self) -> list[str]:
        return re.split(r"<([A-Za-z_]\w*)>", self.pattern)

    def __call__(self, row: Row) -> bool:
        """Add the labels; what comes last before a text that is not there takes all."""
        pieces, line = self._pieces, row.line
        first = pieces[0].encode()
        if not line or not line.startswith(first):
            return True
        place = len(first)
        for name, text in zip(pieces[1::2], pieces[2::2], strict=True):
            following = text.encode()
            end = line.find(following, place) if following else -1
            if name != "_":
                row.add(name, line[place : end if end >= 0 else None].decode("utf-8", "replace"))
            if end < 0:
                break
            place = end + len(following)
        return True


@dataclass(frozen=True)
class Unpack(Step):
    """`| unpack`: the labels of a packed JSON line, whose `_entry` becomes the line."""

    def __call__(self, row: Row) -> bool:
        """Change line and labels, if it is packed."""
        try:
            fields = msgspec.json.decode(row.line, type=dict[str, Any]) if row.line else {}
        except (msgspec.DecodeError, UnicodeDecodeError):
            row.fail("JSONParserErr", "the line is no JSON object")
            return True
        entry = fields.pop("_entry", None)
        if isinstance(entry, str):
            for key, value in fields.items():
                if isinstance(value, str):
                    row.add(sanitized(key), value)
            row.line = entry.encode()
        return True


@dataclass(frozen=True)
class LineFormat(Step):
    """`| line_format "{{.model}}"`: another line."""

    template: Template

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """What stands in the template."""
        return tuple(self.template.names)

    def __call__(self, row: Row) -> bool:
        """Write the line anew; where a function fails it stays and is marked."""
        try:
            row.line = self.template.render(row).encode("utf-8", "replace")
        except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
            row.fail("TemplateFormatErr", str(error))
        return True


@dataclass(frozen=True)
class LabelFormat(Step):
    """`| label_format took=duration_ms, who="{{.user}}"`: labels by other names, or new ones."""

    parts: tuple[tuple[str, str | Template], ...]

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """What is renamed, and what stands in the templates."""
        return tuple(name for _, part in self.parts for name in ([part] if isinstance(part, str) else part.names))

    def __call__(self, row: Row) -> bool:
        """Change the labels."""
        for name, part in self.parts:
            if isinstance(part, str):
                value = row.get(part)
                if value is not None:
                    row.labels[name] = value
                    row.labels[part] = None
                continue
            try:
                row.labels[name] = part.render(row)
            except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
                row.fail("TemplateFormatErr", str(error))
        return True


@dataclass(frozen=True)
class Choose(Step):
    """`| drop a, b` and `| keep a, b`: takes labels away, by name or only where they have a value."""

    keep: bool
    chosen: tuple[tuple[str, Field | None], ...]

    @property
    def names(self) -> tuple[str, ...]:  # type: ignore[override]  # known when it is made
        """The labels."""
        return tuple(name for name, _ in self.chosen)

    @property
    def whole(self) -> bool:  # type: ignore[override]  # known when it is made
        """Which labels are left depends on all of them."""
        return self.keep

    def __call__(self, row: Row) -> bool:
        """Take the labels away."""
        hit = {name for name, test in self.chosen if test is None or test.test(row.get(name) or "")}
        if not self.keep:
            for name in hit:
                row.labels[name] = None
                if name == ERROR:
                    del row.labels[ERROR]
                    row.labels.pop(DETAILS, None)
            return True
        kept = {name: row.get(name) for name in hit}
        errors = {name: value for name, value in row.labels.items() if name in (ERROR, DETAILS)}
        row.labels, row.open = {**kept, **errors}, False
        return True


@dataclass(frozen=True)
class Decolorize(Step):
    """`| decolorize`: without the colour codes of a terminal."""

    def __call__(self, row: Row) -> bool:
        """Change the line."""
        row.line = _ANSI.sub(b"", row.line)
        return True


@dataclass(frozen=True)
class Unwrap:
    """`| unwrap duration_ms`: the label whose number is what counts."""

    name: str
    convert: str = ""
    after: tuple[Step, ...] = field(default=())
    """Filters behind it, which may leave out what could not be read."""

    def value(self, row: Row) -> float | None:
        """The number; None where there is none to count."""
        text = row.get(self.name)
        if not text:
            return None
        found: float | None
        if self.convert in ("duration", "duration_seconds"):
            ns = units.duration(text)
            found = None if ns is None else ns / 1e9
        else:
            found = units.size(text) if self.convert == "bytes" else units.number(text)
        if found is None:
            row.fail("SampleExtractionErr", f"{text[:100]!r} cannot be read as a number")
            found = 0.0
        passed = [step(row) for step in self.after]
        return found if all(passed) else None
