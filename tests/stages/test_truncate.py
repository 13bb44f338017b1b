from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.excerpt import SMALLEST
from tailrace.pipeline.record import Record
from tailrace.stages.truncate import Truncate
from tailrace.testing import batch_of, lines_of, run_stage

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


def truncated(line: bytes, format: str = "json", wanted: Any = (), **options: Any) -> Record:
    batch = batch_of(line)
    record = batch.records[0]
    record.format = format  # type: ignore[assignment]  # a literal's value
    if wanted:
        record.parsed = {name: value for name, value in json.loads(line).items() if name in wanted}
    run_stage(msgspec.convert(options, Truncate), batch)
    return record


def shape(value: object) -> object:
    if isinstance(value, dict):
        return {name: shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return str if isinstance(value, str) else value


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "max_chars"),
        ({"max_chars": 100, "max_bytes": 100}, "max_chars"),
        ({"max_chars": SMALLEST - 1}, "max_chars"),
        ({"max_bytes": 5}, "max_bytes"),
        ({"max_bytes": 500, "fields": ["a..b"]}, "fields[0]"),
        ({"max_messages": 2}, "max_messages"),
        ({"max_messages": 9, "max_chars": 100, "max_bytes": 100}, "max_chars"),
    ],
    ids=[
        "no limit",
        "both limits",
        "limit below the marker",
        "bytes below the marker",
        "empty name in a path",
        "too few messages",
        "both limits and messages",
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], path: str) -> None:
    assert [where for where, _ in msgspec.convert(options, Truncate).check()] == [path]


def test_the_smallest_limit_is_accepted() -> None:
    assert not list(Truncate(max_chars=SMALLEST).check())


def test_the_marker_tells_length_and_hash_of_the_original() -> None:
    line = truncated(b"a" * 1000, "text", max_chars=100).line.decode()
    digest = "41edece42d63e8d9bf515a9ba6932e1c20cbc9f5a5d134645adb5db1b9737ea3"
    assert line == "a" * 55 + f"…(truncated, 1000 chars, sha256 {digest[:12]})"


def test_head_tail_keeps_both_ends() -> None:
    line = truncated(b"<" + b"a" * 1000 + b">", "text", max_chars=100, keep="head_tail").line.decode()
    assert (line[0], line[-1], len(line)) == ("<", ">", 100)


def test_a_field_is_cut_and_all_others_keep_their_bytes() -> None:
    line = b'{"a": 1.50, "prompt": "' + b"x" * 500 + b'", "z": {"k": [1e3, 12345678901234567890123]}}'
    record = truncated(line, max_chars=100, fields=["prompt"], wanted=("a", "prompt"))
    assert b"1.50" in record.line
    assert b'{"k": [1e3, 12345678901234567890123]}' in record.line
    assert len(json.loads(record.line)["prompt"]) == 100
    assert record.parsed is not None
    assert record.parsed["prompt"] == json.loads(record.line)["prompt"]


def test_a_path_reaches_into_objects_and_lists() -> None:
    line = json.dumps({"request": {"messages": [{"content": "x" * 500}], "n": 1}, "other": "y" * 500}).encode()
    fields = json.loads(truncated(line, max_chars=90, fields=["request.messages"]).line)
    assert len(fields["request"]["messages"][0]["content"]) == 90
    assert (fields["request"]["n"], fields["other"]) == (1, "y" * 500)


def test_a_long_line_loses_of_its_longest_strings_only() -> None:
    line = json.dumps({"id": "7", "short": "s" * 100, "long": "x" * 5000, "longer": "y" * 9000}).encode()
    record = truncated(line, max_bytes=1000)
    fields = json.loads(record.line)
    assert (fields["id"], fields["short"]) == ("7", "s" * 100)
    assert 900 < len(record.line) <= 1000


def test_added_fields_and_parsed_fields_of_text_are_cut() -> None:
    batch = batch_of(b"head " + b"m" * 300, b"short")
    batch.records[0].parsed = {"message": "m" * 300}
    batch.records[1].set("note", "n" * 300)
    run_stage(Truncate(max_chars=100, fields=["message", "note"]), batch)
    first, second = batch.records
    assert first.parsed is not None
    assert second.added is not None
    assert len(first.parsed["message"]) == len(second.added["note"]) == len(second.fields["note"]) == 100
    assert first.line == b"head " + first.parsed["message"].encode()


