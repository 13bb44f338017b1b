"""A range of Kafka replayed into the real Loki: by time and by offset, beside a group that notices nothing."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from ..services.kafka import Kafka
from ..services.loki import Loki
from .shipper import new_app
from .test_replay import HOUR, SECOND, Replay, line, numbers_in

CONFIG = """
sources:
  k: {{ use: kafka, brokers: ["{address}"], topics: [{topic}], group: {topic} }}
stages: [{{ use: parse, format: json }}]
sinks:
  loki: {{ use: loki, url: "{url}", labels: {{ app: {app} }} }}
"""


class Topic:
    """Two partitions of 500 messages each, one a second, that alternate."""

    def __init__(self, kafka: Kafka, loki: Loki, folder: Path) -> None:
        self.kafka, self.loki, self.app = kafka, loki, new_app()
        self.name = f"old-{uuid.uuid4().hex[:8]}"
        self.begin = (time.time_ns() - 9 * HOUR) // SECOND * SECOND
        self.replay = Replay(folder, loki, self.app)
        text = CONFIG.format(address=kafka.address, topic=self.name, url=loki.url, app=self.app)
        (folder / "tailrace.yaml").write_text(text)

    async def fill(self) -> None:
        """Each message comes a second after it was logged; the last one is a tombstone."""
        await self.kafka.create(self.name, 2)
        messages: list[dict[str, Any]] = []
        for number in range(1000):
            at = self.begin + number * SECOND
            stamp = (at + SECOND) // 1_000_000
            messages.append({"value": line(number, at), "partition": number % 2, "timestamp_ms": stamp})
        messages.append({"value": None, "key": b"gone", "partition": 0})
        await self.kafka.write(self.name, messages)
        await self.kafka.commit(self.name, self.name, 0, 7)

    def at(self, number: int) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.begin // SECOND + number))

    def found(self) -> list[int]:
        return numbers_in(self.loki, f'{{app="{self.app}"}}')


@pytest.fixture
async def topic(kafka: Kafka, loki: Loki, tmp_path: Path) -> Topic:
    made = Topic(kafka, loki, tmp_path)
    await made.fill()
    return made


async def test_a_range_of_time_is_replayed_in_one_order_and_a_second_time_adds_nothing(topic: Topic) -> None:
    options = ("--source", "k", "--from", topic.at(100), "--to", topic.at(900))
    code, plan = topic.replay.run(*options, "--plan")
    assert (code, plan["records"]) == (0, 800)
    code, receipt = topic.replay.run(*options, "--verify")
    assert (code, receipt["delivered"], receipt["verified"]["missing"]) == (0, 800, 0)
    assert topic.found() == list(range(100, 900))
    assert {file["path"] for file in receipt["files"]} == {f"{topic.name}/0", f"{topic.name}/1"}
    (topic.replay.folder / "state").rename(topic.replay.folder / "state.old")
    assert topic.replay.run(*options)[0] == 0
    assert topic.found() == list(range(100, 900))
    assert await topic.kafka.committed(topic.name) == {(topic.name, 0): 7}  # as it was


async def test_a_range_of_offsets_is_replayed_and_what_is_no_longer_there_is_told(topic: Topic) -> None:
    await topic.kafka.expire(topic.name, 1, 20)
    ranges = ("--source", f"k={topic.name}/0:10-15", "--source", f"k={topic.name}/1:15-25")
    code, receipt = topic.replay.run(*ranges)
    assert code == 1
    assert receipt["read"]["unreadable"] == {f"{topic.name}/1": "offsets 15 to 19 are no longer there"}
    assert topic.found() == sorted([*range(20, 30, 2), *range(41, 51, 2)])
    said = (topic.replay.folder / "stderr").read_text()
    assert "no longer there" in said


async def test_what_kafka_does_not_have_is_told(topic: Topic) -> None:
    code, receipt = topic.replay.run("--source", "k=elsewhere", "--source", f"k={topic.name}/1:498-600")
    assert code == 1
    assert receipt["read"]["unreadable"] == {
        "elsewhere": "it is not there",
        f"{topic.name}/1": "there is no offset 599 yet: it ends with 499",
    }
    assert json.dumps(topic.found()) == "[997, 999]"
