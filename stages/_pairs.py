"""`key=value` pairs in a text: logfmt's values, Python's reprs, and JSON."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec

from ..pipeline.record import Fields

_KEY = re.compile(r"(?<!\S)([A-Za-z_@][\w.@/-]*+)=", re.ASCII)
_QUOTED = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"(?!\S)', re.DOTALL)
_SINGLE = re.compile(r"'[^'\\]*+(?:\\.[^'\\]*+)*+'(?!\S)", re.DOTALL)
_BARE = re.compile(r"\S*+")
_BRACKETS = re.compile(r"[\[\](){}]")
_INTEGER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_NUMBER = re.compile(r"[+-]?(?:\d+\.\d*|\.?\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)
_WORDS = {"None": None, "True": True, "False": False}
_json = json.JSONDecoder()
_decode_text = msgspec.json.Decoder(str).decode


def pairs(text: str, *, reprs: bool = False) -> tuple[Fields, int]:
    """The pairs in the first line of a text, and where the first of them begins (its end when there is none).

    A value ends at a blank unless it is quoted, or in brackets that close. `reprs`: values are as Python shows them.
    """
    text = text.partition("\n")[0]
    fields: Fields = {}
    begin = len(text)
    place, closes = 0, True
    while found := _KEY.search(text, place):
        begin = min(begin, found.start())
        start = found.end()
        mark = text[start : start + 1]
        quoted = _QUOTED.match(text, start) if mark == '"' else _SINGLE.match(text, start) if mark == "'" else None
        value: Any
        if quoted:
            place = quoted.end()
            value = _unquote(quoted[0])
        elif mark in ("{", "[", "(") and closes and mark and (end := _closing(text, start)):
            place = end
            value = text[start:end] if reprs else _structure(text[start:end])
        else:
            # What is open is looked for the end of once: no text makes this go over it again and again.
            closes = closes and mark not in ("{", "[", "(")
            bare = _BARE.match(text, start)
            assert bare is not None  # it matches the empty text
            place = bare.end()
            value = _literal(bare[0]) if reprs else bare[0]
        fields[found[1]] = value
    return fields, begin


def unescape(text: str) -> str:
    """Text with JSON's escapes; as it is where they are none."""
    try:
        return _decode_text(f'"{text}"')
    except msgspec.MsgspecError:
        return text


def _unquote(text: str) -> str:
    inner = text[1:-1]
    if "\\" not in inner:
        return inner
    return inner.replace("\\'", "'").replace("\\\\", "\\") if text[0] == "'" else unescape(inner)


def _closing(text: str, start: int) -> int:
    """The place behind the bracket that closes the one here; 0 when none does."""
    depth = 0
    for found in _BRACKETS.finditer(text, start):
        depth += 1 if found[0] in "[({" else -1
        if depth == 0:
            return found.end()
    return 0


def _structure(text: str) -> Any:
    try:
        value = _json.decode(text)
        json.dumps(value, ensure_ascii=False).encode()  # a lone surrogate could not be written again
    except (ValueError, RecursionError):
        return text
    return value


def _literal(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text
