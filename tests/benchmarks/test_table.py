from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tailrace.benchmarks.result import Result, read
from tailrace.benchmarks.table import median, table


def result(rival: str, speed: float | None, **more: object) -> Result:
    found = Result(rival=rival, scenario="s2", mix="json", input_mb=200.0, want=10, status="ok", mb_per_cpu_s=speed)
    return msgspec.structs.replace(found, **more)


def rows(results: list[Result]) -> list[list[str]]:
    return [[cell.strip() for cell in row.split("|")[1:-1]] for row in table(results).splitlines()[2:]]


@pytest.mark.parametrize(
    ("speeds", "middle"), [([3.0], 3.0), ([9.0, 1.0, 5.0], 5.0), ([4.0, 2.0], 3.0), ([None, 2.0], 2.0), ([], None)]
)
def test_the_middle_run_counts(speeds: list[float | None], middle: float | None) -> None:
    assert median([result("x", speed) for speed in speeds], "mb_per_cpu_s") == middle


def test_shippers_are_compared_with_the_probe_the_fastest_first() -> None:
    found = rows([result("slow", 20.0), result("probe", 80.0), result("tailrace", 60.0), result("tailrace", 70.0)])
    assert [row[1:4] for row in found] == [
        ["probe", "80.0", "100%"],
        ["tailrace", "65.0", "81%"],
        ["slow", "20.0", "25%"],
    ]


def test_without_a_probe_there_is_no_share_of_it() -> None:
    assert rows([result("tailrace", 60.0)])[0][1:4] == ["tailrace", "60.0", ""]


def test_scenarios_and_mixes_are_kept_apart() -> None:
    found = rows([result("probe", 50.0, scenario="s5"), result("probe", 80.0), result("tailrace", 40.0, mix="llm")])
    assert [row[:4] for row in found] == [
        ["s2 json", "probe", "80.0", "100%"],
        ["s2 llm", "tailrace", "40.0", ""],
        ["s5 json", "probe", "50.0", "100%"],
    ]


def test_what_could_not_be_run_has_no_row_and_what_went_wrong_is_said() -> None:
    found = rows([result("a", None, status="cannot"), result("b", 5.0), result("b", 6.0, status="short")])
    assert [(row[1], row[-1]) for row in found] == [("b", "2 (short)")]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = [result("probe", 80.0, leaks={"aws": 1}, start_s=0.25), result("x", None, status="cannot")]
    file = tmp_path / "results.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in written))
    assert read([file, file]) == written * 2
