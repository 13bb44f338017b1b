from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.query.local import Reader
from tailrace.query.logql import Logs, parse

RECORDS: list[dict[str, Any]] = [
    {"timestamp": "2026-11-01T00:00:00Z", "app": "a", "level": "info", "n": 1},
    {"timestamp": "2026-11-01T00:00:01Z", "app": "a", "level": "error", "n": 2, "error_type": "KeyError"},
    {"timestamp": "2026-11-01T00:00:02Z", "app": "a", "level": "error", "error": {"type": "KeyError"}},
    {"timestamp": "2026-11-01T00:00:03Z", "app": "a", "level": "error", "error.type": "KeyError"},
    {"app": "b", "level": "error", "text": "é"},
]
LINES = [json.dumps(record).encode() for record in RECORDS]


def found(query: str, data: bytes = b"\n".join(LINES), **options: Any) -> list[bytes]:
    logs = parse(query)
    assert isinstance(logs, Logs)
    return [row.line for row in Reader(logs, **options).found(data)]


@pytest.mark.parametrize(
    ("query", "numbers"),
    [
        ('{app="a"} | json', [0, 1, 2, 3]),
        ('{app="a"} | json | error_type="KeyError"', [1, 2, 3]),
        ('{app="a"} | json | error_type!=""', [1, 2, 3]),
        ('{app="a"} | json | n > 1', [1]),
        ('{} | json | level="error" | app="b"', [4]),
        ('{} | level="error" |= "KeyError"', [1, 2, 3]),
        ('{app="a"} | json | level_extracted="info"', [0]),
    ],
)
def test_steps_choose_lines(query: str, numbers: list[int]) -> None:
    assert found(query) == [LINES[number] for number in numbers]


def test_with_labels_named_only_these_are_known_before_a_parser() -> None:
    assert found('{app="a"} | n="2"') == [LINES[1]]
    assert found('{app="a"} | n="2"', labels=["app", "level"]) == []
    assert found('{app="a"} | level="info"', labels=["app", "level"]) == [LINES[0]]
    assert found('{app="a"} | json | n="2"', labels=["app", "level"]) == [LINES[1]]


def test_a_line_among_them_that_is_no_json_changes_nothing_for_the_others() -> None:
    data = b"\n".join([*LINES, b"not json KeyError"])
    assert found('{} | json | error_type="KeyError"', data) == LINES[1:4]
    assert found('{} | json | __error__="JSONParserErr"', data) == [b"not json KeyError"]


def test_a_range_of_time_leaves_out_what_has_no_time_and_counts_it() -> None:
    logs = parse("{} | json")
    assert isinstance(logs, Logs)
    reader = Reader(logs, start_ns=1_793_491_201 * 10**9, end_ns=1_793_491_203 * 10**9)
    assert [row.line for row in reader.found(b"\n".join(LINES))] == LINES[1:3]
    assert reader.untimed == 1


def test_files_are_read_chunk_by_chunk(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(LINES))
    logs = parse('{app="b"} | json')
    assert isinstance(logs, Logs)
    rows = [row for rows in Reader(logs).rows([tmp_path / "a.jsonl"], print) for row in rows]
    assert [row.line for row in rows] == [LINES[4]]


KEYS = st.sampled_from(["a", "b", "a_b", "a.b", "a b", "c"])
VALUES = st.recursive(st.sampled_from(["x", "y", "", 1, True, None]), lambda v: st.dictionaries(KEYS, v, max_size=2))


@settings(deadline=None)
@given(st.lists(st.dictionaries(KEYS, VALUES, max_size=3), min_size=1), st.sampled_from(["a_b", "a", "c"]))
def test_what_is_decoded_of_a_line_makes_no_difference(records: list[dict[str, Any]], name: str) -> None:
    data = b"\n".join(json.dumps(record).encode() for record in records)
    assert found(f'{{}} | json | {name}="x"', data) == found(f'{{}} | json | {name}="x"', data, whole=True)
    assert found(f'{{}} | json | {name}!=""', data, labels=[]) == found(
        f'{{}} | json | {name}!=""', data, labels=[], whole=True
    )
