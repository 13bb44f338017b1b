"""Label values stay few, and ordinary values stay as they are."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.labels import sanitize

UUID = "3f2b8c1e-9d4a-4e7b-8a6f-0c1d2e3f4a5b"
OTHER_UUID = "0a1b2c3d-4e5f-4a6b-9c7d-8e9f0a1b2c3d"


@pytest.mark.parametrize(
    ("value", "label"),
    [
        pytest.param("timeboxing_agent/C0AA6HC1RJL:1772248936.310119", "timeboxing_agent", id="agent/session"),
        pytest.param("timeboxing_agent_C0AA6HC1RJL:1772290041.386259", "timeboxing_agent", id="agent_session"),
        pytest.param("timeboxing_agent_c0aa6hc1rjl:1772290041.386259", "timeboxing_agent", id="session in lower case"),
        pytest.param("timeboxing_agent/1772663759.082919", "timeboxing_agent", id="agent/thread"),
        pytest.param("planner:1772290041.386259", "planner", id="a word in front of a thread is no channel"),
        pytest.param(f"TurnInitNode_{UUID}_{OTHER_UUID}", "TurnInitNode", id="node_uuid_uuid"),
        pytest.param(f"StageCollectConstraintsNode_{UUID}/{UUID}", "CollectConstraints", id="stage node"),
        pytest.param("StageRefineNode", "Refine", id="stage node without id"),
        pytest.param("planner_agent_U095637NL8P", "planner_agent", id="Slack user"),
        pytest.param(f"Node-{UUID}", "Node", id="node-uuid"),
        pytest.param(f"Node_{UUID.upper()}", "Node", id="upper-case uuid"),
        pytest.param(f"Node_{UUID[:23]}", "Node", id="uuid cut off"),
        pytest.param(f"Node_{UUID.replace('-', '')}", "Node", id="uuid without dashes"),
        pytest.param(f"/v1/sessions/{UUID}/events", "_v1_sessions_events", id="id inside a path"),
        pytest.param(f"agent (id={UUID})", "agent_id", id="id in brackets"),
        pytest.param("patch-1772664120310", "patch", id="epoch in ms"),
        pytest.param("job_20260304_233600", "job", id="compact time"),
        pytest.param("since 2026-03-04T23:36:00.179Z", "since", id="ISO time"),
        pytest.param("<Agent object at 0x7f3c4d5e6f70>", "_Agent_object_at", id="address"),
        pytest.param("commit 9fceb02", "commit_9fceb02", id="short hex stays"),
        pytest.param("commit 9fceb02d", "commit", id="hex of eight goes"),
        pytest.param("run_01ARZ3NDEKTSV4RRFFQ69G5FAV", "run", id="ULID"),
        pytest.param(UUID, "", id="nothing but an id"),
        pytest.param("sha256:" + "ab12" * 16, "sha256", id="digest"),
    ],
)
def test_ids_are_cut_out(value: str, label: str) -> None:
    assert sanitize(value) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        ("gpt-4o-2024-08-06", "gpt-4o-2024-08-06"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
        ("google/gemini-3-flash-preview", "google_gemini-3-flash-preview"),
        ("meta-llama/Llama-3.3-70B-Instruct", "meta-llama_Llama-3.3-70B-Instruct"),
        ("accounts/fireworks/models/deepseek-v3", "accounts_fireworks_models_deepseek-v3"),
        ("timeboxing_agent/default", "timeboxing_agent_default"),
        ("error", "error"),
        ("2xx", "2xx"),
        ("404", "404"),
        ("0x80070005", "0x80070005"),
        ("CollectConstraints", "CollectConstraints"),
        ("httpx.ConnectTimeout", "httpx.ConnectTimeout"),
        ("GEMINI25PRO", "GEMINI25PRO"),
        ("InternationalizationServiceProvider", "InternationalizationServiceProvider"),
        ("_private", "_private"),
        ("2026-03-04", "2026-03-04"),
        ("POST /api/v2/users", "POST_api_v2_users"),
        ("  spaced  out  ", "spaced_out"),
        ("größe", "gr_e"),
        ("a\x00b", "a_b"),
    ],
)
def test_ordinary_values_keep_their_meaning(value: str, label: str) -> None:
    assert sanitize(value) == label


@pytest.mark.parametrize(
    ("value", "label"),
    [
        (None, ""),
        ("", ""),
        ("   ", ""),
        (0, "0"),
        (1, "1"),
        (True, "true"),
        (False, "false"),
        (1.0, "1.0"),
        (1772664120310119, ""),
        (["a", "b"], "_a_b_"),
        ({"k": 1}, "_k_:1_"),
    ],
)
def test_other_types_become_text(value: object, label: str) -> None:
    assert sanitize(value) == label


def test_a_value_that_json_does_not_know_still_becomes_a_label() -> None:
    assert sanitize(ValueError("no such model")) == "_no_such_model_"


def test_a_label_is_cut_after_80_characters() -> None:
    assert sanitize("word-" * 1000) == ("word-" * 1000)[:80]


@given(st.text(max_size=200))
def test_any_text_becomes_a_label_and_a_label_stays_short(text: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_.:-]{0,80}", sanitize(text))


@given(st.from_regex(r"[A-Za-z][a-z_]{0,20}", fullmatch=True), st.sampled_from("_-/ "), st.uuids(), st.uuids())
def test_two_ids_behind_one_name_give_one_label(name: str, between: str, one: uuid.UUID, two: uuid.UUID) -> None:
    assert sanitize(f"{name}{between}{one}") == sanitize(f"{name}{between}{two}")


@given(st.from_regex(r"[A-Za-z]{1,7}([-_.:][A-Za-z]{1,7}){0,5}", fullmatch=True))
def test_words_are_never_touched(text: str) -> None:
    assert sanitize(text) == text
