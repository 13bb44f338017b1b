from __future__ import annotations

import json
from pathlib import Path

import msgspec

from tailrace.benchmarks.memory import Memory, events, read, table


def test_the_lines_are_those_of_the_corpus() -> None:
    lines = events(5).splitlines()
    assert len(lines) == 5
    assert all("level" in json.loads(line) for line in lines)


def test_the_smallest_is_first_and_what_was_not_measured_is_empty() -> None:
    found = table([Memory(rival="large", idle=80.4), Memory(rival="small", idle=20.0, many_files=30.6)])
    assert found.splitlines()[2:] == ["| small | 20 |  | 31 |  |  |", "| large | 80 |  |  |  |  |"]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = Memory(rival="x", idle=1.5)
    path = tmp_path / "x.memory.jsonl"
    path.write_bytes(msgspec.json.encode(written) + b"\n")
    assert read(path) == [written]
