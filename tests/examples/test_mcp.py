from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tailrace.config.mcp import OF_PROMETHEUS, TOOLS, McpConfig, load_mcp
from tailrace.query.mcp.answers import Answers
from tailrace.query.mcp.serve import triage

from ..docs._pages import ROOT
from . import triage_sample as sample

FILES = [call for call in sample.calls() if call[0] not in OF_PROMETHEUS]


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Answers]:
    folder = tmp_path_factory.mktemp("triage")
    (folder / "agent.log").write_text(sample.log())
    (folder / "tailrace.yaml").write_text(sample.config().replace('"127.0.0.1:9464"', '"127.0.0.1:0"'))
    subprocess.run([sys.executable, "-m", "tailrace.cli", "run", "--once"], cwd=folder, check=True, capture_output=True)
    answers = Answers(McpConfig(folders=[folder / "archive"], audit=folder / "audit.jsonl"))
    yield answers
    answers.close()


def test_the_config_is_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "archive").mkdir()
    assert "trace" in load_mcp(ROOT / "examples/mcp/mcp.yaml").offered()


def test_the_config_is_right_with_all_that_is_commented_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TAILRACE_MCP_TOKEN", "0123456789abcdef")
    (tmp_path / "archive").mkdir()
    text = (ROOT / "examples/mcp/mcp.yaml").read_text().replace("# loki", "loki").replace("# prom", "prom")
    (tmp_path / "mcp.yaml").write_text(text.replace("# http", "http"))
    config = load_mcp(tmp_path / "mcp.yaml")
    assert config.offered() == TOOLS
    assert config.http


def test_the_skill_says_what_the_prompt_of_the_server_says() -> None:
    front, _, text = sample.SKILL.read_text().partition("\n---\n\n")
    assert front.startswith("---\nname: tailrace-triage\ndescription: ")
    assert text == triage()


def test_the_skill_shows_a_call_for_each_step() -> None:
    assert [tool for tool, _ in sample.calls()] == [
        *("promql", "exemplars", "sessions", "trace", "logql", "events", "errors", "logql", "llm", "llm"),
    ]


@pytest.mark.parametrize(("tool", "arguments"), FILES, ids=[tool for tool, _ in FILES])
def test_a_call_of_the_skill_finds_something_in_the_sample(
    answers: Answers, tool: str, arguments: dict[str, Any]
) -> None:
    answer = answers.answer(tool, arguments, "test")
    assert answer.structured is not None, answer.reason
    assert answer.structured["rows"]
    assert "hunter2" not in answer.text


def test_the_last_call_of_the_way_shows_the_prompt_that_caused_it(answers: Answers) -> None:
    answer = answers.answer("llm", {"trace_id": sample.TRACE, "has_error": True}, "test")
    assert answer.structured
    (row,) = answer.structured["rows"]
    assert row["request_excerpt"] == "Move lunch to 'half past'; use the key password=[REDACTED:key-name]"
