"""Column by column or record by record: sinks see the same."""

from __future__ import annotations

import json
from itertools import compress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.columns import Columns, Following, Joined, Unread

NAMES = st.sampled_from(["level", "app", "trace_id", 'od"d', "a,b", ""])
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.text() | st.sampled_from(['","', '\\","'])
ADDED = VALUES | st.just("\ud800")
OBJECTS = st.dictionaries(NAMES, VALUES | st.lists(st.integers(), max_size=2), max_size=4)


def columns_of(*lines: bytes) -> Columns:
    return Columns(list(lines), list(Following(lines, 0)))


def parsed(objects: list[dict[str, Any]], sought: frozenset[str] | None = None) -> Columns:
    """Columns of JSON lines as a parser that looks for these fields leaves them."""
    columns = columns_of(*[json.dumps(one).encode() for one in objects])
    fields = [{name: value for name, value in one.items() if sought is None or name in sought} for one in objects]
    columns.read("json", fields, range(7, 7 + len(objects)), sought)
    return columns


def test_lines_that_nobody_parsed_have_a_message_alone() -> None:
    columns = columns_of(b"a", b"\xff")
    assert columns.values("message") == ["a", "\ufffd"]
    assert columns.values("level") == [None, None]
    assert columns.values("source", "app") == ["app", "app"]


def test_a_column_is_made_once() -> None:
    columns = parsed([{"level": "info"}])
    assert columns.values("level") is columns.values("level")


def test_columns_that_were_asked_for_before_are_made_with_the_next_batch() -> None:
    asked: set[str] = set()
    first, second = columns_of(b'{"a": 1}'), columns_of(b'{"a": 2}')
    first.asked = second.asked = asked
    first.read("json", [{"a": 1}], [5], None)
    assert first.values("a") == [1]
    second.read("json", [fields := {"a": 2}], [5], None)
    fields["a"] = 3
    assert second.values("a") == [2]


def test_a_replaced_event_has_its_new_values_in_columns_made_before() -> None:
    columns = parsed([{"a": "x", "b": 1}, {"a": "y"}])
    before = columns.values("a")
    assert columns.values("b") == [1, None]
    columns.replace({0: (b'{"a": "z"}', {"a": "z"})})
    assert (columns.values("a"), columns.values("b"), before) == (["z", "y"], [None, None], ["x", "y"])


def test_what_a_parser_finds_takes_the_place_of_columns_made_before() -> None:
    columns = columns_of(b'{"a": 1}')
    assert columns.values("a") == [None]
    columns.read("json", [{"a": 1}], [5], None)
    assert columns.values("a") == [1]


def test_what_the_line_says_counts_before_what_its_partition_says() -> None:
    assert parsed([{"app": "own"}, {"app": None}, {}]).values("app", "given") == ["own", None, "given"]


def test_an_added_field_stands_in_front_of_the_lines_own() -> None:
    columns = parsed([{"app": "own"}, {"app": "own"}])
    assert columns.values("app") == ["own", "own"]
    columns.add("app", ["new", None])
    assert columns.values("app") == ["new", "own"]


def test_what_is_added_later_stands_in_front_and_none_leaves_the_rest() -> None:
    columns = parsed([{}, {}, {}])
    columns.add("app", ["a", "b", None])
    columns.add("app", ["c", None, None])
    columns.add_to({2: {"app": "d"}})
    assert columns.values("app") == ["c", "b", "d"]
    assert [record.added for record in columns.records()] == [{"app": "c"}, {"app": "b"}, {"app": "d"}]


def test_what_the_partition_says_is_not_kept_beyond_the_question() -> None:
    columns = parsed([{}])
    assert columns.values("file", "with-a-secret.log") == ["with-a-secret.log"]
    assert columns.values("file", "clean.log") == ["clean.log"]
    assert columns.values("file") == [None]


def test_replaced_events_leave_the_chunks_own_lines_alone() -> None:
    lines = [b'{"a": "x"}', b'{"a": "y"}']
    columns = Columns(lines, Following(lines, 0))
    columns.read("json", [{"a": "x"}, {"a": "y"}], [1, 2], None)
    assert columns.text == b'{"a": "x"}\n{"a": "y"}'
    columns.replace({1: (b'{"a": "z"}', {"a": "z"})})
    assert lines == [b'{"a": "x"}', b'{"a": "y"}']
    assert columns.text == b'{"a": "x"}\n{"a": "z"}'
    assert columns.values("a") == ["x", "z"]
    assert [record.line for record in columns.records()] == [b'{"a": "x"}', b'{"a": "z"}']


def test_what_nobody_asks_for_is_not_parsed() -> None:
    asked: list[str] = []

    def parse() -> list[dict[str, Any]]:
        asked.append("parsed")
        return [{"level": "info", "message": "a"}, {"level": "error", "message": "b"}]

    columns = Columns([b"INFO a", b"ERROR b"], [0, 7])
    names = frozenset(("level", "logger", "message"))
    columns.read("text", Unread(parse, names, {"level": ["info", "error"]}), [1, 2], None)
    columns.add("app", ["x", None])
    assert columns.values("level") == ["info", "error"]
    assert columns.values("user") == [None, None]
    assert columns.values("app") == ["x", None]
    assert asked == []
    assert columns.values("logger") == [None, None]
    assert columns.values("message") == ["a", "b"]
    assert [record.fields for record in columns.records()] == [
        {"level": "info", "message": "a", "app": "x"},
        {"level": "error", "message": "b"},
    ]
    assert asked == ["parsed"]


