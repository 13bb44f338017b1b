"""Excerpts: never too long, valid as what they were, and the same every time."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.excerpt import SMALLEST, digest, excerpt, level, marker, shortened

LIMIT = 2 * SMALLEST
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def test_a_line_keeps_its_start_and_end_and_tells_what_it_was() -> None:
    line = b"start" + b"x" * 500 + b"end"
    sha256 = hashlib.sha256(line).hexdigest()[:12]
    short = excerpt(line, LIMIT).decode()
    assert f"…(truncated, 508 bytes, sha256 {sha256})" in short
    assert (short[:5], short[-3:], len(short.encode())) == ("start", "end", LIMIT)
    assert digest(line) == sha256


def test_the_mark_counts_and_the_end_can_be_left_out() -> None:
    assert shortened(b"0123456789", 8, b"<>", ends=True) == b"012<>789"
    assert shortened(b"0123456789", 8, b"<>", ends=False) == b"012345<>"


@pytest.mark.parametrize(
    ("lengths", "excess", "expected"),
    [([500, 100, 10], 100, 400), ([500, 500, 10], 400, 300), ([90, 90], 100, SMALLEST), ([], 5, SMALLEST)],
    ids=["the longest one", "two alike", "no less than a marker", "nothing there"],
)
def test_the_longest_are_cut_to_one_length(lengths: list[int], excess: int, expected: int) -> None:
    assert level(lengths, excess) == expected


def test_of_an_object_only_the_longest_members_are_cut() -> None:
    line = (
        b'{"event": "llm_call",  "ms": 1.50, "messages": [' + b'{"role": "user"},' * 40 + b'7], "text": "' + b"y" * 50
    )
    short = excerpt(line + b'"}', 300)
    found = json.loads(short)
    assert (found["event"], found["text"]) == ("llm_call", "y" * 50)
    assert b'"ms":1.50' in short
    assert found["messages"].startswith('[{"role": "user"},')
    assert found["messages"].endswith('{"role": "user"},7]')
    assert "truncated" in found["messages"]


@pytest.mark.parametrize(
    "line",
    [
        json.dumps({f"key{n}": n for n in range(1000)}).encode(),
        b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'  {"a": "' + rb"\ud800" * 100 + b'"}',
        b'{"a": "' + rb"\"\\\n\u0001" * 100 + b'"}',
    ],
    ids=["too many members", "too deep", "half a pair", "nothing but escapes"],
)
def test_an_odd_object_stays_an_object(line: bytes) -> None:
    short = excerpt(line, LIMIT)
    assert isinstance(json.loads(short), dict)
    assert len(short) <= LIMIT


def test_what_fits_stays() -> None:
    assert excerpt(b'{"a":  1}', LIMIT) == b'{"a":  1}'
    line = b'{"a": "' + rb"\u0041" * 100 + b'"}'
    assert excerpt(line, LIMIT) == b'{"a":"' + b"A" * 100 + b'"}'


def test_an_object_with_a_traceback_under_it_is_text() -> None:
    line = b'{"level": "error"}\nTraceback (most recent call last):\n' + b"  File\n" * 100
    assert excerpt(line, LIMIT).startswith(b'{"level": "error"}\nTraceback')


def test_escapes_leave_as_much_as_fits() -> None:
    short = excerpt(json.dumps({"a": '"' * 100_000}).encode(), 10_000)
    assert 9_900 < len(short) <= 10_000


def test_a_megabyte_takes_no_time_to_speak_of() -> None:
    line = json.dumps({"a": '"' * 100_000 + "x" * 800_000 + "\n" * 100_000}).encode()
    start = time.process_time()
    assert len(excerpt(line, 256 << 10)) <= 256 << 10
    assert time.process_time() - start < 1


@given(st.binary(max_size=600), st.sampled_from([b"", b"{", b'{"a":"']), st.integers(LIMIT, 300))
def test_nothing_is_longer_than_the_limit(data: bytes, head: bytes, limit: int) -> None:
    line = head + data
    assert len(excerpt(line, limit)) <= limit
    assert excerpt(line, limit) == excerpt(line, limit)


@given(st.text(min_size=150, max_size=400))
def test_no_character_is_cut_in_two(text: str) -> None:
    assert excerpt(text.encode(), LIMIT).decode()


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.booleans())
def test_json_stays_json_with_its_keys(fields: dict[str, Any], ascii: bool) -> None:
    line = json.dumps(fields, ensure_ascii=ascii).encode("utf-8", "surrogatepass")
    short = excerpt(line, max(LIMIT, len(line) - 1))
    assert isinstance(json.loads(short), dict)
    if all(len(json.dumps(value)) < SMALLEST for value in fields.values()):
        assert json.loads(short).keys() in ({"message"}, fields.keys())


def test_the_marker_says_what_was_there() -> None:
    assert marker(3, "chars", b"abc") == "…(truncated, 3 chars, sha256 ba7816bf8f01)"
