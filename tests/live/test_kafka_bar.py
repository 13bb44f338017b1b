"""Kafka to Loki and to Kafka, by processes that come, go and are killed; `tests.live.kafka_bar` does more of it."""

from __future__ import annotations

import uuid
from pathlib import Path

from ..services.kafka import Kafka
from ..services.loki import Loki
from .kafka_bar import bar


async def test_every_message_is_in_loki_and_in_the_topic_once(kafka: Kafka, loki: Loki, tmp_path: Path) -> None:
    outcome = await bar(kafka, loki, f"bar-{uuid.uuid4().hex[:8]}", 100_000, 5, tmp_path)
    print(outcome)
    assert outcome.exact, outcome
    assert outcome.kills >= 1
    assert outcome.kills + outcome.stops > 3
