from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tailrace.cli.check import check
from tailrace.config.problem import EXIT_CODE

GOOD = """\
sources: { app: { use: file, include: [app.log] } }
stages:
  - { use: parse, format: json }
  - { use: enrich, fields: { app: shop } }
sinks: { archive: { use: jsonl, path: "archive/{source}/{date}.jsonl" } }
"""

BAD = r"""sources:
  app: { use: file, include: ["*.log"], strat_at: end }
stages:
  - { use: parse, format: regex, pattern: '(?P<level>\w+) (?P<rest>.*' }
  - { use: prase }
sinks:
  loki:
    use: loki
    url: "http://localhost:3100"
    labels: { app: "{source}" }
    bearer: { env: TAILRACE_TEST_NO_SUCH_TOKEN }
  archive: { use: jsonl, path: 7 }
  errors: { use: jsonl, path: "e.jsonl", batch_wait: 5 seconds }
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(text: str, *arguments: str) -> Result:
    Path("c.yaml").write_text(text)
    app = typer.Typer()
    app.command()(check)
    return CliRunner().invoke(app, ["c.yaml", *arguments])


def test_a_good_config_is_ok_and_says_what_it_is() -> None:
    result = run(GOOD)
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "c.yaml: ok: sources app; stages parse, enrich; sinks archive\n"


def test_six_mistakes_of_different_kinds_are_all_told_with_their_lines() -> None:
    result = run(BAD, "--offline")
    assert result.exit_code == EXIT_CODE == 78
    told = [line.split(": error: ")[0] for line in result.stderr.splitlines() if ": error: " in line]
    assert [int(place.split(":")[1]) for place in told] == [2, 4, 5, 11, 12, 13]
    for message in (
        "c.yaml:2:41: error: no option 'strat_at'",
        "did you mean 'start_at'?",
        "c.yaml:4:43: error: pattern: not a regular expression (RE2): missing )",
        "c.yaml:5:12: error: no stage 'prase'",
        "did you mean 'parse'?",
        "c.yaml:11:13: error: bearer: the environment variable TAILRACE_TEST_NO_SUCH_TOKEN is not set",
        "c.yaml:12:32: error: path: expected text with {field} in it, got 7",
        "c.yaml:13:54: error: batch_wait: '5 seconds' is not a duration",
        "6 errors, 0 warnings",
    ):
        assert message in result.stderr


def test_a_field_that_a_closed_parse_does_not_write_is_told() -> None:
    result = run(GOOD.replace("format: json", "format: python").replace("{date}", "{evnt}"), "--offline")
    assert result.exit_code == 78
    assert "c.yaml:5:58: error: no record has the field 'evnt' here" in result.stderr
    assert '"archive/{source}/{evnt}.jsonl"' in result.stderr


def test_json_is_for_machines() -> None:
    result = run(BAD, "--offline", "--json")
    assert (result.exit_code, result.stderr) == (78, "")
    data = json.loads(result.stdout)
    assert data["ok"] is False
    assert len(data["problems"]) == 6
    assert data["problems"][0] == {
        "file": "c.yaml",
        "line": 2,
        "column": 41,
        "severity": "error",
        "message": "no option 'strat_at'",
        "hint": data["problems"][0]["hint"],
    }


def test_json_of_a_good_config_is_ok() -> None:
    assert json.loads(run(GOOD, "--json").stdout) == {"ok": True, "problems": []}


def test_what_cannot_be_reached_is_an_error_unless_offline() -> None:
    text = GOOD.replace("archive/{source}/", "c.yaml/{source}/")
    assert run(text).exit_code == 78
    assert "c.yaml:5:" in run(text).stderr
    assert run(text, "--offline").exit_code == 0


def test_a_missing_file_is_an_error_of_the_config() -> None:
    app = typer.Typer()
    app.command()(check)
    result = CliRunner().invoke(app, ["nope.yaml"])
    assert result.exit_code == 78
    assert "nope.yaml: error: cannot be read: No such file or directory" in result.stderr


def test_warnings_do_not_fail() -> None:
    text = GOOD.replace("app: shop", "application: shop").replace("{source}", "{aplication}")
    result = run(text, "--offline")
    assert result.exit_code == 0
    assert "warning:" in result.stderr
    assert "0 errors, 1 warning\nc.yaml: ok" in result.stderr


def test_nothing_is_coloured_where_nobody_looks() -> None:
    assert "\x1b" not in run(BAD, "--offline").stderr


SAMPLE = """\
{"level":"info","ts":"2026-11-23T10:00:00Z","message":"password=hunter2"}
{"level":"debug","ts":"2026-11-23T10:00:01Z"}
no json
"""
SAMPLED = """\
sources: { app: { use: file, include: [app.log] } }
stages:
  - { use: parse, format: json }
  - { use: redact }
  - { use: drop, match: '{level="debug"}' }
sinks: { loki: { use: loki, url: "http://localhost:3100", labels: { level: "{level}", file: "{file}" } } }
"""


def test_a_sample_tells_what_each_stage_did_and_what_loki_would_get() -> None:
    Path("day.log").write_text(SAMPLE)
    result = run(SAMPLED, "--offline", "--sample", "day.log")
    assert result.exit_code == 0
    told = [" ".join(line.split()) for line in result.stdout.splitlines() if line]
    assert told == [
        "3 events, 128 B",
        "50.0% have a time of their own; 2026-11-23T10:00:00.000000000Z to 2026-11-23T10:00:00.000000001Z",
        "parse 3 events 66.7% touched",
        '1 tailrace_parse_failures_total{reason="not_json"}',
        "redact 3 events 33.3% touched",
        '1 tailrace_redactions_total{rule="key-name"}',
        "drop 3 events 0.0% touched, 1 dropped (match)",
        "→ loki: 2 events, 92 B",
        "2 streams, 1 of them new in the second half of the sample",
        "label file: 1 value: day.log",
        "label level: 1 value: info",
    ]
    assert "hunter2" not in result.output
    assert sorted(path.name for path in Path().iterdir()) == ["c.yaml", "day.log"]


def test_a_compressed_sample_is_read_like_the_log() -> None:
    Path("day.log.gz").write_bytes(gzip.compress(SAMPLE.encode()))
    result = run(SAMPLED, "--offline", "--sample", "day.log.gz", "--json")
    told = json.loads(result.stdout)
    assert (told["ok"], told["problems"]) == (True, [])
    assert (told["sample"]["events"], told["sample"]["shipped"], told["sample"]["timed"]) == (3, 2, 1)
    assert told["sample"]["sinks"][0]["labels"] == {"file": 1, "level": 1}


def test_a_sample_of_too_many_streams_is_warned_of() -> None:
    Path("day.log").write_text("".join(f'{{"level":"level {place:x}x"}}\n' for place in range(30)))
    result = run(SAMPLED, "--offline", "--sample", "day.log", "--max-streams", "20")
    assert result.exit_code == 0
    assert "warning: sink loki: 30 streams, Loki takes 20 at a time\n" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--sample", "nope.log"], "nope.log: No such file or directory"),
        (["--sample", "c.yaml", "--source", "ap"], "one of app"),
    ],
)
def test_a_sample_that_cannot_be_read_is_told(arguments: list[str], told: str) -> None:
    result = run(SAMPLED, "--offline", *arguments)
    assert (result.exit_code, told in " ".join(result.stderr.split())) == (2, True), result.output
