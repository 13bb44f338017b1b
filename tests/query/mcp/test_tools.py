from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest

from tailrace.config.mcp import TOOLS as NAMES
from tailrace.config.mcp import Limits, McpConfig, ServerOptions
from tailrace.pipeline.match import MatchError
from tailrace.pipeline.options import Duration
from tailrace.query.mcp.outgoing import Outgoing
from tailrace.query.mcp.tools import REFUSALS, TOOLS, Found, Refusal, Tools, schema

from .. import agent_logs

NOWHERE = "http://127.0.0.1:9"
"""Where nobody listens."""
NOW = 1_772_700_000 * 10**9


def made(tmp_path: Path, **options: Any) -> Tools:
    servers = {"loki": ServerOptions(url=NOWHERE), "prometheus": ServerOptions(url=NOWHERE)}
    logs = agent_logs.write(tmp_path / "logs")
    config = McpConfig(folders=[logs], audit=tmp_path / "audit.jsonl", **(servers | options))
    return Tools(config, Outgoing(config.redact.stage(), 8000), lambda: NOW)


@pytest.fixture
def tools(tmp_path: Path) -> Iterator[Tools]:
    tools = made(tmp_path)
    yield tools
    tools.close()


def rows(found: Found, *fields: str) -> list[Any]:
    return [tuple(row[field] for field in fields) if len(fields) > 1 else row[fields[0]] for row in found.rows]


def test_every_tool_has_a_schema_that_takes_nothing_unknown_and_no_place_to_go() -> None:
    assert tuple(TOOLS) == NAMES
    for name in TOOLS:
        found = schema(name)
        jsonschema.Draft202012Validator.check_schema(found)
        assert found["additionalProperties"] is False
        assert not {"url", "host", "server", "endpoint", "headers", "file", "output"} & found["properties"].keys()


def test_sessions_are_those_of_the_command(tools: Tools) -> None:
    found = tools.call("sessions", {})
    assert rows(found, "session_key", "llm_calls", "errors") == [
        (agent_logs.key(1), 2, 0),
        (agent_logs.key(2), 1, 2),
        (agent_logs.key(3), 0, 0),
    ]
    assert rows(tools.call("sessions", {"has_error": True}), "session_key") == [agent_logs.key(2)]
    assert rows(tools.call("sessions", {"limit": 1}), "session_key") == [agent_logs.key(3)]


def test_events_calls_requests_and_faults_are_those_of_the_commands(tools: Tools) -> None:
    key = agent_logs.key(1)
    assert rows(tools.call("events", {"session_key": key, "event": "graph_turn_end"}), "elapsed_s") == [2.5]
    assert rows(tools.call("llm", {"call_label": "refine_call"}), "prompt_tokens") == [100]
    assert rows(tools.call("llm", {"summary": True, "group_by": ["status"]}), "status", "count") == [
        ("error", 1),
        ("ok", 2),
    ]
    assert rows(tools.call("patcher", {"status": "success"}), "request_id", "attempts") == [("patch-1", 2)]
    assert rows(tools.call("patcher", {"session_key": key}), "request_id") == ["patch-1"]
    assert rows(tools.call("errors", {"path": "app.log"}), "error_type", "count") == [("TimeoutError", 2)]


def test_a_trace_is_a_timeline_and_holds_whole_records_when_asked(tools: Tools) -> None:
    found = tools.call("trace", {"id": agent_logs.TRACE})
    assert len(found.rows) == 5
    assert "record" not in found.rows[0]
    whole = tools.call("trace", {"id": agent_logs.TRACE, "records": True})
    assert whole.rows[0]["record"]["session_key"] == agent_logs.key(1)


def test_logql_finds_the_last_lines_of_files_oldest_first(tools: Tools) -> None:
    found = tools.call("logql", {"query": '{} |= "ERROR"', "of": "files", "path": "app.log", "limit": 1})
    assert rows(found, "record") == [{"message": "2026-03-04 23:40:00,000 ERROR app.jobs: job 2 failed"}]
    found = tools.call("logql", {"query": '{event_type="LLMCall"} | json | status="ok"', "of": "files"})
    assert [row["record"]["call_label"] for row in found.rows] == ["skeleton_call", "refine_call"]


