"""What is told of a line on its way, and what is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.config.load import load
from tailrace.testing import READ_AT
from tailrace.testing.story import Change, Story, Teller, tell

CONFIG = """
sources: { app: { use: stdin, multiline: traceback } }
stages:
  - { use: parse }
  - { use: enrich, fields: { app: shop, key: "hidden sk-live-1" } }
  - { use: redact, patterns: { mine: "sk-live-[0-9]+" } }
  - { use: drop, match: '{level="debug"}' }
  - { use: rename, fields: { msg: text } }
sinks:
  loki: { use: loki, url: "http://l:1", labels: { app: "{app}" }, metadata: [trace_id], match: '{level!="info"}' }
  archive: { use: jsonl, path: "archive/{date}.jsonl" }
"""


def stories(tmp_path: Path, data: bytes, config: str = CONFIG) -> list[Story]:
    path = tmp_path / "tailrace.yaml"
    path.write_text(config)
    return tell(load(path, secrets=False), data, read_at_ns=READ_AT)


def test_each_stage_tells_what_it_changed_and_each_sink_what_it_gets(tmp_path: Path) -> None:
    line = b'{"level":"error","msg":"password=hunter2","trace_id":"ab","ts":"2026-11-23T10:00:00Z"}'
    (story,) = stories(tmp_path, line)
    assert (story.source, story.read) == ("app", line.decode())
    parse, enrich, redact, drop, rename = story.steps
    assert parse.time == "2026-11-23T10:00:00.000000000Z"
    assert {change.field: change.kind for change in parse.changes} == {
        "message": "removed",
        "level": "added",
        "msg": "added",
        "trace_id": "added",
        "ts": "added",
    }
    assert [change.field for change in enrich.changes] == ["app", "key"]
    assert redact.line is not None
    assert "password=[REDACTED:key-name]" in redact.line
    assert (drop.changes, drop.line, drop.dropped) == ([], None, "")
    assert [(change.field, change.kind) for change in rename.changes] == [("msg", "removed"), ("text", "added")]
    loki, archive = story.sinks
    assert (loki.takes, loki.labels, loki.metadata) == (True, {"app": "shop"}, {"trace_id": "ab"})
    assert (archive.path, archive.time) == ("archive/2026-11-23.jsonl", "2026-11-23T10:00:00.000000000Z")


def test_before_secrets_are_hidden_only_what_was_given_is_told(tmp_path: Path) -> None:
    (story,) = stories(tmp_path, b'{"level":"error","msg":"hi \\"you\\"","n":1,"deep":{"a":["b"]}}')
    found = {change.field: change for change in story.steps[0].changes + story.steps[1].changes}
    assert found["msg"] == Change(field="msg", kind="added", value='hi "you"')
    assert (found["n"].value, found["deep"].value) == (1, {"a": ["b"]})
    assert found["key"] == Change(field="key", kind="added", value=None, withheld=True)
    assert "sk-live" not in repr(story)
    redact = story.steps[2]
    assert [(change.field, change.value) for change in redact.changes] == [("key", "hidden [REDACTED:mine]")]


def test_a_dropped_line_ends_at_its_stage_with_the_reason(tmp_path: Path) -> None:
    (story,) = stories(tmp_path, b'{"level":"debug"}')
    assert [step.stage for step in story.steps] == ["parse", "enrich", "redact", "drop"]
    assert story.steps[-1].dropped == 'drop {level="debug"} (match)'
    assert story.sinks == []


def test_a_sink_that_does_not_take_it_says_why(tmp_path: Path) -> None:
    (story,) = stories(tmp_path, b'{"level":"info"}')
    assert [(sink.sink, sink.takes, sink.why) for sink in story.sinks] == [
        ("loki", False, 'does not match {level!="info"}'),
        ("archive", True, ""),
    ]


def test_every_event_has_its_story_and_later_ones_know_of_earlier_ones(tmp_path: Path) -> None:
    data = (
        b'2026-11-23 12:00:00,000 ERROR a: b\nTraceback (most recent call last):\nKeyError: \'x\'\n{"level":"error"}\n'
    )
    first, second = stories(tmp_path, data)
    assert first.read.count("\n") == 2
    assert second.sinks[-1].time == "2026-11-23T12:00:00.000000001Z"


@pytest.mark.parametrize("place", ["before", "behind"])
def test_a_stage_that_raises_is_told_and_the_rest_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fail.py").write_text(
        "from tailrace.pipeline.component import Stage\n"
        "class Fail(Stage):\n"
        "    def process(self, batch):\n"
        "        raise ValueError('no: ' + batch.records[0].text)\n"
    )
    stages = ["{ use: redact }", "{ use: fail }"][:: 1 if place == "behind" else -1]
    config = (
        f"sources: {{ in: {{ use: stdin }} }}\nstages: [ {', '.join(stages)} ]\nsinks: {{ out: {{ use: stdout }} }}\n"
    )
    (story,) = stories(tmp_path, b"hello", "stage_files: [fail.py]\n" + config)
    assert story.steps[-1].stage == "fail"
    assert story.steps[-1].dead == ("ValueError: no: hello" if place == "behind" else "ValueError")
    assert (story.steps[-1].dropped, story.sinks) == ("", [])


def test_nothing_in_is_no_story(tmp_path: Path) -> None:
    assert stories(tmp_path, b"") == []


def test_a_stage_tells_what_it_counts_of_the_one_record(tmp_path: Path) -> None:
    config = """
sources: { app: { use: stdin } }
stages:
  - { use: redact }
  - { use: truncate, max_bytes: 100 }
  - { use: derive_metrics, metrics: [ { name: lines_total, type: counter, labels: { app: "{source}" } } ] }
sinks: { out: { use: stdout } }
"""
    path = tmp_path / "tailrace.yaml"
    path.write_text(config)
    teller = Teller(load(path, secrets=False))
    rehearsal = teller.rehearsal
    teller.pass_over("app", rehearsal.chunk(b"password=hunter2 and token=hunter3", "app"), READ_AT)
    chunk = rehearsal.chunk(b"password=hunter2 " + b"long " * 50, "app")
    (story,), batch = teller.tell("app", chunk, READ_AT + 1)
    redact, truncate, metrics = story.steps
    assert (redact.redacted, redact.bytes, truncate.cut) == ({"key-name": 1}, (267, 279), {"line": 1})
    assert (truncate.bytes, truncate.redacted) == ((279, 100), {})
    assert metrics.counted == {'lines_total{app="app"}': 1.0}
    assert (len(batch), batch.records[0].time_ns) == (1, READ_AT + 1)


def test_a_partition_goes_on_where_it_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "tailrace.yaml"
    path.write_text(CONFIG)
    rehearsal = Teller(load(path, secrets=False)).rehearsal
    rehearsal.begin("app", "app", 500, {"clock": {"event": READ_AT + 7, "last": READ_AT + 7, "tick": 0}})
    chunk = rehearsal.chunk(b"plain", "app")
    assert list(chunk.offsets) == [500]
    batch = rehearsal.follow("app", chunk, READ_AT, slot=0)
    assert batch.records[0].time_ns == READ_AT + 8
    assert rehearsal.state("app", "app")["clock"]["tick"] == 1
