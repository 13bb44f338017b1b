from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.benchmarks.arrivals import Arrived, AtSink, InFile, occurrences


@pytest.mark.parametrize("mark", [b"\n", b'"body":'], ids=["one byte", "several"])
def test_marks_are_counted_over_the_edges_of_what_is_read_at_once(tmp_path: Path, mark: bytes) -> None:
    file = tmp_path / "out.log"
    file.write_bytes(b"x" * ((1 << 22) - 3) + mark * 5)
    assert occurrences(file, mark) == 5


def test_a_file_as_large_as_the_input_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "out.log"
    arrivals = InFile(file, likely=4)
    assert not arrivals.complete(arrivals.look())
    file.write_bytes(b"abc")
    assert arrivals.look().amount == 3
    assert not arrivals.complete(arrivals.look())
    file.write_bytes(b"abcd")
    assert arrivals.complete(arrivals.look())


def test_the_sink_is_complete_with_the_last_record() -> None:
    sink = AtSink(1, wanted=10)
    assert [sink.complete(Arrived(amount, None, 0.0)) for amount in (9, 10, 11)] == [False, True, True]
