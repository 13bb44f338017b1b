"""`tailrace tap`: what passes a running pipeline, for a person and for a machine, from its start to every end."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import pytest
from typer.testing import CliRunner

from tailrace.cli._veil import Veil
from tailrace.cli.app import app
from tailrace.config.load import load
from tailrace.pipeline.chain import Chain
from tailrace.pipeline.division import folders
from tailrace.pipeline.record import Record
from tailrace.pipeline.tap import SOCKET, copies
from tailrace.testing import batch_of
from tailrace.testing.rehearsal import anew

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"], poll: 100ms }
stages:
  - { use: parse }
  - { use: redact, deny: [user] }
  - { use: drop, match: '{level="debug"}' }
sinks:
  archive: { use: jsonl, path: "archive/{source}.jsonl" }
  errors: { use: jsonl, path: "archive/errors.jsonl", match: '{level="error"}' }
"""
LINES = [
    'level=info msg="login" password=hunter2 user=ada',
    '{"level":"debug","user":"ada","token":"hunter2hunter2"}',
    '{"level":"error","user":"ada","n":1}',
]
T = TypeVar("T")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "tailrace.yaml").write_text(CONFIG)
    return tmp_path


def until(holds: Callable[[], T], seconds: float = 30) -> T:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


@contextmanager
def running(folder: Path, config: str = CONFIG, taps: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    (folder / "tailrace.yaml").write_text(config)
    with (folder / "run.stderr").open("wb") as stderr:
        process = subprocess.Popen([*TAILRACE, "run", "--offline"], stdin=subprocess.DEVNULL, stderr=stderr)
    try:
        state = folder / "state"
        until(lambda: sum((one / SOCKET).exists() for one in (folders(state) or [state])) == taps)
        yield process
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def tapping(*arguments: str, stdout: int | IO[bytes] = subprocess.PIPE, taps: int = 1) -> Iterator[Any]:
    command = [*TAILRACE, "tap", "tailrace.yaml", *arguments]
    process = subprocess.Popen(command, stdout=stdout, stderr=subprocess.PIPE)
    try:
        assert process.stderr is not None
        for _ in range(taps):
            assert b"tapping" in process.stderr.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def append(folder: Path, *lines: str, log: str = "a") -> None:
    with (folder / "logs" / f"{log}.log").open("a") as file:
        file.write("".join(f"{line}\n" for line in lines))


def test_each_point_shows_its_records_and_none_their_secrets(folder: Path) -> None:
    with (
        running(folder),
        tapping("--at", "source", "--raw", "--limit", "3") as source,
        tapping("--at", "sinks", "--limit", "2") as sinks,
        tapping("{} |= `error`", "--at", "sink:errors", "--limit", "1") as errors,
    ):
        append(folder, *LINES)
        told = {process: process.communicate(timeout=30) for process in (source, sinks, errors)}
        assert [process.returncode for process in told] == [0, 0, 0]
        assert not [text for texts in told.values() for text in texts if b"hunter2" in text or b"ada" in text]
    assert told[source][0].decode().splitlines() == [
        'level=info msg="login" password=[REDACTED:key-name] user=[REDACTED:key-name]',
        '{"level":"debug","user":"[REDACTED:key-name]","token":"[REDACTED:key-name]"}',
        '{"level":"error","user":"[REDACTED:key-name]","n":1}',
    ]
    assert b"enough; 3 records" in told[source][1]
    first, second = map(json.loads, told[sinks][0].splitlines())
    assert (first["at"], first["source"], first["labels"]["file"]) == ("sinks", "app", "logs/a.log")
    assert first["fields"] == {
        "level": "info",
        "msg": "login",
        "password": "[REDACTED:key-name]",
        "user": "[REDACTED:key-name]",
    }
    assert second["id"].startswith("app:logs/a.log#")
    assert second["id"].endswith(f"@{len(LINES[0]) + len(LINES[1]) + 2}")
    assert json.loads(told[errors][0])["fields"]["n"] == 1


def test_the_end_of_the_run_ends_it(folder: Path) -> None:
    with running(folder) as run, tapping() as process:
        run.terminate()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"the run has ended; 0 records" in told


def test_a_run_that_is_killed_ends_it_too(folder: Path) -> None:
    with running(folder) as run, tapping() as process:
        run.kill()
        _, told = process.communicate(timeout=30)
    assert process.returncode == 0
    assert b"the run is gone" in told


def test_ctrl_c_ends_it_and_the_run_goes_on(folder: Path) -> None:
    with running(folder) as run, tapping() as process:
        append(folder, LINES[0])
        assert process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, told = process.communicate(timeout=30)
        assert run.poll() is None
    assert (process.returncode, out) == (0, b"")
    assert told == b"tailrace tap: 1 record\n"


def test_a_reader_that_has_enough_ends_it_without_a_word(folder: Path) -> None:
    with running(folder), tapping() as process:
        process.stdout.close()
        append(folder, *LINES)
        assert process.wait(30) == 0
        assert process.stderr.read() == b""


def test_all_workers_are_tapped_at_once_and_again_after_the_death_of_one(folder: Path) -> None:
    with running(folder, f"workers: 2\n{CONFIG}", taps=2) as run, tapping("--raw", taps=2) as process:
        for log in "abcdefgh":
            append(folder, LINES[0], log=log)
        assert len([process.stdout.readline() for _ in range(8)]) == 8
        children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
        assert b"tapping" in process.stderr.readline()
        for log in "abcdefgh":
            append(folder, LINES[2], log=log)
        assert {process.stdout.readline() for _ in range(8)} == {
            b'{"level":"error","user":"[REDACTED:key-name]","n":1}\n'
        }


def test_a_terminal_gets_nothing_that_it_would_obey(folder: Path) -> None:
    ours, theirs = pty.openpty()
    with running(folder), os.fdopen(theirs, "wb") as terminal, tapping("--limit", "1", stdout=terminal) as process:
        append(folder, 'level=info msg="x\x1b[2Jy"')
        assert process.wait(30) == 0
        told = os.read(ours, 65536).decode()
    os.close(ours)
    assert "x\\x1b[2Jy" in told
    assert "\x1b[2J" not in told
    assert "app:logs/a.log#" in told


def test_without_a_run_there_is_nothing_to_tap(folder: Path) -> None:
    result = CliRunner().invoke(app, ["tap"])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing runs on state" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--at", "prase"], 2, "did you mean 'parse'?"),
        (["tailrace.yaml", "{level"], 2, "at column 7"),
        (["nope.yaml"], 78, "cannot be read"),
    ],
    ids=["point", "logql", "config"],
)
def test_what_cannot_be_tapped_is_told(folder: Path, arguments: list[str], code: int, told: str) -> None:
    result = CliRunner().invoke(app, ["tap", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert (result.exit_code, told in result.stderr) == (code, True), result.output


OWN = """
from tailrace.pipeline.component import Stage


class Own(Stage):
    def process(self, batch):
        for record in batch.records:
            if b"choke" in record.line:
                raise ValueError(record.text)
        return batch
"""
HIDING = """
stage_files: [own.py]
sources: { app: { use: file, include: ["logs/*.log"] } }
stages:
  - { use: own }
  - { use: parse }
  - { use: drop, match: '{level="debug"}' }
  - { use: enrich, fields: { key: "password=hunter2" } }
  - { use: redact, deny: [user], patterns: { mine: "zz[0-9]+" } }
  - { use: rename, fields: { msg: message } }
sinks: { out: { use: stdout } }
"""


@pytest.mark.parametrize("done", range(7))
def test_no_point_shows_a_secret(folder: Path, done: int) -> None:
    """At the first ones a field that is to be hidden has no name yet, and a stage in between drops or fails."""
    (folder / "own.py").write_text(OWN)
    (folder / "hiding.yaml").write_text(HIDING)
    config = load(folder / "hiding.yaml")
    secret = ["hunter2", "ada", "zz42"]
    lines = [
        b'level=info msg="of zz42" user=ada',
        b"level=debug user=ada password=hunter2",
        b'{"level":"debug","user":"ada","zz42":1,"deep":{"user":["ada"]}}',
        b"choke on password=hunter2 ada",
        b"plain password=hunter2 zz42",
    ]
    seen: list[list[Record]] = []
    chain = Chain([anew(stage) for stage in config.stages], [None] * len(config.stages))
    chain.see = lambda place, batch: seen.append(copies(batch, len(batch))) if place == done else None
    chain.run(batch_of(*lines, labels={"source": "app", "file": "logs/zz42.log"}))
    batch = batch_of().with_records(seen[0])
    count = len(seen[0])
    shown = Veil(config).veil(batch, done)
    assert len(shown) == count
    texts = [f"{one.record.text} {one.fields}" for one in shown if one is not None]
    assert [(text, word) for text in texts for word in secret if word in text] == []
    assert len(texts) == count - (done == 0)  # the one on which a stage in between fails
    assert any("[REDACTED:mine]" in text for text in texts)


def test_without_a_stage_that_hides_secrets_the_built_in_rules_apply(folder: Path) -> None:
    config = load(folder / "tailrace.yaml")
    config.stages = []
    veil = Veil(config)
    shown = veil.veil(batch_of(b"password=hunter2", {"password": "hunter2", "n": 1}), 0)
    assert [one.record.line for one in shown if one] == [
        b"password=[REDACTED:key-name]",
        b'{"password":"[REDACTED:key-name]","n":1}',
    ]
    assert veil.clean("logs password=hunter2") == "logs password=[REDACTED:key-name]"
