from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tailrace.config.mcp import TOOLS, McpConfig, load_mcp
from tailrace.config.problem import ConfigError

Write = Callable[[str], Path]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MCP_TOKEN", "0123456789abcdef")
    monkeypatch.setenv("SHORT", "abc")
    (tmp_path / "logs").mkdir()
    return tmp_path


def loaded(folder: Path, text: str) -> McpConfig:
    (folder / "mcp.yaml").write_text(text)
    return load_mcp(folder / "mcp.yaml")


def told(folder: Path, text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(ConfigError) as error:
        loaded(folder, text)
    return [(problem.line, problem.column, problem.message) for problem in error.value.problems]


def test_a_small_config_offers_what_can_be_asked(folder: Path) -> None:
    config = loaded(folder, "folders: [logs]\naudit: audit.jsonl\n")
    assert config.offered() == ("sessions", "events", "llm", "patcher", "errors", "trace", "logql")
    assert config.http is None


def test_a_whole_config_is_read(folder: Path) -> None:
    config = loaded(
        folder,
        """
        folders: [logs]
        loki: { url: "http://localhost:3100", tenant: one, token: { env: MCP_TOKEN } }
        prometheus: { url: "https://prometheus.example.com/prom" , user: me, password: { env: MCP_TOKEN } }
        audit: audit.jsonl
        http: { listen: "127.0.0.1:0", token: { env: MCP_TOKEN }, hosts: [logs.example.com] }
        limits: { rows: 10, bytes: 64KiB, text: 500, time: 5s, calls: 10, range: 1d }
        redact: { pii: [email], keys: [pin], deny: [user], patterns: { ticket: "T-[0-9]+" } }
        timezone: Europe/Amsterdam
        x-note: mine
        """,
    )
    assert config.offered() == TOOLS
    assert [config.limits.bytes, config.limits.range] == [65536.0, 86400.0]
    assert config.redact.stage().clean("T-17") == "[REDACTED:ticket]"


def test_only_tools_of_the_list_are_offered(folder: Path) -> None:
    config = loaded(folder, "folders: [logs]\naudit: audit.jsonl\ntools: [errors, logql]\n")
    assert config.offered() == ("errors", "logql")


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("[]", [(1, 1, "this config is a map")]),
        ("folders: [logs]", [(1, 1, "the option 'audit' is missing")]),
        ("audit: a.jsonl", [(1, 1, "nothing to ask: name folders:, loki: or prometheus:")]),
        ("folders: [gone]\naudit: a.jsonl", [(1, 11, "folders[0]: no folder 'gone'")]),
        (
            "folders: [logs]\naudit: logs/a.jsonl",
            [(2, 8, "audit: lies in the folder 'logs', where agents could read it")],
        ),
        ("folders: [logs]\naudit: gone/a.jsonl", [(2, 8, "audit: no folder 'gone'")]),
        ("folders: [logs]\naudit: a.jsonl\nwrite: true", [(3, 1, "no option 'write'")]),
        (
            "folders: [logs]\naudit: a.jsonl\ntools: [promql]",
            [(3, 9, "tools[0]: promql asks what prometheus: names, which is missing")],
        ),
        (
            "audit: a.jsonl\nloki: { url: 'file:///etc' }",
            [(2, 14, "loki.url: write a URL such as http://localhost:3100")],
        ),
        (
            "audit: a.jsonl\nloki: { url: 'http://u:p@h' }",
            [(2, 14, "loki.url: no login in the URL: write user and password, or token")],
        ),
        (
            "audit: a.jsonl\nloki: { url: 'http://h', user: me }",
            [(2, 32, "loki.user: user and password go together")],
        ),
        ("folders: [logs]\naudit: a.jsonl\nhttp: {}", [(3, 7, "http: the option 'token' is missing")]),
        (
            "folders: [logs]\naudit: a.jsonl\nhttp: { token: { env: SHORT } }",
            [(3, 16, "http.token: a token has 16 characters at least: make one with `openssl rand -hex 32`")],
        ),
        ("folders: [logs]\naudit: a.jsonl\nlimits: { rows: 0 }", [(3, 17, "limits.rows: expected `int` >= 1")]),
        (
            "folders: [logs]\naudit: a.jsonl\nlimits: { bytes: 10 }",
            [(3, 18, "limits.bytes: 4KiB at least, or no row fits")],
        ),
        ("folders: [logs]\naudit: a.jsonl\nlimits: { time: 0s }", [(3, 17, "limits.time: more than nothing")]),
        (
            "folders: [logs]\naudit: a.jsonl\ntimezone: Mars/One",
            [(3, 11, "timezone: no time zone 'Mars/One': write an IANA name such as Europe/Amsterdam")],
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(folder: Path, text: str, problems: list[tuple[int, int, str]]) -> None:
    assert told(folder, text) == problems


def test_a_token_that_stands_in_the_config_is_not_shown(folder: Path) -> None:
    with pytest.raises(ConfigError) as error:
        loaded(folder, "folders: [logs]\naudit: a.jsonl\nhttp: { token: hunter2hunter2hunter2 }\n")
    assert "hunter2" not in str(error.value)
    assert "http.token" in str(error.value)
