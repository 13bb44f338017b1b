from __future__ import annotations

from pathlib import Path

import pytest

from .agent import agent_logs, rows


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], [("TimeoutError", 2), ("LLMCall", 1), ("TimeoutError", 1)]),
        (["--limit", 1], [("TimeoutError", 1)]),
        (["--session", agent_logs.key(2)], [("LLMCall", 1), ("TimeoutError", 1)]),
        (["--contains", "srv/app/llm.py"], [("TimeoutError", 2)]),
        (["--to", "2026-03-04T23:37Z"], [("TimeoutError", 1)]),
        (["--status", "error"], [("LLMCall", 1)]),
    ],
    ids=["all", "last", "session", "contains", "time", "status"],
)
def test_faults_are_counted_among_what_filters_choose(
    tmp_path: Path, options: list[object], found: list[tuple[str, int]]
) -> None:
    assert [(row["error_type"], row["count"]) for row in rows(tmp_path, "errors", *options)] == found
