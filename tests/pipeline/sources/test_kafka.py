from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords

from tailrace.pipeline import discover
from tailrace.pipeline.batch import Chunk
from tailrace.pipeline.component import Share
from tailrace.pipeline.sources._kafka_member import Committed, _decoded, _encoded, as_it_is, slot_of
from tailrace.pipeline.sources._kafka_messages import Messages, end_of_batch
from tailrace.pipeline.sources.kafka import Kafka


class Message(NamedTuple):
    offset: int
    value: bytes | None
    timestamp: int = 1_700_000_000_000
    key: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


def kafka(**options: Any) -> Kafka:
    return Kafka(**{"name": "k", "brokers": ["localhost:9092"], "group": "g", "topics": ["t"], **options})


def chunks(*messages: Message, **options: Any) -> list[Chunk]:
    given = {"chunk_bytes": 1000, "max_event": 100, "tombstones": "skip", "fields": {}, **options}
    return list(Messages(**given).chunks("t/0", {"claim": "c"}, {"source": "k"}, messages))


def test_a_config_with_a_group_and_topics_is_right() -> None:
    assert list(kafka().check()) == []
    assert discover.component("source", "kafka") is Kafka


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({"topics": []}, "topics"),
        ({"pattern": "logs-.*"}, "topics"),
        ({"topics": [], "pattern": "("}, "pattern"),
        ({"brokers": ["kafka://host"]}, "brokers[0]"),
        ({"start_at": "yesterday"}, "start_at"),
        ({"fields": {"a": "value"}}, "fields.a"),
        ({"fields": {"a": "header."}}, "fields.a"),
        ({"fields": {"topic": "key"}}, "fields.topic"),
    ],
    ids=lambda value: str(value),
)
def test_a_wrong_option_is_named(options: dict[str, Any], place: str) -> None:
    assert [found for found, _ in kafka(**options).check()] == [place]


def test_a_time_to_start_at_is_utc_unless_it_says_otherwise() -> None:
    assert kafka(start_at="2025-01-31T12:00:00").start_ms() == kafka(start_at="2025-01-31T12:00:00Z").start_ms()
    assert kafka(start_at="2025-01-31T13:00:00+01:00").start_ms() == 1_738_324_800_000


def test_a_chunk_knows_its_times_and_the_offset_after_its_last_message() -> None:
    (chunk,) = chunks(Message(5, b"one", 1_700_000_000_001), Message(9, b"two\n", -1))
    assert chunk.lines == [b"one", b"two"]
    assert chunk.offsets == [5, 9]
    assert list(chunk.times) == [1_700_000_000_001_000_000, None]
    assert chunk.position == {"claim": "c", "offset": 10}
    assert chunk.read_at_ns == 1_700_000_000_001_000_000


def test_chunks_end_after_whole_messages() -> None:
    found = chunks(*(Message(place, b"x" * 40) for place in range(5)), chunk_bytes=100)
    assert [list(chunk.offsets) for chunk in found] == [[0, 1, 2], [3, 4]]
    assert [chunk.position["offset"] for chunk in found] == [3, 5]


@pytest.mark.parametrize(
    ("policy", "lines", "dead"),
    [("skip", [b"a", b"b"], []), ("ship", [b"a", b"", b"b"], []), ("dead_letter", [b"a", b"b"], [1])],
)
def test_a_tombstone_is_never_lost_silently(policy: str, lines: list[bytes], dead: list[int]) -> None:
    messages = Messages(chunk_bytes=1000, max_event=100, tombstones=policy, fields={})  # type: ignore[arg-type]  # a literal
    (chunk,) = messages.chunks("t/0", {}, {}, [Message(0, b"a"), Message(1, None), Message(2, b"b")])
    assert (chunk.lines, [offset for offset, _ in chunk.dead], messages.tombstones) == (lines, dead, 1)


def test_a_message_over_the_limit_is_dead_and_named() -> None:
    (chunk,) = chunks(Message(0, b"a"), Message(1, b"x" * 101), Message(2, b"b"))
    assert (chunk.lines, chunk.dead, chunk.long) == ([b"a", b"b"], [(1, "101 bytes, over max_event (100)")], 1)


