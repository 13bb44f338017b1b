"""Metrics by the time of the records."""

from __future__ import annotations

from pathlib import Path

import pytest

from tailrace.pipeline.options import Template
from tailrace.replay.backfill import Backfill, Family, samples, write
from tailrace.stages.derive_metrics import DeriveMetrics, Metric
from tailrace.testing import batch_of

MINUTE = 60_000_000_000


def stage() -> Backfill:
    metrics = [
        Metric(name="lines_total", type="counter", labels={"level": Template("{level}")}),
        Metric(name="seconds", type="histogram", value="took", buckets=[1.0]),
    ]
    return Backfill(name="derive_metrics", inner=DeriveMetrics(name="derive_metrics", metrics=metrics))


def test_each_record_counts_in_the_minute_of_its_own_time() -> None:
    backfill = stage()
    for minutes in ((0, 0, 3), (3, 1)):
        batch = batch_of(*[b"x"] * len(minutes))
        for record, minute in zip(batch.records, minutes, strict=True):
            record.time_ns, record.parsed = minute * MINUTE + 5, {"level": "info", "took": 0.5}
        assert backfill.process(batch) is batch
    changes = backfill.families["lines"].changes
    assert changes == {("lines_total", (("level", "info"),)): {0: 2, 3: 2, 1: 1}}
    assert backfill.families["seconds"].changes["seconds_sum", ()] == {0: 1.0, 3: 1.0, 1: 0.5}
    assert next(iter(backfill.inner.collect())).samples == []  # the live counter knows nothing of it


def test_a_record_without_a_time_counts_with_the_one_before() -> None:
    backfill = stage()
    batch = batch_of(b"a", b"b", b"c")
    batch.records[1].time_ns = 7 * MINUTE
    backfill.process(batch)
    assert backfill.families["lines"].changes == {("lines_total", (("level", ""),)): {7: 2}}


@pytest.mark.parametrize(
    ("changes", "summed", "found"),
    [
        pytest.param({5: 2.0}, True, [(4, 0.0), (5, 2.0)], id="a counter begins at 0"),
        pytest.param({7: 1.0, 5: 2.0}, True, [(4, 0.0), (5, 2.0), (6, 2.0), (7, 3.0)], id="in whatever order"),
        pytest.param({5: 2.0, 50: 1.0}, True, [(4, 0.0), (5, 2.0), (49, 2.0), (50, 3.0)], id="over a gap"),
        pytest.param({5: 2.0, 7: 1.0}, False, [(5, 2.0), (6, 2.0), (7, 1.0)], id="a gauge"),
        pytest.param({5: 2.0, 50: 1.0}, False, [(5, 2.0), (50, 1.0)], id="a gauge that was gone"),
    ],
)
def test_samples_are_as_prometheus_would_have_scraped_them(
    changes: dict[int, float], summed: bool, found: list[tuple[int, float]]
) -> None:
    assert list(samples(changes, summed=summed)) == found


def test_the_file_is_openmetrics_with_times(tmp_path: Path) -> None:
    family = Family("counter", 'a "help"', "", {("n_total", (("a", 'x"y\\'),)): {1: 2.0}})
    assert write(tmp_path / "m.om", {"n": family}) == 2
    assert (tmp_path / "m.om").read_text().splitlines() == [
        '# HELP n a \\"help\\"',
        "# TYPE n counter",
        'n_total{a="x\\"y\\\\"} 0.0 60',
        'n_total{a="x\\"y\\\\"} 2.0 120',
        "# EOF",
    ]
