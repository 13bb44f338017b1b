from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from tailrace.benchmarks.latency import MARK, Delay, append, line, read, table

NOW = 1_790_000_000_123_456_789


def test_a_line_is_json_with_the_time_of_its_write() -> None:
    fields = json.loads(line(7, NOW))
    assert fields["timestamp"] == "2026-09-21T14:13:20.123456Z"
    assert f"{MARK}{NOW} " in fields["message"]


@pytest.mark.parametrize(("rate", "seconds", "lines"), [(1, 0.5, 1), (1_000, 0.02, 20), (20_000, 0.01, 200)])
def test_as_many_lines_are_written_as_the_rate_asks_for(tmp_path: Path, rate: int, seconds: float, lines: int) -> None:
    path = tmp_path / "app.log"
    assert append(path, rate, seconds) == lines
    numbers = [int(text.partition("number=")[2].partition('"')[0]) for text in path.read_text().splitlines()]
    assert numbers == list(range(lines))


def test_the_fastest_is_first_and_one_that_lost_a_line_last_and_without_times() -> None:
    slow = Delay(rival="slow", rate=1, lines=10, missing=0, p50=1, p99=30.4, max=1234.5)
    lossy = Delay(rival="lossy", rate=1, lines=10, missing=2, p50=1, p99=99, max=99)
    fast = Delay(rival="fast", rate=1, lines=10, missing=0, p50=1, p99=2, max=3)
    assert table([lossy, slow, fast]).splitlines()[2:] == [
        "| 1 | fast | 1 | 2 | 3 | 10 |",
        "| 1 | slow | 1 | 30 | 1,234 | 10 |",
        "| 1 | lossy |  |  |  | 10 (FAILED: 2 missing) |",
    ]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Delay(rival="x", rate=1, lines=1, missing=1)
    path = tmp_path / "x.latency.jsonl"
    path.write_bytes(msgspec.json.encode(written) + b"\n")
    assert read(path) == [written]
