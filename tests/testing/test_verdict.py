"""Whether a test of a config holds, and how what differs is told."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tailrace.config.case import Case
from tailrace.testing import Lost, Sent, Shipped
from tailrace.testing.verdict import Difference, differences, visible

SHIPPED = Shipped(
    sinks={
        "a": [
            Sent(line="one", time_ns=0, fields={"n": 1, "deep": {"x": True}}, labels={"app": "x"}, path="p"),
            Sent(line="two", time_ns=1, fields={}, metadata={"id": "1"}),
            Sent(line="three", time_ns=2, fields={}),
        ]
    },
    dropped={"drop": 2},
    dead=[],
    metrics={'c_total{app="x",b="y"}': 3, "g": 0.1},
)


def told(test: dict[str, Any], shipped: Shipped = SHIPPED) -> list[tuple[str, str | None, str | None]]:
    case = msgspec.convert({"name": "a test", "in": ""} | test, Case)
    return [(one.where, one.expected, one.got) for one in differences(case, shipped)]


@pytest.mark.parametrize(
    "test",
    [
        {},
        {"out": {"a": ["one", "two", "three"]}},
        {"out": {"a": ["one\n", {"contains": "tw"}, {}]}},
        {"out": {"a": 3}},
        {"out": {"a": [{"labels": {"app": "x"}, "path": "p"}, {"metadata": {"id": "1"}}, {"labels": {}}]}},
        {"out": {"a": [{"fields": {"n": 1, "deep.x": True, "deep": {"x": True}, "none": None}}, {}, {"lacks": ["x"]}]}},
        {"out": {"a": [{"time": "1970-01-01T00:00:00Z"}, {}, {}]}},
        {"dropped": 2},
        {"dropped": {"drop": 2, "keep": 0}},
        {"dead": 0},
        {"metrics": {'c_total{b="y",app="x"}': 3, "g": 0.1, "not_there": 0}},
    ],
    ids=str,
)
def test_what_is_as_expected_is_no_difference(test: dict[str, Any]) -> None:
    assert told(test) == []


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ({"out": {"a": 2}}, [("a, records", "2", "3")]),
        ({"out": {"a": ["one", "three"]}}, [("a, record 2", None, "two")]),
        ({"out": {"a": ["one", "2", "three"]}}, [("a, record 2, line", "2", "two")]),
        ({"out": {"a": ["zero", "one", "two", "three"]}}, [("a, record 1", "zero", None)]),
        ({"out": {"a": ["one", "two", "three", {"contains": "x"}]}}, [("a, record 4", '{"contains":"x"}', None)]),
        (
            {"out": {"a": []}},
            [("a, record 1", None, "one"), ("a, record 2", None, "two"), ("a, record 3", None, "three")],
        ),
        ({"out": {"a": [{"contains": ["o", "x"]}, {}, {}]}}, [("a, record 1, the line contains", "x", "one")]),
        ({"out": {"a": [{"lacks": "n"}, {}, {}]}}, [("a, record 1, the line lacks", "n", "one")]),
        ({"out": {"a": [{"fields": {"n": True}}, {}, {}]}}, [("a, record 1, field n", "true", "1")]),
        ({"out": {"a": [{"fields": {"n": None}}, {}, {}]}}, [("a, record 1, field n", None, "1")]),
        ({"out": {"a": [{"fields": {"deep.y": 1}}, {}, {}]}}, [("a, record 1, field deep.y", "1", None)]),
        ({"out": {"a": [{"labels": {}}, {}, {}]}}, [("a, record 1, labels", "{}", '{app="x"}')]),
        ({"out": {"a": [{}, {"metadata": {"id": "2"}}, {}]}}, [("a, record 2, metadata", '{id="2"}', '{id="1"}')]),
        ({"out": {"a": [{"path": "q"}, {}, {}]}}, [("a, record 1, path", "q", "p")]),
        (
            {"out": {"a": [{"time": "1970-01-01T00:00:01Z"}, {}, {}]}},
            [("a, record 1, time", "1970-01-01T00:00:01.000000000Z", "1970-01-01T00:00:00.000000000Z")],
        ),
        ({"dropped": 1}, [("dropped", "1", "2")]),
        ({"dropped": {"keep": 1}}, [("dropped by keep", "1", "0")]),
        ({"dead": 1}, [("dead letters", "1", "0")]),
        ({"dead": [{"reason": "bad"}]}, [("dead letter 1", '{"reason":"bad"}', None)]),
        ({"metrics": {"g": 0.2, "x": 1}}, [("g", "0.2", "0.1"), ("x", "1", None)]),
    ],
    ids=str,
)
def test_what_differs_is_told_with_what_was_expected_and_what_came(
    test: dict[str, Any], found: list[tuple[str, str | None, str | None]]
) -> None:
    assert told(test) == found


def test_a_dead_letter_that_nobody_expects_is_a_difference() -> None:
    shipped = Shipped(sinks={}, dead=[Lost(stage="mine", reason="KeyError: x", line=None)])
    assert told({}, shipped) == [("dead letter 1", None, "mine: KeyError: x")]
    assert told({"dead": [{"stage": "mine", "reason": "KeyError"}]}, shipped) == []
    assert told({"dead": [{"stage": "other", "reason": "Type", "line": "x"}]}, shipped) == [
        ("dead letter 1, stage", "other", "mine"),
        ("dead letter 1, the reason contains", "Type", "KeyError: x"),
        ("dead letter 1, line", "x", None),
    ]


def test_a_near_name_is_told() -> None:
    case = msgspec.convert(
        {"name": "a", "in": "", "out": {"a": [{"fields": {"dep": 1}}, {}, {}]}, "metrics": {'c_total{app="z"}': 1}},
        Case,
    )
    assert [one.hint for one in differences(case, SHIPPED)] == ["there is 'deep'", 'there is c_total{app="x",b="y"}']


def test_a_difference_is_shown_line_under_line_with_the_differing_part_marked() -> None:
    one = Difference(where="a, record 1, line", expected="level=info x", got="level=warn x", hint="look")
    assert one.plain() == ("    a, record 1, line\n      - level=info x\n      + level=warn x\n      hint: look\n")
    assert [text for text, style in one.pieces() if "reverse" in style] == ["info", "warn"]
    assert Difference(where="w", expected="a\nb").plain() == "    w\n      - a\n        b\n      + (nothing)\n"


def test_of_long_lines_the_place_where_they_begin_to_differ_is_shown() -> None:
    one = Difference(where="w", expected="x" * 5000 + "a", got="x" * 5000 + "b")
    lines = one.plain().splitlines()
    assert [line.endswith(end) for line, end in zip(lines[1:], ("xa", "xb"), strict=True)] == [True, True]
    assert max(map(len, lines)) < 500
    assert lines[1].startswith("      - …x")


def test_nothing_that_a_terminal_obeys_is_shown_as_it_is() -> None:
    assert visible("a\x1b[31m\nb\u202e") == "a\\x1b[31m\nb\\u202e"
    assert "\x1b" not in Difference(where="\x1b", expected="\x1b[2J", got="\x1b[2Jx", hint="\x1b").plain()
