from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tailrace.cli.app import app

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
PICKY = """
from pathlib import Path
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.component import Stage


class Picky(Stage):
    def process(self, batch: Batch) -> Batch:
        if not Path("mended").exists() and any("bad" in record.text for record in batch.records):
            raise ValueError("cannot take this")
        return batch
"""
CONFIG = """
stage_files: [picky.py]
sources: { app: { use: file, include: ["logs/*.log"] } }
stages: [ { use: parse }, { use: picky } ]
sinks: { archive: { use: jsonl, path: "archive/{source}.jsonl" } }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One of three lines is in the dead letter."""
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    Path("logs/a.log").write_text("2026-11-23 12:00:00,000 INFO a: fine\n2026-11-23 12:00:01,000 INFO a: bad\nfine\n")
    Path("picky.py").write_text(PICKY)
    Path("tailrace.yaml").write_text(CONFIG)
    done = subprocess.run([*TAILRACE, "run", "--once"], capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return tmp_path


def dlq(*arguments: str, answer: str = "") -> Result:
    return CliRunner().invoke(app, ["dlq", *arguments], input=answer)


def retry(*arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: it takes the log's handlers and an event loop."""
    return subprocess.run([*TAILRACE, "dlq", "retry", *arguments], capture_output=True, text=True, timeout=60)


def listed(*arguments: str) -> list[dict[str, Any]]:
    result = dlq("list", *arguments)
    assert (result.exit_code, result.stderr) == (0, "")
    return [json.loads(line) for line in result.stdout.splitlines()]


def archived() -> list[str]:
    return [json.loads(line)["message"] for line in Path("archive/app.jsonl").read_text().splitlines()]


@contextmanager
def running() -> Iterator[int]:
    """A tailrace that follows the logs; its process."""
    process = subprocess.Popen([*TAILRACE, "run"], stderr=subprocess.PIPE)
    assert process.stderr
    try:
        assert b"started" in process.stderr.readline()
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def test_a_pipe_gets_the_letters_as_json_lines() -> None:
    (letter,) = listed()
    assert (letter["where"], letter["reason"], letter["kind"]) == ("picky", "ValueError: cannot take this", "stage")
    assert (letter["source"], letter["line"]) == ("app", "2026-11-23 12:00:01,000 INFO a: bad")


def test_a_terminal_gets_a_line_for_the_eye() -> None:
    ours, theirs = pty.openpty()
    subprocess.run([*TAILRACE, "dlq", "list"], stdout=theirs, stderr=subprocess.DEVNULL, check=True, timeout=60)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "stage picky: ValueError: cannot take this (raised at picky.py:10, in process)  app logs/a.log#" in shown
    assert shown.endswith("INFO a: bad\r\n")


@pytest.mark.parametrize(("match", "count"), [('{where="picky"} |= "bad"', 1), ('{where="loki"}', 0)])
def test_letters_are_chosen_by_logql(match: str, count: int) -> None:
    assert len(listed("--match", match)) == count


def test_a_wrong_match_is_told() -> None:
    result = dlq("list", "--match", "{where=}")
    assert result.exit_code == 2
    assert "--match" in result.stderr


def test_a_missing_config_is_told() -> None:
    result = dlq("list", "nope.yaml")
    assert (result.exit_code, result.stdout) == (78, "")
    assert "nope.yaml" in result.stderr


def test_the_list_needs_no_secret_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_TOKEN", raising=False)
    loki = 'sinks: { loki: { use: loki, url: "http://x", labels: { a: b }, bearer: { env: NO_SUCH_TOKEN } } }'
    Path("tailrace.yaml").write_text(CONFIG.partition("sinks:")[0] + loki)
    assert len(listed()) == 1


def test_what_fails_again_stays_and_what_works_now_is_delivered() -> None:
    done = retry()
    assert (done.returncode, done.stdout) == (1, "")
    assert "1 letters: 0 delivered, 1 stay\n  1: ValueError: cannot take this" in done.stderr
    Path("mended").touch()
    done = retry("--json")
    assert (done.returncode, json.loads(done.stdout)["delivered"]) == (0, 1)
    assert archived() == ["fine", "fine", "bad"]
    assert listed() == []
    assert subprocess.run([*TAILRACE, "run", "--once"], capture_output=True, timeout=60).returncode == 0
    assert archived() == ["fine", "fine", "bad"]


def test_while_tailrace_runs_a_retry_is_refused_and_names_it() -> None:
    with running() as pid:
        done = retry()
        assert done.returncode == 78
        assert f"in use by another tailrace (pid {pid})" in done.stderr
        assert len(listed()) == 1
        assert dlq("drop", "--yes").exit_code == 0
    assert listed() == []


def test_dropping_asks_first() -> None:
    result = dlq("drop", answer="n\n")
    assert result.exit_code == 1
    assert len(listed()) == 1
    result = dlq("drop", answer="y\n")
    assert result.exit_code == 0
    assert "dropped 1\n" in result.stderr
    assert listed() == []


@pytest.mark.parametrize(
    ("arguments", "left"),
    [
        (["--before", "2020-01-01"], 1),
        (["--before", "1h"], 1),
        (["--before", "2100-01-01T00:00Z"], 0),
        (["--match", '{where="loki"}'], 1),
        (["--match", '{where="picky"}'], 0),
    ],
    ids=["long ago", "an hour ago", "in time to come", "no match", "match"],
)
def test_only_what_is_meant_is_dropped(arguments: list[str], left: int) -> None:
    result = dlq("drop", "--yes", *arguments)
    assert result.exit_code == 0
    assert result.stderr == f"dropped {1 - left}\n"
    assert len(listed()) == left


def test_a_time_that_is_none_is_told() -> None:
    result = dlq("drop", "--before", "yesterday")
    assert result.exit_code == 2
    assert "no time" in result.stderr
