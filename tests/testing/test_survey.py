"""What is told of a sample."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from tailrace.config.load import load
from tailrace.pipeline.batch import Chunk
from tailrace.testing.survey import Survey, Surveyor

CONFIG = """
sources: { app: { use: stdin } }
stages:
  - { use: parse }
  - { use: redact }
  - { use: drop, match: '{level="debug"}' }
sinks:
  loki:
    { use: loki, url: "http://l:1", labels: { app: "{app}", level: "{level}" }, metadata: [blob], max_line: null }
  archive: { use: jsonl, path: "archive/{app}.jsonl", match: '{level="error"}' }
"""


def survey(tmp_path: Path, lines: Iterable[str], max_streams: int = 5000) -> Survey:
    path = tmp_path / "tailrace.yaml"
    path.write_text(CONFIG)
    surveyor = Surveyor(load(path), "app", max_streams)
    offset = 0
    for line in lines:
        chunk = Chunk.of_lines("p", line.encode() + b"\n", offset, {"source": "app"})
        offset += chunk.size
        surveyor.take(chunk)
    return surveyor.survey()


def test_each_stage_has_its_hit_rate_and_its_own_counts(tmp_path: Path) -> None:
    found = survey(
        tmp_path,
        [
            '{"level":"info","app":"a","ts":"2026-11-23T10:00:00Z"}',
            '{"level":"debug","app":"a"}',
            '{"level":"error","app":"b","message":"password=hunter2"}',
            "nothing that parses",
        ],
    )
    parse, redact, drop = found.stages
    assert (parse.events, parse.touched) == (4, 3)
    assert parse.counts == {'tailrace_parse_failures_total{reason="no_match"}': 1}
    assert (redact.events, redact.touched) == (4, 1)
    assert redact.counts == {'tailrace_redactions_total{rule="key-name"}': 1}
    assert (drop.events, drop.touched, drop.dropped) == (4, 0, {"match": 1})
    assert (found.events, found.shipped, found.timed) == (4, 3, 1)
    assert (found.first, found.last) == ("2026-11-23T10:00:00.000000000Z", "2026-11-23T10:00:00.000000002Z")


def test_labels_streams_and_files_are_counted_by_sink(tmp_path: Path) -> None:
    lines = [f'{{"level":"{level}","app":"{app}"}}' for level in ("info", "error") for app in "aab"]
    loki, archive = survey(tmp_path, lines).sinks
    assert (loki.events, loki.streams, loki.labels) == (6, 4, {"app": 2, "level": 2})
    assert loki.examples["app"] == ["a", "b"]
    assert loki.new_streams == 2
    assert (archive.events, archive.streams, archive.files) == (3, None, 2)


def test_too_many_values_and_streams_are_warned_of(tmp_path: Path) -> None:
    lines = [f'{{"level":"info","app":"app {place:x}x","ts":"2026-11-23T10:00:00Z"}}' for place in range(120)]
    found = survey(tmp_path, lines, max_streams=100)
    assert found.warnings == [
        "sink loki: label 'app' has 120 values: move it to `metadata`",
        "sink loki: 120 streams, Loki takes 100 at a time",
    ]
    found = survey(tmp_path, lines, max_streams=1000)
    assert found.sinks[0].projected_streams == 120 + 60 * 18
    assert found.warnings[1].startswith("sink loki: 120 streams and more to come: about 1200 at 10 times the sample")


def test_what_loki_would_refuse_is_counted(tmp_path: Path) -> None:
    found = survey(tmp_path, ['{"level":"info","blob":"' + "x" * (300 << 10) + '"}'])
    assert found.sinks[0].over == {"line over 256 KiB (put `truncate` in front)": 1, "metadata over 64 KiB": 1}
    assert len([warning for warning in found.warnings if "would refuse 1 records" in warning]) == 2


@pytest.mark.parametrize(("line", "warned"), [("no time", True), ('{"ts":"2026-11-23T10:00:00Z"}', False)])
def test_a_sample_without_any_time_is_warned_of(tmp_path: Path, line: str, warned: bool) -> None:
    told = "no event has a time of its own: each gets the time when it is read"
    assert (told in survey(tmp_path, [line]).warnings) is warned


def test_an_empty_sample_is_nothing_to_warn_of(tmp_path: Path) -> None:
    found = survey(tmp_path, [])
    assert (found.events, found.first, found.warnings) == (0, "", [])
