"""What is written by hand is read by the real protobuf library."""

from __future__ import annotations

from collections.abc import Callable
from itertools import repeat
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline.sinks import _logproto
from tailrace.pipeline.sinks._logproto import Entries, Pairs, field, varint


class Pushed(NamedTuple):
    labels: str
    time_ns: int
    line: bytes
    metadata: dict[str, str]


Read = Callable[[bytes], list[Pushed]]
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TIMES = st.integers(0, (1 << 63) - 1) | st.integers(1_772_667_360 * 10**9, 1_772_667_362 * 10**9)
LINES = st.binary(max_size=300) | st.integers(0, 70_000).map(bytes)
ENTRIES = st.lists(st.tuples(LINES, TIMES), max_size=12)

Given = list[tuple[bytes, int]]
"""Lines and their times."""


def columns(given: Given) -> tuple[list[bytes], list[int], list[int]]:
    lines = [line for line, _ in given]
    return lines, list(map(len, lines)), [at for _, at in given]


def stream(labels: bytes, entries: list[bytes]) -> bytes:
    return b"".join(_logproto.stream(labels, entries))


@pytest.mark.parametrize(
    ("number", "data"),
    [(0, b"\x00"), (127, b"\x7f"), (128, b"\x80\x01"), (300, b"\xac\x02"), (1 << 35, b"\x80\x80\x80\x80\x80\x01")],
)
def test_a_number_is_written_in_base_128(number: int, data: bytes) -> None:
    assert varint(number) == data


def test_a_field_has_its_number_and_length_in_front() -> None:
    assert field(1, b"abc") == b"\x0a\x03abc"
    assert field(2, b"x" * 200) == b"\x12\xc8\x01" + b"x" * 200


@given(given=ENTRIES, labels=TEXT)
def test_entries_are_read_back_as_they_were(read_push: Read, given: Given, labels: str) -> None:
    entries: list[bytes] = []
    Entries().write({"": entries}, repeat(""), *columns(given))
    assert [tuple(one) for one in read_push(stream(labels.encode(), entries))] == [
        (labels, at, line, {}) for line, at in given
    ]


@given(
    lines=st.lists(LINES, max_size=12),
    start=TIMES.filter(lambda at: at < 1 << 62) | st.sampled_from([10**18 - 3, 10**18 + 16380, 10**18 + 999_999_995]),
)
def test_ticks_are_the_same_entries(lines: list[bytes], start: int) -> None:
    """Over the edge of a second and of the 14 bits that a table has."""
    ticks: list[bytes] = []
    single: list[bytes] = []
    times = range(start, start + len(lines))
    writer, other = Entries(), Entries()
    sizes = list(map(len, lines))
    writer.write_ticks(ticks, lines[:5], sizes[:5], times[:5])
    writer.write_ticks(ticks, lines[5:], sizes[5:], times[5:])
    other.write({"": single}, repeat(""), lines, sizes, times)
    assert b"".join(ticks) == b"".join(single)
    assert writer.seconds == other.seconds


@given(
    given=ENTRIES,
    metadata=st.lists(st.dictionaries(TEXT, TEXT, max_size=3), min_size=12, max_size=12),
)
def test_entries_with_metadata_are_read_back_as_they_were(
    read_push: Read, given: Given, metadata: list[dict[str, str]]
) -> None:
    writer, entries = Entries(), list[bytes]()
    lines, sizes, times = columns(given)
    pairs = [b"".join(Pairs(name).column([value])[0] for name, value in one.items()) for one in metadata[: len(given)]]
    metadata = [{name: value for name, value in one.items() if value} for one in metadata]
    writer.write({"": entries}, repeat(""), lines, sizes, times, pairs)
    assert [tuple(one) for one in read_push(stream(b'{a="b"}', entries))] == [
        ('{a="b"}', at, line, one) for (line, at), one in zip(given, metadata, strict=False)
    ]


@given(given=ENTRIES)
def test_both_ways_write_the_same_entry(given: Given) -> None:
    with_metadata: list[bytes] = []
    without: list[bytes] = []
    Entries().write({"": without}, repeat(""), *columns(given))
    Entries().write({"": with_metadata}, repeat(""), *columns(given), [b""] * len(given))
    assert b"".join(with_metadata) == b"".join(without)


@given(given=ENTRIES)
def test_records_go_to_the_stream_that_stands_at_their_place(read_push: Read, given: Given) -> None:
    streams: dict[int, list[bytes]] = {0: [], 1: []}
    lines, sizes, times = columns(given)
    Entries().write(streams, [len(line) % 2 for line in lines], lines, sizes, times)
    read = read_push(b"".join(stream(b"%d" % n, entries) for n, entries in streams.items()))
    assert [one.line for one in read] == sorted(lines, key=lambda line: len(line) % 2)
    assert all(int(one.labels) == len(one.line) % 2 for one in read)


@pytest.mark.parametrize(
    "time_ns",
    [0, 1, 999_999_999, 10**9, 1_772_667_360_179_000_001, (1 << 63) - 1],
    ids=["the epoch", "one ns", "the last ns of a second", "a whole second", "today", "the last"],
)
def test_any_time_takes_twelve_bytes_and_comes_back(read_push: Read, time_ns: int) -> None:
    entries: list[bytes] = []
    Entries().write({"": entries}, [""], [b"x"], [1], [time_ns])
    assert len(b"".join(entries)) == 2 + 2 + 12 + 3
    assert read_push(stream(b"", entries))[0].time_ns == time_ns


def test_a_value_that_is_not_utf_8_becomes_readable(read_push: Read) -> None:
    writer, entries = Entries(), list[bytes]()
    writer.write({"": entries}, [""], [b"x"], [1], [0], Pairs("id").column(["a\udc80b"]))
    assert read_push(stream(b"", entries))[0].metadata == {"id": "a?b"}


def test_the_heads_that_are_remembered_are_bounded(read_push: Read) -> None:
    writer, entries = Entries(), list[bytes]()
    heads = [writer._heads[length] for length in range(20_002)]
    assert len(writer._heads) == 20_000
    assert heads[20_001] == writer._heads[20_001]
    writer.write({"": entries}, [""], [bytes(20_001)], [20_001], [0])
    assert read_push(stream(b"", entries))[0].line == bytes(20_001)
    pairs = Pairs("id")
    assert len({pairs[length] for length in range(20_002)}) == 20_002
    assert len(pairs) == 20_000


def test_a_column_has_a_piece_for_each_value_that_is_not_empty() -> None:
    pairs = Pairs("id")
    assert pairs.column(["a", None, "", "bc"]) == [pairs[1] + b"a", b"", b"", pairs[2] + b"bc"]


@given(st.lists(st.sampled_from(["ab", "cd", "\0b", "\xe9x", "a\n"]), max_size=5))
def test_a_column_of_equal_lengths_has_the_same_pieces(values: list[str]) -> None:
    pairs = Pairs("id")
    assert pairs.column(values) == [pairs.column([value, None])[0] for value in values]
