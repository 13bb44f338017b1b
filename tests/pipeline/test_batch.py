"""Chunks know where each line starts; batches hand out columns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.ack import Ack
from tailrace.pipeline.batch import Batch, Chunk, Dead
from tailrace.pipeline.record import Record
from tailrace.testing import batch_of, lines_of


@pytest.mark.parametrize(
    ("data", "lines", "offsets"),
    [
        pytest.param(b"", [], [], id="nothing"),
        pytest.param(b"a\n", [b"a"], [10], id="one line"),
        pytest.param(b"a\nbc\n", [b"a", b"bc"], [10, 12], id="two lines"),
        pytest.param(b"a\nbc", [b"a", b"bc"], [10, 12], id="no last line break"),
        pytest.param(b"\n\na\n", [b"", b"", b"a"], [10, 11, 12], id="empty lines"),
    ],
)
def test_a_chunk_of_lines_knows_where_each_starts(data: bytes, lines: list[bytes], offsets: list[int]) -> None:
    chunk = Chunk.of_lines("p", data, 10, {"source": "s"})
    assert (chunk.lines, chunk.offsets) == (lines, offsets)
    assert chunk.position == {"offset": 10 + len(data)}
    assert chunk.size == len(data)


@given(st.binary(), st.integers(0, 1 << 50))
def test_each_line_stands_at_its_offset(data: bytes, start: int) -> None:
    chunk = Chunk.of_lines("p", data, start, {})
    for line, offset in zip(chunk.lines, chunk.offsets, strict=True):
        assert data[offset - start :].startswith(line)
    assert b"\n".join(chunk.lines) == data.removesuffix(b"\n")


def test_values_are_a_column_with_none_for_what_is_missing() -> None:
    batch = batch_of(b'{"a": 1}', b'{"b": 2}', b'{"a": null}')
    for record in batch.records:
        record.format = "json"
    assert batch.values("a") == [1, None, None]


def test_partition_labels_count_as_fields_unless_the_record_has_its_own() -> None:
    batch = batch_of(b"x", b"y", labels={"source": "app"})
    batch.records[1].set("source", "other")
    assert batch.values("source") == ["app", "other"]


def test_a_batch_with_other_records_owes_the_same_ack() -> None:
    batch = batch_of(b"a", b"b")
    half = batch.with_records(batch.records[:1])
    assert lines_of(half) == [b"a"]
    assert half.ack is batch.ack
    assert half.state is batch.state
    assert lines_of(batch) == [b"a", b"b"]


def test_a_batch_with_other_records_shares_the_list_of_dead() -> None:
    batch = batch_of(b"a")
    batch.with_records([]).dead.append(Dead(batch.records[0], "stage", "reason"))
    assert len(batch.dead) == 1


def test_no_two_batches_share_a_list_of_dead() -> None:
    one, other = batch_of(b"a"), batch_of(b"b")
    one.dead.append(Dead(Record(b"a"), "stage", "reason"))
    assert other.dead == []


def chunk_of(data: bytes) -> Batch:
    chunk = Chunk.of_lines("p", data, 100, {"source": "s"})
    return Batch.of_chunk(chunk, "s", Ack({}, 0, ()), 7, {}, slot=3)


def test_a_batch_of_a_chunk_has_its_lines_and_times_before_it_has_records() -> None:
    batch = chunk_of(b"a\nbc\n")
    batch.set_times(range(50, 52))
    assert (len(batch), batch.lines, batch.times, batch.ends()) == (2, [b"a", b"bc"], range(50, 52), (50, 51))
    assert batch.measure() == 3
    assert batch.columns is not None


def test_records_made_later_have_the_times_that_were_set_before() -> None:
    batch = chunk_of(b"a\nbc\n")
    batch.set_times(range(50, 52))
    assert batch.records == [Record(b"a", 100, 50), Record(b"bc", 102, 51)]
    assert batch.columns is None
    assert batch.records[0] is batch.records[0]
    assert (len(batch), batch.lines, batch.times, batch.ends()) == (2, [b"a", b"bc"], [50, 51], (50, 51))


def test_records_made_first_take_times_too() -> None:
    batch = chunk_of(b"a\nbc\n")
    batch.records[1].line = b"changed"
    batch.set_times(range(50, 52))
    assert [record.time_ns for record in batch.records] == [50, 51]
    assert batch.lines == [b"a", b"changed"]
    assert batch.with_records(batch.records[1:]).times == [51]


def test_a_batch_measures_the_lines_that_ship() -> None:
    batch = batch_of(b"abc", b"", b"de")
    batch.records[2].line = b"longer"
    assert batch.measure() == 9
