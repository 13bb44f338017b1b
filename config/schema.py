"""The JSON Schema of a config, for editors: made from the component classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec

from ..pipeline import discover
from ..pipeline.component import Component
from ..pipeline.match import Match
from ..pipeline.options import Duration, Regex, Secret, Size, Template
from .describe import Option, members, option_sentences, options, plain, sentences
from .load import Address, Config

Schema = dict[str, Any]

_DURATION = r"^(\s*\d+(\.\d+)?\s*(ms|s|m|h|d|w))+\s*$"
_SIZE = r"^\s*\d+(\.\d+)?\s*(B|kB|KB|MB|GB|KiB|MiB|GiB)?\s*$"
_SECRET: Schema = {
    "description": "From the environment or a file; never written here.",
    "type": "object",
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}},
}
_OF_TYPE: dict[Any, Schema] = {
    Duration: {"type": "string", "pattern": _DURATION, "examples": ["250ms", "30s", "1h30m"]},
    Size: {
        "anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _SIZE}],
        "examples": [4096, "512KiB"],
    },
    Secret: _SECRET,
    Template: {"type": "string"},
    Regex: {"type": "string", "format": "regex"},
    Match: {"type": "string"},
    Path: {"type": "string", "minLength": 1},
    Address: {"type": "string", "pattern": r"^(\[[0-9a-fA-F:.]+\]|[^\s:\[\]]+):\d+$"},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    list: {"type": "array"},
    dict: {"type": "object"},
    Any: {},
}


def schema() -> Schema:
    """The JSON Schema (draft 2020-12) of a whole config."""
    definitions: Schema = {}
    branches: dict[str, list[Schema]] = {}
    for kind in discover.PLACES:
        branches[kind] = []
        for word in discover.words(kind):
            definitions[f"{kind}.{word}"] = _component(discover.component(kind, word), word)
            branches[kind].append({"$ref": f"#/$defs/{kind}.{word}"})
    properties = {name: _option(Config, option) for name, option in options(Config).items()}
    for kind, known in branches.items():
        words = discover.words(kind)
        own = {"type": "object", "required": ["use"], "properties": {"use": {"not": {"enum": words}}}}
        one = {"type": "object", "required": ["use"], "oneOf": [*known, own]}
        holder = properties[f"{kind}s"]
        holder.pop("default", None)
        if kind == "stage":
            holder |= {"type": ["array", "null"], "items": one}
        else:
            names = {"pattern": "^[A-Za-z_][A-Za-z0-9_-]*$"}
            holder |= {"type": "object", "minProperties": 1, "propertyNames": names, "additionalProperties": one}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "tailrace",
        "description": sentences(Config),
        "type": "object",
        "required": [name for name, option in options(Config).items() if option.required],
        "properties": properties,
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        # Words of a user's own are fine only where a file brings them.
        "if": {"required": ["stage_files"]},
        "else": {"properties": {f"{kind}s": _only(kind, discover.words(kind)) for kind in discover.PLACES}},
        "$defs": definitions,
    }


def of_type(kind: Any) -> Schema:
    """The JSON Schema of an option's type."""
    if get_origin(kind) is Annotated:
        meta = [extra for extra in get_args(kind)[1:] if isinstance(extra, msgspec.Meta)]
        return of_type(get_args(kind)[0]) | {k: v for extra in meta for k, v in _limits(extra, kind).items()}
    among = members(kind)
    if len(among) > 1:
        return {"anyOf": [of_type(member) for member in among]}
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return {"enum": list(inner)}
    if origin in (list, set, frozenset) or (origin is tuple and inner[-1] is ...):
        return {"type": "array", "items": of_type(inner[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [of_type(one) for one in inner], "items": False, "minItems": len(inner)}
    if origin is dict:
        return {"type": "object", "additionalProperties": of_type(inner[1])}
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return _map(kind)
    return dict(_OF_TYPE.get(kind, {}))


def _component(cls: type[Component], word: str) -> Schema:
    made = _map(cls)
    made["title"] = word
    made["required"] = ["use", *made["required"]]
    made["properties"] = {"use": {"const": word}} | made["properties"]
    return made


def _map(cls: type[msgspec.Struct]) -> Schema:
    known = options(cls)
    return {
        "description": sentences(cls),
        "type": "object",
        "required": [name for name, option in known.items() if option.required],
        "properties": {name: _option(cls, option) for name, option in known.items()},
        "additionalProperties": False,
    }


def _option(cls: type[msgspec.Struct], option: Option) -> Schema:
    made: Schema = {"description": option_sentences(cls).get(option.field, "")} if cls else {}
    made = of_type(option.kind) | made
    if not option.required and option.default is not None:
        made["default"] = plain(option.default)
    return made


def _limits(meta: msgspec.Meta, kind: Any) -> Schema:
    array = get_origin(members(kind)[0]) in (list, set, frozenset, tuple)
    named = {
        "minItems" if array else "minLength": meta.min_length,
        "maxItems" if array else "maxLength": meta.max_length,
        "minimum": meta.ge,
        "exclusiveMinimum": meta.gt,
        "maximum": meta.le,
        "exclusiveMaximum": meta.lt,
        "pattern": meta.pattern,
    }
    return {name: value for name, value in named.items() if value is not None}


def _only(kind: str, words: list[str]) -> Schema:
    one = {"properties": {"use": {"enum": words}}}
    return {"items": one} if kind == "stage" else {"additionalProperties": one}
