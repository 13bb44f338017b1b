from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.benchmarks.picture import TITLES, draw
from tailrace.benchmarks.result import Result

pytest.importorskip("matplotlib", reason="only `make bench` needs it")

RUNS = [
    Result(rival=rival, scenario=scenario, mix=mix, input_mb=1, want=9, got=got, status=status, mb_per_cpu_s=speed)
    for scenario, mix in TITLES
    for rival, speed, got, status in [
        ("tailrace", 60.0, 9, "ok"),
        ("probe", 80.0, 9, "ok"),
        ("lossy", 99.0, 8, "short"),
    ]
]


def test_every_scenario_and_shipper_stands_in_the_picture(tmp_path: Path) -> None:
    draw(RUNS, tmp_path / "p.svg")
    text = (tmp_path / "p.svg").read_text()
    assert all(title in text for title in TITLES.values())
    assert "tailrace" in text
    assert "FAILED, short: 8 of 9" in text


def test_the_same_results_make_the_same_picture(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(RUNS[:3], tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
