"""Records by field, text and time: the last ones, oldest first, whatever file they are in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tailrace.query.find import Wanted, each, find
from tailrace.query.index import Index

from . import agent_logs

SECOND = 10**9
START = agent_logs.START * SECOND
COMMITTED = "session_finalized"


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index([agent_logs.write(tmp_path / "logs")])


def whats(index: Index, limit: int | None = None, **wanted: Any) -> list[str]:
    found = find(index, index.files(), Wanted(**wanted), limit)
    return [record.text("event") or record.text("event_type") or record.kind for record in found]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"exact": {"session_key": agent_logs.key(3)}}, ["session_started", "user_reply"]),
        ({"exact": {"thread_ts": agent_logs.thread(3), "event": "user_reply"}}, ["user_reply"]),
        ({"exact": {"thread_ts": agent_logs.thread(3), "event": "User_reply"}}, []),
        ({"exact": {"agent": "timeboxing_agent", "status": "error"}}, ["LLMCall"]),
        ({"exact": {"agent": f"timeboxing_agent/{agent_logs.key(2)}"}}, ["LLMCall"]),
        ({"contains": "lunch AT"}, ["graph_turn_start"]),
        ({"contains": "NAÏVE"}, ["user_reply"]),
        ({"contains": '"status": "committed"'}, [COMMITTED]),
        ({"has_error": True, "kinds": frozenset(["event"])}, ["graph_turn_error"]),
        ({"has_error": False, "kinds": frozenset(["llm"])}, ["LLMCall", "LLMCall"]),
        ({"kinds": frozenset(["tool"])}, ["ToolCall"]),
        ({"start_ns": START + 1210 * SECOND, "kinds": frozenset(["event"])}, ["user_reply"]),
        ({"end_ns": START, "kinds": frozenset(["event"])}, ["session_started"]),
        ({"start_ns": START + 5 * SECOND, "end_ns": START + 5 * SECOND}, ["LLMCall"]),
        ({"start_ns": START + 10_000 * SECOND}, []),
    ],
    ids=[
        *("session", "two fields", "case", "agent without its id", "raw agent", "contains", "not ASCII", "as JSON"),
        *("failed", "not failed", "kind", "from", "to", "both ends are in", "nothing"),
    ],
)
def test_filters_are_exact_and_all_of_them_apply(index: Index, wanted: dict[str, Any], expected: list[str]) -> None:
    assert whats(index, **wanted) == expected


def test_records_of_all_files_are_in_the_order_of_time(index: Index) -> None:
    found = find(index, index.files(), Wanted())
    assert [record.time_ns for record in found] == sorted(record.time_ns for record in found)
    assert len(found) == sum(one.entry.count for one in index.files()) == 22


@pytest.mark.parametrize("limit", [1, 2, 5, 21, 22, 100])
def test_a_limit_leaves_the_last_ones(index: Index, limit: int) -> None:
    files = index.files()
    assert find(index, files, Wanted(), limit) == find(index, files, Wanted())[-limit:]


def test_with_a_limit_files_that_are_too_old_stay_shut(tmp_path: Path) -> None:
    for number in range(9):
        agent_logs.session_log(tmp_path, number, 1000.0 * number, {"event": "user_reply"})
    index = Index([tmp_path])
    files = index.files()
    for path in tmp_path.glob("*_C0AA6HC1RJL_177260000[0-6]*"):
        path.unlink()
        path.mkdir()  # opening it would fail
    assert len(find(index, files, Wanted(), 3)) == 3
    with pytest.raises(IsADirectoryError):
        find(index, files, Wanted(), 5)


def test_a_file_that_went_away_after_it_was_listed_is_left_out(index: Index) -> None:
    files = index.files()
    before = len(find(index, files, Wanted()))
    gone = next(one for one in files if one.path.name == "app.log")
    gone.path.unlink()
    assert len(list(each(index, files, Wanted()))) == before - gone.entry.count
