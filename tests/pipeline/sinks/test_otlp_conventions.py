"""The names that the sink `otlp` sends are those of OpenTelemetry's registry, of the version that it tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailrace.pipeline.sinks import _otlp_conventions as conventions

ROOT = Path(__file__).parent.parent.parent.parent
# Taken from the package that is named in it; one cannot depend on it, as each release wants its own opentelemetry-api.
REGISTRY = json.loads((Path(__file__).parent / "semantic_conventions.json").read_text())
SENT = {
    *(name for table in conventions.ATTRIBUTES.values() for name in table),
    *conventions.OF_LOGS,
    *conventions.EXCEPTION.values(),
    conventions.STACKTRACE,
    conventions.ERROR_TYPE,
    conventions.OPERATION_NAME,
    conventions.SERVICE_NAME,
    conventions.UID,
}


def test_the_version_is_that_of_the_registry() -> None:
    assert REGISTRY["version"] == conventions.VERSION
    assert f"https://opentelemetry.io/schemas/{REGISTRY['version']}" == conventions.SCHEMA_URL


@pytest.mark.parametrize("name", sorted(SENT))
def test_each_attribute_is_in_the_registry_or_has_our_own_prefix(name: str) -> None:
    assert name in REGISTRY["attributes"] or name.startswith("tailrace.")
    assert name not in REGISTRY["deprecated"]


def test_numbers_and_lists_are_attributes_that_are_sent() -> None:
    assert {*conventions.NUMBERS, *conventions.LISTS} <= SENT


def test_operations_are_those_of_the_registry() -> None:
    assert set(conventions.OPERATION.values()) <= set(REGISTRY["operations"])


def table() -> str:
    """The page's table, as the code has it."""
    shown = {"llm": "LLM call", "tool": "tool call", "stage": "stage", "session": "session", "other": "any other"}
    fields: dict[str, tuple[tuple[str, ...], list[str]]] = {}
    for kind, attributes in conventions.ATTRIBUTES.items():
        for name, names in attributes.items():
            fields.setdefault(name, (names, []))[1].append(shown[kind])
    rows = [
        f"| `{name}` | {', '.join(f'`{one}`' for one in names)} | "
        f"{'all' if len(kinds) == len(shown) else ', '.join(kinds)} |"
        for name, (names, kinds) in fields.items()
    ]
    return "\n".join(["| attribute | from the field | on spans of |", "|---|---|---|", *rows])


def test_the_page_has_the_table_of_the_code() -> None:
    page = (ROOT / "docs/how-to/traces.md").read_text()
    assert f"conventions {conventions.VERSION}" in page
    assert table() in page
