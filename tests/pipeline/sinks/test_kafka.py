from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tailrace.pipeline import discover
from tailrace.pipeline.ack import Ack
from tailrace.pipeline.batch import Batch
from tailrace.pipeline.options import Template
from tailrace.pipeline.record import Record
from tailrace.pipeline.sinks.kafka import Kafka, _topic


def kafka(**options: Any) -> Kafka:
    topic = Template(options.pop("topic", "logs"))
    return Kafka(**{"name": "out", "brokers": ["localhost:9092"], "topic": topic, **options})


def batch(*records: Record, **labels: str) -> Batch:
    made = Batch(list(records), "app", "p", labels, Ack({}, 0, ()), 0, {})
    made.size = made.measure()
    return made


def record(line: bytes, offset: int = 0, **fields: Any) -> Record:
    return Record(line, offset, 1_700_000_000_123_456_789, parsed=fields)


def test_a_config_with_a_topic_is_right() -> None:
    assert list(kafka(topic="logs-{app}").check()) == []
    assert discover.component("sink", "kafka") is Kafka


@pytest.mark.parametrize("topic", ["{app}", "-{app}", "logs/{app}", "logs {app}", "", "..", "x" * 250])
def test_a_topic_that_records_could_choose_freely_or_that_is_no_name_is_refused(topic: str) -> None:
    assert "topic" in [place for place, _ in kafka(topic=topic).check()]


@given(st.text())
def test_a_record_cannot_leave_the_prefix(value: str) -> None:
    name = _topic(Template("logs-{app}"), (value,))
    assert name.startswith("logs-")
    assert len("logs-") < len(name) <= 249
    assert all(character.isascii() and (character.isalnum() or character in "._-") for character in name)


def test_it_reads_what_the_message_is_made_of() -> None:
    assert set(kafka(topic="logs-{app}", key="user", headers=["trace_id"]).reads()) == {"app", "user", "trace_id"}


def test_a_message_has_the_records_time_key_and_headers() -> None:
    sink = kafka(topic="logs-{app}", key="user", headers=["trace_id", "n"])
    first, second = sink._messages(batch(record(b"one", 5, app="web", user="u", trace_id="t", n=1), record(b"two", 9)))
    assert (first.topic, first.key, first.headers) == ("logs-web", b"u", [("trace_id", b"t"), ("n", b"1")])
    assert (first.value, first.offset, first.timestamp_ms) == (b"one", 5, 1_700_000_000_123)
    assert (second.topic, second.key, second.headers) == ("logs-unknown", None, [])


def test_only_what_comes_from_kafka_goes_into_its_partitions_transactions() -> None:
    sink = kafka(transactional_id="copy")
    assert sink._writer(batch(record(b"a"), source="k", topic="in", partition="3")) == ("in", 3)
    assert sink._writer(batch(record(b"a"), source="app", file="/var/log/app.log")) is None
    assert kafka()._writer(batch(record(b"a"), source="k", topic="in", partition="3")) is None
