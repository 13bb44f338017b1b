"""`tailrace replay` on the command line; with Loki: tests/live/test_replay.py."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from tailrace.cli import _replay_progress
from tailrace.cli._replay_progress import Progress
from tailrace.cli._replay_told import size, told_plan, told_receipt
from tailrace.cli.replay import replay
from tailrace.pipeline.log import to_stderr
from tailrace.replay.limits import Limits
from tailrace.replay.plan import Plan
from tailrace.replay.receipt import Read, Receipt, Verified

app = typer.Typer()
app.command()(replay)

CONFIG = """
sources:
  app: { use: file, include: ["logs/*.log"] }
stages:
  - { use: parse, format: json }
  - { use: redact, pii: [email] }
  - use: derive_metrics
    metrics:
      - { name: app_lines_total, type: counter, labels: { level: "{level}" } }
sinks:
  archive: { use: jsonl, path: "archive/{date}.jsonl" }
  out: { use: stdout }
"""
OLD = (
    '{"timestamp":"2026-01-02T00:00:00Z","level":"info","message":"ada@example.com"}\n'
    '{"timestamp":"2026-01-01T00:00:00Z","level":"info","message":"fine"}\n'
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tailrace.yaml").write_text(CONFIG)
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "old.jsonl").write_text(OLD)
    return tmp_path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["tailrace.yaml", *arguments])
    return result.exit_code, result.stdout, result.stderr


INTO = ("--source", "archive", "--sink", "archive", "--into", "clean/{date}.jsonl")


def test_an_old_archive_becomes_a_new_one_under_the_rules_of_today(folder: Path) -> None:
    code, out, _ = run(*INTO, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["read"]["redactions"] == {"email": 1}
    assert (told["delivered"], told["read"]["redacted"]) == (2, 1)
    assert "ada@" not in out
    assert {path.name: path.read_text().count("\n") for path in (folder / "clean").iterdir()} == {
        "2026-01-01.jsonl": 1,
        "2026-01-02.jsonl": 1,
    }
    assert "[REDACTED:email]" in (folder / "clean" / "2026-01-02.jsonl").read_text()
    assert (folder / "archive" / "old.jsonl").read_text() == OLD
    code, out, err = run(*INTO)
    assert (code, "replayed before" in err) == (0, True)


def test_a_plan_sends_nothing_and_tells_what_the_rules_hide(folder: Path) -> None:
    code, out, _ = run(*INTO, "--plan")
    assert code == 0
    assert "1 by email" in out
    assert "replay      2 records" in out
    assert not (folder / "clean").exists()


def test_only_the_time_that_is_asked_for_is_replayed() -> None:
    code, out, _ = run(*INTO, "--from", "2026-01-01", "--to", "2026-01-02", "--plan", "--json")
    told = json.loads(out)
    assert (code, told["records"], told["read"]["out_of_range"]) == (0, 1, 1)


def test_metrics_are_written_with_the_times_of_the_records(folder: Path) -> None:
    assert run(*INTO, "--metrics", "old.om")[0] == 0
    text = (folder / "old.om").read_text()
    assert 'app_lines_total{level="info"} 1.0 1767225660\n' in text
    assert text.endswith("# EOF\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["--sink", "nope"], "no sink 'nope'", id="no such sink"),
        pytest.param([], "say with --sink", id="several sinks"),
        pytest.param(["--sink", "out"], "goes to a loki or a jsonl sink", id="a sink that cannot be"),
        pytest.param(["--sink", "archive"], "--into", id="an archive without a place"),
        pytest.param([*INTO, "--verify"], "asks Loki", id="an archive to verify"),
        pytest.param([*INTO, "--from", "soon"], "is no time", id="no time"),
        pytest.param([*INTO, "--rate", "fast"], "is not a size", id="no rate"),
    ],
)
def test_what_was_asked_wrongly_is_told(arguments: list[str], words: str) -> None:
    code, out, err = run(*arguments)
    assert code == 2
    assert words in " ".join(err.split())
    assert out == ""


def test_a_config_with_a_mistake_ends_with_78(folder: Path) -> None:
    (folder / "tailrace.yaml").write_text("sources: {}\n")
    assert run(*INTO)[0] == 78


def test_a_plan_reads_as_text() -> None:
    plan = Plan("n", "loki", "replay", 0, 5, 10**7, 0, 10**9, Read(5, 10**7, untimed=2), [])
    plan.deleted, plan.deleted_by = 2, {"retention_period": 2}
    plan.limits, plan.refused, plan.refused_records, plan.rate, plan.advice = (
        Limits(),
        {"too old": 3},
        3,
        2e6,
        ["do it"],
    )
    text = "\n".join(told_plan(plan))
    assert "2 without a time of their own" in text
    assert "3 too old" in text
    assert "2 by retention_period" in text
    assert 'replay="n"' in text
    assert text.endswith("advice      do it")


def test_a_receipt_reads_as_text() -> None:
    told = Receipt("n", "loki", 5, 4, 1, {"too old": 1}, verified=Verified(4, 3, 2, 1, ["{a} from x: 1 of 2"], 1))
    text = "\n".join(told_receipt(told))
    assert "not complete" in text
    assert "missing in {a} from x: 1 of 2" in text
    assert "1 of them show once Loki has flushed" in text


@pytest.mark.parametrize(
    ("number", "text"), [(5, "5 B"), (1500, "1.5 kB"), (2 * 10**6, "2.0 MB"), (3 * 10**9, "3.0 GB")]
)
def test_sizes_are_for_people(number: int, text: str) -> None:
    assert size(number) == text


def test_a_terminal_gets_a_bar_with_what_is_done_and_refused() -> None:
    screen = io.StringIO()
    progress = Progress(Console(file=screen, force_terminal=True, width=120))
    progress.begin("replaying", 10)
    progress.to(4, "2/s, 1 refused, 3 s left", 10)
    progress.end()
    assert "4/10" in screen.getvalue()
    assert "2/s, 1 refused, 3 s left" in screen.getvalue()


def test_elsewhere_a_line_of_the_log_tells(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(_replay_progress, "EVERY_SECONDS", 0.0)
    to_stderr()
    progress = Progress()
    progress.begin("replaying", 10)
    progress.to(4, "2/s, 1 refused, 3 s left", 10)
    progress.end()
    assert 'msg=replaying records=4 of=10 so_far="2/s, 1 refused, 3 s left"' in capsys.readouterr().err
