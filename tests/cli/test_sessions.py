from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tailrace.cli import _filters

from .agent import agent_logs, rows, run


def keys(folder: Path, *arguments: object) -> list[int]:
    numbers = {agent_logs.key(n): n for n in range(40)}
    return [numbers[row["session_key"]] for row in rows(folder, "sessions", *arguments)]


def test_a_pipe_gets_a_json_line_for_each_session(tmp_path: Path) -> None:
    first, *_ = rows(tmp_path, "sessions")
    assert (first["session_key"], first["total_tokens"], first["events"]) == (agent_logs.key(1), 240, 4)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--limit", 2], [2, 3]),
        (["--session", agent_logs.key(2)], [2]),
        (["--session-key", agent_logs.key(2)], [2]),
        (["--thread-ts", agent_logs.thread(1)], [1]),
        (["--channel-id", agent_logs.CHANNEL], [1, 2, 3]),
        (["--model", "google_gemini-3-flash-preview"], [1]),
        (["--stage", "Skeleton"], [1, 2]),
        (["--error-type", "TimeoutError"], [2]),
        (["--has-error", "yes"], [2]),
        (["--contains", "lunch"], [1]),
        (["--from", "2026-03-04T23:46:00Z"], [2, 3]),
        (["--to-ts", "20260304_234000"], [1]),
        (["--from", "2026-03-05"], []),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_filters_choose_sessions(tmp_path: Path, options: list[object], found: list[int]) -> None:
    assert keys(tmp_path, *options) == found


def test_without_a_limit_the_last_ten_are_listed(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    for number in range(12):
        agent_logs.session_log(tmp_path / "logs", number, 60.0 * number)
    assert keys(tmp_path) == list(range(2, 12))


def test_a_local_time_is_that_of_the_zone_that_is_given(tmp_path: Path) -> None:
    row, *_ = rows(tmp_path, "sessions", "--timezone", "Europe/Amsterdam", "--session", agent_logs.key(3))
    assert row["created_at"] == "2026-03-04T22:56:00.000000000Z"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--path", "missing"], "no such file or folder: missing"),
        (["--timezone", "Mars/Base"], "no time zone 'Mars/Base'"),
        (["--from", "yesterday"], "is no time"),
        (["--limit", "0"], "--limit"),
        (["--has-error", "maybe"], "--has-error"),
        ([], "say with --path where the logs are"),
    ],
    ids=["path", "zone", "time", "limit", "has-error", "nothing there"],
)
def test_what_makes_no_sense_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--path" not in options and options:
        (tmp_path / "logs").mkdir()
    result = run("sessions", *options)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_without_a_path_the_folder_logs_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent_logs.write(tmp_path / "logs")
    monkeypatch.chdir(tmp_path)
    assert len(run("sessions").stdout.splitlines()) == 3


def test_with_a_config_its_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = (
        "sources: { in: { use: stdin } }\nstages: [ { use: parse } ]\n"
        "sinks:\n  a: { use: jsonl, path: 'archive/{date}.jsonl' }\n"
        "  b: { use: jsonl, path: 'archive/deep/{date}.jsonl' }\n"
    )
    (tmp_path / "tailrace.yaml").write_text(config)
    agent_logs.write(tmp_path / "logs")
    result = run("sessions")
    assert (result.exit_code, "has written no archive here" in result.stderr) == (2, True)
    (tmp_path / "archive/deep").mkdir(parents=True)
    agent_logs.session_log(tmp_path / "archive/deep", 5, 0)
    result = run("sessions")
    assert [agent_logs.key(5) in line for line in result.stdout.splitlines()] == [True]
    (tmp_path / "tailrace.yaml").write_text("sinks: 7")
    assert run("sessions").exit_code == 78


def test_a_terminal_gets_a_table_without_what_a_terminal_would_obey(tmp_path: Path) -> None:
    path = agent_logs.session_log(tmp_path, 1, 0, {"event": "x", "status": "a\x1b[2Jb"})
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "tailrace.cli", "sessions", "--path", str(path)]
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "200"}
    done = subprocess.run(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=environment, check=False)
    os.close(theirs)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    assert done.returncode == 0, done.stderr
    assert "2026-03-04 23:36:00.000" in shown
    assert agent_logs.key(1) in shown
    assert "\\x1b[2J" in shown
    assert "\x1b[2J" not in shown


def test_cells_are_short() -> None:
    cells = ["a\nb", ["x", 1], None, 1234, 1.5, True, "2026-03-04T23:36:00.123456789Z"]
    assert list(map(_filters._cell, cells)) == ["a", "x, 1", "", "1,234", "1.5", "True", "2026-03-04 23:36:00.123"]
