from __future__ import annotations

from pathlib import Path

import pytest

from .agent import agent_logs, rows, run


@pytest.mark.parametrize(
    ("trace", "count"),
    [(agent_logs.TRACE, 5), (agent_logs.key(1), 7), (agent_logs.thread(2), 4)],
    ids=["trace id", "session", "thread"],
)
def test_a_run_is_shown_by_any_of_its_ids(tmp_path: Path, trace: str, count: int) -> None:
    found = rows(tmp_path, "trace", trace)
    assert len(found) == count
    assert [row["timestamp"] for row in found] == sorted(row["timestamp"] for row in found)


def test_only_the_last_ones_when_asked(tmp_path: Path) -> None:
    assert [row["what"] for row in rows(tmp_path, "trace", agent_logs.key(1), "--limit", 1)] == ["session_finalized"]


def test_an_id_that_nothing_has_is_told(tmp_path: Path) -> None:
    result = run("trace", "nobody", "--path", agent_logs.write(tmp_path / "logs"))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "nothing has 'nobody' as its trace_id" in result.stderr
