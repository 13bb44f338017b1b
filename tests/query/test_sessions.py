"""Sessions are put together from the index, over all files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tailrace.query.find import Wanted
from tailrace.query.index import Index, Indexed
from tailrace.query.sessions import sessions

from . import agent_logs

SECOND = 10**9


@pytest.fixture
def files(tmp_path: Path) -> list[Indexed]:
    return Index([agent_logs.write(tmp_path / "logs")]).files()


def test_a_session_is_all_that_its_files_say_of_it(files: list[Indexed]) -> None:
    first, *others = sessions(files, Wanted())
    paths = first.pop("paths")
    assert first == {
        "session_key": agent_logs.key(1),
        "thread_ts": agent_logs.thread(1),
        "channel_id": agent_logs.CHANNEL,
        "user_id": "U1",
        "planned_date": "2026-03-05",
        "stage": "Refine",
        "status": "committed",
        "created_at": "2026-03-04T23:36:00.000000000Z",
        "last_seen": "2026-03-04T23:36:30.000000000Z",
        "seconds": 30.0,
        "events": 4,
        "llm_calls": 2,
        "errors": 0,
        "prompt_tokens": 200,
        "completion_tokens": 40,
        "log_path": "logs/one.log",
    }
    assert len(paths) == 3
    assert [(row["session_key"], row["errors"], row["status"]) for row in others] == [
        (agent_logs.key(2), 2, "partial_halted"),
        (agent_logs.key(3), 0, None),
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3]),
        ({"exact": {"session_key": agent_logs.key(2)}}, [2]),
        ({"exact": {"thread_ts": agent_logs.thread(3), "channel_id": agent_logs.CHANNEL}}, [3]),
        ({"exact": {"channel_id": "C1"}}, []),
        ({"start_ns": (agent_logs.START + 620) * SECOND}, [2, 3]),
        ({"start_ns": (agent_logs.START + 621) * SECOND}, [3]),
        ({"end_ns": (agent_logs.START + 600) * SECOND}, [1, 2]),
    ],
    ids=["all", "session", "thread and channel", "another channel", "from", "later", "to"],
)
def test_what_sessions_have_themselves_and_times_choose(
    files: list[Indexed], wanted: dict[str, Any], found: list[int]
) -> None:
    assert [row["session_key"] for row in sessions(files, Wanted(**wanted))] == [agent_logs.key(n) for n in found]


def test_the_last_ones_and_those_that_were_looked_for(files: list[Indexed]) -> None:
    assert [row["session_key"] for row in sessions(files, Wanted(), limit=1)] == [agent_logs.key(3)]
    assert [row["session_key"] for row in sessions(files, Wanted(), {agent_logs.key(1)})] == [agent_logs.key(1)]
