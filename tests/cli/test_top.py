from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
from rich.console import Console
from typer.testing import CliRunner

from tailrace.cli._watched import Watched, size
from tailrace.cli.app import app
from tailrace.pipeline.status import PartitionStatus, SinkStatus, SourceStatus, StageStatus, Status
from tailrace.pipeline.troubles import Trouble

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
CONFIG = """
sources: {{ app: {{ use: file, include: ["logs/*.log"] }} }}
stages: [ {{ use: parse }} ]
sinks: {{ archive: {{ use: jsonl, path: "archive/{{source}}.jsonl" }} }}
exporter: {{ listen: "127.0.0.1:{port}" }}
"""
START = 1_700_000_000.0


def told(seconds: float, events: int, *, up: bool = True) -> Status:
    """What a run tells so long after its start, having read so many events of 100 B each."""
    dropped = events // 4
    return Status(
        state="state",
        running=True,
        pid=7,
        version="1.2.3",
        at=START + seconds,
        started=START,
        sources=[SourceStatus("app", "file", events, 100 * events, partitions=1, lag_bytes=12_345, lag_seconds=61.0)],
        stages=[
            StageStatus("parse", "parse", events, events, seconds=events * 60e-6),
            StageStatus("drop", "drop", events, events - dropped, dropped={"dropped": dropped}, seconds=events * 20e-6),
        ],
        sinks=[
            SinkStatus("archive", "jsonl", up=True, delivered=events - dropped, dead=0, in_flight=0, residual=0),
            SinkStatus(
                *("loki", "loki", up, "" if up else "[red]503\x1b[2J"),
                delivered=0,
                dead=0,
                in_flight=events - dropped,
                residual=0,
                queue_bytes=1_500_000,
                queue_limit=2 << 20,
                retries=12,
            ),
        ],
        partitions=[PartitionStatus("app", "a#1", 0, "logs/[b]a.log", lag_bytes=12_345, lag_seconds=61.0)],
        troubles=[] if up else [Trouble(START + seconds - 3, "loki", "delivery failed", "503 from [host]", 12)],
    )


def shown(*looks: Status, width: int = 120, problem: str = "") -> str:
    watched = Watched()
    for look in looks:
        watched.add(look)
    console = Console(width=width, record=True, markup=False, highlight=False, file=open(os.devnull, "w"))  # noqa: SIM115  # the console's
    console.print(watched.shown(width, problem))
    text = console.export_text()
    console.file.close()
    assert max(map(len, text.splitlines())) <= width
    return re.sub(r" +", " ", text)


def test_rates_come_from_two_looks() -> None:
    text = shown(told(10, 1000), told(12, 2000))
    assert "tailrace 1.2.3 · pid 7 · up 12 s" in text
    assert "all is well" in text
    assert "read 500/s, 50.0 kB/s · behind 12.3 kB · in flight 1,500 · unaccounted for 0" in text
    assert "app 500 50.0 kB/s 12.3 kB 61 s 1 0" in text
    assert "parse 500 60 µs 75% █████████ 0 0" in text
    assert "drop 375 20 µs 25% ███ 500 (125/s) 0" in text
    assert "archive up 375" in text
    assert "loki up 0 1.5 MB 2.1 MB 12 0" in text
    assert "archive 2,000 1,500 500 0 0 0" in text


def test_a_rate_forgets_what_was_long_ago_and_another_run() -> None:
    looks = [told(second, 1000) for second in range(10)] + [told(10, 1500)]
    assert "read 100/s" in shown(*looks)
    again = msgspec.structs.replace(told(11, 0), pid=8)
    assert "read" not in shown(*looks, again).partition("sources")[0]


def test_at_the_first_look_there_is_no_rate() -> None:
    text = shown(told(10, 1000))
    assert "app - - 12.3 kB" in text
    assert "parse - 60 µs 75%" in text


def test_what_fails_is_told_as_text() -> None:
    text = shown(told(10, 1000, up=False), told(11, 1100, up=False))
    assert "loki fails" in text
    assert "loki fails: [red]503\\x1b[2J" in text
    assert "3 s ago loki delivery failed (12 times): 503 from [host]" in text
    assert "logs/[b]a.log" in text


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"running": False, "version": ""}, "not running: waiting for it"),
        ({"dead_letter_problem": "No space left"}, "the dead letter cannot be written: No space left"),
        ({"errors": {"app": {"b.log": "Permission denied"}}}, "1 file cannot be read"),
        ({"sinks": [SinkStatus("loki", up=True, residual=-3)]}, "the books do not close"),
        ({"version": "", "sources": [], "stages": []}, "no answer from an exporter"),
    ],
    ids=["gone", "dead letter", "file", "books", "no exporter"],
)
def test_what_is_not_well_is_told(change: dict[str, object], verdict: str) -> None:
    assert verdict in shown(msgspec.structs.replace(told(10, 1000), **change))


