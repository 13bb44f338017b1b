"""Redaction of JSON lines, many at once, and of decoded values."""

from __future__ import annotations

import json

import pytest

from tailrace.stages._redacted_json import redact_lines, redact_value
from tailrace.stages._redaction import Engine
from tailrace.stages._rules import Rule

ENGINE = Engine([Rule("pin", r"pin[0-9]{4}"), Rule("four", r"^[0-9]{4}$")], ["token"])


def redacted(*lines: bytes) -> list[bytes]:
    new = redact_lines(ENGINE, dict(enumerate(lines)), ENGINE.search(lines, raw=False))
    return [new[place][0] if place in new else line for place, line in enumerate(lines)]


def test_each_line_is_changed_where_it_stands_or_taken_apart() -> None:
    lines = [
        b'{"a": "x pin1234",  "n": 1.50}',
        b'{"a":  "pin1234", "four": "1234", "z": "12345"}',
        b'{"pin1234": 1}',
        b'{"token":  "abc", "b": [1, "pin1234"]}',
        b'{"a": "clean"}',
    ]
    assert redacted(*lines) == [
        b'{"a": "x [REDACTED:pin]",  "n": 1.50}',
        b'{"a":"[REDACTED:pin]","four":"[REDACTED:four]","z":"12345"}',
        b'{"[REDACTED:pin]":1}',
        b'{"token":"[REDACTED:key-name]","b":[1,"[REDACTED:pin]"]}',
        b'{"a": "clean"}',
    ]
    assert [redacted(line)[0] for line in lines] == redacted(*lines)


def test_a_secret_with_an_escape_in_it_inside_json_inside_json_is_found() -> None:
    inner = r'{"m": "p\u0069n1234"}'
    (line,) = redacted(json.dumps({"body": inner}).encode())
    assert json.loads(line) == {"body": '{"m": "[REDACTED:pin]"}'}


@pytest.mark.parametrize("depth", [10, 63])
def test_a_secret_deep_inside_is_found(depth: int) -> None:
    line = b'{"a":' * depth + b'"1234"' + b"}" * depth
    assert b"1234" not in redacted(line)[0]


def test_a_line_nested_too_deep_is_refused() -> None:
    line = b'{"a":' * 70 + b'"1234"' + b"}" * 70
    with pytest.raises(ValueError, match="deeper than 64"):
        redacted(line)


def test_a_clean_value_is_the_same_object() -> None:
    value = {"a": ["x", 1, None, ("y", 2.5)], "b": {"c": True}}
    assert redact_value(ENGINE, value, []) is value
