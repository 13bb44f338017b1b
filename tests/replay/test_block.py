"""Rows on disk come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tailrace.replay.block import Rows, Writer, blocks, numbered, outlines, retime

times = st.integers(0, 2**62)
row = st.tuples(times, st.integers(0, 9), st.integers(0, 9), st.binary(max_size=50), st.none() | st.text(max_size=9))


def rows_of(rows: list[tuple[int, int, int, bytes, str | None]]) -> Rows:
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[], [], [], [], []]
    return Rows(columns[0], columns[1], columns[2], columns[3], [columns[4]])


def written(path: Path, *parts: Rows) -> Path:
    writer = Writer(path)
    for part in parts:
        writer.write(part)
    writer.close()
    return path


@settings(max_examples=50)
@given(st.lists(st.lists(row, min_size=1, max_size=5), max_size=4))
def test_rows_come_back_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[tuple[int, int, int, bytes, str | None]]]
) -> None:
    path = written(tmp_path_factory.mktemp("b") / "a.rows", *map(rows_of, parts))
    found = list(blocks(path))
    assert [(r.times, r.keys, r.files, r.lines) for r in found] == [
        (r.times, r.keys, r.files, r.lines) for r in map(rows_of, parts)
    ]
    assert [r.columns for r in found] == [r.columns for r in map(rows_of, parts)]


def test_an_outline_tells_sizes_without_the_lines(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rows", rows_of([(1, 0, 0, b"abc", "é"), (2, 1, 0, b"", None)]))
    (outline,) = outlines(path)
    assert list(outline.times) == [1, 2]
    assert list(outline.sizes) == [3, 0]
    assert list(outline.metadata) == [2, 0]
    assert list(outline.pairs) == [1, 0]


def test_reading_goes_on_behind_the_first_records(tmp_path: Path) -> None:
    parts = [rows_of([(at, 0, 0, b"x", None)] * 3) for at in range(4)]
    path = written(tmp_path / "a.rows", *parts)
    assert [(at, rows.times[0]) for at, rows in numbered(path, 6)] == [(6, 2), (9, 3)]
    assert [at for at, _ in numbered(path, 7)] == [6, 9]


def test_times_are_changed_where_they_lie(tmp_path: Path) -> None:
    parts = [rows_of([(at, 0, 0, b"x", "y")] * 2) for at in (5, 9)]
    path = written(tmp_path / "a.rows", *parts)
    for times in retime(path):
        times[1] += 1
    assert [rows.times for rows in blocks(path)] == [[5, 6], [9, 10]]
    assert [(rows.lines, rows.columns) for rows in blocks(path)] == [([b"x", b"x"], [["y", "y"]])] * 2


def test_a_file_that_was_not_finished_is_not_there(tmp_path: Path) -> None:
    writer = Writer(tmp_path / "a.rows")
    writer.write(rows_of([(1, 0, 0, b"x", None)]))
    assert not (tmp_path / "a.rows").exists()
    writer.close()
    assert (tmp_path / "a.rows").exists()


def test_text_that_is_no_unicode_is_kept_as_it_would_be_sent(tmp_path: Path) -> None:
    path = written(tmp_path / "a.rows", rows_of([(1, 0, 0, b"x", "a\ud800b"), (2, 0, 0, b"y", None)]))
    (found,) = blocks(path)
    assert found.columns == [["a?b", None]]
