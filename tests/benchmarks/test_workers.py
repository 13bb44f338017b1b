from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tailrace.benchmarks.shipper import known
from tailrace.benchmarks.workers import SCENARIO, Rate, config, names, table
from tailrace.config.load import check
from tailrace.pipeline.sources._folder import owner_of


def rate(workers: int, wall_s: float, missing: int = 0) -> Rate:
    return Rate(workers=workers, mb=200, wall_s=wall_s, cpu_s=4, sink_cpu_s=1, rss_mb=50, missing=missing)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_each_worker_has_as_many_logs_as_the_others(tmp_path: Path, workers: int) -> None:
    found = names(tmp_path, 8, workers)
    assert len(set(found)) == 8
    assert set(Counter(owner_of(str(path), workers) for path in found).values()) == {8 // workers}


def test_the_config_of_the_benchmark_is_one_for_several_workers(tmp_path: Path) -> None:
    template = known()["tailrace"].config_file("tailrace", SCENARIO)
    assert template
    path = tmp_path / "tailrace.yaml"
    path.write_text(config(template.read_text(), 2).replace("@PORT@", "1"))
    made, problems = check(path)
    assert (made and made.workers, problems) == (2, [])


def test_a_config_without_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="no labels"):
        config("sources: {}", 2)


def test_the_median_run_of_each_number_is_shown() -> None:
    rates = [rate(2, 2.0), rate(1, 8.0), rate(1, 4.0), rate(1, 5.0), rate(2, 2.5), rate(2, 2.2, missing=3)]
    assert table(rates).splitlines()[2:] == [
        "| 1 | 40 | 50 | 4.0 | 1.0 | 50 | all |",
        "| 2 | 91 | 50 | 4.0 | 1.0 | 50 | FAILED: 3 missing |",
    ]
