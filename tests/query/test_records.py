"""Whatever an agent app writes becomes records: with its kind, its time, its error."""

from __future__ import annotations

import gzip
from collections import Counter
from pathlib import Path

import cramjam
import pytest

from tailrace.query.records import Found, Reader, is_error, json_text, kind_of

from . import agent_logs


def read(path: Path) -> list[Found]:
    return list(Reader().records(path))


def test_every_channel_is_told_by_its_records(tmp_path: Path) -> None:
    folder = agent_logs.write(tmp_path / "logs")
    kinds = {path.name.split("_2026")[0]: Counter(r.kind for r in read(path)) for path in sorted(folder.iterdir())}
    assert kinds == {
        "app.log": {"log": 3},
        "llm_io": {"llm": 3, "tool": 1},
        "timebox_patcher": {"patcher": 5},
        "timeboxing_session": {"event": 2},
        "timeboxing_session_index.jsonl": {"index": 1},
    }


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"event_type": "review_llm_call"}, "llm"),
        ({"event": "LLMCall", "level": "info"}, "llm"),
        ({"event_type": "Other"}, "log"),
        ({"event": "graph_turn_end"}, "event"),
        ({"tool_name": "x"}, "tool"),
        ({"type": "llm_io", "log_path": "x"}, "index"),
        ({"type": ["llm_io"], "log_path": "x"}, "log"),
        ({"message": 7}, "log"),
        ({}, "log"),
    ],
    ids=["review", "app log", "other type", "event", "tool", "index", "odd type", "odd message", "empty"],
)
def test_the_kind_of_a_record(fields: dict[str, object], kind: str) -> None:
    assert kind_of(fields) == kind


def test_a_traceback_in_a_raw_log_is_one_record_with_its_fault(tmp_path: Path) -> None:
    (tmp_path / "app.log").write_text(agent_logs.APP_LOG)
    _, one, two = read(tmp_path / "app.log")
    assert one.text("error_type") == two.text("error_type") == "TimeoutError"
    assert one.text("error_fingerprint") == two.text("error_fingerprint") != ""
    assert is_error(one.fields)


def test_bad_bytes_a_byte_order_mark_and_lone_surrogates_lose_no_row(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    line = b'2026-03-04 23:36:00,179 INFO {"event": "%s"}\n'
    path.write_bytes(b"\xef\xbb\xbf" + line % b"bom" + line % b"\xff" + line % b"\\ud83d" + line % "\u2028".encode())
    rows = read(path)
    assert [row.time_ns for row in rows] == [(agent_logs.START * 1000 + 179) * 10**6] * 4
    assert [row.fields["event"] for row in rows] == ["bom", "\ufffd", "?", "\u2028"]


def test_records_without_a_time_have_that_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text('{"n":0}\n{"n":1,"ts":1772667360}\n{"n":2}\n')
    assert [row.time_ns for row in read(path)] == [agent_logs.START * 10**9] * 3
    path.write_text('{"n":0}\n')
    assert [row.time_ns for row in read(path)] == [path.stat().st_mtime_ns]


def test_local_times_are_read_in_the_zone_that_is_given(tmp_path: Path) -> None:
    path = agent_logs.session_log(tmp_path, 1, 0)
    (utc,), (local,) = Reader().records(path), Reader("Europe/Amsterdam").records(path)
    assert utc.time_ns - local.time_ns == 3600 * 10**9
    assert [option for option, _ in Reader("Nowhere").problems()] == ["timezone"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compressed_files_are_read_as_plain_ones(tmp_path: Path, suffix: str) -> None:
    plain = agent_logs.jsonl(tmp_path / "a.jsonl", agent_logs.call(1, 0), agent_logs.call(2, 1))
    data = plain.read_bytes()
    packed = {"": data, ".gz": gzip.compress(data), ".zst": bytes(cramjam.zstd.compress(data))}[suffix]
    path = tmp_path / f"b.jsonl{suffix}"
    path.write_bytes(packed)
    assert [row.fields for row in read(path)] == [row.fields for row in read(plain)]


def test_what_is_shown_has_the_time_and_the_file_and_keeps_its_own(tmp_path: Path) -> None:
    path = agent_logs.jsonl(tmp_path / "a.jsonl", {"n": 1, "created_at": agent_logs.at(0, "row"), "log_path": "own"})
    (row,) = read(path)
    assert row.shown == {**row.fields, "timestamp": "2026-03-04T23:36:00.000000000Z"}
    assert (row.number("n"), row.number("log_path"), row.text("missing")) == (1, 0, "")


def test_text_is_searched_as_it_is_read_not_as_it_is_escaped() -> None:
    assert json_text({"a": "NAÏVE \u2028"}) == '{"a": "naïve \u2028"}'
