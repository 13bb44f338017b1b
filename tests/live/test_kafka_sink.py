"""What the sink `kafka` writes to a real broker, and exactly once from topic to topic."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ..services.kafka import Kafka
from . import numbered
from .shipper import Shipper

Make = Callable[..., Shipper]


@pytest.fixture
def topic() -> str:
    return f"out-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(kafka: Kafka, topic: str, tmp_path: Path) -> Make:
    """From the file `app.log` to the topic, with further options of the sink."""

    def make(*lines: bytes, **options: object) -> Shipper:
        sink = json.dumps({"use": "kafka", "brokers": [kafka.address], "topic": topic, **options})
        config = f"""
sources: {{ app: {{ use: file, include: [app.log] }} }}
stages: [{{ use: parse, format: json }}]
sinks: {{ out: {sink} }}
state: state
"""
        shipper = Shipper(tmp_path / "a", config)
        (shipper.folder / "app.log").write_bytes(b"".join(line + b"\n" for line in lines))
        return shipper

    return make


def letters(shipper: Shipper) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (shipper.folder / "state" / "dead_letter.jsonl").read_text().splitlines()]


async def test_a_record_becomes_a_message_with_its_key_headers_and_time(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic, 3)
    lines = [b'{"ts":"2025-01-31T12:00:00.250Z","user":"u%d","n":%d,"id":%d}' % (n % 5, n, n) for n in range(50)]
    assert make(*lines, key="user", headers=["n", "missing"]).once().code == 0
    found = await kafka.read(topic)
    assert sorted(one.value for one in found) == sorted(lines)
    for one in found:
        fields = json.loads(one.value)
        assert one.key == fields["user"].encode()
        assert one.headers == (("n", str(fields["n"]).encode()),)
        assert one.timestamp == 1_738_324_800_250
    assert len({(one.key, one.partition) for one in found}) == 5
    for user in range(5):
        numbers = [json.loads(one.value)["n"] for one in found if one.key == b"u%d" % user]
        assert numbers == sorted(numbers)


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
async def test_every_codec_is_written(kafka: Kafka, topic: str, make: Make, codec: str) -> None:
    await kafka.create(topic)
    lines = [b'{"id":%d}' % number for number in range(100)]
    assert make(*lines, compression=codec).once().code == 0
    assert [one.value for one in await kafka.read(topic)] == lines


async def test_a_record_cannot_choose_a_topic_outside_the_prefix(kafka: Kafka, topic: str, make: Make) -> None:
    for name in (f"{topic}-web", f"{topic}-unknown", f"{topic}-.._secret"):
        await kafka.create(name)
    await kafka.create(f"secret-{topic}")
    lines = [b'{"app":"web"}', b'{"app":"../secret"}', b"{}", b'{"app":"nobody made it"}', b'{"app":"web","n":2}']
    shipper = make(*lines, topic=f"{topic}-{{app}}")
    assert shipper.once().code == 0
    assert [one.value for one in await kafka.read(f"{topic}-web")] == [lines[0], lines[4]]
    assert [one.value for one in await kafka.read(f"{topic}-.._secret")] == [lines[1]]
    assert [one.value for one in await kafka.read(f"{topic}-unknown")] == [lines[2]]
    (letter,) = letters(shipper)
    assert letter["line"] == lines[3].decode()
    assert letter["reason"] == f"there is no topic '{topic}-nobody_made_it', and the broker does not make it"


@pytest.mark.parametrize("who", ["client", "broker"])
async def test_a_message_that_is_too_large_is_a_dead_letter_and_the_rest_goes_on(
    kafka: Kafka, topic: str, make: Make, who: str
) -> None:
    await kafka.create(topic, max_message_bytes="1048588" if who == "client" else "2000")
    large = b"".join(uuid.uuid4().hex.encode() for _ in range(100))  # nothing that a codec makes small
    lines = [b'{"id":%d,"x":"%s"}' % (n, large if n in (3, 7) else b"small") for n in range(10)]
    shipper = make(*lines, max_message="2000B" if who == "client" else "1MB")
    assert shipper.once().code == 0
    assert sorted(one.value for one in await kafka.read(topic)) == [lines[n] for n in range(10) if n not in (3, 7)]
    assert [letter["line"].encode() for letter in letters(shipper)] == [lines[3], lines[7]]
    assert all("too large for a message" in letter["reason"] for letter in letters(shipper))


async def test_a_topic_that_is_not_there_is_told_at_the_start(topic: str, make: Make) -> None:
    ended = make(b"{}").once()
    assert ended.code == 78
    assert f"there is no topic '{topic}'" in ended.stderr


def bridge(folder: Path, kafka: Kafka, topic: str, **options: object) -> Shipper:
    """One process of a group that copies from topic to topic, in transactions."""
    sink = {"use": "kafka", "brokers": [kafka.address], "topic": f"{topic}-out", "transactional_id": topic, **options}
    source = {
        "use": "kafka",
        "brokers": [kafka.address],
        "topics": [topic],
        "group": topic,
        "session_timeout": "2s",
        "drain": "2s",
    }
    return Shipper(
        folder,
        f"""
sources: {{ k: {json.dumps(source)} }}
stages: [{{ use: parse, format: json }}]
sinks: {{ out: {json.dumps(sink)} }}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
""",
    )


def lines(start: int, end: int) -> list[bytes]:
    return [b'{"id":%d,"message":"%s"}' % (number, b"x" * 150) for number in range(start, end)]


async def test_from_topic_to_topic_every_message_is_written_once_though_processes_die(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    await kafka.create(topic, 4)
    await kafka.create(f"{topic}-out", 3)
    count, batch = 20_000, 2500
    chance = random.Random(3)
    with ExitStack() as running:
        shippers = [running.enter_context(bridge(tmp_path / name, kafka, topic)) for name in "ab"]
        for shipper in shippers:
            shipper.start()
        for start in range(0, count, batch):
            await kafka.fill(topic, lines(start, start + batch))
            await asyncio.sleep(chance.random())
            shipper = chance.choice(shippers)
            shipper.kill()
            shipper.start()
        deadline = asyncio.get_running_loop().time() + 60
        while sum((await kafka.committed(topic)).values()) < count:
            assert asyncio.get_running_loop().time() < deadline
            await asyncio.sleep(0.2)
        for shipper in shippers:
            assert shipper.stop().code == 0
    numbered.each_once([json.loads(one.value)["id"] for one in await kafka.read(f"{topic}-out")], count)
    # Not in the group of the source, although that has the same name here.
    assert sum((await kafka.committed(f"{topic}.tailrace-transactions")).values()) == count


async def test_in_a_transaction_a_message_that_is_too_large_is_a_dead_letter(
    kafka: Kafka, topic: str, tmp_path: Path
) -> None:
    await kafka.create(topic)
    await kafka.create(f"{topic}-out", max_message_bytes="2000")
    large = b'{"id":5,"x":"%s"}' % b"".join(uuid.uuid4().hex.encode() for _ in range(200))
    await kafka.fill(topic, [*lines(0, 5), large, *lines(6, 10)])
    shipper = bridge(tmp_path / "a", kafka, topic)
    assert shipper.once().code == 0
    assert [json.loads(one.value)["id"] for one in await kafka.read(f"{topic}-out")] == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert [letter["offset"] for letter in letters(shipper)] == [5]
    assert await kafka.committed(topic) == {(topic, 0): 10}
