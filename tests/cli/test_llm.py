from __future__ import annotations

from pathlib import Path

import pytest

from .agent import agent_logs, rows


@pytest.mark.parametrize(
    ("options", "sessions"),
    [
        ([], [1, 1, 2]),
        (["--limit", 1], [2]),
        (["--session-key", agent_logs.key(1), "--model", "openai_gpt-4o-mini"], [1]),
        (["--call-label", "refine_call"], [1]),
        (["--status", "error"], [2]),
        (["--has-error", "no", "--thread", agent_logs.thread(2)], []),
        (["--event-type", "LLMCall", "--agent", "timeboxing_agent"], [1, 1, 2]),
        (["--trace-id", agent_logs.TRACE], [1, 1]),
        (["--contains", "PLAN 2"], [2]),
        (["--from-ts", "20260304_233625", "--to", "2026-03-04T23:46:05Z"], [1, 2]),
    ],
    ids=["all", "last", "model", "label", "status", "no error", "agent", "trace", "contains", "both ends"],
)
def test_calls_are_chosen_by_filters(tmp_path: Path, options: list[object], sessions: list[int]) -> None:
    assert [row["session_key"] for row in rows(tmp_path, "llm", *options)] == [agent_logs.key(n) for n in sessions]


def test_a_summary_counts_by_the_fields_that_are_named(tmp_path: Path) -> None:
    found = rows(tmp_path, "llm", "--summary", "--group-by", "model, status")
    assert [(row["model"], row["status"], row["count"], row["total_tokens"]) for row in found] == [
        ("google_gemini-3-flash-preview", "ok", 1, 120),
        ("openai_gpt-4o-mini", "error", 1, 100),
        ("openai_gpt-4o-mini", "ok", 1, 120),
    ]


def test_a_summary_of_the_last_ones_counts_no_other(tmp_path: Path) -> None:
    assert [row["count"] for row in rows(tmp_path, "llm", "--summary", "--group-by", "function", "--limit", 2)] == [2]