def test_fields_are_made_of_what_stands_beside_the_value() -> None:
    what = {"k": "key", "o": "offset", "t": "timestamp", "h": "header.a"}
    (chunk,) = chunks(
        Message(1, b"x", 7, b"key\xff", [("a", b"first"), ("a", b"last"), ("b", b"")]),
        Message(2, b"y", -1),
        fields=what,
    )
    assert chunk.fields == {"k": ["key\ufffd", None], "o": [1, 2], "t": [7, None], "h": ["last", None]}


def test_a_batch_that_cannot_be_read_ends_where_its_head_says() -> None:
    head = struct.pack(">qiibIhi", 100, 500, 0, 2, 0, 0, 49)
    assert end_of_batch(head, 120) == 150
    assert end_of_batch(head, 200) == 201  # the head makes no sense: at least one message on
    assert end_of_batch(b"", 7) == 8


def test_what_is_kept_with_an_offset_comes_back_and_what_others_wrote_counts_as_nothing() -> None:
    note = Committed("claim", 3, msgspec.Raw(b'{"clock":{"last":1}}'))
    assert _decoded(_encoded(note)).claim == "claim"
    assert bytes(_decoded(_encoded(note)).state) == b'{"clock":{"last":1}}'
    for text in ("", "hello", "[]", '{"claim":5}'):
        assert _decoded(text) == Committed()


def test_a_state_that_is_too_large_for_the_broker_leaves_the_claim() -> None:
    note = Committed("claim", 3, msgspec.Raw(b'"%s"' % (b"x" * 5000)))
    assert _decoded(_encoded(note)) == Committed("claim", 3)


def test_every_partition_of_a_topic_has_a_slot_of_its_own_in_the_digits_of_a_time() -> None:
    from aiokafka import TopicPartition

    slots = [slot_of(TopicPartition("logs", number)) for number in range(62)]
    assert all(slots)
    assert len({slot % 1000 for slot in slots}) == len({slot % 62 for slot in slots}) == 62


def test_a_worker_has_a_name_of_its_own_in_the_group() -> None:
    source = kafka(group_instance_id="host-1")
    source.share(Share(worker=1, workers=2))
    assert source.group_instance_id == "host-1-1"


def batch(start: int, count: int, *, codec: int = 0) -> bytearray:
    """As a producer writes it, from this offset on."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 1 << 20)
    for place in range(count):
        builder.append(place, 1_700_000_000_000, None, b"%d" % (start + place), [])
    data = bytearray(builder.build())
    data[:8] = start.to_bytes(8)
    return data


def read(data: bytes, start: int = 0) -> fetcher.PartitionRecords:
    return fetcher.PartitionRecords(
        TopicPartition("t", 0), MemoryRecords(data), [], start, None, as_it_is, True, fetcher.READ_COMMITTED
    )


@pytest.mark.parametrize("codec", [0, 1, 2, 3, 4])
def test_batches_of_messages_are_read_as_one_list(codec: int) -> None:
    records = read(bytes(batch(0, 3, codec=codec) + batch(3, 2, codec=codec)), start=1)
    (messages,) = records
    assert [(message.offset, message.value) for message in messages][1:] == [(n, b"%d" % n) for n in range(1, 5)]
    assert records.next_fetch_offset == 5
    assert next(records, None) is None


def test_a_list_ends_with_the_batch_that_makes_it_long_enough() -> None:
    data = b"".join(bytes(batch(start, 2000)) for start in range(0, 8000, 2000))
    assert [len(messages) for messages in read(data)] == [6000, 2000]


def test_what_comes_before_a_batch_that_cannot_be_read_is_given_first() -> None:
    bad = batch(3, 2)
    bad[-1] ^= 1
    records = read(bytes(batch(0, 3) + bad))
    assert [message.offset for message in next(records)] == [0, 1, 2]
    assert records.next_fetch_offset == 3
    with pytest.raises(CorruptRecordException):
        next(records)
