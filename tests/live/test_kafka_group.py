"""Several processes of one consumer group: they join, leave, hang and die, and every message arrives once in Loki."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ..services.kafka import Kafka
from ..services.loki import Loki
from . import numbered
from .shipper import Shipper, archived, new_app

PARTITIONS = 6

Make = Callable[[str], Shipper]


@pytest.fixture
def app() -> str:
    return new_app()


@pytest.fixture
def topic() -> str:
    return f"group-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(kafka: Kafka, loki: Loki, topic: str, app: str, tmp_path: Path) -> Iterator[Make]:
    """A process of the group; `make.brokers` and `make.loki` may be set before."""
    with ExitStack() as running:
        yield lambda name: running.enter_context(Shipper(tmp_path / name, config(kafka.address, loki.url, topic, app)))


def config(brokers: str, loki: str, topic: str, app: str) -> str:
    return f"""
sources:
  k: {{ use: kafka, brokers: ["{brokers}"], topics: [{topic}], group: {topic}, session_timeout: 2s, drain: 2s }}
sinks:
  loki: {{ use: loki, url: "{loki}", labels: {{ app: {app}, partition: "{{partition}}" }} }}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
"""


def found(loki: Loki, app: str) -> list[int]:
    """The numbers of all lines in Loki."""
    numbers: list[int] = []
    for partition in range(PARTITIONS):
        entries = loki.query(f'{{app="{app}", partition="{partition}"}}', time.time_ns() - 3600 * 10**9, page=20_000)
        numbers += [json.loads(entry.line)["id"] for entry in entries]
    return numbers


def lines(start: int, end: int) -> list[bytes]:
    return [b'{"id":%d,"message":"%s"}' % (number, b"x" * 150) for number in range(start, end)]


async def until_committed(kafka: Kafka, topic: str, count: int, seconds: float = 60) -> None:
    """Wait until the group has committed so many messages."""
    deadline = time.monotonic() + seconds
    while (committed := sum((await kafka.committed(topic)).values())) < count:
        assert time.monotonic() < deadline, f"{committed} of {count} committed after {seconds:g} s"
        await asyncio.sleep(0.1)


async def test_processes_that_join_leave_and_die_ship_every_message_once(
    kafka: Kafka, loki: Loki, topic: str, app: str, make: Make
) -> None:
    await kafka.create(topic, PARTITIONS)
    count, batch = 60_000, 5000
    chance = random.Random(7)
    shippers = [make(name) for name in "abc"]
    for shipper in shippers:
        shipper.start()
        shipper.until(lambda: "started" in shipper.stderr)  # noqa: B023  # asked at once
    for start in range(0, count, batch):
        await kafka.fill(topic, lines(start, start + batch))
        shipper = chance.choice(shippers)
        if chance.random() < 0.5:
            shipper.kill()
        else:
            assert shipper.stop().code == 0
        shipper.start()
        await asyncio.sleep(chance.random() / 2)
        shipper.until(lambda: "started" in shipper.stderr)  # noqa: B023  # asked at once
    await until_committed(kafka, topic, count)
    for shipper in shippers:
        assert shipper.stop().code == 0
    numbered.each_once(found(loki, app), count)


async def test_a_process_that_hung_longer_than_its_session_does_no_harm(
    kafka: Kafka, loki: Loki, topic: str, app: str, make: Make
) -> None:
    await kafka.create(topic, PARTITIONS)
    hung, other = make("hung"), make("other")
    hung.start()
    await kafka.fill(topic, lines(0, 2000))
    hung.until(lambda: hung.value("tailrace_events_out_total", kind="sink") >= 1000)
    hung.send(signal.SIGSTOP)
    await kafka.fill(topic, lines(2000, 4000))
    other.start()
    await until_committed(kafka, topic, 4000)
    hung.send(signal.SIGCONT)
    await kafka.fill(topic, lines(4000, 6000))
    hung.until(lambda: hung.value("tailrace_kafka_rebalances_total") >= 1)
    await until_committed(kafka, topic, 6000)
    assert hung.stop().code == 0
    assert other.stop().code == 0
    assert await kafka.committed(topic) == {
        (topic, partition): await end(kafka, topic, partition) for partition in range(PARTITIONS)
    }
    numbered.each_once(found(loki, app), 6000)


async def end(kafka: Kafka, topic: str, partition: int) -> int:
    return sum(1 for record in await kafka.read(topic) if record.partition == partition)


async def test_a_static_member_that_is_killed_has_its_partitions_again_without_a_rebalance_of_the_others(
    kafka: Kafka, loki: Loki, topic: str, app: str, tmp_path: Path
) -> None:
    """So its archive is exact too: its state knows what stands there beyond what is committed."""
    await kafka.create(topic, PARTITIONS)
    text = config(kafka.address, loki.url, topic, app).replace("session_timeout: 2s", "session_timeout: 8s")
    archive = '  archive: { use: jsonl, path: "archive/{topic}-{partition}.jsonl", line: raw }\nexporter'
    text = text.replace("exporter", archive)
    with ExitStack() as running:
        one, other = (
            running.enter_context(Shipper(tmp_path / name, text.replace("drain", f"group_instance_id: {name}, drain")))
            for name in ("one", "other")
        )
        for shipper in (one, other):
            shipper.start()
            shipper.until(lambda: assigned(shipper))  # noqa: B023  # asked at once
        one.until(lambda: len(assigned(one)) == PARTITIONS // 2)
        await kafka.fill(topic, lines(0, 2000))
        await until_committed(kafka, topic, 2000)
        had, kept = assigned(one), assigned(other)
        before = len(archived(one.folder / "archive"))
        rebalances = other.value("tailrace_kafka_rebalances_total")
        await kafka.fill(topic, lines(2000, 4000))
        one.until(lambda: len(archived(one.folder / "archive")) > before)
        one.kill()
        one.start()
        await until_committed(kafka, topic, 4000)
        assert assigned(one) == had  # by the log of this start
        assert assigned(other) == kept
        assert other.value("tailrace_kafka_rebalances_total") == rebalances
        for shipper in (one, other):
            assert shipper.stop().code == 0
    numbered.each_once(found(loki, app), 4000)
    archives = [line for shipper in (one, other) for line in archived(shipper.folder / "archive")]
    numbered.each_once([json.loads(line)["id"] for line in archives], 4000)


def assigned(shipper: Shipper) -> list[str]:
    """The partitions that it was given last, by its log."""
    found = re.findall(r'"partitions assigned".* path="?([^"\n]*)', shipper.stderr)
    return found[-1].split(", ") if found else []


async def test_a_broker_that_is_killed_is_waited_for(loki: Loki, topic: str, app: str, tmp_path: Path) -> None:
    with Kafka(tmp_path / "own") as own, Shipper(tmp_path / "a", config(own.address, loki.url, topic, app)) as shipper:
        await own.create(topic, PARTITIONS)
        await own.fill(topic, lines(0, 5000), acks="all")
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", kind="sink") > 0)
        own.stop(kill=True)
        await asyncio.sleep(1)
        own.start()
        await own.fill(topic, lines(5000, 10_000), acks="all")
        await until_committed(own, topic, 10_000)
        assert shipper.stop().code == 0
    numbered.each_once(found(loki, app), 10_000)


async def test_with_loki_stopped_memory_is_bounded_and_nobody_leaves_the_group(
    kafka: Kafka, topic: str, app: str, tmp_path: Path
) -> None:
    with Loki(tmp_path / "loki") as own:
        url = own.url
        own.stop()
        await kafka.create(topic, PARTITIONS)
        for start in range(0, 400_000, 50_000):  # 70 MB
            await kafka.fill(topic, lines(start, start + 50_000), linger_ms=5, compression_type="lz4")
        shippers = [
            Shipper(tmp_path / name, config(kafka.address, url, topic, app)).start("--offline") for name in "ab"
        ]
        with ExitStack() as running:
            for shipper in shippers:
                running.enter_context(shipper)
            await asyncio.sleep(6)  # three times the session
            for shipper in shippers:
                assert shipper.running()
                assert shipper.peak_rss < 150 << 20
                assert shipper.value("tailrace_kafka_rebalances_total") <= 1
            assert sum(shipper.value("tailrace_kafka_lag_messages") for shipper in shippers) > 100_000
            behind = [
                sum(shipper.value("tailrace_kafka_lag_messages", partition=str(number)) for shipper in shippers)
                for number in range(PARTITIONS)
            ]
            assert min(behind) > 0
            own.start()
            await until_committed(kafka, topic, 400_000)
            for shipper in shippers:
                assert shipper.stop().code == 0
        numbered.each_once(found(own, app), 400_000)


async def test_partitions_that_go_undelivered_are_archived_once_all_the_same(
    kafka: Kafka, topic: str, app: str, tmp_path: Path
) -> None:
    """Loki is away: of what was archived the next process knows, of what was not the last one lets go."""
    with Loki(tmp_path / "loki") as own, ExitStack() as running:
        text = config(kafka.address, own.url, topic, app).replace("drain: 2s", "drain: 200ms")
        path = f"{tmp_path}/archive/{{topic}}-{{partition}}.jsonl"
        archive = f'  archive: {{ use: jsonl, path: "{path}", line: raw }}\nexporter'
        own.stop()
        await kafka.create(topic, PARTITIONS)
        await kafka.fill(topic, lines(0, 60_000), linger_ms=5)
        shippers = [
            running.enter_context(Shipper(tmp_path / name, text.replace("exporter", archive))) for name in "abc"
        ]
        for shipper in shippers:
            shipper.start("--offline")
            shipper.until(lambda: shipper.value("tailrace_kafka_lag_messages") > 0)  # noqa: B023  # asked at once
        await asyncio.sleep(1)
        assert "is left to who goes on there" in shippers[0].stderr
        shippers[1].send(signal.SIGTERM)
        own.start()
        await until_committed(kafka, topic, 60_000)
        for shipper in shippers:
            assert shipper.wait().code == 0 if shipper is shippers[1] else shipper.stop().code == 0
        numbered.each_once(found(own, app), 60_000)
    numbered.each_once([json.loads(line)["id"] for line in archived(tmp_path / "archive")], 60_000)
