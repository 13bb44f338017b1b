"""A request to the patcher is one row, however many lines it took."""

from __future__ import annotations

from pathlib import Path

from tailrace.query.patcher import requests
from tailrace.query.records import Reader

from . import agent_logs


def test_a_request_has_its_attempts_and_its_end(tmp_path: Path) -> None:
    path = tmp_path / "timebox_patcher_x.log"
    path.write_text(agent_logs.PATCHER_LOG + "2026-03-04 23:59:01,000 DEBUG a.b something else\n")
    assert requests(Reader().records(path)) == [
        {
            "request_id": "patch-1",
            "created_at": "2026-03-04T23:36:30.000000000Z",
            "last_seen": "2026-03-04T23:36:33.000000000Z",
            "status": "success",
            "attempts": 2,
            "max_attempts": 5,
            "ops": 4,
            "error": "1 validation error\nops\n  Field required",
            "log_path": str(path),
        },
        {
            "request_id": "patch-2",
            "created_at": "2026-03-04T23:59:00.000000000Z",
            "last_seen": "2026-03-04T23:59:00.000000000Z",
            "status": "failed",
            "attempts": 1,
            "max_attempts": 5,
            "ops": None,
            "error": "bad",
            "log_path": str(path),
        },
    ]


def test_a_request_that_was_cut_off_is_unfinished(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_text(agent_logs.PATCHER_LOG.splitlines()[0])
    assert [row["status"] for row in requests(Reader().records(path))] == ["unfinished"]


def test_an_empty_log_has_none(tmp_path: Path) -> None:
    (tmp_path / "x.log").touch()
    assert requests(Reader().records(tmp_path / "x.log")) == []
