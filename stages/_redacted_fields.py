"""Redaction of the fields beside a line: what a parser found in it, and what stages added."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import msgspec

from ..pipeline.columns import Columns
from ..pipeline.record import Record
from ._escapes import View, views
from ._key_names import KEY_NAME
from ._redacted_json import redact_value
from ._redaction import Engine, Finding, Found
from ._text_lines import LEVELS

_REMEMBERED = 20_000
_SHORT = 200
_MOST = 1000
_LONG = 6
"""Characters from which on a value is hidden within words, too."""
_TINY = 4
"""Characters below which a value that is hidden for its name is looked for behind that name first."""
_BEHIND = (
    rb"(?<![\w.-])%s\\*[\"']?(?:\x1b\[[\d;]*m)*[ \t]*(?:=>|:=|==?|:)[ \t]*(?:\x1b\[[\d;]*m)*\\*[\"']?(%s)(?![\w.])"
)
_SEAM = re.compile(
    rb"\x1b\[[\d;]*m|\n\d{4}-\d\d-\d\dT\S+ std(?:out|err) [FP](?::\S*)?(?: |(?=\n|$))|"
    rb"\",\"stream\":[^\n]{0,200}\n\{\"log\":\""
)
"""What a parser takes out of the middle of a value: colours, and what container runtimes put between its parts."""
_NUMBER = re.compile(rb"[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?")
_BREAK = re.compile("[\\n\ufffd]")
_WORD = re.compile(rb"\w").match

Value: TypeAlias = str | int | float


class Why(msgspec.Struct):
    """Why a value is hidden."""

    rule: str
    denied: bool = False
    """A field of it is under `deny`."""
    names: set[str] = set()
    """Its fields."""


Values: TypeAlias = dict[Value, Why]


class Fields:
    """Takes secrets out of the fields of records, many records at once."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._clean: set[str] = set()
        """Added values that hold no secret."""

    def without(self, rows: Sequence[tuple[dict[str, Any] | None, Found]]) -> list[dict[str, Any] | None]:
        """Fields of records whose lines held secrets: clean by the rules, and free of the very same secrets.

        Raises ValueError for a record with too many of them.
        """
        suspects = self._suspects([fields or {} for fields, _ in rows])
        new: list[dict[str, Any] | None] = []
        for place, (fields, found) in enumerate(rows):
            if fields:
                known = {
                    text: self._engine.mark(rule, secret).decode()
                    for rule, secret in found
                    if len(text := secret.decode("utf-8", "replace")) > 5
                }
                if len(known) > _MOST:  # one by one would take quadratic time
                    raise ValueError(f"more than {_MOST} different secrets in one record with parsed fields")
                clean = redact_value(self._engine, fields, []) if place in suspects else fields
                allow = self._engine.allow
                fields = {n: value if n in allow else _replaced(value, known) for n, value in clean.items()}
            new.append(fields)
        return new

    def may_hide_named(self, columns: Columns) -> bool:
        """Whether `hide_named` might find something to do in events that are not records yet."""
        if columns.format == "json":
            return False
        names = {name for names in set(map(tuple, columns.parsed or ())) for name in names}
        return bool(self._engine.deny) or any(map(self._engine.hides, names))

    def hide_named(self, records: Sequence[Record]) -> Found:
        """Hide the fields of text lines whose name asks for it, and their values in the line and in other fields.

        The line shows such a value anywhere and without its name. Raises ValueError where it does not show it: it would
        be there in a form that nobody can find.
        """
        deny = self._engine.deny
        texts = [record for record in records if record.format == "text"]
        if "message" in deny:
            parsed = [record for record in texts if record.fields]  # a line that nobody parsed is its own message
        else:
            parsed = [record for record in texts if record.parsed]
        if not deny:
            names = {name for names in {tuple(record.parsed or ()) for record in parsed} for name in names}
            secret = set(filter(self._engine.hides, names))
            parsed = [r for r in parsed if not secret.isdisjoint(r.parsed or ())] if secret else []
        all_found: Found = []
        changed: list[tuple[Record, dict[str, Any], bytes]] = []
        for record in parsed:
            found: Found = []
            old, added = record.parsed or {}, record.added or {}
            values: Values = {}
            others: Values = {}  # need not stem from the line
            fields = self._hidden(
                {n: value for n, value in old.items() if n not in added}, "", "", set(), values, found
            )
            fields |= self._hidden({n: old[n] for n in added if n in old}, "", "", set(), others, found)
            if not values and not others:
                continue
            if len(values) + len(others) > _MOST:  # one by one would take quadratic time
                raise ValueError(f"more than {_MOST} values to hide in one record")
            sought = Sought(others | values, record.line)
            findings, missing = sought.places(record.line)
            if any(value in values for value in missing):
                raise ValueError("the line does not show the value of a field that is to be hidden")
            line = self._engine.hide(record.line, findings)
            allow = self._engine.allow
            fields = {n: fields[n] if n in allow else self._purged(fields[n], sought) for n in old}
            all_found += found
            changed.append((record, fields, line))
        # All of it before any record changes: after an error the chain tries each record anew.
        for record, fields, line in changed:
            if record.added:
                record.added = {name: fields.get(name, value) for name, value in record.added.items()}
            record.parsed, record.line = fields, line
        return all_found

    def _hidden(self, value: Any, key: str, path: str, how: set[str], values: Values, found: Found) -> Any:
        """The value with all that is to be hidden whole in it hidden; `how` it is: by `name`, by `deny`.

        `values` gets what was there, and why it is hidden.
        """
        engine = self._engine
        if isinstance(value, dict):
            new = {}
            for name, item in value.items():
                inner = f"{path}.{name}" if path else str(name)
                if engine.passes(name, inner):
                    new[name] = item
                    continue
                own = {"name"} if engine.hides(name) else set()
                own |= {"deny"} if name in engine.deny or inner in engine.deny else set()
                new[name] = self._hidden(item, str(name), inner, how | own, values, found)
            return new
        if isinstance(value, list | tuple):
            return [self._hidden(item, key, path, how, values, found) for item in value]
        if not how:
            return value
        new_value = redact_value(self._engine, value, [], "", True)
        if new_value is value or not isinstance(value, str | int | float):
            return new_value
        why = values.get(value) or Why(self._rule(value))
        values[value] = why
        why.denied = why.denied or "deny" in how
        why.names.add(key)
        data = str(value).encode("utf-8", "surrogatepass")
        found.append((why.rule, data))
        return self._engine.mark(why.rule, data).decode() if isinstance(value, str) else new_value

    def _rule(self, value: Value) -> str:
        return self._engine.rule_of(value) if isinstance(value, str) else KEY_NAME

    def _purged(self, value: Any, sought: Sought) -> Any:
        """The value without those that were hidden elsewhere."""
        if isinstance(value, str):
            data = value.encode("utf-8", "surrogatepass")
            findings, _ = sought.places(data)
            return self._engine.hide(data, findings).decode("utf-8", "surrogatepass") if findings else value
        if isinstance(value, dict):
            return {name: self._purged(item, sought) for name, item in value.items()}
        if isinstance(value, list):
            return [self._purged(item, sought) for item in value]
        return value

    def clean_added(self, records: Sequence[Record]) -> Found:
        """Clean what stages added, which need not stem from the line: each distinct value is looked at once."""
        found: Found = []
        having = [record for record in records if record.added]
        if having and (suspects := self._new_suspects([record.added or {} for record in having])) is not None:
            having = [record for record in having if not suspects.isdisjoint((record.added or {}).values())]
        for record in having:
            added = redact_value(self._engine, record.added, found)
            if added is not record.added:
                if record.parsed is not None and record.added is not None:
                    for name in record.added:
                        record.parsed.pop(name, None)
                    record.parsed.update(added)
                record.added = added
        return found

    def _suspects(self, rows: Sequence[Mapping[str, Any]]) -> set[int]:
        """Which of these a rule may have to do with: one scan over all of them takes a sixth of a look at each."""
        found: set[int] = set()
        texts: list[bytes] = []
        owners: list[int] = []
        for place, fields in enumerate(rows):
            if "value" in fields or any(map(self._engine.hides, fields)):
                found.add(place)
            for name, value in fields.items():
                if isinstance(value, dict | list | tuple):
                    found.add(place)
                    continue
                text = f'"{name}": "{value}"' if isinstance(value, str) else f'"{name}": {value}'
                texts.append(text.encode("utf-8", "surrogatepass"))
                owners.append(place)
        return found.union(owners[number] for number in self._engine.search(texts, raw=True))

    def _new_suspects(self, rows: Sequence[Mapping[str, Any]]) -> set[str] | None:
        """The values in which a rule may find something; None where values alone do not tell."""
        names = {name for names in set(map(tuple, rows)) for name in names}
        if any(self._engine.hides(name) or self._engine.candidates(name.encode()) for name in names):
            return None
        values = [value for fields in rows for value in fields.values()]
        if {value.__class__ for value in values} != {str}:
            return None
        new = list(set(values) - self._clean)
        dirty = self._engine.search([f'"{value}"'.encode("utf-8", "surrogatepass") for value in new], raw=True)
        if len(self._clean) > _REMEMBERED:
            self._clean.clear()
        self._clean.update(value for place, value in enumerate(new) if place not in dirty and len(value) <= _SHORT)
        return {new[place] for place in dirty}


