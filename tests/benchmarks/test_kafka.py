from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.benchmarks.kafka import Rate, config, table
from tailrace.benchmarks.shipper import known
from tailrace.config.load import check


def test_the_config_of_the_benchmark_reads_kafka(tmp_path: Path) -> None:
    template = known()["tailrace"].config_file("tailrace", "s2")
    assert template
    path = tmp_path / "tailrace.yaml"
    path.write_text(config(template.read_text(), "127.0.0.1:9092", "bench", "g").replace("@PORT@", "1"))
    made, problems = check(path)
    assert (made and made.sources["in"].word(), problems) == ("kafka", [])


def test_a_config_with_another_source_is_refused() -> None:
    with pytest.raises(ValueError, match="another source"):
        config("sources: {}", "127.0.0.1:9092", "bench", "g")


def test_each_run_is_a_row() -> None:
    rate = Rate(what="tailrace", processes=2, mb=100, wall_s=2, cpu_s=4, rss_mb=90, missing=0)
    assert table([rate]).splitlines()[2:] == ["| tailrace | 2 | 50 | 25 | 90 | all |"]
