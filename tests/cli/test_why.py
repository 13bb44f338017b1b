"""`tailrace why`: what became of a record, whatever became of it, and never a secret."""

from __future__ import annotations

import gzip
import json
import os
import pty
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tailrace.cli import _event
from tailrace.cli.app import app
from tailrace.pipeline.batch import Dead
from tailrace.pipeline.dead_letter import DeadLetter
from tailrace.testing import batch_of

TAILRACE = [sys.executable, "-m", "tailrace.cli"]
CONFIG = """
stage_files: [price.py]
sources:
  app: { use: file, include: ["logs/*.log"], multiline: traceback }
stages:
  - { use: parse }
  - { use: redact }
  - { use: truncate, max_bytes: 200 }
  - { use: classify }
  - { use: price }
  - { use: drop, match: '{level="debug"}' }
sinks:
  archive: { use: jsonl, path: "archive/{date}.jsonl.zst" }
  errors: { use: jsonl, path: "errors/{date}.jsonl", match: '{level="error"}' }
"""
PRICE = """
from tailrace.pipeline.component import Stage


class Price(Stage):
    def process(self, batch):
        for record in batch.records:
            if b"hopeless" in record.line:
                raise ValueError("no price")
        return batch
"""
LOG = """\
2026-11-23 12:00:00,000 INFO app: login password=hunter2 of ada
2026-11-23 12:00:01,000 DEBUG app: step
2026-11-23 12:00:02,000 ERROR app: turn failed
Traceback (most recent call last):
  File "/srv/app.py", line 1, in run
    go(password="hunter2")
KeyError: 'x'
2026-11-23 12:00:03,000 INFO app: {long}
2026-11-23 12:00:04,000 INFO app: hopeless
2026-11-23 12:00:05,000 INFO app: same
2026-11-23 12:00:05,000 INFO app: same

""".replace("{long}", "long " * 100)
LATER = "2026-11-23 12:00:09,000 INFO app: later\n"


