"""JSON taken apart one level at a time: what nobody changes keeps its bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

RawObject: TypeAlias = dict[str, msgspec.Raw]

_DEEPEST = 64
_decode = msgspec.json.decode
_object = msgspec.json.Decoder(RawObject).decode
_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


def members(raw: bytes, depth: int = 0) -> RawObject:
    """The members of an object. Raises ValueError, which never holds the data, for what is none or is too deep."""
    _not_too_deep(depth)
    try:
        return _object(raw)
    except UnicodeDecodeError:
        return _object(raw.decode("utf-8", "replace").encode())
    except msgspec.DecodeError:
        raise ValueError("a record that should be one JSON object cannot be decoded") from None


def items(raw: bytes, depth: int = 0) -> list[msgspec.Raw]:
    """The items of a list. Raises ValueError for one that is too deep."""
    _not_too_deep(depth)
    return _list(raw)


def plain(raw: bytes | msgspec.Raw) -> Any:
    """The decoded value; bytes that are not UTF-8 become U+FFFD."""
    try:
        return _decode(raw)
    except UnicodeDecodeError:
        return _decode(bytes(raw).decode("utf-8", "replace"))


def _not_too_deep(depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"JSON nested deeper than {_DEEPEST} levels")
