"""Plain data as YAML with comments."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

Path: TypeAlias = tuple[str | int, ...]
_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./-]*")
_WORDS = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])
_WIDTH = 100


def text_of(data: Mapping[str, Any], comments: Mapping[Path, str]) -> str:
    """The document; a comment stands above what its path leads to."""
    return "\n".join(_map(data, comments, (), "")) + "\n"


def _map(data: Mapping[str, Any], comments: Mapping[Path, str], path: Path, pad: str) -> Iterator[str]:
    for key, value in data.items():
        here = (*path, key)
        yield from _comment(comments, here, pad)
        yield from _value(f"{pad}{_scalar(key)}:", value, comments, here, pad)


def _value(start: str, value: Any, comments: Mapping[Path, str], path: Path, pad: str) -> Iterator[str]:
    flow = _flow(value)
    inner = any(len(one) > len(path) and one[: len(path)] == path for one in comments)
    if not inner and (not isinstance(value, dict | list) or not value or len(start) + len(flow) < _WIDTH):
        yield f"{start} {flow}"
    elif isinstance(value, dict):
        yield start
        yield from _map(value, comments, path, f"{pad}  ")
    else:
        yield start
        for place, item in enumerate(value):
            yield from _comment(comments, (*path, place), f"{pad}  ")
            if isinstance(item, dict):
                first, *rest = _map(item, comments, (*path, place), f"{pad}    ")
                yield f"{pad}  - {first.lstrip()}"
                yield from rest
            else:
                yield f"{pad}  - {_flow(item)}"


def _comment(comments: Mapping[Path, str], path: Path, pad: str) -> Iterator[str]:
    for line in comments.get(path, "").splitlines():
        yield f"{pad}# {line}"


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_scalar(key)}: {_flow(one)}" for key, one in value.items()) + " }" if value else "{}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)
