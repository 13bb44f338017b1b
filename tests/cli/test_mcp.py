from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tailrace.cli.app import app


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "logs").mkdir()
    (tmp_path / "mcp.yaml").write_text("folders: [logs]\naudit: audit.jsonl\n")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["mcp", *arguments], catch_exceptions=False)


def test_a_right_config_is_said_to_be_right_and_nothing_is_written(folder: Path) -> None:
    told = run("--check")
    assert told.exit_code == 0
    assert told.output == "mcp.yaml: ok: stdio; tools sessions, events, llm, patcher, errors, trace, logql\n"
    assert not (folder / "audit.jsonl").exists()


def test_a_wrong_config_ends_with_78_and_says_what_would_do(folder: Path) -> None:
    (folder / "mcp.yaml").write_text("foldrs: [logs]\naudit: audit.jsonl\n")
    told = run()
    assert told.exit_code == 78
    assert "mcp.yaml:1:1: error: no option 'foldrs'" in told.output
    assert "did you mean 'folders'?" in told.output


def test_without_the_sdk_it_says_what_to_install(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "tailrace.query.mcp.serve", raising=False)
    monkeypatch.setitem(sys.modules, "mcp_types", None)
    told = run()
    assert told.exit_code == 1
    assert "pip install 'tailrace[mcp]'" in told.output


def test_an_audit_log_that_cannot_be_written_ends_it_at_once(folder: Path) -> None:
    (folder / "audit.jsonl").mkdir()
    told = run()
    assert told.exit_code == 1
    assert "audit.jsonl" in told.output


def test_the_other_commands_start_without_the_sdk(folder: Path) -> None:
    code = "import sys; from tailrace.cli.app import app; import tailrace.cli.mcp; print('mcp_types' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
