"""What a component class says about itself: its options, their types and defaults, its sentences."""

from __future__ import annotations

import ast
import inspect
import sys
import types
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from ..pipeline.component import Component
from ..pipeline.match import Match
from ..pipeline.options import Duration, Regex, Secret, Size, Template

_UNITS = (("w", 604800), ("d", 86400), ("h", 3600), ("m", 60), ("s", 1), ("ms", 0.001))
_SIZES = (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3))
_WORDS: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    Path: "path",
    Any: "anything",
    type(None): "nothing",
    Duration: "duration",
    Size: "size",
    Secret: "secret",
    Template: "template",
    Regex: "regular expression",
    Match: "LogQL match",
}


class Option(msgspec.Struct, frozen=True):
    """One field of a Struct that may be written in YAML."""

    name: str
    """The key in YAML."""
    field: str
    """The attribute."""
    kind: Any
    """Its type annotation, resolved."""
    required: bool
    default: Any = None
    own: bool = True
    """Declared by the class itself, not by a class that it builds on."""


@cache
def options(cls: type[msgspec.Struct]) -> dict[str, Option]:
    """The options of a component or of a map inside one, by their YAML keys: its own first, in the order written."""
    unset = len(cls.__struct_fields__) - len(cls.__struct_defaults__)
    defaults = dict(zip(cls.__struct_fields__, (msgspec.NODEFAULT,) * unset + cls.__struct_defaults__, strict=True))
    keys = dict(zip(cls.__struct_fields__, cls.__struct_encode_fields__, strict=True))
    found: dict[str, Option] = {}
    for klass in cls.__mro__:
        for name, kind in _public_types(klass, keys).items():
            if keys[name] in found or (name == "name" and issubclass(cls, Component)):
                continue
            default = defaults[name]
            required = default is msgspec.NODEFAULT
            factory = getattr(default, "factory", None)
            value = None if required else factory() if factory else default
            found[keys[name]] = Option(keys[name], name, kind, required, value, klass is cls)
    return found


def _public_types(cls: type, fields: Iterable[str]) -> dict[str, Any]:
    """The types of a class's own public fields. A private one may be known to type checkers only."""
    own = inspect.get_annotations(cls)
    public = {name: kind for name, kind in own.items() if name in fields and not name.startswith("_")}
    module = sys.modules.get(cls.__module__)
    # A bare annotation holder: for a class, get_type_hints would resolve every field of every base.
    holder = types.SimpleNamespace(__annotations__=public)
    return get_type_hints(holder, vars(module) if module else {}, include_extras=True)


def sentences(cls: type) -> str:
    """The docstring of a class, as written; empty when it has none of its own."""
    return inspect.cleandoc(cls.__dict__.get("__doc__") or "")


@cache
def option_sentences(cls: type) -> dict[str, str]:
    """The docstring below each field, by field name, those of base classes included."""
    found: dict[str, str] = {}
    for klass in reversed(cls.__mro__):
        if klass.__module__.startswith(("builtins", "msgspec")):
            continue
        found |= _below_fields(klass)
    return found


def members(kind: Any) -> tuple[Any, ...]:
    """The alternatives of a union, or the type alone; `Annotated` taken off."""
    if get_origin(kind) is Annotated:
        return members(get_args(kind)[0])
    if get_origin(kind) in (Union, types.UnionType):
        return tuple(inner for member in get_args(kind) for inner in members(member))
    return (kind,)


def in_words(kind: Any) -> str:
    """A type as a person would say it: `list of text`, `json | logfmt`, `duration`."""
    spoken = []
    for member in members(kind):
        origin, inner = get_origin(member), get_args(member)
        if member is type(None):
            continue
        if origin is Literal:
            spoken += [f"`{written(value)}`" for value in inner]
        elif origin in (list, tuple, set, frozenset):
            spoken.append(f"list of {in_words(inner[0])}")
        elif origin is dict:
            spoken.append(f"map of {in_words(inner[1])}")
        elif isinstance(member, type) and issubclass(member, msgspec.Struct):
            spoken.append("map")
        elif member is list:
            spoken.append("list")
        elif member in (dict, tuple, set):
            spoken.append("map" if member is dict else "list")
        else:
            spoken.append(_WORDS.get(member) or _word_of(member))
    return " or ".join(spoken)


def structs_in(kind: Any) -> list[type[msgspec.Struct]]:
    """The maps with fixed keys that stand inside a type."""
    found: list[type[msgspec.Struct]] = []
    for member in members(kind):
        if isinstance(member, type) and issubclass(member, msgspec.Struct):
            found.append(member)
        elif get_origin(member) is not Literal:
            for inner in get_args(member):
                found += structs_in(inner)
    return found


def plain(value: Any) -> Any:
    """A default as plain data: `200ms`, `1MiB`, lists and maps of such."""
    if isinstance(value, Duration):
        return _duration(value)
    if isinstance(value, Size):
        return _size(value)
    if isinstance(value, Template | Regex | Match):
        return value.text
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, option.field)) for name, option in options(type(value)).items()}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in value)
    if isinstance(value, bool | None) or type(value) in (int, float):
        return value
    return str(value)


def written(value: Any) -> str:
    """A default as it would be written in YAML, on one line."""
    text = yaml.safe_dump(plain(value), default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6)
    return text.removesuffix("\n").removesuffix("\n...")


def _below_fields(cls: type) -> dict[str, str]:
    try:
        tree = ast.parse(inspect.getsource(inspect.getmodule(cls) or cls))
    except (OSError, TypeError):
        return {}
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if not isinstance(node, ast.ClassDef) or node.name != cls.__name__:
            continue
        for field, below in zip(node.body, node.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(below, ast.Expr)
                and isinstance(below.value, ast.Constant)
                and isinstance(below.value.value, str)
            ):
                found[field.target.id] = inspect.cleandoc(below.value.value)
    return found


def _word_of(kind: Any) -> str:
    return getattr(kind, "__name__", str(kind)).lower()


def _duration(seconds: float) -> str:
    for unit, length in _UNITS:
        count = round(seconds / length, 6)
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    return f"{round(seconds / 0.001, 6):g}ms" if seconds else "0s"


def _size(count: int) -> str | int:
    for unit, length in _SIZES:
        if count and count % length == 0:
            return f"{count // length}{unit}"
    return int(count)
