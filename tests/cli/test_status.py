from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
CONFIG = """
sources: { app: { use: file, include: ["logs/*.log"] } }
sinks: { archive: { use: jsonl, path: "archive/{source}.jsonl" } }
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    Path("logs/a.log").write_text("one\ntwo\n")
    return tmp_path


def status() -> dict[str, Any]:
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, result.stderr) == (0, "")
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def once() -> None:
    assert subprocess.run([*TAILRACE, "run", "--once"], capture_output=True, timeout=60).returncode == 0


def shown() -> str:
    """On a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"COLUMNS": "160", "TERM": "xterm", "NO_COLOR": "1"}
    subprocess.run([*TAILRACE, "status"], stdout=theirs, env=environment, check=True, timeout=60)
    told = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    return told


@contextmanager
def running(config: str) -> Iterator[int]:
    """A tailrace that follows the logs; its process."""
    Path("tailrace.yaml").write_text(config)
    process = subprocess.Popen([*TAILRACE, "run"], stderr=subprocess.PIPE)
    assert process.stderr
    try:
        assert b"started" in process.stderr.readline()
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_before_the_first_run_there_is_nothing_to_tell() -> None:
    Path("tailrace.yaml").write_text(CONFIG)
    told = status()
    assert (told["running"], told["pid"], told["partitions"], told["dead_letters"]) == (False, None, [], {})
    assert not Path("state").exists()


def test_the_state_folder_tells_while_tailrace_does_not_run() -> None:
    Path("tailrace.yaml").write_text(CONFIG)
    once()
    with Path("logs/a.log").open("a") as log:
        log.write("three\n")
    told = status()
    (one,) = told["partitions"]
    assert (one["source"], one["path"], one["position"], one["size"], one["lag_bytes"]) == (
        "app",
        "logs/a.log",
        8,
        14,
        6,
    )
    assert (told["running"], told["sinks"]) == (False, [{"sink": "archive", "in_flight_bytes": 0}])


def test_the_run_itself_is_asked_where_it_answers() -> None:
    with running(CONFIG + f'exporter: {{ listen: "127.0.0.1:{free_port()}" }}\n') as pid:
        told = status()
        while not (told["sinks"][0].get("delivered") == 2 and told["partitions"][0]["position"] == 8):
            told = status()
    assert (told["running"], told["pid"]) == (True, pid)
    (one,) = told["partitions"]
    assert one["books"]["archive"] == {"delivered": 2, "dropped": 0, "dead": 0, "in_flight": 0, "residual": 0}
    assert (one["size"], one["lag_bytes"], told["sinks"][0]["up"]) == (8, 0, True)


def test_without_an_exporter_the_state_folder_names_who_runs() -> None:
    with running(CONFIG) as pid:
        told = status()
    assert (told["running"], told["pid"], told["version"]) == (True, pid, "")


def test_another_program_on_the_port_is_not_taken_for_the_run() -> None:
    port = free_port()
    with running(CONFIG), socket.create_server(("127.0.0.1", port)) as other:
        other.settimeout(10)
        Path("tailrace.yaml").write_text(CONFIG + f'exporter: {{ listen: "127.0.0.1:{port}" }}\n')
        asking = subprocess.Popen([*TAILRACE, "status"], stdout=subprocess.PIPE)
        connection, _ = other.accept()
        connection.recv(1000)
        connection.sendall(b"SSH-2.0-whatever\r\n")
        connection.close()
        out, _ = asking.communicate(timeout=30)
    assert (asking.returncode, json.loads(out)["running"]) == (0, True)


def test_a_terminal_gets_a_table() -> None:
    Path("tailrace.yaml").write_text(CONFIG)
    once()
    told = shown()
    assert "tailrace: not running" in told
    assert "logs/a.log" in told
    assert "dead letters: none" in told
    with running(CONFIG + f'exporter: {{ listen: "127.0.0.1:{free_port()}" }}\n') as pid:
        told = shown()
    assert f"running, pid {pid}" in told
    assert "up" in told


def test_a_state_of_another_version_is_told() -> None:
    Path("tailrace.yaml").write_text(CONFIG)
    Path("state").mkdir()
    Path("state/checkpoint.json").write_text('{"version": 99}')
    result = CliRunner().invoke(app, ["status"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "version 99" in result.stderr


def test_a_config_that_is_none_is_told() -> None:
    result = CliRunner().invoke(app, ["status", "nope.yaml"])
    assert (result.exit_code, result.stdout) == (78, "")
    assert "nope.yaml" in result.stderr