def test_a_narrow_terminal_gets_what_matters_most() -> None:
    text = shown(told(10, 1000, up=False), told(12, 2000, up=False), width=60)
    assert "app 500 50.0 kB/s 12.3 kB" in text
    assert "drop 375 20 µs 25%" in text
    assert "sink read delivered dropped dead flight lost" in text


def test_a_problem_is_told_over_the_last_numbers() -> None:
    assert "state: not readable" in shown(told(10, 1000), problem="state: not readable")
    assert "asking" in shown()


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (None, "-"),
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (99_949, "99.9 kB"),
        (123_456, "123 kB"),
        (5e15, "5000 TB"),
    ],
)
def test_sizes_are_short(count: float | None, words: str) -> None:
    assert size(count) == words


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("logs").mkdir()
    Path("logs/a.log").write_text("one\ntwo\n")
    with socket.create_server(("127.0.0.1", 0)) as server:
        Path("tailrace.yaml").write_text(CONFIG.format(port=server.getsockname()[1]))
    return tmp_path


@contextmanager
def running() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([*TAILRACE, "run"], stderr=subprocess.PIPE)
    assert process.stderr
    try:
        assert b"started" in process.stderr.readline()
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)


class Terminal:
    """`tailrace top` on one."""

    def __init__(self) -> None:
        self.ours, self._theirs = pty.openpty()
        self.before = termios.tcgetattr(self._theirs)
        self.seen = b""
        environment = os.environ | {"COLUMNS": "100", "LINES": "40", "TERM": "xterm"}
        command = [*TAILRACE, "top", "--interval", "100ms"]
        self.process = subprocess.Popen(
            command, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs, env=environment
        )

    def until(self, words: bytes, seconds: float = 20) -> None:
        """Read until these are shown, behind what was read before."""
        from_here, deadline = len(self.seen), time.monotonic() + seconds
        while words not in self.seen[from_here:]:
            assert time.monotonic() < deadline, self.seen[-3000:]
            if select.select([self.ours], [], [], 0.2)[0]:
                self.seen += os.read(self.ours, 65536)

    def ended(self) -> int:
        """Its exit code, when the terminal is as it was."""
        self.until(b"\x1b[?1049l")
        code = self.process.wait(20)
        assert termios.tcgetattr(self._theirs) == self.before
        assert self.seen.rindex(b"\x1b[?25h") > self.seen.rindex(b"\x1b[?25l")
        os.close(self.ours)
        os.close(self._theirs)
        return code


def test_a_pipe_gets_one_look(folder: Path) -> None:
    with running():
        result = CliRunner().invoke(app, ["top", "--interval", "100ms"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert "\x1b" not in result.stdout
    assert re.search(r"archive +\d +\d +0 +0 +\d +0\n", result.stdout)
    assert "parse" in result.stdout


def test_without_a_run_the_state_folder_is_shown(folder: Path) -> None:
    result = CliRunner().invoke(app, ["top"])
    assert result.exit_code == 0
    assert "not running: waiting for it" in result.stdout


def test_it_tells_that_the_run_went_and_came_back_and_q_ends_it(folder: Path) -> None:
    terminal = Terminal()
    terminal.until(b"waiting for it")
    with running():
        terminal.until(b"all is well")
    terminal.until(b"not running (since")
    with running():
        terminal.until(b"all is well")
        os.write(terminal.ours, b"q")
        assert terminal.ended() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "sigterm"])
def test_a_signal_ends_it_and_the_terminal_is_as_it_was(folder: Path, number: signal.Signals) -> None:
    terminal = Terminal()
    terminal.until(b"waiting for it")
    terminal.process.send_signal(number)
    assert terminal.ended() == 0


def test_an_interval_is_a_duration(folder: Path) -> None:
    result = CliRunner().invoke(app, ["top", "--interval", "5"])
    assert result.exit_code == 2
    assert "is not a duration" in re.sub(r"\s*│\s*", " ", result.output)


def test_a_config_that_is_none_is_told(folder: Path) -> None:
    result = CliRunner().invoke(app, ["top", "nope.yaml"])
    assert (result.exit_code, "nope.yaml" in result.stderr) == (78, True)


def test_a_state_that_is_not_readable_is_told(folder: Path) -> None:
    Path("state").mkdir()
    Path("state/checkpoint.json").write_text('{"version": 99}')
    result = CliRunner().invoke(app, ["top"])
    assert (result.exit_code, "version 99" in result.stderr) == (1, True)
