"""Whatever bytes come in: every stage ends, gives valid records, and gives the same ones again."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline import discover
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage
from tailrace.pipeline.options import decode_option
from tailrace.pipeline.record import Record
from tailrace.stages.parse import Parse
from tailrace.testing import batch_of, run_stage

OPTIONS: dict[str, list[dict[str, Any]]] = {
    "classify": [{}],
    "derive_metrics": [
        {
            "metrics": [
                {"name": "lines_total", "type": "counter", "labels": {"level": "{level}", "kind": "{kind}-{user.id}"}},
                {"name": "took_seconds", "type": "histogram", "value": "ms", "scale": 0.001},
                {"name": "last", "type": "gauge", "value": "cost"},
            ]
        }
    ],
    "drop": [{"match": '{level=~"d.*"} or {} |= "drop"'}],
    "enrich": [{"fields": {"tier": "x"}, "trace_id": ["trace_id", "traceparent"], "carry": ["user"]}],
    "keep": [{"match": '{kind!="x"} |~ "."'}],
    "parse": [{}, {"pairs": True, "timezone": "Europe/Berlin"}],
    "redact": [{"pii": ["email", "card"]}, {"deny": ["message", "user.id"], "allow": ["kind"]}],
    "rename": [{"fields": {"level": "lvl", "message": "msg", "kind": "level"}}],
    "truncate": [
        {"max_bytes": 90, "keep": "head_tail"},
        {"max_chars": 80, "fields": ["message", "user.id"], "max_messages": 3},
    ],
}
STAGES = [(word, options) for word in OPTIONS for options in OPTIONS[word]]
SECRET = "AKIA" + "Q2W4E6R8T0Y1U3I5"
INNER = st.sampled_from(["id", "role", "a"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=120) | st.just(SECRET),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(INNER, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["level", "kind", "user", "message", "ts", "ms", "cost", "trace_id", "password"])
OBJECTS = st.builds(
    lambda fields, ascii: json.dumps(fields, ensure_ascii=ascii).encode("utf-8", "replace"),
    st.dictionaries(NAMES, VALUES, max_size=5),
    st.booleans(),
)
NOISE = st.binary(max_size=120)
TRACE = b'\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nE: '
LINES = (
    NOISE
    | OBJECTS
    | OBJECTS.map(lambda line: b"2026-10-25 02:30:00,123 INFO " + line)
    | NOISE.map(lambda data: b"2026-11-03 10:00:00,123 ERROR app: a=b " + data)
    | NOISE.map(lambda data: data + TRACE + data)
)


def made(word: str, options: dict[str, Any]) -> Stage:
    stage = msgspec.convert(options, discover.component("stage", word), dec_hook=decode_option)
    assert isinstance(stage, Stage)
    assert list(stage.check()) == []
    return stage


def ran(stage: Stage, batch: Batch) -> list[Record]:
    """As the chain has it: where a stage raises on records, they go alone."""
    stage.name = stage.name or stage.word()
    stage.prepare(None)
    left = []
    for record in batch.records:
        try:
            left += stage.process(batch.with_records([record])).records
        except ValueError:
            assert stage.word() in ("redact", "truncate"), "only these may refuse a record"
    return left


def test_no_stage_is_forgotten() -> None:
    assert sorted(OPTIONS) == discover.words("stage")


@pytest.mark.parametrize(("word", "options"), STAGES, ids=[f"{word} {' '.join(options)}" for word, options in STAGES])
@settings(max_examples=25)
@given(lines=st.lists(LINES, max_size=4), parsed=st.booleans())
def test_any_bytes_in_give_valid_records_out(
    word: str, options: dict[str, Any], lines: list[bytes], parsed: bool
) -> None:
    stage = made(word, options)
    batches = [batch_of(*lines), batch_of(*lines)]
    if parsed:
        batches = [run_stage(Parse(), batch) for batch in batches]
    before = deepcopy(batches[0].records)
    first, second = (ran(stage, batch) for batch in batches)
    assert first == second  # nothing but the input counts: no clock, no chance, no state outside the batch
    json.dumps(batches[0].state)
    for record in first:
        assert isinstance(json.loads(record.to_json().decode()), dict)
        if record.format == "json":
            assert isinstance(json.loads(record.line.decode()), dict)
        assert b"\n" not in record.line or record.format == "text"
    if not stage.rewrites:
        lines_of = {record.offset: record.line for record in before}
        assert all(record.line == lines_of[record.offset] for record in first)


REDACT = [made("redact", options) for options in OPTIONS["redact"]]


@settings(max_examples=25)
@given(lines=st.lists(LINES, max_size=4), parsed=st.booleans())
def test_redacting_twice_changes_nothing(lines: list[bytes], parsed: bool) -> None:
    batch = run_stage(Parse(), batch_of(*lines)) if parsed else batch_of(*lines)
    for stage in REDACT:
        once = ran(stage, batch)
        told = deepcopy(once)
        assert ran(stage, batch.with_records(once)) == told
        assert all(SECRET.encode() not in record.to_json() for record in told if "kind" not in record.fields)


@settings(max_examples=25)
@given(lines=st.lists(LINES, max_size=4), parsed=st.booleans())
def test_no_line_is_longer_than_truncate_allows(lines: list[bytes], parsed: bool) -> None:
    batch = run_stage(Parse(), batch_of(*lines)) if parsed else batch_of(*lines)
    for record in ran(made("truncate", OPTIONS["truncate"][0]), batch):
        assert len(record.line) <= 90
