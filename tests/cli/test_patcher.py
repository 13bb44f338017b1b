from __future__ import annotations

from pathlib import Path

import pytest

from .agent import agent_logs, rows, run


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ([], ["patch-1", "patch-2"]),
        (["--limit", 1], ["patch-2"]),
        (["--status", "success"], ["patch-1"]),
        (["--session", agent_logs.key(1)], ["patch-1"]),
        (["--thread", agent_logs.thread(2)], []),
        (["--from", "2026-03-04T23:50Z"], ["patch-2"]),
        (["--contains", "field REQUIRED"], ["patch-1"]),
    ],
    ids=["all", "last", "status", "session", "another session", "time", "contains"],
)
def test_requests_are_chosen_by_filters(tmp_path: Path, options: list[object], found: list[str]) -> None:
    assert [row["request_id"] for row in rows(tmp_path, "patcher", *options)] == found


def test_what_a_patcher_log_does_not_have_is_refused(tmp_path: Path) -> None:
    result = run("patcher", "--model", "x", "--path", agent_logs.write(tmp_path / "logs"))
    assert (result.exit_code, "has no model" in result.stderr) == (2, True)
