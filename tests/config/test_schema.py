from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from tailrace.config.schema import of_type, schema
from tailrace.pipeline import discover
from tailrace.pipeline.options import Duration, Secret


def nodes(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
        for inner in part.values():
            yield from nodes(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from nodes(inner)


def test_every_component_is_in_the_schema_with_its_word() -> None:
    made = schema()
    for kind in discover.PLACES:
        for word in discover.words(kind):
            component = made["$defs"][f"{kind}.{word}"]
            assert component["properties"]["use"] == {"const": word}
            assert component["additionalProperties"] is False
            assert "use" in component["required"]


def test_every_reference_leads_somewhere() -> None:
    made = schema()
    references = [node["$ref"] for node in nodes(made) if isinstance(node.get("$ref"), str)]
    assert references
    assert all(reference.removeprefix("#/$defs/") in made["$defs"] for reference in references)


def test_every_option_has_its_sentence() -> None:
    silent = [
        f"{name}.{option}"
        for name, component in schema()["$defs"].items()
        for option, told in component["properties"].items()
        if option != "use" and not told.get("description")
    ]
    assert silent == []


def test_the_schema_says_what_the_top_of_a_config_needs() -> None:
    made = schema()
    assert made["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert made["required"] == ["sources", "sinks"]
    assert list(made["properties"]) == [
        "sources",
        "stages",
        "sinks",
        "exporter",
        "state",
        "workers",
        "dead_letter",
        "drain",
        "stage_files",
        "tests",
    ]
    assert made["properties"]["drain"]["default"] == "30s"


def test_words_of_your_own_need_stage_files() -> None:
    made = schema()
    assert made["if"] == {"required": ["stage_files"]}
    assert made["else"]["properties"]["stages"]["items"]["properties"]["use"]["enum"] == discover.words("stage")


def test_the_schema_is_plain_json_and_the_same_each_time() -> None:
    assert msgspec.json.encode(schema()) == msgspec.json.encode(schema())
    assert msgspec.json.decode(msgspec.json.encode(schema())) == schema()


class Inner(msgspec.Struct):
    """A map inside."""

    must: str
    """It must."""
    wait: Duration = Duration(1)


@pytest.mark.parametrize(
    ("kind", "made"),
    [
        (str, {"type": "string"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (list[bool], {"type": "array", "items": {"type": "boolean"}}),
        (dict[str, float], {"type": "object", "additionalProperties": {"type": "number"}}),
        (Literal["a", "b"], {"enum": ["a", "b"]}),
        (
            Annotated[list[str], msgspec.Meta(min_length=1)],
            {"type": "array", "items": {"type": "string"}, "minItems": 1},
        ),
        (Annotated[int, msgspec.Meta(ge=1, lt=9)], {"type": "integer", "minimum": 1, "exclusiveMaximum": 9}),
        (Path, {"type": "string", "minLength": 1}),
        (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    ],
    ids=str,
)
def test_types_become_schemas(kind: Any, made: dict[str, Any]) -> None:
    assert of_type(kind) == made


def test_a_map_inside_becomes_a_map_with_fixed_keys() -> None:
    made = of_type(Inner)
    assert (made["description"], made["required"], made["additionalProperties"]) == ("A map inside.", ["must"], False)
    assert made["properties"]["must"] == {"type": "string", "description": "It must."}
    assert made["properties"]["wait"]["default"] == "1s"


def test_a_secret_is_never_plain_text() -> None:
    assert of_type(Secret)["type"] == "object"
