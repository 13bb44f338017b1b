"""The engine counts; components do not have to."""

from __future__ import annotations

import pytest

from tailrace.pipeline.meter import BUCKETS, Meter


def test_a_new_meter_counts_nothing() -> None:
    meter = Meter("stage", "parse")
    assert (meter.kind, meter.component) == ("stage", "parse")
    assert (meter.events_in, meter.events_out, meter.bytes_in, meter.bytes_out) == (0, 0, 0, 0)
    assert (meter.dead, meter.retries, meter.dropped, sum(meter.batches)) == (0, 0, {}, 0)


def test_what_comes_in_and_goes_out_adds_up() -> None:
    meter = Meter("stage", "parse")
    for _ in range(2):
        meter.count_in(10, 1000)
        meter.count_out(9, 900, 0.25)
    assert (meter.events_in, meter.bytes_in, meter.events_out, meter.bytes_out) == (20, 2000, 18, 1800)
    assert meter.seconds == 0.5


def test_drops_add_up_by_reason() -> None:
    meter = Meter("sink", "loki")
    meter.drop("no_match", 2)
    meter.drop("no_match", 3)
    meter.drop("delivered_before", 1)
    assert meter.dropped == {"no_match": 5, "delivered_before": 1}


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(0.0, 0), (BUCKETS[0], 0), (0.0002, 1), (1.0, BUCKETS.index(1.0)), (10.0, 10), (11.0, 11)],
)
def test_a_batch_falls_into_the_first_bucket_that_holds_its_time(seconds: float, bucket: int) -> None:
    meter = Meter("stage", "parse")
    meter.count_out(1, 1, seconds)
    assert meter.batches == [int(i == bucket) for i in range(len(BUCKETS) + 1)]
