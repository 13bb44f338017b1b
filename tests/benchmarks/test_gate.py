from __future__ import annotations

import pytest

from tailrace.benchmarks.gate import FLOORS, best, verdict
from tailrace.benchmarks.measure import SCENARIOS
from tailrace.benchmarks.result import Result
from tailrace.benchmarks.shipper import known


def runs(rival: str, *speeds: float, status: str = "ok") -> list[Result]:
    return [
        Result(rival=rival, scenario="s1", mix="json", input_mb=60, want=1, status=status, mb_per_cpu_s=speed)
        for speed in speeds
    ]


def test_the_fastest_run_counts() -> None:
    assert best(runs("x", 3.0, 9.0, 5.0)) == 9.0


@pytest.mark.parametrize(("floor", "good"), [(1.9, True), (2.0, True), (2.1, False)])
def test_it_passes_from_the_floor_on(floor: float, good: bool) -> None:
    passed, words = verdict("s1", runs("tailrace", 80.0, 70.0), runs("syslog-ng", 40.0, 10.0), floor)
    assert passed is good
    assert words == f"s1: 80 to 40 MB/CPU-s, ratio 2.00, floor {floor:.2f}: {'ok' if good else 'TOO SLOW'}"


@pytest.mark.parametrize("status", ["short", "more", "ended"])
def test_one_that_loses_records_is_not_fast_enough(status: str) -> None:
    ours = [*runs("tailrace", 900.0), *runs("tailrace", 900.0, status=status)]
    passed, words = verdict("s1", ours, runs("syslog-ng", 1.0), 1.0)
    assert not passed
    assert "tailrace did not deliver everything" in words


def test_a_rival_that_loses_records_is_no_measure() -> None:
    passed, words = verdict("s1", runs("tailrace", 9.0), runs("syslog-ng", 9.0, status="short"), 0.1)
    assert not passed
    assert "syslog-ng did not deliver everything" in words


def test_every_floor_is_one_that_both_can_be_measured_at() -> None:
    shippers = known()
    for rival, floors in FLOORS.items():
        for scenario in floors:
            assert scenario in SCENARIOS
            assert shippers[rival].config_file(rival, scenario)
            assert shippers["tailrace"].config_file("tailrace", scenario)
