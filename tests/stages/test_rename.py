"""Rename: fields under other names, in JSON lines and text records."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tailrace.pipeline.batch import Batch
from tailrace.stages.parse import Parse
from tailrace.stages.rename import Rename
from tailrace.testing import batch_of, lines_of, run_stage


def parsed(*lines: bytes, wanted: list[str] | None = None) -> Batch:
    return run_stage(Parse(), batch_of(*lines), wanted)


@pytest.mark.parametrize(
    ("names", "before", "after"),
    [
        pytest.param({"lvl": "level"}, b'{"a":1,"lvl":"x","z":2}', b'{"a":1,"level":"x","z":2}', id="in its place"),
        pytest.param({"lvl": "level"}, b'{ "a": 1 }', b'{ "a": 1 }', id="without the field, byte for byte"),
        pytest.param({"a": "b", "b": "a"}, b'{"a":1,"b":2}', b'{"b":1,"a":2}', id="swapped"),
        pytest.param({"a": "b", "b": "a"}, b'{"a":1}', b'{"b":1}', id="half of a swap"),
        pytest.param({"a": "b", "b": "c"}, b'{"a":1,"b":2,"c":3}', b'{"b":1,"c":2}', id="in a chain"),
        pytest.param({"a": "b"}, b'{"a":1,"b":2}', b'{"b":1}', id="over a field of that name"),
        pytest.param({"a": "b"}, b'{"a":null}', b'{"b":null}', id="null"),
    ],
)
def test_a_json_line_is_written_anew(names: dict[str, str], before: bytes, after: bytes) -> None:
    batch = run_stage(Rename(fields=names), parsed(before))
    assert lines_of(batch) == [after]
    assert batch.records[0].fields == json.loads(after)
    assert batch.records[0].to_json() == after


def test_fields_that_nobody_else_reads_stay_in_the_line() -> None:
    batch = run_stage(Rename(fields={"a": "b"}), parsed(b'{"a":1,"x":2}', wanted=["a", "b"]))
    assert lines_of(batch) == [b'{"b":1,"x":2}']


def test_a_text_record_keeps_its_line() -> None:
    line = b"a=1 level=info"
    batch = run_stage(Rename(fields={"a": "b"}), parsed(line))
    assert lines_of(batch) == [line]
    assert batch.records[0].fields == {"b": "1", "level": "info"}


def test_an_added_field_is_renamed_too() -> None:
    batch = parsed(b'{"a":1}', b"c=1 d=2")
    for record in batch.records:
        record.set("app", "x")
    run_stage(Rename(fields={"app": "service"}), batch)
    assert lines_of(batch) == [b'{"a":1,"service":"x"}', b"c=1 d=2"]
    assert batch.records[1].fields == {"c": "1", "d": "2", "service": "x"}
    assert batch.records[1].added == {"service": "x"}


def test_nested_values_stay_readable_under_dotted_names() -> None:
    batch = parsed(b'{"a":1,"u":{"t":5}}', wanted=["a", "u.t"])
    run_stage(Rename(fields={"a": "b"}), batch)
    assert lines_of(batch) == [b'{"b":1,"u":{"t":5}}']
    assert batch.records[0].fields["u.t"] == 5


@pytest.mark.parametrize(
    ("names", "path", "word"),
    [
        ({"a": "c", "b": "c"}, "fields.b", "'a' and 'b' cannot both become 'c'"),
        ({"a": "a"}, "fields.a", "already"),
        ({"a": ""}, "fields.a", "empty"),
    ],
    ids=["two to one", "to itself", "to nothing"],
)
def test_names_that_make_no_sense_are_refused(names: dict[str, str], path: str, word: str) -> None:
    assert word in dict(Rename(fields=names).check())[path]


def test_it_says_what_it_reads_writes_and_removes() -> None:
    stage: Any = Rename(fields={"a": "b", "b": "c"})
    assert (list(stage.check()), tuple(stage.reads())) == ([], ("a", "b"))
    assert (tuple(stage.writes()), tuple(stage.removes())) == (("b", "c"), ("a",))