class Sought:
    """Values to be found in texts: in upper or lower case, behind escapes, a number however it is written."""

    def __init__(self, values: Values, line: bytes) -> None:
        """`line`: where they stem from. If it shows a tiny value behind its name, such places alone are meant."""
        self._values = values
        looks = _looks(views(line, raw=True))
        self._named = {
            value: patterns
            for value, why in values.items()
            if not why.denied and len(str(value)) < _TINY
            if (patterns := [_behind(name, value) for name in why.names])
            and all(any(pattern.search(look) for look, _ in looks) for pattern in patterns)
        }

    def places(self, data: bytes) -> tuple[list[Finding], list[Value]]:
        """Where they stand, and which do not. A short value counts as a word of its own, if it is one anywhere."""
        looks = _looks(views(data, raw=True))
        seamless = _seamless(data)
        findings: list[Finding] = []
        missing: list[Value] = []
        for value, why in self._values.items():
            if patterns := self._named.get(value):
                spans = [(look, found.span(1)) for look in looks for p in patterns for found in p.finditer(look[0])]
                own = [(origin(start), origin(end)) for (_, origin), (start, end) in spans]
                findings += [(start, end, why.rule) for start, end in own if start < end]
                continue
            own = [*_shown(looks, value), *(seamless(value) if seamless else ())] or _as_level(looks, value)
            if own:
                findings += [(start, end, why.rule) for start, end in own if start < end]
            else:
                missing.append(value)
        return findings, missing


