from __future__ import annotations

from pathlib import Path

import pytest

from .agent import agent_logs, rows, run


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--limit", 2], ["session_started", "user_reply"]),
        (["--session", agent_logs.key(1), "--stage", "CaptureInputs"], ["graph_turn_start"]),
        (["--event", "submission_result"], ["submission_result"]),
        (["--status", "committed"], ["session_finalized"]),
        (["--has-error", "yes"], ["graph_turn_error"]),
        (["--contains", "lunch", "--channel", "C1"], []),
    ],
    ids=["last", "stage", "event", "status", "failed", "none"],
)
def test_events_are_chosen_by_filters_and_shown_oldest_first(
    tmp_path: Path, options: list[object], found: list[str]
) -> None:
    assert [row["event"] for row in rows(tmp_path, "events", *options)] == found


def test_an_event_is_shown_whole_with_its_time_and_file(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, "events", "--event", "graph_turn_start")
    assert (row["timestamp"], row["user_text"]) == ("2026-03-04T23:36:10.000000000Z", "Lunch at noon")
    assert row["log_path"].endswith("_1.log")


def test_a_tool_call_is_an_event_too(tmp_path: Path) -> None:
    assert [row["tool_name"] for row in rows(tmp_path, "events", "--event-type", "ToolCall")] == ["calendar.list"]


def test_lone_surrogates_and_bad_bytes_are_printed(tmp_path: Path) -> None:
    line = b'2026-03-04 23:36:00,179 INFO {"event": "%s"}\n'
    (tmp_path / "x.log").write_bytes(line % b"\\ud83d" + line % b"\xff")
    result = run("events", "--path", tmp_path)
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 2)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    result = run("events", "--path", "/proc/self/mem")
    assert (result.exit_code, "tailrace events: [Errno" in result.stderr) == (1, True)