@pytest.mark.parametrize(
    ("columns", "single"),
    [
        pytest.param(Columns([b"a", b"b"], Following([b"a", b"b"], 0)), True, id="lines"),
        pytest.param(Columns([b"a", b"b"], [0, 2]), True, id="lines that were looked at"),
        pytest.param(Columns([b"a\nb"], Following([b"a\nb"], 0, single=False)), False, id="events in a row"),
        pytest.param(Columns([b"a\nb", b"c"], [0, 4]), False, id="an event of two lines"),
    ],
)
def test_events_of_several_lines_are_known(columns: Columns, single: bool) -> None:
    assert columns.single is single


@given(st.lists(OBJECTS, max_size=5), st.dictionaries(NAMES, ADDED, max_size=3), st.data())
def test_json_with_added_fields_reads_the_same_by_columns_and_by_records(
    objects: list[dict[str, Any]], extra: dict[str, Any], data: st.DataObject
) -> None:
    columns = parsed(objects, data.draw(st.sampled_from([None, frozenset(extra), frozenset({"level"})])))
    for name, value in extra.items():
        columns.add(name, [data.draw(st.sampled_from([value, value, None, "other"])) for _ in objects])
    if objects:
        columns.add_to({data.draw(st.integers(0, len(objects) - 1)): data.draw(st.sampled_from([{}, extra, {"n": 1}]))})
    by_columns, records = columns.to_json(), columns.records()
    assert [json.loads(line) for line in by_columns] == [json.loads(record.to_json()) for record in records]
    for name in [*extra, "level"]:
        assert columns.values(name) == [record.fields.get(name) for record in records]
    assert [record.time_ns for record in records] == list(range(7, 7 + len(objects)))


@given(st.lists(st.binary(max_size=8), max_size=5), st.booleans())
def test_text_reads_the_same_by_columns_and_by_records(lines: list[bytes], tagged: bool) -> None:
    columns = columns_of(*lines)
    columns.times = range(10**18, 10**18 + len(lines))
    if tagged:
        columns.add("app", ["x"] * len(lines))
    assert columns.to_json() == [record.to_json() for record in columns.records()]
    assert columns.values("message") == [record.fields["message"] for record in columns.records()]


def test_an_empty_object_with_an_added_field_is_still_json() -> None:
    columns = columns_of(b"{ }\r", b'{"a": {}}')
    columns.read("json", [{}, {}], [1, 2], frozenset({"app"}))
    columns.add("app", ["x", "x"])
    assert columns.to_json() == [b'{ "app":"x"}', b'{"a": {},"app":"x"}']


def test_a_line_that_has_an_added_field_already_is_written_anew() -> None:
    columns = parsed([{"app": "own", "n": 1.50}])
    columns.add("app", ["new"])
    assert columns.to_json() == [b'{"app":"new","n":1.5}']


@given(st.lists(OBJECTS, max_size=6), st.data())
def test_some_of_the_events_are_what_they_were_among_the_others(
    objects: list[dict[str, Any]], data: st.DataObject
) -> None:
    mask = [data.draw(st.booleans()) for _ in objects]
    columns = parsed(objects)
    columns.add("app", [data.draw(st.sampled_from(["x", None])) for _ in objects])
    columns.add_to({place: {"n": place} for place in range(0, len(objects), 2)})
    if data.draw(st.booleans()):
        columns.values("level")
    some = columns.where(mask)
    assert some.values("level") == list(compress(columns.values("level"), mask))
    assert some.sizes == list(map(len, some.lines))
    assert some.records() == list(compress(columns.records(), mask))
    assert columns.where([True] * len(objects)).records() == columns.records()


def test_lines_in_one_piece_are_cut_when_somebody_looks_at_them() -> None:
    lines = Joined(b"one\nthree\nx", 3)
    columns = Columns(lines, Following(lines, 10))
    assert (columns.count, columns.measure(), columns.joined()) == (3, 9, b"one\nthree\nx")
    assert columns.lines == [b"one", b"three", b"x"]
    assert (columns.count, columns.measure(), columns.joined()) == (3, 9, b"one\nthree\nx")
    columns.forget()
    assert columns.joined() == columns.text == b"one\nthree\nx"
    assert columns.sizes == [3, 5, 1]
    assert list(columns.offsets) == [10, 14, 20]


def test_lines_in_one_piece_compare_as_lists_do() -> None:
    joined = Joined(b"a\nb", 2)
    assert joined == [b"a", b"b"]
    assert joined == Joined(b"a\nb", 2)
    assert joined != [b"a"]
    assert (joined[1], joined[:1], list(joined), joined.text, joined.measure()) == (
        b"b",
        [b"a"],
        [b"a", b"b"],
        b"a\nb",
        2,
    )
