"""A config on lines: the engine's own way, up to what each sink would send."""

from __future__ import annotations

import subprocess
import sys
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.config.load import Config, load
from tailrace.config.problem import ConfigError
from tailrace.pipeline.batch import Chunk
from tailrace.testing import READ_AT, Sent, ship
from tailrace.testing.rehearsal import Rehearsal

CONFIG = """
sources: { app: { use: file, include: ["/var/log/*/app.log"], multiline: traceback } }
stages:
  - { use: parse }
  - { use: redact, pii: [email] }
  - { use: truncate, max_chars: 300 }
  - { use: enrich, fields: { app: shop }, trace_id: [trace_id, traceparent], carry: [trace_id, user] }
  - { use: drop, match: '{level="debug"}' }
  - { use: classify }
  - use: derive_metrics
    metrics: [ { name: events_total, type: counter, labels: { level: "{level}", app: "{app}" } } ]
sinks:
  loki:
    use: loki
    url: http://localhost:3100
    labels: { app: "{app}", level: "{level}", file: "{file}" }
    metadata: [session_key]
    bearer: { env: TAILRACE_NO_SUCH_TOKEN }
  archive: { use: jsonl, path: "archive/{level}/{date}.jsonl" }
  errors: { use: jsonl, path: "errors.jsonl", match: '{error_type!=""}' }
"""
TRACEBACK = """\
2026-11-23 12:00:04,500 ERROR app: turn failed
Traceback (most recent call last):
  File "/srv/app/llm.py", line 17, in create
    raise TimeoutError("no answer in 30 s")
TimeoutError: no answer in 30 s
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "tailrace.yaml"
    path.write_text(CONFIG)
    return path


def test_each_sink_gets_its_lines_with_labels_metadata_path_and_time(path: Path) -> None:
    line = (
        '{"level":"info","message":"password=hunter2 of ada@example.com",'
        '"session_key":"C1:2","ts":"2026-11-23T10:00:00Z"}'
    )
    shipped = ship(path, line, file="/var/log/1/app.log")
    (loki,), (archived,) = shipped.sinks["loki"], shipped.sinks["archive"]
    assert loki.labels == {"app": "shop", "level": "info", "file": "_var_log_1_app.log"}
    assert loki.metadata == {"session_key": "C1:2"}
    assert loki.time_ns == 1_795_428_000_000_000_000
    assert archived.path == "archive/info/2026-11-23.jsonl"
    assert archived.line == loki.line[:-1] + ',"app":"shop"}'
    assert archived.fields["message"] == "password=[REDACTED:key-name] of [REDACTED:email]"
    assert shipped.sinks["errors"] == []
    assert shipped.lines("loki") == [loki.line]
    assert "hunter2" not in repr(shipped)


def test_what_is_dropped_and_counted_is_told(path: Path) -> None:
    shipped = ship(path, ['{"level":"debug"}', '{"level":"info"}', b'{"level":"info"}'])
    assert shipped.dropped == {"drop": 1}
    assert shipped.metric('events_total{level="info",app="shop"}') == 2
    assert shipped.metric('events_total{level="debug",app="shop"}') is None


def test_lines_are_cut_into_events_as_the_source_does(path: Path) -> None:
    shipped = ship(path, TRACEBACK)
    (record,) = shipped.sinks["errors"]
    assert (record.fields["error_type"], record.fields["error_frame"]) == ("TimeoutError", "/srv/app/llm.py:create")


def test_the_clock_stands_still(path: Path) -> None:
    assert ship(path, "x").sinks["loki"][0].time_ns == READ_AT
    assert ship(path, "x", now="2026-11-23T12:00:00Z").sinks["loki"][0].time_ns == 1_795_435_200_000_000_000
    assert ship(path, "x") == ship(path, "x")


def test_nothing_of_one_run_is_in_the_next(path: Path) -> None:
    config = load(path, secrets=False)
    first = ship(config, "password=hunter2")
    assert ship(config, "password=hunter2") == first
    assert first.metric('tailrace_redactions_total{component="redact",rule="key-name"}') == 1


def test_it_is_what_a_run_ships(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lines through `tailrace run`, byte for byte."""
    monkeypatch.chdir(tmp_path)
    log = Path("app.log")
    archive = 'sinks: { archive: { use: jsonl, path: "archive/out.jsonl" } }\n'
    head = CONFIG.partition("sinks:")[0].replace("/var/log/*/app.log", "app.log")
    Path("tailrace.yaml").write_text(head + archive)
    log.write_text(
        TRACEBACK
        + '{"level":"info","message":"password=hunter2","session_key":"a","user":"ada","ts":"2026-11-23T13:00:00Z"}\n'
        + '{"level":"debug","ts":"2026-11-23T13:00:01Z"}\n'
        + '{"level":"error","message":"mail ada@example.com","session_key":"a","time":1795438800123}\n'
        + "2026-11-23 13:00:03,000 INFO app: "
        + "x" * 400
        + "\n"
    )
    done = subprocess.run([sys.executable, "-m", "tailrace.cli", "run", "--once"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    ran = Path("archive/out.jsonl").read_text().splitlines()
    assert len(ran) == 4
    assert ship("tailrace.yaml", log.read_bytes(), file="app.log").lines("archive") == ran


def test_nothing_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    ship(path, TRACEBACK)
    assert [found.name for found in path.parent.iterdir()] == ["tailrace.yaml"]


def test_a_record_that_a_stage_raises_on_is_told_without_its_line_where_secrets_are_not_hidden_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fail.py").write_text(
        "from tailrace.pipeline.component import Stage\n"
        "class Fail(Stage):\n"
        "    def process(self, batch):\n"
        "        if any(b'bad' in record.line for record in batch.records):\n"
        "            raise ValueError('no: ' + batch.records[0].text)\n"
        "        return batch\n"
    )
    for stages, line in (("{ use: fail }, { use: redact }", None), ("{ use: redact }, { use: fail }", "bad")):
        Path("c.yaml").write_text(
            "stage_files: [fail.py]\n"
            f"sources: {{ in: {{ use: stdin }} }}\nstages: [ {stages} ]\nsinks: {{ out: {{ use: stdout }} }}\n"
        )
        shipped = ship("c.yaml", "good\nbad\n")
        assert shipped.lines("out") == ["good"]
        (lost,) = shipped.dead
        assert (lost.stage, lost.line, "bad" in lost.reason) == ("fail", line, line is not None)


def test_wrong_configs_sources_and_times_are_told(path: Path) -> None:
    with pytest.raises(ValueError, match="the config has the sources app"):
        ship(path, "x", source="ap")
    with pytest.raises(ValueError, match="not a time"):
        ship(path, "x", now="noon")
    path.write_text("sources: {}")
    with pytest.raises(ConfigError, match="no sink"):
        ship(path, "x")


LINES = st.lists(
    st.one_of(
        st.binary(max_size=60).map(lambda data: data.replace(b"\n", b" ")),
        st.text(max_size=60).map(lambda text: text.replace("\n", " ").encode("utf-8", "replace")),
        st.sampled_from(
            [
                b'{"level":"info","ts":"2026-11-23T10:00:00.5Z","session_key":"a","trace_id":"' + b"ab" * 16 + b'"}',
                b'{"level":"debug","message":"x"}',
                b'{"session_key":"a","user":"ada","password":"hunter2"}',
                b'{"session_key":"a","timestamp":"23.11.2026"}',
                b"2026-11-23 12:00:00,000 INFO app: password=hunter2",
                b"level=error msg=x ts=2026-11-23T10:00:00Z",
                b"<34>Oct 11 22:14:15 host su[12]: failed",
                TRACEBACK.strip().encode(),
                b"",
                b"x" * 400,
            ]
        ),
    ),
    max_size=12,
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    path = tmp_path_factory.mktemp("config") / "tailrace.yaml"
    path.write_text(CONFIG)
    return load(path, secrets=False)


@settings(max_examples=60)
@given(lines=LINES, cuts=st.sets(st.integers(0, 12)))
def test_the_chain_on_split_chunks_equals_the_chain_on_one_chunk(
    config: Config, lines: list[bytes], cuts: set[int]
) -> None:
    """Lines, fields, labels, times, drops, metrics: whatever is read at once, as long as it is read at one time."""
    edges = sorted({0, len(lines), *(cut for cut in cuts if cut < len(lines))})
    split = [lines[start:end] for start, end in pairwise(edges)]
    assert told(config, split) == told(config, [lines])


def told(config: Config, chunks: list[list[bytes]]) -> object:
    """All that comes out of chunks that follow each other."""
    rehearsal = Rehearsal(config)
    sent: dict[str, list[Sent]] = {name: [] for name in config.sinks}
    dead: list[tuple[int, str]] = []
    offset = 0
    for lines in chunks:
        offsets = list(accumulate((len(line) + 1 for line in lines), initial=offset))
        offset = offsets.pop()
        labels = {"source": "app", "file": "f"}
        chunk = Chunk("app.log", {"offset": offset}, list(lines), offsets, labels, offset)
        batch = rehearsal.follow("app", chunk)
        for name, own in sent.items():
            own += rehearsal.sent(name, batch)
        dead += [(one.record.offset, one.where) for one in batch.dead]
    return sent, dead, rehearsal.dropped(), rehearsal.metrics()
