"""Calls are counted by group, with their tokens."""

from __future__ import annotations

from pathlib import Path

from tailrace.query.llm import summary
from tailrace.query.records import Found, Reader

from . import agent_logs


def calls(folder: Path) -> list[Found]:
    return list(Reader().records(agent_logs.write(folder) / "llm_io_20260304_233600_1.jsonl"))[:3]


def test_each_group_has_its_counts_and_tokens_the_smallest_first(tmp_path: Path) -> None:
    one, two = summary(calls(tmp_path), ["model"])
    assert one == {
        "model": "google_gemini-3-flash-preview",
        "count": 1,
        "errors": 0,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "first": "2026-03-04T23:36:25.000000000Z",
        "last": "2026-03-04T23:36:25.000000000Z",
    }
    assert (two["model"], two["count"], two["errors"], two["total_tokens"]) == ("openai_gpt-4o-mini", 2, 1, 220)
    assert (two["first"], two["last"]) == ("2026-03-04T23:36:05.000000000Z", "2026-03-04T23:46:05.000000000Z")


def test_without_a_word_groups_are_label_model_and_status(tmp_path: Path) -> None:
    rows = summary(calls(tmp_path))
    assert len(rows) == 3
    assert list(rows[0])[:3] == ["call_label", "model", "status"]


def test_what_is_no_count_of_tokens_counts_as_none(tmp_path: Path) -> None:
    odd: tuple[object, ...] = ("many", 1.5, -1, True, None)
    path = agent_logs.jsonl(tmp_path / "a.jsonl", *(agent_logs.call(1, 0, prompt_tokens=value) for value in odd))
    (row,) = summary(Reader().records(path), ["missing"])
    assert (row["missing"], row["count"], row["prompt_tokens"]) == (None, 5, 0)
