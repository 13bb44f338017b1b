"""Each fault is one row: tracebacks by fingerprint, other errors by type and event."""

from __future__ import annotations

from pathlib import Path

from tailrace.query.errors import errors
from tailrace.query.find import Wanted, each
from tailrace.query.index import Index

from . import agent_logs


def test_tracebacks_of_one_fault_are_one_row_with_times_and_a_sample(tmp_path: Path) -> None:
    index = Index([agent_logs.write(tmp_path / "logs")])
    rows = errors(each(index, index.files(), Wanted()))
    assert [row["error_type"] for row in rows] == ["TimeoutError", "LLMCall", "TimeoutError"]
    trace, call, turn = rows
    assert (trace["count"], trace["error_frame"], trace["error_family"]) == (2, "/srv/app/llm.py:create", "timeout")
    assert (trace["first_seen"][11:19], trace["last_seen"][11:19]) == ("23:36:21", "23:40:00")
    assert trace["sample"].startswith("job 2 failed\nTraceback")
    assert trace["sample"].endswith("no answer in 31 s")
    assert (call["error_fingerprint"], call["error_message"], call["stage"]) == (None, "rate limit reached", "Skeleton")
    assert (turn["event"], turn["sessions"]) == ("graph_turn_error", [agent_logs.key(2)])


def test_what_archives_say_of_a_traceback_counts_as_found_there(tmp_path: Path) -> None:
    row = {"timestamp": agent_logs.at(0, "row"), "error_type": "KeyError", "error_fingerprint": "abc", "message": "x"}
    agent_logs.jsonl(tmp_path / "a.jsonl", row, {**row, "error_type": "Other"}, {"message": "fine"})
    index = Index([tmp_path])
    (only,) = errors(each(index, index.files(), Wanted()))
    assert (only["error_fingerprint"], only["count"], only["error_type"]) == ("abc", 2, "Other")
