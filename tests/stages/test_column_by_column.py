"""A stage does to a batch that has no records yet what it does to records, one at a time or all at once."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.chain import Chain
from tailrace.pipeline.component import Stage
from tailrace.pipeline.options import decode_option
from tailrace.stages.classify import Classify
from tailrace.stages.enrich import Enrich
from tailrace.stages.truncate import Truncate
from tailrace.testing import batch_of, run_stage

TRACE = "45a6550a0dd84c37266bec0fe4ee92c6"
PYTHON = 'Traceback (most recent call last):\n  File "/srv/app.py", line 3, in run\n    go()\nValueError: no such row'
RUBY = "app.rb:3:in `run': went wrong (RuntimeError)\n\tfrom app.rb:9:in `<main>'"
LABELS = {"source": "test", "file": "/logs/worker_7.log", "env": "of the partition"}


def stage(kind: type[Stage], **options: Any) -> Stage:
    return msgspec.convert({"name": "it", **options}, kind, dec_hook=decode_option)


STAGES = {
    "fixed fields": stage(Enrich, fields={"app": "bench", "replica": 2, "env": "prod"}),
    "fixed fields that win": stage(Enrich, fields={"app": "bench"}, override=True),
    "the file's name": stage(Enrich, file_name=r"worker_(?P<pid>[0-9]+)"),
    "patterns": stage(Enrich, patterns=["(?P<app>bench|lamp)", "a(?P<word>b)?"]),
    "trace ids": stage(Enrich, trace_id=["trace_id", "traceparent"]),
    "trace ids in another order": stage(Enrich, trace_id=["traceparent", "trace_id"], span_id=["span"]),
    "first of": stage(Enrich, session_key=["thread", "user"], stage=["app"]),
    "carried": stage(Enrich, carry=["trace_id", "app"], derive_trace_id=["session_key"]),
    "errors": stage(Classify),
    "long fields": stage(Truncate, max_chars=100, fields=["message", "deep.text", "app"]),
    "long lines": stage(Truncate, max_bytes=700),
    "long chats": stage(Truncate, max_chars=2000, max_messages=3),
}

text = st.sampled_from(["", "bench", "a lamp", "ab", "x" * 150, PYTHON, RUBY, "é" * 90])
value = st.none() | text | st.integers(0, 3) | st.booleans() | st.lists(st.integers(0, 2), max_size=2)
trace = st.sampled_from([TRACE, TRACE.upper(), "0" * 32, f"00-{TRACE}-00f067aa0ba902b7-01", "no trace", "", None, 7])
rows = st.fixed_dictionaries(
    {},
    optional={
        "message": text,
        "app": value,
        "env": value,
        "user": value,
        "thread": value,
        "session_key": st.sampled_from(["a", "b", 1, None]),
        "trace_id": trace,
        "traceparent": trace,
        "span_id": st.sampled_from([None, "00f067aa0ba902b7"]),
        "span": st.sampled_from(["00f067aa0ba902b7", "0" * 16, None]),
        "error_type": st.sampled_from(["TimeoutError", "", None]),
        "deep": st.fixed_dictionaries({"text": text}),
        "chat": st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": text}), max_size=5),
    },
)


def in_columns(fields: list[dict[str, Any]], *, json: bool, added: dict[str, list[Any]]) -> Batch:
    """A batch as `parse` leaves it."""
    lines = [msgspec.json.encode(one) if json else str(one.get("message", "")).encode() for one in fields]
    batch = batch_of(*lines, labels=LABELS)
    assert batch.columns is not None
    times = [1_790_000_000_000_000_000 + place for place in range(len(fields))]
    batch.columns.read("json" if json else "text", deepcopy(fields), times, None)
    for name, values in added.items():
        batch.columns.add(name, values[: len(fields)])
    return batch


def facts(batch: Batch) -> list[tuple[Any, ...]]:
    return [(r.line, r.offset, r.time_ns, r.format, r.added or None, r.fields) for r in batch.records]


@pytest.mark.parametrize("name", STAGES)
@settings(max_examples=25)
@given(
    fields=st.lists(rows, min_size=1, max_size=6),
    json=st.booleans(),
    added=st.just({}) | st.fixed_dictionaries({"app": st.lists(value, min_size=6, max_size=6)}),
)
def test_columns_and_records_come_out_alike(
    name: str, fields: list[dict[str, Any]], json: bool, added: dict[str, list[Any]]
) -> None:
    whole, made, single = (in_columns(fields, json=json, added=added) for _ in range(3))
    chain = Chain([STAGES[name]], [None])
    assert len(made.records) == len(fields)
    one_by_one = [fact for record in single.records for fact in facts(chain.run(single.with_records([record])))]
    assert facts(chain.run(whole)) == facts(chain.run(made)) == one_by_one
    assert [one.record.offset for one in whole.dead] == [one.record.offset for one in single.dead]
    assert whole.state == made.state == single.state


@pytest.mark.parametrize("name", STAGES)
def test_a_batch_gets_no_records_by_it(name: str) -> None:
    fields = [{"message": PYTHON, "trace_id": TRACE}, {"message": "x" * 300, "traceparent": TRACE, "app": "own"}]
    batch = run_stage(STAGES[name], in_columns(fields, json=True, added={}))
    assert (batch.columns is None) == (name == "fixed fields")  # only a field that the partition has too needs them
