from __future__ import annotations

import json
from itertools import repeat
from pathlib import Path

import pytest

from tailrace.benchmarks.outage_memory import LINE_BYTES, SHARDS, faults, line, time_of, write

BEGAN_NS = 1_790_000_000_000_000_000


@pytest.mark.parametrize("number", [0, 7, 11_999_999])
def test_a_line_says_its_number_time_and_shard(number: int) -> None:
    made = line(number, BEGAN_NS)
    assert len(made) == LINE_BYTES
    assert made.endswith(b"\n")
    found = json.loads(made)
    assert (int(found["id"]), found["timestamp"]) == (number, time_of(number, BEGAN_NS))
    assert found["shard"] == f"s{number % SHARDS}"
    assert made[7:19] == b"%012d" % number, "where the query cuts it out"


def test_what_is_written_are_the_lines_from_0_on_each_in_its_file(tmp_path: Path) -> None:
    count = write(tmp_path, 0.2, 1000, BEGAN_NS, repeat(None))
    assert 0 < count <= 200
    for shard in range(SHARDS):
        wanted = b"".join(line(number, BEGAN_NS) for number in range(shard, count, SHARDS))
        assert (tmp_path / f"s{shard}.log").read_bytes() == wanted


@pytest.mark.parametrize(
    ("found", "told"),
    [
        ([1, 1, 1], ""),
        ([1, 0, 1], "1 missing, 0 more than once"),
        ([1, 2, 255], "0 missing, 2 more than once"),
        ([0, 3, 1], "1 missing, 1 more than once"),
    ],
    ids=str,
)
def test_lines_that_are_lost_or_repeated_are_told(found: list[int], told: str) -> None:
    assert faults(bytearray(found)) == told
