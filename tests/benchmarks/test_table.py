from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tailrace.benchmarks.result import Result, read
from tailrace.benchmarks.table import HEADER, median, table


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


def columns(found: list[list[str]], *names: str) -> list[list[str]]:
    heads = [cell.strip() for cell in HEADER.splitlines()[0].split("|")[1:-1]]
    return [[row[heads.index(name)] for name in names] for row in found]


def test_shippers_are_compared_with_the_collector_and_the_probe_the_fastest_first() -> None:
    found = rows(
        [
            result("slow", 20.0),
            result("otelcol-nogzip", 40.0),
            result("probe", 80.0),
            result("tailrace", 60.0),
            result("tailrace", 70.0),
        ]
    )
    assert columns(found, "shipper", "MB/CPU-s", "lowest to highest", "of collector", "of probe") == [
        ["probe", "80.0", "80.0 to 80.0", "2.00", "1.00"],
        ["tailrace", "65.0", "60.0 to 70.0", "1.62", "0.81"],
        ["otelcol-nogzip", "40.0", "40.0 to 40.0", "1.00", "0.50"],
        ["slow", "20.0", "20.0 to 20.0", "0.50", "0.25"],
    ]


def test_where_the_collector_does_not_compress_anyway_it_is_the_reference() -> None:
    found = rows([result("otelcol", 40.0, scenario="s4"), result("tailrace", 80.0, scenario="s4")])
    assert columns(found, "shipper", "of collector") == [["tailrace", "2.00"], ["otelcol", "1.00"]]


def test_where_there_is_nobody_to_compare_with_the_ratio_is_empty() -> None:
    assert columns(rows([result("tailrace", 60.0)]), "of collector", "of probe") == [["", ""]]


def test_scenarios_and_mixes_are_kept_apart() -> None:
    found = rows([result("probe", 50.0, scenario="s5"), result("probe", 80.0), result("tailrace", 40.0, mix="llm")])
    assert columns(found, "scenario", "shipper", "MB/CPU-s", "of probe") == [
        ["s2 json", "probe", "80.0", "1.00"],
        ["s2 llm", "tailrace", "40.0", ""],
        ["s5 json", "probe", "50.0", "1.00"],
    ]


def test_what_could_not_be_run_has_no_row() -> None:
    assert rows([result("a", None, status="cannot")]) == []


@pytest.mark.parametrize("status", ["short", "more", "ended", "wrong"])
def test_one_that_lost_records_is_failed_and_not_fast(status: str) -> None:
    found = rows([result("fast", 500.0, status=status, got=9), result("slow", 5.0)])
    assert columns(found, "shipper", "MB/CPU-s", "lowest to highest", "runs") == [
        ["slow", "5.0", "5.0 to 5.0", "1"],
        ["fast", "", "", f"1 (FAILED, {status}: 9 of 10)"],
    ]


def test_secrets_that_were_left_are_counted_beside_the_speed() -> None:
    found = rows([result("x", 5.0, status="leaks", leaks={"aws": 1, "card": 2})])
    assert columns(found, "MB/CPU-s", "runs") == [["5.0", "1 (leaks: 3 left)"]]


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = [result("probe", 80.0, leaks={"aws": 1}, start_s=0.25), result("x", None, status="cannot")]
    file = tmp_path / "results.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in written))
    assert read([file, file]) == written * 2
