"""Classify: what was raised, where, and which fault it is."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.stages.classify import Classify
from tailrace.testing import batch_of, lines_of, run_stage

REAL = sorted((Path(__file__).parent / "tracebacks").glob("*.txt"))
CHAINED = (Path(__file__).parent / "tracebacks" / "python_chained.txt").read_text()
DESCRIBED = {
    "error_type": "KeyError",
    "error_message": "'missing'",
    "error_frame": "/srv/shop/chained.py:main",
    "error_fingerprint": "f459573c3fb2",
    "error_language": "python",
    "error_chain": 3,
    "error_root_cause": "json.decoder.JSONDecodeError",
    "error_family": "validation",
}


def json_batch(*rows: dict[str, Any]) -> Batch:
    batch = batch_of(*(json.dumps(row).encode() for row in rows))
    for record in batch.records:
        record.format = "json"
        record.parsed = {}  # nobody reads a field of these
    return batch


def test_an_event_of_several_lines_is_described_and_ships_as_it_is() -> None:
    line = b"2026-03-04 12:00:00 ERROR job failed\n" + CHAINED.encode()
    batch = run_stage(Classify(), batch_of(b"one", line, b"two"))
    assert lines_of(batch) == [b"one", line, b"two"]
    assert [record.added for record in batch.records] == [None, DESCRIBED, None]


@pytest.mark.parametrize(
    "row",
    [
        *(
            {name: CHAINED}
            for name in ("exc_info", "exc", "exception", "stack", "stacktrace", "stack_trace", "traceback")
        ),
        {"error": CHAINED},
        {"error.stack": CHAINED},
        {"error": {"type": "x", "stack": CHAINED}},
        {"err": {"message": "m", "stack_trace": CHAINED}},
        {"exception": {"stacktrace": CHAINED}},
        {"exception": CHAINED.splitlines()},
        {"message": "job failed\n" + CHAINED},
        {"error": "no stack", "exc": CHAINED},
        {"text": "12:00 | ERROR | job failed\n" + CHAINED},
    ],
    ids=lambda row: json.dumps(row)[:30],
)
def test_a_json_field_that_nobody_reads_is_found(row: dict[str, Any]) -> None:
    batch = run_stage(Classify(), json_batch({"level": "info"}, {"level": "error"} | row))
    assert [record.added for record in batch.records] == [None, DESCRIBED]


def test_a_json_line_is_archived_byte_for_byte_with_the_fields_behind_it() -> None:
    batch = run_stage(Classify(), json_batch({"exc": CHAINED}))
    (record,) = batch.records
    assert record.to_json() == record.line[:-1] + b"," + json.dumps(DESCRIBED, separators=(",", ":")).encode()[1:]


def test_the_fields_that_a_text_line_was_parsed_into_are_looked_at() -> None:
    batch = batch_of(b"2026-03-04 ERROR " + json.dumps({"exc": CHAINED}).encode())
    batch.records[0].parsed = {"level": "error", "exc": CHAINED}
    assert run_stage(Classify(), batch).records[0].added == DESCRIBED


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_a_trace_is_found_in_a_text_and_inside_json_alike(path: Path) -> None:
    text = path.read_text()
    as_text = run_stage(Classify(), batch_of(text.encode())).records[0].added
    as_json = run_stage(Classify(), json_batch({"stack": text})).records[0].added
    assert as_text is not None
    assert as_json == as_text


def test_what_the_record_says_itself_stays() -> None:
    batch = run_stage(Classify(), json_batch({"error_type": "route_timeout", "error_message": None, "exc": CHAINED}))
    added = batch.records[0].added
    assert added is not None
    assert "error_type" not in added
    assert added["error_message"] == "'missing'"


STRUCTLOG = [
    {
        "exc_type": "ValueError",
        "exc_value": "bad\nworse",
        "frames": [{"filename": "/srv/a.py", "lineno": 1, "name": "f"}, {"filename": "/srv/b.py", "name": "g"}],
        "exceptions": [],
    },
    {"exc_type": "KeyError", "exc_value": "'x'", "is_cause": True, "frames": []},
]


def test_the_objects_that_structlog_writes_for_a_traceback_are_read() -> None:
    batch = run_stage(Classify(), json_batch({"event": "x", "exception": STRUCTLOG}, {"exception": [{"exc_type": 1}]}))
    first, second = (record.added for record in batch.records)
    assert first is not None
    assert {name: first[name] for name in ("error_type", "error_message", "error_frame", "error_root_cause")} == {
        "error_type": "ValueError",
        "error_message": "bad",
        "error_frame": "/srv/b.py:g",
        "error_root_cause": "KeyError",
    }
    assert second is not None
    assert second["error_type"] == "1"


@pytest.mark.parametrize(
    ("row", "family"),
    [
        ({"error_type": "route_timeout", "error": "no answer"}, "timeout"),
        ({"error_type": "HTTPStatusError", "error": "status 429"}, "network"),
        ({"error_type": "Oops", "error": "HTTP status 429"}, "rate_limit"),
        ({"error_type": "Oops", "error": {"code": 1}}, "other"),
        ({"error_type": ""}, None),
        ({"error_type": None}, None),
        ({"event_type": "LLMCall"}, None),
        ({"error_type": "Oops", "error_family": "own"}, None),
    ],
    ids=lambda value: json.dumps(value),
)
def test_an_error_that_is_only_named_gets_its_family(row: dict[str, Any], family: str | None) -> None:
    added = run_stage(Classify(), json_batch({"level": "info"}, row)).records[1].added
    assert added == (None if family is None else {"error_family": family})


def test_the_records_own_type_decides_about_the_family_of_a_trace() -> None:
    added = run_stage(Classify(), json_batch({"error_type": "route_timeout", "exc": CHAINED})).records[0].added
    assert added is not None
    assert added["error_family"] == "timeout"


def test_a_rust_panic_without_a_backtrace_has_its_file() -> None:
    line = b"ERROR thread 'main' panicked at src/main.rs:3:29:\nindex out of bounds"
    added = run_stage(Classify(), batch_of(line)).records[0].added
    assert added is not None
    assert (added["error_type"], added["error_frame"]) == ("panic", "src/main.rs")


def test_a_bare_stack_says_where_and_nothing_about_a_type() -> None:
    stack = "main.load\n\t/srv/main.go:12\nmain.main\n\t/srv/main.go:30\n"
    added = run_stage(Classify(), json_batch({"stacktrace": stack})).records[0].added
    assert added is not None
    assert added["error_frame"] == "/srv/main.go:main.load"
    assert "error_type" not in added


def test_a_message_is_cut_after_500_characters() -> None:
    line = b'Traceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: ' + b"x" * 900
    added = run_stage(Classify(), batch_of(line)).records[0].added
    assert added is not None
    assert added["error_message"] == "x" * 500


@pytest.mark.parametrize(
    "line",
    [
        b"Traceback (most recent call last): is what Python prints first",
        b'{"message": "Traceback (most recent call last):"}',
        b"we meet\n   at noon (maybe)",
        b"look in :in `this'",
        b"SyntaxError: told you",
        b"\xff\xfe\n\tat \x00(",
        b"",
    ],
)
def test_a_line_without_a_stack_gets_no_fields(line: bytes) -> None:
    assert run_stage(Classify(), batch_of(line)).records[0].added is None
    batch = batch_of(line)
    batch.records[0].format = "json"
    batch.records[0].parsed = {}
    assert run_stage(Classify(), batch).records[0].added is None


def test_an_empty_batch_is_no_error() -> None:
    assert run_stage(Classify(), batch_of()).records == []


@given(st.lists(st.booleans(), max_size=20))
def test_exactly_the_records_with_a_trace_are_described(has_trace: list[bool]) -> None:
    batch = run_stage(Classify(), batch_of(*(CHAINED.encode() if one else b"quiet" for one in has_trace)))
    assert [record.added is not None for record in batch.records] == has_trace


@given(st.binary(max_size=300), st.sampled_from(REAL))
def test_no_bytes_around_a_trace_are_an_error(noise: bytes, path: Path) -> None:
    line = noise + b"\n" + path.read_bytes()
    added = run_stage(Classify(), batch_of(line)).records[0].added or {}
    assert re.fullmatch("[0-9a-f]{12}", added.get("error_fingerprint", "0" * 12))


def test_it_forces_no_decoding_and_writes_what_it_says() -> None:
    stage = Classify()
    assert set(stage.reads()) == set()
    assert set(stage.writes()) == DESCRIBED.keys()
