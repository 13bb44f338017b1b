from __future__ import annotations

from pathlib import Path

import pytest
from backports import zstd

from tailrace.benchmarks.arrivals import Arrived, AtSink, Exporter, InFile, OfBoth, archived, occurrences


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
    sink = AtSink(1).expecting(10)
    assert [sink.complete(Arrived(amount, None, 0.0)) for amount in (9, 10, 11)] == [False, True, True]


class FullSink(AtSink):
    """Everything arrived long ago."""

    def look(self) -> Arrived:
        return Arrived(10, 1.0, 2.0)


class Busy(Exporter):
    """tailrace, that delivers for so many looks more."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def in_flight(self) -> int:
        self.looks -= 1
        return max(0, self.looks + 1)


def test_with_an_archive_the_last_record_is_missing_until_every_sink_has_it() -> None:
    both = OfBoth(FullSink(1), Busy(2), wanted=10)
    assert [both.look().amount for _ in range(3)] == [9, 9, 10]
    assert both.complete(Arrived(10, None, 0.0))
    assert not both.complete(Arrived(9, None, 0.0))


def test_the_lines_of_all_archives_are_counted(tmp_path: Path) -> None:
    (tmp_path / "2026-11-01.jsonl.zst").write_bytes(zstd.compress(b"a\nb\n") + zstd.compress(b"c\n"))
    (tmp_path / "2026-11-02.jsonl.zst").write_bytes(zstd.compress(b"d\n"))
    assert archived(tmp_path) == 4