def test_a_line_that_nobody_parsed_is_its_own_message() -> None:
    assert len(truncated(b"x" * 200, "text", max_bytes=100, fields=["message"]).line) == 100


def test_what_is_short_enough_is_not_decoded() -> None:
    line = b'{"this is": not even JSON}'
    assert truncated(line, max_chars=100).line is line


def test_what_cannot_be_cut_is_refused_without_saying_what_it_holds() -> None:
    with pytest.raises(ValueError, match="cannot be brought to 100") as error:
        truncated(json.dumps({"secretnumber": list(range(1000))}).encode(), max_chars=100)
    assert "secretnumber" not in str(error.value)


def test_bytes_that_are_not_utf8_are_cut_too() -> None:
    assert len(truncated(b'{"a":"' + b"\xff" * 500 + b'"}', max_chars=100, fields=["a"]).line) < 400
    assert len(truncated(b"\x80" * 500, "text", max_bytes=100).line) <= 100


def test_thousands_of_strings_take_no_quadratic_time() -> None:
    line = json.dumps({"a": ["x" * 100] * 5000}).encode()
    start = time.process_time()
    with pytest.raises(ValueError, match="nothing left to cut"):
        truncated(line, max_bytes=1000)
    assert time.process_time() - start < 5


def test_cuts_are_counted_by_field() -> None:
    stage = Truncate(name="cut", max_chars=100, fields=["a"])
    batch = batch_of(b'{"a":"' + b"x" * 200 + b'"}')
    batch.records[0].format = "json"
    run_stage(stage, batch)
    (family,) = stage.collect()
    assert [(s.name, s.labels, s.value) for s in family.samples] == [
        ("tailrace_truncations_total", {"component": "cut", "field": "a"}, 1)
    ]


@given(st.binary(max_size=600), st.sampled_from(["head", "head_tail"]), st.sampled_from(["max_chars", "max_bytes"]))
def test_no_text_line_exceeds_the_limit(line: bytes, keep: str, unit: str) -> None:
    once = truncated(line, "text", keep=keep, **{unit: 90}).line
    assert len(once if unit == "max_bytes" else once.decode("utf-8", "surrogateescape")) <= 90
    assert truncated(once, "text", keep=keep, **{unit: 90}).line == once


@given(st.text(min_size=30, max_size=300), st.sampled_from(["head", "head_tail"]))
def test_no_character_is_cut_in_two(text: str, keep: str) -> None:
    assert truncated(text.encode(), "text", keep=keep, max_bytes=85).line.decode()


@given(
    st.dictionaries(st.text(max_size=5), JSON, max_size=5), st.booleans(), st.sampled_from(["max_chars", "max_bytes"])
)
def test_json_stays_json_with_its_types_within_the_limit(fields: dict[str, object], ascii: bool, unit: str) -> None:
    line = json.dumps(fields, ensure_ascii=ascii).encode()
    try:
        options: dict[str, Any] = {unit: 300}
        new = truncated(line, **options).line
    except ValueError:
        return
    assert len(new if unit == "max_bytes" else new.decode()) <= 300
    assert shape(json.loads(new)) == shape(fields)


@given(st.text(max_size=400))
def test_no_field_exceeds_the_limit(text: str) -> None:
    new = json.loads(truncated(json.dumps({"a": text, "b": text}).encode(), max_chars=80, fields=["a"]).line)
    assert len(new["a"]) <= 80
    assert new["b"] == text


def test_lines_of_other_lengths_pass_unchanged() -> None:
    batch = run_stage(Truncate(max_chars=100), batch_of(b"a", b"", b"\xff" * 100))
    assert lines_of(batch) == [b"a", b"", b"\xff" * 100]


IMAGE = "data:image/png;base64," + "iVBORw0KGgo" * 100


def chat(*messages: Any, **more: Any) -> bytes:
    return json.dumps({"messages": list(messages), **more}).encode()


