"""One run on one line of time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tailrace.query.find import Wanted
from tailrace.query.index import Index
from tailrace.query.trace import timeline

from . import agent_logs

ONE = [
    ("event", "session_started"),
    ("llm", "LLMCall"),
    ("event", "graph_turn_start"),
    ("tool", "ToolCall"),
    ("event", "graph_turn_end"),
    ("llm", "LLMCall"),
    ("event", "session_finalized"),
]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    return Index([agent_logs.write(tmp_path / "logs")])


def rows(index: Index, trace: str, **wanted: Any) -> list[dict[str, Any]]:
    return timeline(index, index.files(), trace, Wanted(**wanted))


@pytest.mark.parametrize("trace", [agent_logs.key(1), agent_logs.thread(1)], ids=["session", "thread"])
def test_a_session_is_shown_over_all_files(index: Index, trace: str) -> None:
    found = rows(index, trace)
    assert [(row["kind"], row["what"]) for row in found] == ONE  # the tool call names the session alone
    assert [row["after_s"] for row in found] == [0, 5, 10, 15, 20, 25, 30]
    assert found[1]["tokens"] == 120
    assert found[1]["detail"] == "function=create call_label=skeleton_call model=openai_gpt-4o-mini status=ok"


def test_a_trace_takes_in_what_its_session_logs_meanwhile(index: Index) -> None:
    assert [(row["kind"], row["what"]) for row in rows(index, agent_logs.TRACE)] == ONE[1:6]


def test_records_that_name_the_thread_alone_belong_to_its_session(tmp_path: Path) -> None:
    agent_logs.write(tmp_path)
    agent_logs.jsonl(tmp_path / "more.jsonl", agent_logs.call(1, 7, session_key=None, call_label="alone"))
    index = Index([tmp_path])
    assert "alone" in " ".join(row["detail"] for row in rows(index, agent_logs.key(1)))


def test_errors_stand_out(index: Index) -> None:
    found = rows(index, agent_logs.key(2))
    assert [(row["kind"], row["failed"]) for row in found] == [
        ("event", False),
        ("llm", True),
        ("error", True),
        ("event", False),
    ]
    assert found[2]["detail"] == "stage did not finish"


def test_filters_narrow_it_down(index: Index) -> None:
    assert [row["what"] for row in rows(index, agent_logs.key(1), exact={"stage": "Skeleton"})] == [
        "LLMCall",
        "graph_turn_end",
        "LLMCall",
    ]
    assert rows(index, agent_logs.key(1), exact={"session_key": agent_logs.key(2)}) == []
    assert rows(index, "nobody") == []
