"""Enrich: fields beside a record's own."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.batch import Batch
from tailrace.pipeline.options import decode_option
from tailrace.stages.enrich import Enrich
from tailrace.testing import batch_of, lines_of, run_stage

TRACE = "45a6550a0dd84c37266bec0fe4ee92c6"
SPAN = "00f067aa0ba902b7"


def enrich(**options: Any) -> Enrich:
    return msgspec.convert(options, Enrich, dec_hook=decode_option)


def json_batch(
    *rows: dict[str, Any], labels: dict[str, str] | None = None, state: dict[str, Any] | None = None
) -> Batch:
    batch = batch_of(*(json.dumps(row).encode() for row in rows), labels=labels, state=state)
    for record in batch.records:
        record.format = "json"
    return batch


def archived(batch: Batch) -> list[dict[str, Any]]:
    return [json.loads(record.to_json()) for record in batch.records]


def test_fixed_fields_stand_beside_the_line_which_ships_as_it_was() -> None:
    batch = run_stage(enrich(fields={"app": "fateforger", "replica": 2, "canary": True}), batch_of(b"hello", b"world"))
    assert lines_of(batch) == [b"hello", b"world"]
    assert [r.fields for r in batch.records] == [
        {"message": "hello", "app": "fateforger", "replica": 2, "canary": True},
        {"message": "world", "app": "fateforger", "replica": 2, "canary": True},
    ]


def test_a_json_line_is_archived_byte_for_byte_with_the_fields_behind_it() -> None:
    batch = batch_of(b'{"b":1,  "a":"x"}')
    batch.records[0].format = "json"
    run_stage(enrich(fields={"app": "f"}), batch)
    assert batch.records[0].to_json() == b'{"b":1,  "a":"x","app":"f"}'


def test_records_do_not_share_what_was_added() -> None:
    one, two = run_stage(enrich(fields={"app": "f"}), batch_of(b"a", b"b")).records
    one.set("app", "changed")
    assert (two.added, two.fields["app"]) == ({"app": "f"}, "f")


def test_what_an_earlier_stage_added_stays() -> None:
    batch = batch_of(b"a")
    batch.records[0].set("error_type", "ValueError")
    run_stage(enrich(fields={"app": "f"}), batch)
    assert batch.records[0].added == {"error_type": "ValueError", "app": "f"}


@pytest.mark.parametrize(
    ("own", "override", "app"),
    [
        pytest.param({"app": "own", "x": 1}, False, "own", id="its own stays"),
        pytest.param({"app": "own", "x": 1}, True, "fixed", id="override replaces it"),
        pytest.param({"app": None, "x": 1}, False, "fixed", id="null is no value"),
        pytest.param({"app": "", "x": 1}, False, "", id="empty text is a value"),
    ],
)
def test_a_field_of_the_record_itself(own: dict[str, Any], override: bool, app: str) -> None:
    batch = run_stage(enrich(fields={"app": "fixed", "env": "prod"}, override=override), json_batch(own))
    assert archived(batch) == [own | {"app": app, "env": "prod"}]


def test_groups_of_the_file_name_become_fields() -> None:
    stage = enrich(file_name=r"_(?P<session_key>[^_]+)_(?P<pid>\d+)\.log$|(?P<never>x)$", fields={"app": "f"})
    batch = run_stage(stage, batch_of(b"a", labels={"file": "/logs/session_1772663759.082919_4711.log"}))
    assert batch.records[0].added == {"app": "f", "session_key": "1772663759.082919", "pid": "4711"}


@pytest.mark.parametrize("labels", [{"file": "/logs/other.log"}, {"topic": "t"}], ids=["no match", "no file"])
def test_a_partition_without_such_a_file_name_gets_the_fixed_fields_only(labels: dict[str, str]) -> None:
    batch = run_stage(enrich(file_name=r"(?P<pid>\d+)\.log", fields={"app": "f"}), batch_of(b"a", labels=labels))
    assert batch.records[0].added == {"app": "f"}


@pytest.mark.parametrize(
    ("own", "added"),
    [
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01"}, {"trace_id": TRACE, "span_id": SPAN}, id="traceparent"),
        pytest.param(
            {"traceparent": f"00-{TRACE.upper()}-{SPAN}-01"}, {"trace_id": TRACE, "span_id": SPAN}, id="upper"
        ),
        pytest.param({"traceparent": f"cc-{TRACE}-{SPAN}-01-new"}, {"trace_id": TRACE, "span_id": SPAN}, id="future"),
        pytest.param({"traceparent": f"00-{TRACE}-{SPAN}-01-new"}, None, id="version 00 ends there"),
        pytest.param({"traceparent": f"ff-{TRACE}-{SPAN}-01"}, None, id="version ff"),
        pytest.param({"traceparent": f"00-{'0' * 32}-{SPAN}-01"}, None, id="zero trace"),
        pytest.param({"traceparent": f"00-{TRACE}-{'0' * 16}-01"}, None, id="zero span"),
        pytest.param({"traceparent": f"00-{TRACE[:-1]}-{SPAN}-01"}, None, id="too short"),
        pytest.param({"traceparent": 17}, None, id="number"),
        pytest.param({"traceparent": None}, None, id="null"),
        pytest.param({"traceparent": "45a6550a-0dd8-4c37-266b-ec0fe4ee92c6"}, {"trace_id": TRACE}, id="dashes"),
        pytest.param({"trace_id": TRACE}, None, id="its own is enough"),
        pytest.param({"trace_id": TRACE, "traceparent": f"00-{'b' * 32}-{SPAN}-01"}, None, id="the first wins"),
        pytest.param({"trace_id": "0", "traceparent": TRACE}, {"trace_id": TRACE}, id="an invalid one does not win"),
        pytest.param({"trace_id": "0" * 32, "traceparent": TRACE}, {"trace_id": TRACE}, id="nor a zero one"),
        pytest.param({"trace_id": TRACE.upper()}, {"trace_id": TRACE}, id="one way to write it"),
        pytest.param({"span_id": "own", "traceparent": f"00-{TRACE}-{SPAN}-01"}, {"trace_id": TRACE}, id="own span"),
        pytest.param({}, None, id="nothing"),
    ],
)
def test_the_trace_id(own: dict[str, Any], added: dict[str, str] | None) -> None:
    batch = run_stage(enrich(trace_id=["trace_id", "traceparent"]), json_batch(own))
    assert batch.records[0].added == added


def test_a_valid_own_trace_id_stays_when_the_list_does_not_name_it() -> None:
    own = {"trace_id": "a" * 32, "otelTraceID": TRACE}
    assert run_stage(enrich(trace_id=["otelTraceID"]), json_batch(own)).records[0].added is None
    named = enrich(trace_id=["otelTraceID", "trace_id"])
    assert run_stage(named, json_batch(own)).records[0].added == {"trace_id": TRACE}


def test_a_session_hands_its_trace_id_on_and_no_other_session_gets_it() -> None:
    rows: list[dict[str, Any]] = [
        {"session_key": "a"},
        {"session_key": "a", "trace_id": "1"},
        {"session_key": "b"},
        {"session_key": "a"},
        {"trace_id": "9"},
        {"session_key": "a", "trace_id": "2"},
        {"session_key": "a", "trace_id": None},
    ]
    batch = run_stage(enrich(carry=["trace_id"]), json_batch(*rows))
    assert [r.fields.get("trace_id") for r in batch.records] == [None, "1", None, "1", "9", "2", "2"]


def test_what_is_carried_survives_a_restart() -> None:
    first = run_stage(enrich(carry=["trace_id"]), json_batch({"session_key": "a", "trace_id": "1"}))
    saved = msgspec.json.decode(msgspec.json.encode(first.state))
    second = run_stage(enrich(carry=["trace_id"]), json_batch({"session_key": "a"}, state=saved))
    assert second.records[0].fields["trace_id"] == "1"


def test_the_session_silent_for_longest_is_forgotten_first() -> None:
    rows = [{"session_key": f"s{n}", "trace_id": "t"} for n in range(1000)]
    rows += [{"session_key": "s0"}, {"session_key": "new", "trace_id": "t"}]
    sessions = run_stage(enrich(carry=["trace_id"]), json_batch(*rows)).state["enrich"]
    assert len(sessions) == 1000
    assert {"s0", "new"} <= sessions.keys()
    assert "s1" not in sessions


def test_large_and_nested_values_are_not_carried() -> None:
    rows: list[dict[str, Any]] = [
        {"session_key": "a", "big": "x" * 257, "deep": {"k": 1}, "n": 3},
        {"session_key": "a"},
    ]
    batch = run_stage(enrich(carry=["big", "deep", "n"]), json_batch(*rows))
    assert batch.records[1].added == {"n": 3}


def test_a_batch_processed_again_from_the_old_state_gives_the_same() -> None:
    rows = [{"session_key": "a"}, {"session_key": "a", "trace_id": "1"}, {"session_key": "a"}]
    old: dict[str, Any] = {"enrich": {"a": {"trace_id": "0"}}}
    first = run_stage(enrich(carry=["trace_id"]), json_batch(*rows, state=dict(old)))
    again = run_stage(enrich(carry=["trace_id"]), json_batch(*rows, state=dict(old)))
    assert archived(first) == archived(again)
    assert old == {"enrich": {"a": {"trace_id": "0"}}}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.sampled_from("xyz")), max_size=30), st.integers(0, 30))
def test_where_a_batch_ends_makes_no_difference_to_what_is_carried(
    rows: list[tuple[str, str | None]], cut: int
) -> None:
    def given_rows(part: list[tuple[str, str | None]], state: dict[str, Any]) -> Batch:
        return run_stage(
            enrich(name="e", carry=["t"]),
            json_batch(*({"session_key": s} | ({"t": t} if t else {}) for s, t in part), state=state),
        )

    whole = given_rows(rows, {})
    head = given_rows(rows[:cut], {})
    tail = given_rows(rows[cut:], head.state)
    assert archived(whole) == archived(head) + archived(tail)
    assert json.dumps(whole.state) == json.dumps(tail.state)


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"file_name": "session_.*"}, "file_name"),
        ({"file_name": "(?P<app>x)", "fields": {"app": "f"}}, "fields.app"),
        ({"fields": {"app": "f"}, "carry": ["app"]}, "carry"),
        ({"carry": ["session_key"]}, "carry"),
        ({"patterns": ["a(?P<b>.)", "c"]}, "patterns[1]"),
        ({"environment": {"host": "TAILRACE_TEST_UNSET"}}, "environment.host"),
        ({"environment": {"app": "PATH"}, "fields": {"app": "f"}}, "environment.app"),
        ({"derive_trace_id": ["session_key", "trace_id"]}, "derive_trace_id"),
        ({}, ""),
    ],
    ids=[
        "no group",
        "twice",
        "carry a fixed one",
        "carry the session",
        "a pattern without a group",
        "not set",
        "fixed and from the environment",
        "a trace id from itself",
        "nothing",
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], where: str) -> None:
    assert [path for path, _ in enrich(**options).check()] == [where]


def test_nested_fixed_values_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$.fields"):
        enrich(fields={"app": {"name": "f"}})


def test_it_says_which_fields_it_reads_and_writes() -> None:
    stage = enrich(
        fields={"app": "f"}, file_name="(?P<pid>x)", trace_id=["traceparent"], carry=["trace_id", "channel_id"]
    )
    assert list(stage.check()) == []
    assert set(stage.reads()) == {"trace_id", "traceparent", "session_key", "channel_id"}
    assert set(stage.writes()) == {"app", "pid", "trace_id", "span_id", "channel_id"}
    assert set(enrich(fields={"app": "f"}).reads()) == set()


def test_a_variable_that_is_not_set_is_named_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_TEST_STAGE", "blue")
    ((_, message),) = enrich(environment={"env": "TAILRACE_TEST_STAEG"}).check()
    assert "did you mean 'TAILRACE_TEST_STAGE'?" in message


def test_fields_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_TEST_STAGE", "blue")
    stage = enrich(environment={"deploy": "TAILRACE_TEST_STAGE", "gone": "TAILRACE_TEST_UNSET"})
    monkeypatch.setenv("TAILRACE_TEST_STAGE", "green")
    batch = run_stage(stage, json_batch({"x": 1}, {"deploy": "own"}))
    assert [record.added for record in batch.records] == [{"deploy": "green"}, None]
    monkeypatch.setenv("TAILRACE_TEST_STAGE", "red")
    assert run_stage(stage, json_batch({"x": 1})).records[0].added == {"deploy": "green"}


def test_patterns_find_fields_in_the_line() -> None:
    stage = enrich(patterns=[r"session=(?P<session_key>\S+)", r"trace[=:](?P<trace_id>\w+)|(?P<session_key>ses-\d)"])
    lines = (b"x session=a17 trace=9f", b"ses-3", b"nothing", b"session=\xc3\xa9 trace:!")
    records = run_stage(stage, batch_of(*lines)).records
    assert [record.added for record in records] == [
        {"session_key": "a17", "trace_id": "9f"},
        {"session_key": "ses-3"},
        None,
        {"session_key": "é"},
    ]


def test_what_a_pattern_finds_is_a_trace_id_only_if_it_is_one() -> None:
    stage = enrich(patterns=[r"tp=(?P<tp>\S+)"], trace_id=["tp"])
    records = run_stage(stage, batch_of(f"tp=00-{TRACE}-{SPAN}-01".encode(), b"tp=zz")).records
    assert [record.fields.get("trace_id") for record in records] == [TRACE, None]


@pytest.mark.parametrize(
    ("own", "added"),
    [
        ({"session": "a"}, {"session_key": "a"}),
        ({"session_key": "own", "session": "a"}, None),
        ({"session_key": "", "session": "a"}, {"session_key": "a"}),
        ({"session": "", "conversation": 7}, {"session_key": 7}),
        ({"session": {"id": 1}}, None),
        ({"step": "plan", "fn": "load"}, {"stage": "plan", "call_label": "load"}),
        ({"thread": "1772664120.310119"}, {"thread_ts": "1772664120.310119"}),
        ({}, None),
    ],
    ids=lambda value: json.dumps(value),
)
def test_ids_of_a_session_are_taken_from_fields_of_other_names(
    own: dict[str, Any], added: dict[str, Any] | None
) -> None:
    stage = enrich(session_key=["session", "conversation"], stage=["step"], call_label=["fn"], thread_ts=["thread"])
    assert run_stage(stage, json_batch(own)).records[0].added == added


@pytest.mark.parametrize(
    ("own", "span"),
    [
        ({"otelSpanID": SPAN}, SPAN),
        ({"otelSpanID": SPAN.upper()}, SPAN),
        ({"otelSpanID": "0" * 16}, None),
        ({"otelSpanID": "short"}, None),
        ({"otelSpanID": 7, "tp": f"00-{TRACE}-{SPAN}-01"}, SPAN),
        ({"span_id": "own", "otelSpanID": SPAN}, "own"),
        ({}, None),
    ],
    ids=lambda value: json.dumps(value),
)
def test_the_span_id(own: dict[str, Any], span: str | None) -> None:
    assert run_stage(enrich(span_id=["otelSpanID", "tp"]), json_batch(own)).records[0].fields.get("span_id") == span


def test_a_span_id_that_is_listed_is_written_in_one_way() -> None:
    batch = run_stage(enrich(span_id=["span_id"]), json_batch({"span_id": f" {SPAN.upper()} "}, {"span_id": SPAN}))
    assert [record.added for record in batch.records] == [{"span_id": SPAN}, None]


def test_a_session_without_tracing_is_one_trace_the_same_on_a_replay() -> None:
    rows: list[dict[str, Any]] = [
        {"session_key": "a"},
        {"session_key": "b"},
        {"session_key": "a", "trace_id": TRACE},
        {"session_key": "a", "trace_id": ""},
        {"session_key": ""},
        {"other": 1},
    ]
    stage = enrich(derive_trace_id=["session_key"])
    first = [record.fields.get("trace_id") for record in run_stage(stage, json_batch(*rows)).records]
    again = [
        record.fields.get("trace_id")
        for record in run_stage(enrich(derive_trace_id=["session_key"]), json_batch(*rows)).records
    ]
    assert first == again
    # Saved links to traces hold this: a change here loses every one of them.
    assert first[0] == "ca978112ca1bbdcafac231b39a23dc4d"
    assert first[2] == TRACE
    assert first[0] == first[3] != first[1]
    assert first[4:] == [None, None]


def test_a_trace_id_may_follow_from_several_fields() -> None:
    stage = enrich(derive_trace_id=["session_key", "pid"], file_name=r"_(?P<pid>\d+)\.log")
    one, two = (
        run_stage(stage, json_batch({"session_key": "a"}, labels={"file": f"s_{pid}.log"})).records[0] for pid in (1, 2)
    )
    assert one.fields["trace_id"] != two.fields["trace_id"]


def test_a_carried_trace_id_goes_before_a_derived_one() -> None:
    stage = enrich(carry=["trace_id"], derive_trace_id=["session_key"])
    rows: list[dict[str, Any]] = [{"session_key": "a", "trace_id": TRACE}, {"session_key": "a"}]
    assert run_stage(stage, json_batch(*rows)).records[1].fields["trace_id"] == TRACE


def test_what_the_stage_gives_itself_need_not_come_from_elsewhere() -> None:
    stage = enrich(
        file_name=r"(?P<session_key>.)",
        patterns=["(?P<run>x)"],
        carry=["stage"],
        derive_trace_id=["session_key", "run"],
    )
    assert list(stage.reads()) == ["stage"]
    assert set(stage.writes()) == {"session_key", "run", "trace_id", "stage"}
    named = enrich(session_key=["session"], span_id=["otelSpanID"], carry=["thread_ts"])
    assert list(named.reads()) == ["session", "otelSpanID", "thread_ts"]
    assert set(named.writes()) == {"session_key", "span_id", "thread_ts"}
