"""The sorted file on its way to the sink."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.replay.block import Rows, Writer
from tailrace.replay.push import pieces


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Two blocks; the first one spans more than a window of ten."""
    writer = Writer(tmp_path / "sorted.rows")
    for times in ([1, 5, 11, 12, 30], [31, 32]):
        count = len(times)
        writer.write(Rows(times, [0] * count, [0] * count, [b"%d" % at for at in times], []))
    writer.close()
    return writer.path


ALL = [(0, [1, 5, 11]), (3, [12]), (4, [30]), (5, [31, 32])]


@pytest.mark.parametrize(("skip", "left_out"), [(0, 0), (2, 0), (3, 1), (4, 2), (5, 3), (6, 3), (7, 4)])
def test_no_piece_spans_more_than_the_window_and_all_are_the_same_at_each_start(
    path: Path, skip: int, left_out: int
) -> None:
    assert [(number, rows.times) for number, rows in pieces(path, 10, skip)] == ALL[left_out:]
