from __future__ import annotations

import pytest

from tailrace.query.row import Row, flattened, sanitized


def row(line: bytes, stream: dict[str, str] | None = None, *, open: bool = False) -> Row:
    return Row(line, stream or {}, {"level": "info", "n": 5, "on": True, "a": {"b": "c"}}, None, open=open)


@pytest.mark.parametrize(("name", "expected"), [("a.b", "a_b"), (" x ", "x"), ("1st", "_1st"), ("é", "_")])
def test_a_key_becomes_the_name_of_a_label(name: str, expected: str) -> None:
    assert sanitized(name) == expected


def test_json_is_flattened_and_lists_and_nulls_are_left_out() -> None:
    found = row(b'{"a":{"b":1.50,"c":{"d":true}},"e":[1],"f":null,"g-h":"x","n":1e3}')
    flattened(found.line, found)
    assert found.known() == {"a_b": "1.50", "a_c_d": "true", "g_h": "x", "n": "1e3"}


def test_what_the_stream_has_is_extracted_under_another_name() -> None:
    found = row(b'{"level":"error"}', {"level": "info"})
    flattened(found.line, found)
    assert found.known() == {"level": "info", "level_extracted": "error"}


def test_the_first_parser_that_finds_a_label_wins() -> None:
    found = row(b"")
    found.add("a", "1")
    found.add("a", "2")
    assert found.get("a") == "1"


def test_fields_are_labels_only_where_they_are_open() -> None:
    assert row(b"").get("level") is None
    fields = row(b"", open=True)
    assert [fields.get(name) for name in ("level", "n", "on", "a", "a.b", "level_extracted", "x")] == [
        "info",
        "5",
        "true",
        None,
        "c",
        "info",
        None,
    ]


def test_the_first_error_stays() -> None:
    found = row(b"")
    found.fail("JSONParserErr", "why")
    found.fail("LabelFilterErr")
    assert found.known() == {"__error__": "JSONParserErr", "__error_details__": "why"}
