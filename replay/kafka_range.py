"""A range of a Kafka topic as a bounded source: without a group, so no running shipper notices."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from ..pipeline.batch import Chunk, Position
from ..pipeline.component import ProbeError, Source
from ..pipeline.kafka_client import connection
from ..pipeline.sources._kafka_messages import Messages, name_of
from ..pipeline.sources.kafka import Kafka

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aiokafka import AIOKafkaConsumer, TopicPartition

LATE_NS = 3600 * 1_000_000_000
"""A record may come to Kafka so much later than its own time, and is still found."""
MOST_MESSAGES = 5000
"""Of one poll."""
POLL_MS = 500
SILENT_POLLS = 60
"""Polls of `POLL_MS` without any message before a partition counts as unreadable."""
_WANTED = re.compile(r"(?P<topic>[\w.\-]+)(?:/(?P<partition>\d+)(?::(?P<first>\d*)-(?P<end>\d*))?)?", re.ASCII)


class Wanted(NamedTuple):
    """What is asked for of a topic."""

    topic: str
    partition: int | None = None
    """None: all of them."""
    first: int | None = None
    """Its offset; None: as the times say."""
    end: int | None = None
    """The offset after the last one; None: as the times say."""


class Span(NamedTuple):
    """What is read of a partition: from an offset on, and before another."""

    first: int
    end: int


def parse(text: str) -> Wanted:
    """`TOPIC`, `TOPIC/PARTITION` or `TOPIC/PARTITION:FIRST-END`. Raises ValueError."""
    found = _WANTED.fullmatch(text)
    if not found:
        raise ValueError(f"{text!r} is no range of Kafka: write TOPIC, TOPIC/PARTITION or TOPIC/PARTITION:FIRST-END")
    first, end = (int(found[name]) if found[name] else None for name in ("first", "end"))
    if first is not None and end is not None and end <= first:
        raise ValueError(f"{text!r}: END is the offset after the last one, so it is more than FIRST")
    return Wanted(found["topic"], None if found["partition"] is None else int(found["partition"]), first, end)


class KafkaRange(Source, kw_only=True):
    """Messages of a Kafka source's topics, from a time or an offset to another. It joins no group, commits nothing."""

    source: Kafka
    wanted: list[Wanted] = []
    """Nothing: all topics of the source."""
    start_ns: int | None = None
    end_ns: int | None = None
    _spans: dict[tuple[str, int], Span] | None = None
    _failed: dict[str, str] = {}

    async def spans(self) -> dict[tuple[str, int], Span]:
        """By topic and partition what is read; asked for once, what comes later is not part of it. Raises OSError."""
        if self._spans is None:
            with _answering():
                wanted, self._spans = await self._partitions(), {}
                if wanted:
                    async with self._consumer() as consumer:
                        self._spans = await self._find(consumer, wanted)
        return self._spans

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """One partition after the other."""
        from aiokafka import TopicPartition

        options = self.source
        messages = Messages(
            chunk_bytes=options.chunk_bytes,
            max_event=options.max_event,
            tombstones=options.tombstones,
            fields=options.fields,
        )
        spans = await self.spans()
        if not spans:
            return
        with _answering():
            async with self._consumer() as consumer:
                for (topic, number), span in sorted(spans.items()):
                    labels = {"source": self.name, "topic": topic, "partition": str(number)}
                    async for polled in self._polled(consumer, TopicPartition(topic, number), span):
                        for chunk in messages.chunks(name_of((topic, number)), {}, labels, polled):
                            yield chunk

    def failing(self) -> Mapping[str, str]:
        """Ranges that are not there, or not whole, and why."""
        return self._failed

    async def _polled(
        self, consumer: AIOKafkaConsumer, tp: TopicPartition, span: Span
    ) -> AsyncGenerator[Sequence[Any], None]:
        name = name_of((tp.topic, tp.partition))
        consumer.assign([tp])
        consumer.seek(tp, span.first)
        silent = 0
        try:
            # What a transaction left of itself is no message, yet moves the position.
            while await consumer.position(tp) < span.end and silent < SILENT_POLLS:
                found = (await consumer.getmany(tp, timeout_ms=POLL_MS, max_records=MOST_MESSAGES)).get(tp, [])
                silent = 0 if found else silent + 1
                if own := [message for message in found if message.offset < span.end]:
                    yield own
                if len(found) > len(own):
                    return
        except Exception as error:  # what is in a batch makes its decoder raise anything
            self._failed[name] = f"cannot be read from offset {await consumer.position(tp)} on: {error or type(error)}"
            return
        if silent:
            at = await consumer.position(tp)
            if at < span.end:
                self._failed[name] = f"nothing comes from offset {at} on"

    async def _find(
        self, consumer: AIOKafkaConsumer, wanted: Mapping[TopicPartition, Wanted]
    ) -> dict[tuple[str, int], Span]:
        partitions = list(wanted)
        begins, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
        starts = await self._at(consumer, partitions, self.start_ns)
        late = None if self.end_ns is None else self.end_ns + LATE_NS
        stops = await self._at(consumer, partitions, late)
        spans: dict[tuple[str, int], Span] = {}
        for tp, one in wanted.items():
            begin, end = begins[tp], ends[tp]
            first = begin if self.start_ns is None else starts.get(tp, end)
            last = end if late is None else stops.get(tp, end)
            first = first if one.first is None else one.first
            last = last if one.end is None else one.end
            name = name_of((tp.topic, tp.partition))
            if first < begin and first < last:
                self._failed[name] = f"offsets {first} to {min(begin, last) - 1} are no longer there"
            elif one.end is not None and last > end:
                self._failed[name] = f"there is no offset {last - 1} yet: it ends with {end - 1}"
            first, last = max(first, begin), min(last, end)
            if first < last:
                spans[(tp.topic, tp.partition)] = Span(first, last)
        return spans

    @staticmethod
    async def _at(
        consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition], time_ns: int | None
    ) -> dict[TopicPartition, int]:
        """The first offset that is not before this time, where there is one."""
        if time_ns is None:
            return {}
        found = await consumer.offsets_for_times(dict.fromkeys(partitions, -(-time_ns // 1_000_000)))
        return {tp: one.offset for tp, one in found.items() if one is not None}

    async def _partitions(self) -> dict[TopicPartition, Wanted]:
        """What is there of what is wanted."""
        from aiokafka import TopicPartition
        from aiokafka.admin import AIOKafkaAdminClient

        options = self.source
        admin = AIOKafkaAdminClient(**connection(options.brokers, options.tls, options.sasl))
        try:
            await admin.start()
            there = await admin.list_topics()
            named = options.topics or sorted(topic for topic in there if re.fullmatch(options.pattern, topic))
            wanted = self.wanted or [Wanted(topic) for topic in named]
            told = await admin.describe_topics(sorted({one.topic for one in wanted}.intersection(there)))
        finally:
            await admin.close()
        numbers = {topic["topic"]: sorted(one["partition"] for one in topic["partitions"]) for topic in told}
        found: dict[TopicPartition, Wanted] = {}
        for one in wanted:
            own = [number for number in numbers.get(one.topic, []) if one.partition in (None, number)]
            if not own:
                self._failed[one.topic if one.partition is None else f"{one.topic}/{one.partition}"] = "it is not there"
            found |= {TopicPartition(one.topic, number): one for number in own}
        return found

    @asynccontextmanager
    async def _consumer(self) -> AsyncIterator[AIOKafkaConsumer]:
        from aiokafka import AIOKafkaConsumer

        options = self.source
        consumer = AIOKafkaConsumer(
            **connection(options.brokers, options.tls, options.sasl),
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=options.isolation,
            fetch_max_bytes=options.fetch_bytes,
        )
        try:
            await consumer.start()
            yield consumer
        finally:
            await consumer.stop()


@contextmanager
def _answering() -> Iterator[None]:
    """Raises ConnectionError for what goes wrong with the brokers."""
    from aiokafka.errors import KafkaError

    try:
        yield
    except (KafkaError, ProbeError) as error:
        raise ConnectionError(f"cannot read from Kafka: {error}") from None


def ranged(source: Kafka, wanted: Sequence[Wanted], start_ns: int | None, end_ns: int | None) -> KafkaRange:
    """What is asked for of a source of the config. Raises ValueError when the package for Kafka is not there."""
    if missing := [message for option, message in source.check() if option == "use"]:
        raise ValueError(missing[0])
    return KafkaRange(name=source.name, source=source, wanted=list(wanted), start_ns=start_ns, end_ns=end_ns)


def told(spans: Mapping[tuple[str, int], Span]) -> bytes:
    """For a fingerprint."""
    return msgspec.json.encode(sorted((name_of(place), *span) for place, span in spans.items()))
