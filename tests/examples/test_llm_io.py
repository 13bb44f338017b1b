"""The channel under examples/llm_io does what it says, in a run and after a kill, and its files are read back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app

from ..query import agent_logs

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "examples/llm_io/tailrace.yaml"
SECRET = "sk-" + "a1B2c3D4e5F6g7H8i9J0" * 2


def run(*arguments: str) -> list[dict[str, Any]]:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout_bytes.splitlines() if line.startswith(b"{")]


def calls(count: int) -> list[dict[str, object]]:
    """Calls of two days, the even ones before midnight, each with a secret and a text that is too long."""
    own = {"request_excerpt": {"headers": {"authorization": SECRET}, "text": f"{SECRET} " + "long " * 900}}
    return [agent_logs.call(n % 3, n + (3600 if n % 2 else 0), n=n, **own) for n in range(count)]


def test_the_preset_is_the_example() -> None:
    assert (ROOT / "config/presets/llm_io.yaml").read_text() == CONFIG.read_text()


def test_the_example_is_a_good_config_whose_tests_pass() -> None:
    for command in (["check", "--offline"], ["test"]):
        result = CliRunner().invoke(app, [*command, str(CONFIG)])
        assert result.exit_code == 0, result.output


def test_a_run_writes_redacted_and_shortened_calls_and_the_index(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    agent_logs.jsonl(Path("raw/calls.jsonl"), *calls(10), {"event_type": "Message", "n": -1})
    subprocess.run([sys.executable, "-m", "tailrace.cli", "run", "--once", str(CONFIG)], check=True, timeout=30)
    written = sorted(Path("llm_io").glob("llm_io_2*.jsonl"))
    assert [path.name for path in written] == ["llm_io_2026-03-04.jsonl", "llm_io_2026-03-05.jsonl"]
    index = [json.loads(row) for row in Path("llm_io/llm_io_index.jsonl").read_bytes().splitlines()]
    assert [(row["type"], row["log_path"], row["created_at"], row["mode"], row["sink"]) for row in index] == [
        ("llm_io", "llm_io/llm_io_2026-03-04.jsonl", "2026-03-04T23:36:00.000000Z", "sanitized", "file"),
        ("llm_io", "llm_io/llm_io_2026-03-05.jsonl", "2026-03-05T00:36:01.000000Z", "sanitized", "file"),
    ]
    rows = run("llm", "--path", "llm_io")
    assert [row["n"] for row in rows] == [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    for row in rows:
        assert SECRET not in json.dumps(row)
        assert len(row["request_excerpt"]["text"]) <= 2000
        assert all(row[name] for name in ("session_key", "thread_ts", "stage", "call_label", "trace_id", "model"))
        assert (row["status"], row["prompt_tokens"], row["completion_tokens"]) == ("ok", 100, 20)
    assert len(run("trace", rows[0]["trace_id"], "--path", "llm_io")) == 4
    assert [row["llm_calls"] for row in run("sessions", "--path", "llm_io")] == [4, 3, 3]


def test_killed_again_and_again_it_writes_every_call_once_and_lists_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("raw").mkdir()
    count = 3000
    agent_logs.jsonl(Path("raw/calls.jsonl"), *calls(count))
    command = [sys.executable, "-m", "tailrace.cli", "run", "--once", str(CONFIG)]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            before, until = size(), time.monotonic() + 20
            while process.poll() is None and size() == before and time.monotonic() < until:
                os.sched_yield()
            process.send_signal(signal.SIGKILL)
    subprocess.run(command, check=True, timeout=60)
    written = [json.loads(line) for path in files() for line in path.read_bytes().splitlines()]
    assert Counter(row["n"] for row in written) == Counter(range(count))
    index = [json.loads(row)["log_path"] for row in Path("llm_io/llm_io_index.jsonl").read_bytes().splitlines()]
    assert sorted(index) == [str(path) for path in files()]


def files() -> list[Path]:
    return sorted(Path("llm_io").glob("llm_io_2*.jsonl"))


def size() -> int:
    total = 0
    for path in files():
        with suppress(FileNotFoundError):  # a start takes back a file of which nothing was settled
            total += path.stat().st_size
    return total
