"""Source `kafka`: reads topics as a member of a consumer group, whose offsets follow what every sink has taken."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import msgspec

from ..batch import Chunk, Position
from ..component import Held, ProbeError, Share, Source
from ..kafka_client import Sasl, problems, topics
from ..log import log
from ..options import Duration, Size, Tls
from ._kafka_messages import Expired, Messages, end_of_batch, known, name_of

if TYPE_CHECKING:
    from aiokafka import TopicPartition
    from prometheus_client.core import Metric

    from ._kafka_member import Member


class Kafka(Source):
    """Reads topics of Kafka as one of a consumer group, so that any number of processes share the partitions.

    A message is an event, one of several lines too. Its time is that of the message, unless `parse` finds one in it.
    Records know `source`, `topic` and `partition`. An offset is committed to the group only when every sink has taken
    all that comes before it; on a rebalance what is on its way is delivered and committed before partitions go.
    """

    grouped: ClassVar[bool] = True

    brokers: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Where to ask first, as `HOST:9092`; the others are found."""
    group: Annotated[str, msgspec.Meta(min_length=1)]
    """The consumer group: processes with the same one share the partitions."""
    topics: list[str] = []
    """Names of the topics."""
    pattern: str = ""
    """Instead of `topics`, a regular expression that matches whole names, also of topics that come later."""
    group_instance_id: str = ""
    """A name that stays the same over restarts and that no other process of the group has: with it the partitions wait
    for a process that restarts within `session_timeout` (static membership)."""
    start_at: str = "earliest"
    """Where to start in partitions of which the group has committed nothing: `earliest`, `latest`, or a time such as
    2025-01-31T12:00:00Z."""
    on_expired: Literal["earliest", "latest", "stop"] = "earliest"
    """What to do when the broker has already deleted what is to be read next. It is logged and counted in any case."""
    tombstones: Literal["skip", "ship", "dead_letter"] = "skip"
    """What becomes of messages without a value: left out and counted, shipped as an empty line, or dead letters."""
    fields: dict[str, str] = {}
    """Fields to make of what stands beside the value: `key`, `offset`, `timestamp` (ms) or `header.NAME`."""
    max_event: Size = Size(1 << 20)
    """A longer message goes to the dead letter: its topic, partition and offset, not its value."""
    isolation: Literal["read_committed", "read_uncommitted"] = "read_committed"
    """Whether messages of transactions that are open or were aborted are left out."""
    chunk_bytes: Size = Size(1 << 20)
    """Process about this much of a partition at once."""
    fetch_bytes: Size = Size(8 << 20)
    """Fetch no more than this at once from a broker (at most 1 MiB of it for one partition), compressed as it is."""
    session_timeout: Duration = Duration(10.0)
    """A process that the brokers have not heard of for this long loses its partitions to the others."""
    drain: Duration = Duration(5.0)
    """How long a rebalance may be held up until what was read is delivered."""
    refresh: Duration = Duration(60.0)
    """How often to look for new topics and partitions."""
    tls: Tls | None = None
    """Encrypt the connection; `{}` trusts what the system trusts."""
    sasl: Sasl | None = None
    """How to log in."""

    _held: Held | None = None
    _member: Any = None
    _messages: Messages | None = None
    _failed: dict[str, str] = {}
    _unreadable: int = 0
    """Batches of messages that could not be read."""

    def check(self) -> Iterable[tuple[str, str]]:
        """Options that contradict each other, and the package."""
        yield from problems(self.brokers, self.sasl)
        if bool(self.topics) == bool(self.pattern):
            yield "topics", "write either `topics` or `pattern`"
        try:
            re.compile(self.pattern)
        except re.error as error:
            yield "pattern", f"not a regular expression: {error}"
        if self.start_at not in ("earliest", "latest"):
            try:
                self.start_ms()
            except ValueError:
                yield (
                    "start_at",
                    f"{self.start_at!r} is neither earliest, latest nor a time such as 2025-01-31T12:00:00Z",
                )
        for name, what in self.fields.items():
            if not known(what):
                yield f"fields.{name}", f"{what!r} is nothing of a message: write key, offset, timestamp or header.NAME"
            if name in ("source", "topic", "partition"):
                yield f"fields.{name}", "every record has a field of that name already"

    def writes(self) -> Iterable[str]:
        """What holds for the partition, and `fields`."""
        return ("source", "topic", "partition", *self.fields)

    def tells_apart(self) -> Iterable[str]:
        """Several processes share the partitions as the group decides."""
        return ("topic", "partition")

    def share(self, share: Share) -> None:
        """The group shares the partitions out; here each process only needs a name of its own there."""
        if self.group_instance_id:
            self.group_instance_id = f"{self.group_instance_id}-{share.worker}"

    def start_ms(self) -> int:
        """`start_at` in Unix ms. Raises ValueError when it is no time."""
        moment = datetime.fromisoformat(self.start_at)
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)

    async def probe(self) -> None:
        """Connect and log in; topics that are named must be there."""
        there = await topics(self.brokers, self.tls, self.sasl)
        if missing := sorted(set(self.topics) - there):
            raise ProbeError(f"there is no topic {missing[0]!r}, or this user may not see it", "topics")

    def hold(self, held: Held) -> None:
        """Where we are in each partition is known there."""
        self._held = held

    async def chunks(self, resume: Mapping[str, Position], *, once: bool) -> AsyncGenerator[Chunk, None]:
        """Read what is ours. `once`: to the end that the partitions have when they are taken up."""
        from ._kafka_member import Member

        assert self._held is not None
        member = self._member = Member(self, self._held)
        self._messages = Messages(
            chunk_bytes=self.chunk_bytes, max_event=self.max_event, tombstones=self.tombstones, fields=self.fields
        )
        await member.join()
        ends: dict[TopicPartition, int] | None = {} if once else None
        while True:
            this_round = member.round
            for chunk in await self._next(member, ends):
                if this_round != member.round:
                    break
                member.in_hand = chunk.partition
                try:
                    yield chunk
                finally:
                    member.in_hand = ""
            if ends is not None and await member.at(ends):
                return

    async def commit(
        self,
        positions: Mapping[str, Position],
        states: Mapping[str, bytes],
        taken: Mapping[str, Mapping[str, int]],
    ) -> None:
        """To the group, with what the stages carry and what single sinks have, for whoever goes on there."""
        if self._member:
            await self._member.commit(positions, states, taken)

    async def close(self) -> None:
        """Leave the group."""
        if self._member:
            await self._member.leave()

    def failing(self) -> Mapping[str, str]:
        """What the brokers say when they give nothing."""
        return self._failed

    def collect(self) -> Iterable[Metric]:
        """How far behind each partition is, and what was not read as an event."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        lag = GaugeMetricFamily(
            "tailrace_kafka_lag_messages", "Messages behind the end.", labels=("component", "topic", "partition")
        )
        member: Member | None = self._member
        for tp, behind in member.lag() if member else ():
            lag.add_metric((self.name, tp.topic, str(tp.partition)), behind)
        yield lag
        for name, words, count in (
            (
                "tailrace_kafka_tombstones",
                "Messages without a value.",
                self._messages.tombstones if self._messages else 0,
            ),
            ("tailrace_kafka_unreadable", "Batches of messages that could not be read.", self._unreadable),
            (
                "tailrace_kafka_expired",
                "Messages that were deleted before they were read.",
                member.expired if member else 0,
            ),
            ("tailrace_kafka_rebalances", "Times that partitions were given back.", member.rebalances if member else 0),
        ):
            family = CounterMetricFamily(name, words, labels=("component",))
            family.add_metric((self.name,), count)
            yield family

    async def _next(self, member: Member, ends: dict[TopicPartition, int] | None) -> Sequence[Chunk]:
        """Chunks of partitions that were just taken up, or of what was polled."""
        from aiokafka.errors import CorruptRecordException, KafkaError, OffsetOutOfRangeError, UnsupportedCodecError

        try:
            if begun := await member.take_up():
                return begun
            if ends is not None and (new := member.next.keys() - ends.keys()):
                ends |= await member.consumer.end_offsets(list(new))
            await member.commit_again()
            polled = await member.poll()
        except OffsetOutOfRangeError as error:
            member.rewind()
            member.out_of_range(error.args[0])
        except (CorruptRecordException, UnsupportedCodecError):
            return await self._salvage(member)
        except (KafkaError, TimeoutError) as error:
            member.rewind()
            self._failed = {"kafka": str(error) or "no answer"}
            log.warning("cannot read, trying again", source=self.name, error=error or "no answer")
            await asyncio.sleep(1)
        except Expired:
            raise
        except Exception:  # what is in a batch makes its decoder raise anything
            return await self._salvage(member)
        else:
            self._failed = {}
            return self._take(member, polled)
        return ()

    def _take(self, member: Member, polled: Mapping[TopicPartition, Sequence[Any]]) -> list[Chunk]:
        """Messages as chunks; of partitions that were not taken up yet they are asked for again."""
        assert self._messages is not None
        found: list[Chunk] = []
        for tp, messages in polled.items():
            start = member.next.get(tp)
            if start is None:
                continue
            if messages[0].offset < start:
                messages = [message for message in messages if message.offset >= start]
            if messages:
                position = member.position(tp, start)
                found += self._messages.chunks(name_of(tp), position, member.labels(tp), messages)
                member.next[tp] = messages[-1].offset + 1
        return found

    async def _salvage(self, member: Member) -> Sequence[Chunk]:
        """Something that was polled cannot be read: find out where, and go on behind it."""
        from aiokafka.errors import CorruptRecordException, KafkaError, UnsupportedCodecError

        member.rewind()  # what was polled with it has not come to us
        for tp in sorted(member.next):
            try:
                polled = await member.poll(tp)
            except Exception as error:
                unreadable = not isinstance(error, KafkaError) or isinstance(
                    error, CorruptRecordException | UnsupportedCodecError
                )
                if unreadable and tp in member.next:
                    return [await self._bury(member, tp, error)]
            else:
                if polled:
                    return self._take(member, polled)
        return ()

    async def _bury(self, member: Member, tp: TopicPartition, error: Exception) -> Chunk:
        """A dead letter for a batch that cannot be read."""
        start = member.next[tp]
        end = end_of_batch(await member.raw(tp, start), start)
        why = f"offsets {start} to {end - 1} cannot be read: {type(error).__name__}: {error}"
        log.error("a batch of messages cannot be read", source=self.name, path=name_of(tp), reason=why)
        self._unreadable += 1
        member.next[tp] = end
        member.consumer.seek(tp, end)
        return Chunk(name_of(tp), member.position(tp, end), [], [], member.labels(tp), 0, dead=[(start, why)])