def test_of_an_image_in_a_chat_only_its_kind_is_kept() -> None:
    content = [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": IMAGE}}]
    line = truncated(chat({"role": "user", "content": content}), max_chars=200, fields=["messages"]).line
    (message,) = json.loads(line)["messages"]
    assert message["content"][0] == content[0]
    assert message["content"][1]["image_url"]["url"].startswith(
        "data:image/png;base64,…(truncated, 1100 chars, sha256 "
    )


@pytest.mark.parametrize(
    "holder",
    [{"type": "base64", "media_type": "image/png"}, {"format": "wav"}],
    ids=["Anthropic's source", "OpenAI's input_audio"],
)
def test_data_that_is_said_to_be_base64_is_left_out(holder: dict[str, str]) -> None:
    line = truncated(chat({"source": {**holder, "data": "A" * 500}}), max_chars=200, fields=["messages"]).line
    source = json.loads(line)["messages"][0]["source"]
    assert source["data"].startswith("…(truncated, 500 chars, sha256 ")
    assert {name: source[name] for name in holder} == holder
    plainly = truncated(chat({"source": {"data": "A" * 500}}), max_chars=200, fields=["messages"]).line
    assert json.loads(plainly)["messages"][0]["source"]["data"].startswith("AAAA")


def test_an_image_in_a_long_text_goes_before_the_text() -> None:
    text = f"look: ![x]({IMAGE}) and read on: " + "t" * 100
    new = json.loads(truncated(json.dumps({"a": text}).encode(), max_chars=400, fields=["a"]).line)["a"]
    assert new.startswith("look: ![x](data:image/png;base64,…(truncated, 1100 chars")
    assert new.endswith(") and read on: " + "t" * 100)


def test_a_line_loses_its_images_before_any_text() -> None:
    record = truncated(
        chat({"role": "user", "content": "q" * 300}, {"url": IMAGE}), wanted=("messages",), max_bytes=700
    )
    messages = json.loads(record.line)["messages"]
    assert messages[0]["content"] == "q" * 300
    assert record.parsed == {"messages": messages}


def test_the_arguments_of_a_tool_call_stay_json() -> None:
    arguments = json.dumps({"path": "a.py", "text": 'say "hi"\n' * 100})
    call = {"type": "function", "function": {"name": "write", "arguments": arguments}}
    line = truncated(chat({"role": "assistant", "tool_calls": [call]}), max_chars=300, fields=["messages"]).line
    new = json.loads(line)["messages"][0]["tool_calls"][0]["function"]["arguments"]
    assert len(new) <= 300
    assert json.loads(new)["path"] == "a.py"
    assert "…(truncated, 900 chars" in json.loads(new)["text"]


@pytest.mark.parametrize(
    "arguments", ["x" * 500, "{" + "x" * 500, json.dumps(["ab"] * 300)], ids=["text", "broken", "many"]
)
def test_arguments_that_cannot_stay_json_are_cut_as_text(arguments: str) -> None:
    line = truncated(chat({"arguments": arguments}), max_chars=200, fields=["messages"]).line
    assert len(json.loads(line)["messages"][0]["arguments"]) <= 200


def test_of_a_long_chat_the_first_and_the_last_messages_are_kept() -> None:
    messages = [{"role": "system", "content": "s"}, *({"role": "user", "content": str(n)} for n in range(9))]
    record = truncated(json.dumps({"n": 1.50, "request": {"messages": messages}}).encode(), max_messages=4)
    kept = json.loads(record.line)["request"]["messages"]
    assert [kept[0], *kept[2:]] == [messages[0], *messages[-2:]]
    assert kept[1]["role"] == "system"
    assert kept[1]["content"].startswith("…(truncated, 7 messages, sha256 ")
    again = truncated(record.line, max_messages=4)
    assert again.line == record.line


@pytest.mark.parametrize(
    "line",
    [
        chat(*({"role": "user"} for _ in range(4))),
        chat(*(["role"] for _ in range(9))),
        chat({"role": "user"}, *({"content": '"role"'} for _ in range(9))),
        json.dumps({"role": "admin", "list": list(range(9))}).encode(),
    ],
    ids=["short enough", "no objects", "not all are messages", "another role"],
)
def test_lists_that_are_no_long_chat_stay(line: bytes) -> None:
    assert truncated(line, max_messages=4).line is line
