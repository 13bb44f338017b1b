from __future__ import annotations

import json
from pathlib import Path

import pytest

from tailrace.benchmarks.verify import redacted, wrong_lines

KEY = "AKIA" + "A" * 16


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.log"
    path.write_text('{"a": "\\u00e9"}\n{"a": 2}\n{"a": 2}\n')
    return path


def arrived(source: Path, text: str, scenario: str = "s1", kind: str = "loki/protobuf") -> int | None:
    dump = source.with_name("arrived.log")
    dump.write_text(text)
    return wrong_lines(scenario, source, dump, dump, {kind: 1})


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ('{"a": 2}\n{"a": "\\u00e9"}\n{"a": 2}\n', 0),
        ('{"a": 2}\n{"a": "\\u00e9"}\n', 1),
        ('{"a": 2}\n{"a": "\\u00e9"}\n{"a": 2}\n{"a": 2}\n', 1),
        ('{"a": 3}\n{"a": "\\u00e9"}\n{"a": 2}\n', 2),
    ],
    ids=["in another order", "one missing", "one twice", "one changed"],
)
def test_lines_are_compared_in_any_order(source: Path, text: str, wrong: int) -> None:
    assert arrived(source, text) == wrong


def test_lines_pushed_as_json_are_unescaped_first(source: Path) -> None:
    text = "".join(json.dumps(line)[1:-1] + "\n" for line in source.read_text().splitlines())
    assert arrived(source, text, kind="loki/json") == 0


def test_events_of_several_lines_pushed_as_json_are_split(source: Path) -> None:
    assert arrived(source, json.dumps(source.read_text().rstrip())[1:-1] + "\n", "s3", "loki/json") == 0


def test_in_s2_the_redacted_lines_are_wanted(tmp_path: Path) -> None:
    path = tmp_path / "in.log"
    path.write_text(f"key {KEY} end\n")
    assert arrived(path, "key [REDACTED:aws] end\n", "s2") == 0
    assert arrived(path, f"key {KEY} end\n", "s2") == 2


def test_where_there_is_nothing_to_compare_with_nothing_is_said(source: Path) -> None:
    assert arrived(source, "", "s6") is None
    assert arrived(source, '{"resourceLogs":[]}\n', "s4") is None


@pytest.mark.parametrize(
    ("line", "clean"),
    [
        (f"a {KEY} b", "a [REDACTED:aws] b"),
        ("a Bearer " + "x" * 20 + " b", "a [REDACTED:bearer] b"),
        ("a someone@corp.example b", "a [REDACTED:email] b"),
        ("a 4539-1488-0000-1111 b", "a [REDACTED:card] b"),
        ("a b", "a b"),
    ],
)
def test_the_four_kinds_are_hidden(line: str, clean: str) -> None:
    assert redacted(line.encode()) == clean.encode()
