"""Redaction of JSON: of lines, whose untouched values keep their bytes, and of decoded values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ._escapes import BACKSLASH, ESCAPE, views
from ._raw_json import items, members, plain
from ._redaction import Engine, Finding, Found
from ._rules import Rule

_encode = msgspec.json.Encoder().encode


def redact_lines(
    engine: Engine, lines: Mapping[int, bytes], hits: Mapping[int, Sequence[Rule]]
) -> dict[int, tuple[bytes, Found]]:
    """JSON objects as lines: those that change, and what was taken out. Raises ValueError for what is no object.

    Where every secret lies within one string value, the line is changed where it stands; else it is taken apart.
    """
    in_place, apart = dict(hits), []
    for place, rules in hits.items():
        if engine.allow or _needs_values(engine, lines[place], rules):
            del in_place[place]
            apart.append(place)
    done, left = engine.take_out(lines, in_place, raw=False, fits=_within_strings)
    for place in apart + left:
        found: Found = []
        line = lines[place]
        new = _redacted(engine, line, found, "", False, 0)
        if engine.candidates(new) and _repeats_a_key(new):
            # readers see the last of equal keys: a secret under the others would ship unseen
            new = _redacted(engine, _encode(msgspec.json.decode(new)), found, "", False, 0)
        if new is not line:
            done[place] = new, found
    return done


def redact_value(engine: Engine, value: Any, found: Found, key: str = "", hide: bool = False, path: str = "") -> Any:
    """A decoded value, itself when it is clean. Strings get markers, numbers become 0, all else keeps its type."""
    if value.__class__ is str:
        return engine.text(value, found, key, hide)
    if isinstance(value, dict):
        hidden = _hidden(engine, value, hide, path)
        new: dict[Any, Any] = {}
        for name, item in value.items():
            inner = f"{path}.{name}" if path else str(name)
            if engine.passes(name, inner):
                new[_free(name, new)] = item
                continue
            new_name = _free(engine.text(name, found) if isinstance(name, str) else name, new)
            new[new_name] = redact_value(engine, item, found, str(name), name in hidden, inner)
        return new if any(new.get(name, new) is not item for name, item in value.items()) else value
    if isinstance(value, list | tuple):
        pair = len(value) == 2 and engine.hides(value[0])
        values = [redact_value(engine, v, found, key, hide or (pair and n == 1), path) for n, v in enumerate(value)]
        same = all(new is old for new, old in zip(values, value, strict=True))
        return value if same else type(value)(values) if type(value) in (list, tuple) else values
    if isinstance(value, int | float) and not isinstance(value, bool):
        return type(value)(0) if engine.number(str(value).encode(), found, key, hide) else value
    return value


def _needs_values(engine: Engine, line: bytes, rules: Sequence[Rule]) -> bool:
    """Whether a rule asks for a whole value or for its key: then the line is decoded."""
    special = [rule for rule in rules if rule.anchored or rule is engine.names]
    return bool(special) and any(rule.maybe(text) for text, _ in views(line, raw=False) for rule in special)


def _within_strings(line: bytes, findings: list[Finding]) -> bool:
    """Whether each part of a JSON line lies within one string that is a value: then it can change where it stands."""
    if BACKSLASH in line:
        line = ESCAPE.sub(lambda m: b" " * len(m[0]), line)
    quotes, last, close = 0, 0, -1
    for start, end, _ in findings:
        quotes += line.count(b'"', last, start)
        last = start
        if close < end:
            close = line.find(b'"', end)
        if quotes % 2 == 0 or b'"' in line[start:end] or line[close + 1 : close + 20].lstrip()[:1] == b":":
            return False
    return True


def _redacted(engine: Engine, raw: bytes, found: Found, key: str, hide: bool, depth: int, path: str = "") -> bytes:
    """One value of a line, itself when it is clean; the line itself is a value at depth 0."""
    first = raw[:1]
    if first == b'"':
        text = plain(raw)
        new_text = engine.text(text, found, key, hide)
        return raw if new_text is text else _encode(new_text)
    if first == b"{" or not depth:
        fields = members(raw, depth)
        hidden = _hidden(engine, fields, hide, path)
        new: dict[str, msgspec.Raw] = {}
        touched = False
        for name, item in fields.items():
            inner = f"{path}.{name}" if path else name
            if engine.passes(name, inner):
                new[_free(name, new)] = item
                continue
            old = bytes(item)
            value = _redacted(engine, old, found, name, name in hidden, depth + 1, inner)
            new_name = _free(engine.text(name, found), new)
            touched = touched or value is not old or new_name is not name
            new[new_name] = item if value is old else msgspec.Raw(value)
        return _encode(new) if touched else raw
    if first == b"[":
        olds = [bytes(item) for item in items(raw, depth)]
        pair = len(olds) == 2 and olds[0][:1] == b'"' and engine.hides(plain(olds[0]))
        hidden_at = 1 if pair else -1
        values = [_redacted(engine, v, found, key, hide or n == hidden_at, depth + 1, path) for n, v in enumerate(olds)]
        same = all(value is old for value, old in zip(values, olds, strict=True))
        return raw if same else _encode([msgspec.Raw(value) for value in values])
    if first in b"tfn":
        return raw
    if engine.number(raw, found, key, hide):
        return b"0.0" if any(byte in b".eE" for byte in raw) else b"0"
    return raw


def _hidden(engine: Engine, fields: Mapping[Any, Any], hide: bool, path: str) -> set[Any]:
    """The keys whose value is hidden: by their own name, or by `{"name": "Authorization", "value": …}`."""
    if hide:
        return set(fields)
    hidden = {name for name in fields if engine.hides(name)}
    if path and engine.deny:
        hidden |= {name for name in fields if f"{path}.{name}" in engine.deny}
    if "value" in fields:
        for name in ("name", "key", "header"):
            label = fields.get(name)
            if isinstance(label, msgspec.Raw):
                label = plain(label) if bytes(label)[:1] == b'"' else None
            if engine.hides(label):
                hidden.add("value")
    return hidden


def _free(name: Any, taken: Mapping[Any, Any]) -> Any:
    """A key that is not taken: two redacted keys of one object must not swallow each other."""
    if name not in taken:
        return name
    number = len(taken) + 1  # counting from 2 would take quadratic time
    while f"{name} {number}" in taken:
        number += 1
    return f"{name} {number}"


class _RepeatedKey(Exception):
    pass


def _repeats_a_key(line: bytes) -> bool:
    def look(pairs: list[tuple[str, Any]]) -> None:
        if len({name for name, _ in pairs}) < len(pairs):
            raise _RepeatedKey

    try:
        json.loads(line, object_pairs_hook=look)  # the only reader that shows equal keys
    except _RepeatedKey:
        return True
    return False
