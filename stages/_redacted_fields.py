"""Redaction of the fields beside a line: what a parser found in it, and what stages added."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..pipeline.record import Record
from ._key_names import KEY_NAME
from ._redacted_json import redact_value
from ._redaction import Engine, Found

_REMEMBERED = 20_000
_SHORT = 200
_MOST = 1000


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

    def hide_parsed(self, records: Sequence[Record]) -> Found:
        """Hide fields of text lines whose name asks for it: the line shows such a value without its name."""
        all_found: Found = []
        parsed = [record for record in records if record.parsed is not None and record.format == "text"]
        names = {name for names in {tuple(record.parsed or ()) for record in parsed} for name in names}
        allow = self._engine.allow
        secret = [name for name in sorted(names) if name not in allow and self._engine.hides(name)]
        for record in parsed if secret else ():
            fields = record.parsed or {}
            for name in secret:
                old = fields.get(name)
                found: Found = []
                new = redact_value(self._engine, old, found, name, True)
                if new is old:
                    continue
                all_found += found
                fields[name] = new
                if record.added and name in record.added:
                    record.added[name] = new
                if isinstance(old, str):
                    record.line = self._hidden_in(record.line, old)
                    known = {old: new} if len(old) > 5 else {}
                    record.parsed = fields = {
                        key: value if key in allow else _replaced(value, known) for key, value in fields.items()
                    }
        return all_found

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

    def _hidden_in(self, line: bytes, secret: str) -> bytes:
        """A text line without a value that was hidden for its name, where it stands as a word of its own."""
        value = secret.encode("utf-8", "surrogatepass")
        if value not in line:
            return line
        whole = re.compile(rb"(?<!\w)" + re.escape(value) + rb"(?!\w)")
        return whole.sub(lambda _: self._engine.mark(KEY_NAME, value), line)


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
