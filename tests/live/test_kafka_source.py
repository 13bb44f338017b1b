"""What the source `kafka` reads from a real broker, and what it does with what it cannot read."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..services.kafka import PASSWORD, USER, Kafka
from ..services.loki import Loki
from .shipper import Shipper, archived, new_app

Make = Callable[..., Shipper]


@pytest.fixture
def topic() -> str:
    """One that no other test uses; the group has the same name."""
    return f"logs-{uuid.uuid4().hex[:8]}"


@pytest.fixture
def make(kafka: Kafka, topic: str, tmp_path: Path) -> Make:
    """A process of the group, with further options of the source; its archive has a file for each partition."""

    def make(name: str = "a", sinks: str = "", brokers: str = kafka.address, **options: object) -> Shipper:
        given = {"brokers": [brokers], "topics": [topic], "group": topic, "session_timeout": "2s", **options}
        source = json.dumps({"use": "kafka", **{key: value for key, value in given.items() if value is not None}})
        return Shipper(
            tmp_path / name,
            f"""
sources: {{ k: {source} }}
stages: [{{ use: parse, format: auto }}]
sinks:
  archive: {{ use: jsonl, path: "archive/{{topic}}-{{partition}}.jsonl" }}
{sinks}
exporter: {{ listen: "127.0.0.1:@PORT@" }}
state: state
""",
            SHIPPER_PASSWORD=PASSWORD,
            WRONG_PASSWORD="guessed",
        )

    return make


def objects(shipper: Shipper) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archived(shipper.folder / "archive")]


def ids(shipper: Shipper) -> list[int]:
    return sorted(one["id"] for one in objects(shipper))


def numbers(start: int, end: int) -> list[bytes]:
    return [b'{"id":%d}' % number for number in range(start, end)]


def letters(shipper: Shipper) -> list[dict[str, Any]]:
    path = shipper.folder / "state" / "dead_letter.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_every_codec_is_read(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic, 3)
    for place, codec in enumerate((None, "gzip", "snappy", "lz4", "zstd")):
        await kafka.fill(topic, numbers(place * 100, place * 100 + 100), compression_type=codec)
    shipper = make()
    assert shipper.once().code == 0
    assert ids(shipper) == list(range(500))


async def test_a_second_run_goes_on_where_the_first_has_ended(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic, 2)
    await kafka.fill(topic, numbers(0, 100))
    first, second = make("a"), make("b")
    assert first.once().code == 0
    await kafka.fill(topic, numbers(100, 200))
    assert second.once().code == 0
    assert first.once().code == 0
    assert ids(first) == list(range(100))
    assert ids(second) == list(range(100, 200))
    assert sum((await kafka.committed(topic)).values()) == 200


async def test_key_headers_and_place_become_fields(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    message = {
        "value": b"hello",
        "key": b"user-1",
        "headers": [("request-id", b"r-1")],
        "timestamp_ms": 1_700_000_000_123,
    }
    await kafka.write(topic, [message, {"value": b'{"a":1}', "timestamp_ms": 1_700_000_001_000}])
    fields = {"user": "key", "request": "header.request-id", "at": "offset", "sent": "timestamp"}
    shipper = make(fields=fields)
    assert shipper.once().code == 0
    first, second = objects(shipper)
    assert first["timestamp"].startswith("2023-11-14T22:13:20.123")
    assert {name: first[name] for name in ("message", *fields)} == {
        "message": "hello",
        "user": "user-1",
        "request": "r-1",
        "at": 0,
        "sent": 1_700_000_000_123,
    }
    assert second == {"a": 1, "at": 1, "sent": 1_700_000_001_000}


async def test_a_message_of_several_lines_is_one_event(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, [b"Traceback (most recent call last):\n  File x\nValueError: no\n"])
    shipper = make()
    assert shipper.once().code == 0
    (event,) = objects(shipper)
    assert event["message"] == "Traceback (most recent call last):\n  File x\nValueError: no"


@pytest.mark.parametrize("policy", ["skip", "ship", "dead_letter"])
async def test_a_tombstone_is_counted_and_follows_the_policy(kafka: Kafka, topic: str, make: Make, policy: str) -> None:
    await kafka.create(topic, cleanup_policy="compact")
    messages = [{"value": value, "key": b"k"} for value in (b'{"id":1}', None, b'{"id":2}')]
    await kafka.write(topic, messages)
    with make(tombstones=policy) as shipper:
        shipper.start()
        shipper.until(lambda: len(archived(shipper.folder / "archive")) >= (3 if policy == "ship" else 2))
        assert shipper.value("tailrace_kafka_tombstones_total") == 1
        assert shipper.value("tailrace_residual_events", sink="archive") == 0
        assert shipper.stop().code == 0
    assert len(objects(shipper)) == (3 if policy == "ship" else 2)
    assert [(one["offset"], one["reason"]) for one in letters(shipper)] == (
        [(1, "a tombstone: the message has no value")] if policy == "dead_letter" else []
    )
    assert await kafka.committed(topic) == {(topic, 0): 3}


async def test_a_message_over_the_limit_is_a_dead_letter_that_names_its_place(
    kafka: Kafka, topic: str, make: Make
) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, [b'{"id":1}', b"x" * 3000, b'{"id":2}'])
    shipper = make(max_event="2KiB")
    assert shipper.once().code == 0
    assert ids(shipper) == [1, 2]
    (letter,) = letters(shipper)
    assert (letter["offset"], letter["labels"]["topic"], letter["labels"]["partition"]) == (1, topic, "0")
    assert letter["reason"] == "3000 bytes, over max_event (2048)"
    assert "line" not in letter


async def test_messages_of_a_megabyte_fill_a_partition(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, [b'{"id":%d,"x":"%s"}' % (place, b"x" * 1_000_000) for place in range(40)])
    with make() as shipper:
        shipper.start()
        shipper.until(lambda: shipper.value("tailrace_events_out_total", kind="sink") >= 40)
        assert shipper.peak_rss < 200 << 20
        assert shipper.stop().code == 0
    assert ids(shipper) == list(range(40))


async def test_what_was_aborted_is_not_read(kafka: Kafka, topic: str, make: Make) -> None:
    from aiokafka import AIOKafkaProducer

    await kafka.create(topic)
    async with AIOKafkaProducer(bootstrap_servers=kafka.address, transactional_id=topic) as producer:
        for number in range(6):
            await producer.begin_transaction()
            await producer.send(topic, b'{"id":%d}' % number)
            await (producer.abort_transaction() if number % 2 else producer.commit_transaction())
    shipper = make()
    assert shipper.once().code == 0
    assert ids(shipper) == [0, 2, 4]


@pytest.mark.parametrize(("start_at", "found"), [("earliest", [0, 1, 2, 3]), ("latest", []), ("time", [2, 3])])
async def test_a_new_group_begins_where_it_is_told(
    kafka: Kafka, topic: str, make: Make, start_at: str, found: list[int]
) -> None:
    await kafka.create(topic)
    began = int(time.time()) - 100
    await kafka.write(
        topic, [{"value": b'{"id":%d}' % place, "timestamp_ms": (began + place) * 1000} for place in range(4)]
    )
    if start_at == "time":
        start_at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(began + 2))
    shipper = make(start_at=start_at)
    assert shipper.once().code == 0
    assert ids(shipper) == found


async def test_topics_that_match_a_pattern_are_found_also_later(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(f"{topic}-one")
    await kafka.create(f"not-{topic}-one")
    await kafka.fill(f"{topic}-one", numbers(0, 10))
    await kafka.fill(f"not-{topic}-one", numbers(100, 110))
    with make(topics=None, pattern=f"{topic}-.*", refresh="500ms") as shipper:
        shipper.start()
        shipper.until(lambda: len(archived(shipper.folder / "archive")) == 10)
        await kafka.create(f"{topic}-two")
        await kafka.fill(f"{topic}-two", numbers(10, 20))
        shipper.until(lambda: len(archived(shipper.folder / "archive")) == 20)
        assert shipper.stop().code == 0
    assert ids(shipper) == list(range(20))


async def test_partitions_that_are_added_are_read(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    with make(refresh="500ms") as shipper:
        shipper.start()
        shipper.until(lambda: len(archived(shipper.folder / "archive")) == 10)
        await kafka.grow(topic, 3)
        for partition in range(3):
            await kafka.fill(topic, numbers(10 + partition * 10, 20 + partition * 10), partition=partition)
        shipper.until(lambda: len(archived(shipper.folder / "archive")) == 40)
        assert shipper.stop().code == 0
    assert ids(shipper) == list(range(40))


@pytest.mark.parametrize("policy", ["earliest", "latest", "stop"])
async def test_an_offset_that_has_expired_is_loud_and_follows_the_policy(
    kafka: Kafka, topic: str, make: Make, policy: str
) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    assert make().once().code == 0
    await kafka.fill(topic, numbers(10, 30))
    await kafka.expire(topic, 0, 20)
    shipper = make(on_expired=policy)
    ended = shipper.once()
    assert ended.code == (1 if policy == "stop" else 0)
    assert f"{topic}/0" in ended.stderr
    assert "level=error" in ended.stderr
    assert ids(shipper) == list(range(10)) + (list(range(20, 30)) if policy == "earliest" else [])


async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    shipper = make()
    assert shipper.once().code == 0
    await kafka.remake(topic)
    await kafka.fill(topic, numbers(10, 15))
    assert shipper.once().code == 0
    assert ids(shipper) == list(range(15))


async def test_an_offset_that_is_not_there_yet_is_loud_and_read_from_the_beginning(
    kafka: Kafka, topic: str, make: Make
) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    await kafka.commit(topic, topic, 0, 100)
    with make() as shipper:
        shipper.start()
        shipper.until(lambda: len(archived(shipper.folder / "archive")) == 10)
        assert "the partition is not the one that was read" in shipper.stderr
        assert shipper.stop().code == 0
    assert await kafka.committed(topic) == {(topic, 0): 10}


async def test_a_batch_that_cannot_be_read_is_a_dead_letter_and_the_rest_goes_on(
    topic: str, make: Make, kafka: Kafka, tmp_path: Path
) -> None:
    with Kafka(tmp_path / "own", "log.flush.interval.messages=1") as own:
        await own.create(topic, 2)
        for batch in range(5):
            await own.fill(topic, numbers(batch * 10, batch * 10 + 10), partition=0, compression_type="gzip")
        await own.fill(topic, numbers(50, 60), partition=1)
        own.stop()
        (segment,) = (own.folder / "data" / f"{topic}-0").glob("*.log")
        data = bytearray(segment.read_bytes())
        size = len(data) // 5
        data[size * 2 + size // 2] ^= 0xFF  # in the middle of the third batch
        segment.write_bytes(data)
        own.start()
        shipper = make(brokers=own.address)
        ended = shipper.once()
        assert ended.code == 0
        assert ids(shipper) == [*range(20), *range(30, 60)]
        (letter,) = letters(shipper)
        assert letter["offset"] == 20
        assert letter["labels"] == {"source": "k", "topic": topic, "partition": "0"}
        assert letter["reason"].startswith("offsets 20 to 29 cannot be read: CorruptRecordException")
        assert (await own.committed(topic))[topic, 0] == 50


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"])
async def test_every_mechanism_logs_in(kafka: Kafka, topic: str, make: Make, tmp_path: Path, mechanism: str) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    sasl: dict[str, object] = {"mechanism": mechanism}
    if mechanism == "OAUTHBEARER":
        (tmp_path / "token").write_text(kafka.token())
        sasl["token"] = {"file": str(tmp_path / "token")}
    else:
        sasl |= {"username": USER, "password": {"env": "SHIPPER_PASSWORD"}}
    shipper = make(brokers=kafka.sasl_address, sasl=sasl)
    assert shipper.once().code == 0
    assert ids(shipper) == list(range(10))


async def test_a_wrong_password_is_told_at_the_start(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    sasl = {"mechanism": "SCRAM-SHA-256", "username": USER, "password": {"env": "WRONG_PASSWORD"}}
    ended = make(brokers=kafka.sasl_address, sasl=sasl).once()
    assert ended.code == 78
    assert "cannot connect to Kafka" in ended.stderr
    assert "guessed" not in ended.stderr


async def test_with_tls_both_sides_show_certificates(kafka: Kafka, topic: str, make: Make) -> None:
    await kafka.create(topic)
    await kafka.fill(topic, numbers(0, 10))
    out = f"{topic}-out"
    await kafka.create(out)
    tls = {"ca": str(kafka.authority), "cert": str(kafka.client)}
    sink = f'  out: {{ use: kafka, brokers: ["{kafka.tls_address}"], topic: {out}, tls: {json.dumps(tls)} }}'
    shipper = make("a", sink, brokers=kafka.tls_address, tls=tls)
    assert shipper.once().code == 0
    assert ids(shipper) == list(range(10))
    assert sorted(record.value for record in await kafka.read(out)) == numbers(0, 10)


@pytest.mark.parametrize("missing", ["ca", "cert"])
async def test_certificates_that_do_not_do_are_told_at_the_start(
    kafka: Kafka, topic: str, make: Make, missing: str
) -> None:
    tls = {"ca": str(kafka.authority), "cert": str(kafka.client)}
    del tls[missing]
    ended = make(brokers=kafka.tls_address, tls=tls).once()
    assert ended.code == 78
    assert "cannot connect to Kafka" in ended.stderr


async def test_a_topic_that_is_not_there_is_told_at_the_start(topic: str, make: Make) -> None:
    ended = make().once()
    assert ended.code == 78
    assert f"there is no topic '{topic}'" in ended.stderr


async def test_equal_messages_are_told_apart_in_loki_and_the_same_when_read_again(
    kafka: Kafka, loki: Loki, topic: str, make: Make
) -> None:
    """Equal time, equal line, in every partition: all are there, and a second reading adds none."""
    app = new_app()
    await kafka.create(topic, 3)
    now = int(time.time() * 1000)
    for partition in range(3):
        await kafka.write(topic, [{"value": b"tick", "partition": partition, "timestamp_ms": now} for _ in range(200)])
    sink = f'  loki: {{ use: loki, url: "{loki.url}", labels: {{ app: {app} }} }}'
    assert make("a", sink).once().code == 0
    once = loki.query(f'{{app="{app}"}}')
    assert len({entry.time_ns for entry in once}) == len(once) == 600
    assert make("b", sink, group=f"{topic}-again", chunk_bytes="100B").once().code == 0
    assert loki.query(f'{{app="{app}"}}') == once
