"""How a range of Kafka is asked for; with the real broker: tests/live/test_replay_kafka.py."""

from __future__ import annotations

import pytest

from tailrace.pipeline.sources.kafka import Kafka
from tailrace.replay.kafka_range import Span, Wanted, parse, ranged, told


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("orders", Wanted("orders")),
        ("or.de-rs/3", Wanted("or.de-rs", 3)),
        ("orders/3:10-20", Wanted("orders", 3, 10, 20)),
        ("orders/0:10-", Wanted("orders", 0, 10)),
        ("orders/0:-20", Wanted("orders", 0, None, 20)),
    ],
)
def test_a_range_is_a_topic_a_partition_or_offsets(text: str, wanted: Wanted) -> None:
    assert parse(text) == wanted


@pytest.mark.parametrize("text", ["", "orders:1-2", "orders/x", "orders/1:2", "orders/1:2-2", "a b"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"offset after|no range of Kafka"):
        parse(text)


def test_it_reads_as_the_source_does_under_its_name() -> None:
    source = Kafka(name="events", brokers=["h:1"], group="g", topics=["orders"])
    found = ranged(source, [Wanted("orders")], 1, None)
    assert (found.name, found.source, found.start_ns, found.end_ns) == ("events", source, 1, None)


def test_other_offsets_are_something_else_to_replay() -> None:
    assert told({("a", 0): Span(0, 5)}) != told({("a", 0): Span(0, 6)})
    assert told({("a", 0): Span(0, 5), ("b", 1): Span(1, 2)}) == told({("b", 1): Span(1, 2), ("a", 0): Span(0, 5)})
