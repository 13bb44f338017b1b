"""The record ships what was read, byte for byte, unless a stage changed it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.record import Record, rfc3339

VALUES = st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"]))
FIELDS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=6)


@pytest.mark.parametrize(
    ("time_ns", "text"),
    [
        pytest.param(0, "1970-01-01T00:00:00.000000000Z", id="the epoch"),
        pytest.param(1_772_667_360_179_000_001, "2026-03-04T23:36:00.179000001Z", id="nine digits"),
        pytest.param(951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z", id="the last ns of a day"),
        pytest.param(-1, "1969-12-31T23:59:59.999999999Z", id="before the epoch"),
        pytest.param((1 << 63) - 1, "2262-04-11T23:47:16.854775807Z", id="the last time there is"),
    ],
)
def test_a_time_is_written_in_utc_with_nine_digits(time_ns: int, text: str) -> None:
    assert rfc3339(time_ns) == text


@given(st.integers(0, (1 << 63) - 1))
def test_a_written_time_reads_back_to_the_second(time_ns: int) -> None:
    text = rfc3339(time_ns)
    assert datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp() == time_ns // 10**9
    assert int(text[20:29]) == time_ns % 10**9


def test_a_text_line_is_its_message() -> None:
    assert Record(b"all is well").fields == {"message": "all is well"}


def test_bytes_that_are_not_utf_8_stay_in_the_line_and_are_marked_in_the_text() -> None:
    record = Record(b"caf\xe9")
    assert record.text == "caf\ufffd"
    assert record.line == b"caf\xe9"


def test_a_json_line_is_its_fields() -> None:
    assert Record(b'{"a": 1, "b": [2]}', format="json").fields == {"a": 1, "b": [2]}


def test_a_field_set_beside_the_line_leaves_the_line() -> None:
    record = Record(b'{"a": 1}', format="json")
    record.set("b", 2)
    assert record.fields == {"a": 1, "b": 2}
    assert record.line == b'{"a": 1}'


def test_whole_shows_fields_that_nobody_declared_to_read() -> None:
    record = Record(b'{"a": 1, "b": 2}', format="json", parsed={"a": 1})
    record.set("c", 3)
    assert record.whole() == {"a": 1, "b": 2, "c": 3}


def test_whole_of_a_text_line_is_a_copy() -> None:
    record = Record(b"x", parsed={"message": "x", "level": "info"})
    record.whole()["level"] = "error"
    assert record.fields == {"message": "x", "level": "info"}


def test_replace_encodes_a_json_line_anew() -> None:
    record = Record(b'{"a": 1}', format="json")
    record.set("b", 2)
    record.replace({"c": 3})
    assert record.line == b'{"c":3}'
    assert record.fields == {"c": 3}
    assert record.to_json() == b'{"c":3}'


def test_replace_leaves_a_text_line() -> None:
    record = Record(b"as it was")
    record.replace({"message": "changed"})
    assert record.line == b"as it was"
    assert record.fields == {"message": "changed"}


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(b'{"a": 1,  "b":2 }', id="spaces"),
        pytest.param(b'{"b": 1, "a": 1.50}', id="order and digits"),
        pytest.param(b'{"a": "caf\\u00e9"}', id="escapes"),
        pytest.param(b'{"a": 1, "a": 2}', id="a key twice"),
        pytest.param(b'{"a":123456789012345678901234567890}', id="a number beyond 64 bits"),
    ],
)
def test_a_json_line_that_no_stage_changed_is_archived_byte_for_byte(line: bytes) -> None:
    assert Record(line, format="json").to_json() == line


@pytest.mark.parametrize(
    ("line", "archived"),
    [
        pytest.param(b'{"a": 1}', b'{"a": 1,"new":"x"}', id="behind the own keys"),
        pytest.param(b"{}", b'{"new":"x"}', id="no own keys"),
        pytest.param(b"{ } ", b'{ "new":"x"}', id="no own keys, with spaces"),
        pytest.param(b'{"a": 1 }\r', b'{"a": 1 ,"new":"x"}', id="a carriage return behind it"),
        pytest.param(b'{"new": 1, "b": 2}', b'{"new":"x","b":2}', id="over an own key"),
    ],
)
def test_what_stages_add_stands_beside_the_own_keys(line: bytes, archived: bytes) -> None:
    record = Record(line, format="json")
    record.set("new", "x")
    assert record.to_json() == archived


@given(own=FIELDS, added=FIELDS)
def test_an_archived_json_line_holds_the_own_and_the_added_fields(
    own: dict[str, object], added: dict[str, object]
) -> None:
    record = Record(msgspec.json.encode(own), format="json")
    for name, value in added.items():
        record.set(name, value)
    assert json.loads(record.to_json()) == own | added


def test_a_text_line_is_archived_with_time_and_message() -> None:
    record = Record(b"x", time_ns=1)
    record.set("level", "info")
    assert record.to_json() == b'{"timestamp":"1970-01-01T00:00:00.000000001Z","message":"x","level":"info"}'


def test_the_time_of_the_record_wins_over_a_parsed_timestamp() -> None:
    record = Record(b"x", time_ns=0, parsed={"message": "x", "timestamp": "yesterday"})
    assert json.loads(record.to_json())["timestamp"] == "1970-01-01T00:00:00.000000000Z"


def test_a_text_line_without_time_is_archived_without_one() -> None:
    assert Record(b"x").to_json() == b'{"message":"x"}'


@pytest.mark.parametrize("number", [b"1e999", b"9" * 5000, b"-0.0"], ids=["too large", "too long", "minus zero"])
def test_numbers_that_fit_no_type_are_archived_as_they_were_written(number: bytes) -> None:
    record = Record(b'{"a":' + number + b',"b":1}', format="json", parsed={})
    record.set("app", "x")
    assert record.to_json() == b'{"a":' + number + b',"b":1,"app":"x"}'
    record.set("b", 2)
    assert record.to_json() == b'{"a":' + number + b',"b":2,"app":"x"}'
