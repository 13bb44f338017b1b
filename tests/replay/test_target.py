"""What is kept of a record for its sink, and that the sink gets just that."""

from __future__ import annotations

from typing import Any

import pytest

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.options import Size, Template
from tailrace.pipeline.sinks.jsonl import Jsonl
from tailrace.pipeline.sinks.loki import Loki
from tailrace.pipeline.sinks.stdout import Stdout
from tailrace.replay.target import Target, Unfit
from tailrace.replay.verify import batch_of as restored
from tailrace.testing import batch_of


def sink(**more: Any) -> Loki:
    labels = {"app": Template("{app}"), "kind": Template("x-{level}")}
    return Loki(name="loki", url="http://x", labels=labels, **{"metadata": ["trace.id", "level"]} | more)


def batch() -> Batch:
    made = batch_of(b"one", b'{"a":1}', b"long " * 300, b"four")
    said: list[dict[str, Any]] = [
        {"app": "web", "level": "info", "trace.id": "t1"},
        {"app": "web", "level": 5, "trace.id": {"x": 1}},
        {"app": "web", "level": "info"},
        {"app": "web-0123456789abcdef0123", "level": "info"},
    ]
    for number, (record, fields) in enumerate(zip(made.records, said, strict=True)):
        record.time_ns, record.parsed = 1000 + number, fields
    made.labels = {"file": "/var/log/a.log"}
    return made


def test_loki_gets_the_same_entries_as_live_but_for_the_label() -> None:
    live = sink(max_line=Size(500))
    target = Target(live)
    rows = target.rows(batch(), 0)
    final = target.final("again")
    assert isinstance(final, Loki)
    entries, own = final.streams.entries([restored(rows, target)]), live.streams.entries([batch()])
    assert final.streams.shown(entries) == live.streams.shown(own)
    assert [entry.time_ns for entry in entries] == [1000, 1001, 1002, 1003]
    assert [entry.stream for entry in entries] == [one.stream[:-1] + b', replay="again"}' for one in own]


def test_values_that_come_to_the_same_labels_are_one_stream() -> None:
    rows = (target := Target(sink())).rows(batch(), 0)
    assert rows.keys == [0, 1, 0, 0]
    assert target.keys.values_of == [("web", "info"), ("web", "5")]


def test_without_a_label_the_streams_are_those_of_live_logs() -> None:
    target = Target(live := sink(), label="")
    rows = target.rows(batch(), 0)
    final = target.final("n")
    assert isinstance(final, Loki)
    found = [entry.stream for entry in final.streams.entries([restored(rows, target)])]
    assert found == [entry.stream for entry in live.streams.entries([batch()])]


def test_an_archive_gets_whole_records_at_a_path_of_their_fields() -> None:
    target = Target(Jsonl(name="archive", path=Template("old/{date}.jsonl")), into="new/{app}/{date}.jsonl")
    rows = target.rows(batch(), 0)
    final = target.final("n")
    assert isinstance(final, Jsonl)
    assert rows.lines[0].startswith(b'{"timestamp":"1970-01-01T00:00:00.000001000Z","app":"web"')
    assert restored(rows, target).shipped(final.line) == rows.lines
    assert [restored(rows, target).values(field) for field in final.path.fields if field != "date"] == [
        ["web", "web", "web", "web-0123456789abcdef0123"]
    ]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        pytest.param(lambda: Target(Stdout(name="out")), "goes to a loki or a jsonl sink", id="another sink"),
        pytest.param(lambda: Target(sink(), label="app"), "choose another by --label", id="a label twice"),
        pytest.param(lambda: Target(sink(), into="x"), "Loki has no folder", id="a folder for Loki"),
        pytest.param(lambda: Target(Jsonl(name="a", path=Template("a.jsonl"))), "--into", id="no new archive"),
        pytest.param(
            lambda: Target(Jsonl(name="a", path=Template("a.jsonl")), into="../{x}.jsonl"), "would leave", id="outside"
        ),
        pytest.param(lambda: Target(Jsonl(name="a", path=Template("a.jsonl")), into="a/{"), "unbalanced", id="a brace"),
        pytest.param(
            lambda: Target(Jsonl(name="a", path=Template("a.jsonl")), into="a.jsonl"),
            "writes there already",
            id="itself",
        ),
    ],
)
def test_what_cannot_be_replayed_into_is_told(make: Any, words: str) -> None:
    with pytest.raises(Unfit, match=words):
        make()
