"""`tailrace explain`: a line on its way, for a person and for a machine."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tailrace.cli.app import app

CONFIG = """\
sources: { in: { use: stdin } }
stages:
  - { use: parse, format: json }
  - { use: enrich, fields: { app: shop } }
  - { use: redact }
  - { use: drop, match: '{level="debug"}' }
sinks:
  loki: { use: loki, url: "http://l:1", labels: { app: "{app}" }, metadata: [id], bearer: { env: NOT_SET_HERE } }
  errors: { use: stdout, match: '{level="error"}' }
"""
LINE = '{"level":"info","id":7,"message":"password=hunter2"}'
CLEAN = '{"level":"info","id":7,"message":"password=[REDACTED:key-name]"}'


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tailrace.yaml").write_text(CONFIG)


def test_a_line_is_shown_before_and_after_each_stage() -> None:
    result = CliRunner().invoke(app, ["explain", "tailrace.yaml", LINE, "--now", "2026-11-23T12:00:00Z"])
    assert result.exit_code == 0
    assert [line.rstrip() for line in result.stdout.splitlines()] == [
        f"read       {LINE}",
        "parse",
        '  + level  "info"',
        "  + id     7",
        '  ~ message "password=hunter2"',
        "enrich",
        "  + app    (shown once secrets are hidden)",
        "redact",
        f"  line     {CLEAN}",
        '  ~ message "password=[REDACTED:key-name]"',
        "drop       no change",
        "→ loki     2026-11-23T12:00:00.000000000Z",
        f"  line     {CLEAN}",
        '  labels   app="shop"',
        '  metadata id="7"',
        '→ errors   does not match {level="error"}',
    ]


def test_lines_come_from_standard_input_too_and_a_dropped_one_ends_where_it_is_dropped() -> None:
    result = CliRunner().invoke(app, ["explain"], input='{"level":"debug"}\n{"level":"error"}\n')
    first, second = result.stdout.split("\n\n")
    assert first.splitlines()[-1] == '  dropped: drop {level="debug"} (match)'
    assert second.splitlines()[-1] == '  line     {"level":"error"}'


def test_a_machine_gets_json_lines() -> None:
    result = CliRunner().invoke(app, ["explain", "tailrace.yaml", LINE, "--json"])
    story = json.loads(result.stdout)
    assert [step["stage"] for step in story["steps"]] == ["parse", "enrich", "redact", "drop"]
    assert story["steps"][1]["changes"] == [{"field": "app", "kind": "added", "value": None, "withheld": True}]
    assert story["sinks"][0]["labels"] == {"app": "shop"}
    assert "hunter2" not in json.dumps([story["steps"][2:], story["sinks"]])


def test_a_terminal_gets_colours_and_nothing_it_would_obey() -> None:
    ours, theirs = pty.openpty()
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"} | {"TERM": "xterm-256color"}
    command = [sys.executable, "-m", "tailrace.cli", "explain", "tailrace.yaml", 'x\x1b[2J {"a":1}']
    subprocess.run(command, stdout=theirs, env=environment, timeout=60, check=True)
    told = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert "\x1b[1mparse" in told
    assert "x\\x1b[2J" in told
    assert "\x1b[2J" not in told


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["tailrace.yaml", "x", "--source", "inn"], 2, "did you mean 'in'?"),
        (["tailrace.yaml", "x", "--now", "noon"], 2, "not a time"),
        (["tailrace.yaml", ""], 1, "there is no event in that"),
        (["nope.yaml", "x"], 78, "cannot be read"),
    ],
)
def test_what_cannot_be_explained_is_told(arguments: list[str], code: int, told: str) -> None:
    result = CliRunner().invoke(app, ["explain", *arguments], env={"COLUMNS": "200", "TERM": "dumb"})
    assert (result.exit_code, told in result.stderr) == (code, True), result.output