def test_logql_counts_in_files(tools: Tools) -> None:
    query = 'sum by (status) (count_over_time({event_type="LLMCall"}[1h]))'
    found = tools.call("logql", {"query": query, "of": "files", "to": "2026-03-05T00:00:00Z"})
    assert sorted((row["labels"]["status"], row["points"][0][1]) for row in found.rows) == [("error", 1), ("ok", 2)]
    found = tools.call(
        "logql", {"query": query, "of": "files", "from": "2026-03-04T23:00Z", "to": "2026-03-05", "step": "30m"}
    )
    assert [len(row["points"]) for row in found.rows] == [1, 1]


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [
        ("nothing", {}, "no tool"),
        ("llm", {"url": "http://169.254.169.254/"}, "unknown field `url`"),
        ("llm", {"path": "../audit.jsonl"}, "nothing to read"),
        ("llm", {"path": "/etc/passwd"}, "nothing to read"),
        ("llm", {"limit": 0}, ">= 1"),
        ("llm", {"limit": "10; rm"}, "Expected `int"),
        ("llm", {"contains": "x" * 2000}, "length <= 1000"),
        ("llm", {"from": "yesterday-ish"}, "is no time"),
        ("llm", {"from": "9999999999w"}, "between 1970"),
        ("llm", {"from": "1h", "to": "2h"}, "not before"),
        ("trace", {"id": "no such thing"}, "nothing has this"),
        ("patcher", {"model": "x"}, "has no model"),
        ("logql", {"query": ""}, "length >= 1"),
        ("logql", {"query": "x" * 5000}, "length <= 4000"),
        ("logql", {"query": '{a="b"}', "step": "5m"}, "step is for metrics"),
        ("logql", {"query": '{a="b"}', "path": "x"}, "path is for files"),
        ("logql", {"query": '{a="b"} | line_format "{{ repeat 999999999 `x` }}"', "of": "files"}, "not for agents"),
        ("logql", {"query": 'rate({a="b"} | label_format x="{{.y}}{{.y}}" [1m])', "of": "files"}, "not for agents"),
        ("logql", {"query": '{a="b"} | regexp "(?P<x>.)"'}, "not for Loki"),
        ("logql", {"query": 'rate({a="b"} | pattern "<x>-<y>" [1m])'}, "not for Loki"),
        ("logql", {"query": '{a="b"}', "from": "52w"}, "wider than"),
        ("logql", {"query": 'count_over_time({a="b"}[52w])'}, "wider than"),
        ("logql", {"query": 'count_over_time({a="b"}[1m] offset 52w)'}, "wider than"),
        ("logql", {"query": 'rate({a="b"}[1m])', "from": "7d", "step": "1ms"}, "too many"),
        ("promql", {"query": "up", "from": "52w", "step": "1w"}, "wider than"),
        ("promql", {"query": "rate(x[52w])"}, "wider than"),
        ("promql", {"query": "max_over_time(rate(x[1m])[52w:1h])"}, "wider than"),
        ("promql", {"query": "x offset 52w"}, "wider than"),
        ("promql", {"query": "x @ 0"}, "choose the time"),
        ("promql", {"query": "x[1m + 52w]"}, "write a range"),
        ("promql", {"query": "up", "from": "1h", "step": "1ms"}, "too many"),
        ("exemplars", {"query": "x", "from": "52w"}, "wider than"),
    ],
    ids=lambda value: json.dumps(value)[:60] if isinstance(value, dict) else None,
)
def test_what_is_not_answered_says_what_would_do(
    tools: Tools, tool: str, arguments: dict[str, Any], words: str
) -> None:
    with pytest.raises(REFUSALS) as refused:
        tools.call(tool, arguments)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "query",
    [
        '{a="b"}\n{c="d"}',
        '{a="b"} | json } or {c="d"}',
        '{a="b"} &limit=999999',
        "(" * 3000,
        '{a="b"} | delete "x"',
        "up; DROP TABLE logs",
    ],
)
def test_logql_that_is_none_goes_nowhere(tools: Tools, query: str) -> None:
    with pytest.raises((MatchError, Refusal)):
        tools.call("logql", {"query": query})


@pytest.mark.parametrize("tool", ["logql", "promql", "exemplars"])
def test_a_server_that_is_away_is_an_error_of_the_system(tools: Tools, tool: str) -> None:
    with pytest.raises(OSError, match=r"cannot connect to 127.0.0.1:9"):
        tools.call(tool, {"query": '{a="b"}' if tool == "logql" else "up"})


def test_a_tool_that_is_not_allowed_is_not_there(tmp_path: Path) -> None:
    tools = made(tmp_path, tools=["errors"])
    assert tools.call("errors", {}).rows
    with pytest.raises(Refusal, match=r"there are errors$"):
        tools.call("sessions", {})
    tools.close()


def test_points_beyond_the_bound_are_left_out_with_a_note(tmp_path: Path) -> None:
    tools = made(tmp_path, limits=Limits(rows=1))
    query = 'sum by (status) (count_over_time({event_type="LLMCall"}[24h]))'
    found = tools.call("logql", {"query": query, "of": "files"})
    assert len(found.rows) == 1
    assert found.notes == ["1 of 2 series are left out: aggregate, or topk(10, …)"]
    tools.close()


def test_a_question_ends_when_its_time_is_over(tmp_path: Path) -> None:
    tools = made(tmp_path, limits=Limits(time=Duration(1e-9)))
    with pytest.raises(REFUSALS, match="the time for a call is over"):
        tools.call("errors", {})
    tools.close()