def ship(folder: Path, config: str, log: str, name: str = "a.log") -> None:
    (folder / "logs").mkdir(exist_ok=True)
    (folder / "logs" / name).write_text(log)
    (folder / "tailrace.yaml").write_text(config)
    (folder / "price.py").write_text(PRICE)
    done = subprocess.run([*TAILRACE, "run", "--once"], cwd=folder, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shipped")
    ship(folder, CONFIG, LOG)
    with (folder / "logs" / "a.log").open("a") as log:
        log.write(LATER)
    return folder


@pytest.fixture
def folder(shipped: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(shipped)
    return shipped


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def why(*arguments: str, code: int = 0) -> Any:
    result = CliRunner().invoke(app, ["why", "tailrace.yaml", *arguments, "--json"])
    assert result.exit_code == code, result.output
    assert "hunter2" not in result.output
    return json.loads(result.stdout)


def stages(told: Any) -> dict[str, Any]:
    return {step["stage"]: step for step in told["steps"]}


def statuses(told: Any) -> dict[str, str]:
    return {sink["sink"]: sink["status"] for sink in told["sinks"]}


def test_a_record_is_told_from_its_place_to_where_it_landed(folder: Path) -> None:
    told = why("logs/a.log:1")
    assert told["line"] == "2026-11-23 12:00:00,000 INFO app: login password=[REDACTED:key-name] of ada"
    assert (told["offset"], told["lines"], told["state"]) == (0, 1, "settled")
    assert stages(told)["parse"]["time"] == "2026-11-23T12:00:00.000000000Z"
    assert stages(told)["redact"]["redacted"] == {"key-name": 1}
    assert stages(told)["redact"]["bytes"] == [63, 75]
    assert [change["field"] for change in stages(told)["redact"]["changes"]] == ["message"]
    assert not [c for step in told["steps"] for c in step["changes"] if c["value"] is not None]
    assert statuses(told) == {"archive": "delivered", "errors": "not for it"}
    spot = told["sinks"][0]["spot"]
    assert (spot["found"], spot["path"], spot["offset"]) == ("found", "archive/2026-11-23.jsonl.zst", 0)
    assert told["verdict"] == "delivered to archive"
    assert (told["missing"], told["reconstruction"], told["letters"]) == (False, "", [])


def test_query_finds_what_why_names(folder: Path) -> None:
    spot = why("logs/a.log:3")["sinks"][0]["spot"]
    found = CliRunner().invoke(app, ["query", "{}", "archive", "--sha256", spot["sha256"]])
    assert "turn failed" in found.stdout
    assert len(found.stdout.splitlines()) == 1
    assert len(found.stdout.rstrip().encode()) == spot["bytes"]


def test_a_line_inside_a_joined_event_is_its_whole_event(folder: Path) -> None:
    told = why("logs/a.log:5")
    assert (told["offset"], told["lines"]) == (LOG.index("2026-11-23 12:00:02"), 5)
    assert "error_type" in [change["field"] for change in stages(told)["classify"]["changes"]]
    assert statuses(told) == {"archive": "delivered", "errors": "delivered"}
    assert why(f"logs/a.log@{told['offset'] + 60}")["id"] == told["id"]
    assert why("--id", told["id"])["sinks"] == told["sinks"]


def test_a_dropped_record_names_the_stage_and_why(folder: Path) -> None:
    told = why("logs/a.log:2")
    assert list(stages(told))[-1] == "drop"
    assert told["verdict"] == 'dropped by the stage drop: drop {level="debug"} (match)'
    assert told["sinks"] == []


def test_a_truncated_record_tells_both_sizes(folder: Path) -> None:
    step = stages(why("logs/a.log:8"))["truncate"]
    assert step["cut"] == {"line": 1}
    assert step["bytes"] == [len(LOG.splitlines()[7]), 200]


def test_a_record_in_the_dead_letter_names_who_gave_it_up(folder: Path) -> None:
    told = why("logs/a.log:9")
    (letter,) = told["letters"]
    assert (letter["where"], letter["kind"], letter["reason"]) == ("price", "stage", "ValueError: no price")
    assert told["verdict"] == "in the dead letter: the stage price gave it up (ValueError: no price)"


def test_equal_lines_are_told_apart_by_their_time(folder: Path) -> None:
    first, second = why("logs/a.log:10")["sinks"][0], why("logs/a.log:11")["sinks"][0]
    assert (first["time"][-4:], second["time"][-4:]) == ("000Z", "001Z")
    assert first["spot"]["offset"] < second["spot"]["offset"]


def test_what_was_not_read_yet_says_so_and_goes_on_from_the_saved_state(folder: Path) -> None:
    told = why("logs/a.log:13")
    assert (told["state"], told["reconstruction"]) == ("not read", "")
    assert statuses(told)["archive"] == "not read"
    assert told["verdict"] == "not read yet, meant for archive"


def test_a_compressed_generation_is_known_by_what_is_in_it(folder: Path) -> None:
    packed = folder / "elsewhere.gz"
    packed.write_bytes(gzip.compress((folder / "logs" / "a.log").read_bytes()))
    told = why("elsewhere.gz:5")
    assert told["id"] == why("logs/a.log:5")["id"]
    assert (told["path"], statuses(told)["archive"]) == ("elsewhere.gz", "delivered")


def test_what_is_not_where_it_should_be_is_missing(empty: Path) -> None:
    ship(empty, CONFIG, LOG)
    (empty / "archive" / "2026-11-23.jsonl.zst").unlink()
    told = why("logs/a.log:1", code=1)
    assert statuses(told)["archive"] == "missing"
    assert told["sinks"][0]["told"] == "there is no archive/2026-11-23.jsonl.zst"
    assert told["verdict"] == "taken by archive, but not there"


def test_a_record_that_a_sink_refused_is_told_with_its_reason(empty: Path) -> None:
    ship(empty, CONFIG, LOG)
    told = why("logs/a.log:1")
    batch = batch_of(b"line", labels={"source": "app", "file": "logs/a.log"})
    batch.partition = told["partition"]
    refused = Dead(batch.records[0], "archive", "line too long: password=hunter2", "make it shorter")
    DeadLetter(empty / "state" / "dead_letter.jsonl").write(batch, [refused])
    told = why("logs/a.log:1")
    assert (statuses(told)["archive"], told["verdict"]) == ("dead letter", "refused by archive, in the dead letter")
    assert told["sinks"][0]["told"] == "line too long: password=[REDACTED:key-name]"
    assert [letter["kind"] for letter in told["letters"]] == ["sink"]


def test_what_stages_carry_from_too_far_back_makes_it_a_reconstruction(
    empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(empty, CONFIG, LOG)
    monkeypatch.setattr(_event, "BEFORE_BYTES", 100)
    told = why("logs/a.log:10")
    assert told["reconstruction"].startswith("the stages were run again from")
    assert "a reconstruction" in told["notes"][0]
    assert statuses(told)["archive"] == "delivered"


TWO = """
sources:
  app: { use: file, include: ["logs/*.log"] }
stages: [ { use: parse } ]
sinks:
  archive: { use: jsonl, path: "archive/{source}.jsonl" }
  loki: { use: loki, url: "http://127.0.0.1:1", labels: { app: "{source}" }, bearer: { env: TAILRACE_TEST_TOKEN } }
"""


@pytest.fixture
def killed(empty: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Killed when one sink had the record, and the other one not."""
    monkeypatch.setenv("TAILRACE_TEST_TOKEN", "sesame")
    (empty / "logs").mkdir()
    (empty / "logs" / "a.log").write_text("level=info password=hunter2\n")
    (empty / "tailrace.yaml").write_text(TWO.replace("archive/{source}.jsonl", "archive/app.jsonl"))
    process = subprocess.Popen([*TAILRACE, "run", "--offline"], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while '"archive"' not in _text(empty / "state" / "flight.jsonl") or not _text(empty / "archive" / "app.jsonl"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    return empty


def _text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_after_a_kill_each_sink_is_told_by_itself(killed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["why", "logs/a.log:1", "--json"])
    told = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (told["state"], told["running"]) == ("in flight", None)
    assert told["read_at"]
    assert statuses(told) == {"archive": "delivered", "loki": "in flight"}
    assert told["sinks"][1]["spot"]["found"] == "unreachable"
    assert told["sinks"][1]["spot"]["stream"] == '{app="app"}'
    # Nothing hides secrets in this config: what is shown is hidden all the same.
    assert (told["line"], "hunter2" in result.stdout) == ("level=info password=[REDACTED:key-name]", False)
    monkeypatch.delenv("TAILRACE_TEST_TOKEN")
    result = CliRunner().invoke(app, ["why", "logs/a.log:1", "--json"])
    assert json.loads(result.stdout)["sinks"][1]["spot"]["why"] == "its secrets are not set here"


def test_a_person_gets_it_at_a_glance(folder: Path) -> None:
    result = CliRunner().invoke(app, ["why", "logs/a.log:3"])
    shown = [line.rstrip() for line in result.stdout.splitlines()]
    assert shown[0].startswith("record     app:logs/a.log#")
    assert shown[1].startswith("place      logs/a.log, 5 lines, bytes 104 to ")
    assert any(line.startswith("redact     redacted key-name x1; line 159 → 171 bytes") for line in shown)
    assert "drop       unchanged" in shown
    assert "→ archive  delivered" in shown
    assert shown[-1] == "so         delivered to archive, errors"


def test_a_terminal_gets_colours_and_nothing_it_would_obey(empty: Path) -> None:
    ship(empty, CONFIG, "2026-11-23 12:00:00,000 INFO app: x\x1b[2J\n")
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm-256color"}
    subprocess.run([*TAILRACE, "why", "logs/a.log:1"], stdout=theirs, env=environment, timeout=60, check=True)
    told = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[1mparse" in told
    assert "x\\x1b[2J" in told
    assert "\x1b[2J" not in told


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([], 2, "say which record"),
        (["logs/a.log:1", "--id", "app:x#1@0"], 2, "say which record"),
        (["logs/a.log"], 2, "is no place"),
        (["logs/a.log:0"], 2, "counted from 1"),
        (["--id", "nonsense"], 2, "is no id"),
        (["logs/a.log:12"], 1, "an empty line, which is no event"),
        (["logs/a.log:14"], 1, "there is no line 14, the file has 13"),
        (["logs/a.log@99999"], 1, "there is no event, the file ends before"),
        (["logs/b.log:1"], 1, "logs/b.log: No such file or directory"),
        (["price.py:1"], 1, "no source of the config reads it (logs/*.log)"),
        (["--id", "apple:logs/a.log#1@0"], 1, "the config has no source 'apple'"),
        (["--id", "app:logs/c.log#1@0"], 1, "logs/c.log cannot be read"),
    ],
)
def test_what_cannot_be_told_says_why(folder: Path, arguments: list[str], code: int, told: str) -> None:
    environment = {"COLUMNS": "200", "TERM": "dumb"}
    result = CliRunner().invoke(app, ["why", "tailrace.yaml", *arguments], env=environment)
    assert (result.exit_code, told in result.stderr) == (code, True), result.output
    assert result.stdout == ""