def _looks(found: Sequence[View]) -> list[View]:
    return [(view.lower(), origin) for view, origin in found]


def _seamless(data: bytes) -> Callable[[Value], list[tuple[int, int]]] | None:
    """Finds where the parts of a value stand in a text that has something in it which parsers take out."""
    seams = [found.span() for found in _SEAM.finditer(data)]
    if not seams:
        return None
    starts, ends = [0, *(end for _, end in seams)], [*(start for start, _ in seams), len(data)]
    parts = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    sums = [0, *accumulate(map(len, parts))]
    looks = _looks(views(b"".join(parts), raw=True))

    def pieces(start: int, end: int) -> Iterator[tuple[int, int]]:
        for part in range(bisect_right(sums, start) - 1, bisect_left(sums, end)):
            yield starts[part] + max(start - sums[part], 0), starts[part] + min(end, sums[part + 1]) - sums[part]

    return lambda value: [piece for span in _shown(looks, value) for piece in pieces(*span)]


def _shown(looks: Sequence[View], value: Value) -> list[tuple[int, int]]:
    own = [(o(start), o(end)) for look, o in looks for start, end in _spans(look, value)]
    return _in_parts(looks, value) if not own and isinstance(value, str) and _BREAK.search(value) else own


def _behind(name: str, value: Value) -> re.Pattern[bytes]:
    """The value right behind its name, in a text in lower case."""
    parts = (re.escape(str(part).encode("utf-8", "surrogatepass").lower()) for part in (name, value))
    return re.compile(_BEHIND % tuple(parts))


def _as_level(looks: Sequence[View], value: Value) -> list[tuple[int, int]]:
    """Where a level stands that is called otherwise in its field: `FATAL` for `critical`."""
    words = [word.lower() for word, name in LEVELS.items() if name == value]
    return [span for word in words for span in _shown(looks, word)]


def _spans(data: bytes, value: Value) -> list[tuple[int, int]]:
    """Where a value stands in a text in lower case."""
    text = str(value).encode("utf-8", "surrogatepass").lower()
    spans: list[tuple[int, int]] = []
    at = data.find(text)
    while at >= 0:
        spans.append((at, at + len(text)))
        at = data.find(text, at + len(text))
    if len(text) < _LONG:
        words = [
            (start, end) for start, end in spans if not _WORD(data[start - 1 : start]) and not _WORD(data[end:][:1])
        ]
        spans = words or spans
    if not isinstance(value, str):
        spans += [found.span() for found in _NUMBER.finditer(data) if float(found[0]) == value]
    return spans


def _in_parts(looks: Sequence[View], value: str) -> list[tuple[int, int]]:
    """Where the lines of a value stand, without what could not be read in it; nothing if one is missing."""
    spans: list[tuple[int, int]] = []
    for part in filter(None, map(str.strip, _BREAK.split(value))):
        own = [(o(start), o(end)) for look, o in looks for start, end in _spans(look, part)]
        if not own:
            return []
        spans += own
    return spans


def _replaced(value: Any, known: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for secret, mark in known.items():
            value = value.replace(secret, mark)
        return value
    if isinstance(value, dict):
        return {name: _replaced(item, known) for name, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, known) for item in value]
    return value
