"""A member of a consumer group: which partitions are ours, from where on, and what of them is committed."""

from __future__ import annotations

import asyncio
import uuid
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, Literal, Protocol

import msgspec
from aiokafka import AIOKafkaClient, AIOKafkaConsumer, ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer import fetcher
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.protocol.fetch import FetchRequest

from ..batch import Chunk, Position
from ..component import Held
from ..kafka_client import Sasl, connection
from ..log import log
from ..options import Duration, Size, Tls
from ._kafka_messages import Expired, name_of

FOREVER_MS = 10 * 365 * 86_400_000
"""Between two polls: sinks that cannot take anything are no reason to leave the group, heartbeats say we are here."""
METADATA_BYTES = 4000
"""A broker keeps 4 KiB of metadata with an offset, unless it is told otherwise."""
POLL_MS = 500
SENDING_SECONDS = 1.0
"""A send that has begun is waited for, so that what a sink takes is known to who goes on."""
ASK_SECONDS = 30.0
"""For a question to the brokers; then it is asked again."""


MOST_MESSAGES = 5000
"""Of one partition in one poll; a batch of messages that was begun is taken whole."""


def as_it_is(value: bytes | None) -> bytes | None:
    """Marks the consumer whose messages come many at a time, see `_Many`."""
    return value


class _Whole:
    """A batch of messages that is read at once: its one record is the list of them."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        self.messages: list[Any] = []
        self.offset = -1
        """Of the last message, for whoever compares it with where to read on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[_Whole]:
        self.messages = list(self._batch)
        if self.messages:
            self.offset = self.messages[-1].offset
            yield self


class _Wholes:
    """The batches of an answer, each as a `_Whole`."""

    def __init__(self, records: Any) -> None:
        self.has_next = records.has_next
        self._next = records.next_batch

    def next_batch(self) -> _Whole:
        """The next."""
        return _Whole(self._next())


class _Many(fetcher.PartitionRecords):  # type: ignore[misc]  # the client has no types
    """For our consumer each record is a list of messages: one at a time they take three times as long to read.

    What comes before a batch that cannot be read is given first.
    """

    def __init__(self, tp: TopicPartition, records: Any, *args: Any, **options: Any) -> None:
        self._error: Exception | None = None
        super().__init__(tp, records, *args, **options)
        self._many = self._value_deserializer is as_it_is
        if self._many:
            self._records = _Wholes(records)
            self._consumer_record = _messages

    def __next__(self) -> Any:
        if not self._many:
            return super().__next__()
        error, self._error = self._error, None
        if error:
            raise error
        if self._records_iterator is None:
            raise StopIteration
        found: list[Any] = []
        try:
            while len(found) < MOST_MESSAGES:
                found += super().__next__()
        except StopIteration:
            if not found:
                raise
        except Exception as unreadable:  # what is in a batch makes its decoder raise anything
            if not found:
                raise
            self._error = unreadable
        return found


def _messages(_partition: Any, whole: _Whole) -> list[Any]:
    return whole.messages


fetcher.PartitionRecords = _Many


class Options(Protocol):
    """The source's, see there."""

    name: str
    brokers: list[str]
    tls: Tls | None
    sasl: Sasl | None
    group: str
    group_instance_id: str
    topics: list[str]
    pattern: str
    start_at: str
    on_expired: Literal["earliest", "latest", "stop"]
    isolation: Literal["read_committed", "read_uncommitted"]
    fetch_bytes: Size
    session_timeout: Duration
    drain: Duration
    refresh: Duration

    def start_ms(self) -> int:
        """`start_at` in Unix ms."""


class Committed(msgspec.Struct, omit_defaults=True):
    """What is kept with a committed offset, for whoever goes on there."""

    claim: str = ""
    """Of the process that goes on there: as long as it stands, nobody else has read the partition since."""
    slot: int = 0
    state: msgspec.Raw = msgspec.Raw(b"{}")
    """What stages carry beyond the offset."""
    taken: dict[str, int] = {}
    """The sinks that have more than what comes before the offset: what comes before this one."""


class Member:
    """Joins the group, and takes partitions up and gives them back as the group decides."""

    def __init__(self, options: Options, held: Held) -> None:
        self.options = options
        self.held = held
        self.connection = connection(options.brokers, options.tls, options.sasl)
        self.assigned: set[TopicPartition] = set()
        self.next: dict[TopicPartition, int] = {}
        """The offset to read next of each partition that was taken up."""
        self.claims: dict[TopicPartition, str] = {}
        self.in_hand = ""
        """The partition of the chunk that the run is taking just now."""
        self.round = 0
        """Counts up at each rebalance: what was asked for before it is of no use."""
        self.expired = 0
        """Messages that were gone before they were read."""
        self.rebalances = 0
        self.joined = False
        self._names: dict[str, TopicPartition] = {}
        self._slots: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, tuple[int, Mapping[str, int]]] = {}
        """The offset, and what sinks have beyond it."""
        self._let_go: set[TopicPartition] = set()
        """What was read of these and not delivered is read again."""
        self._committing_until: asyncio.Timeout | None = None
        self._read: dict[TopicPartition, int] = {}
        self._committing = asyncio.Lock()
        self._again: tuple[Mapping[str, Position], Mapping[str, bytes], Mapping[str, Mapping[str, int]]] | None = None
        """What could not be committed."""
        self._gone: set[TopicPartition] = set()
        """Partitions of which a broker said that it does not have what we ask for."""
        ConsumerRebalanceListener.register(Member)
        instance = options.group_instance_id
        session = int(options.session_timeout * 1000)
        self.consumer = AIOKafkaConsumer(
            **self.connection,
            group_id=options.group,
            group_instance_id=instance or None,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level=options.isolation,
            fetch_max_bytes=options.fetch_bytes,
            max_partition_fetch_bytes=min(options.fetch_bytes, 1 << 20),
            session_timeout_ms=session,
            heartbeat_interval_ms=max(100, session // 5),
            # A member that holds up a rebalance for longer is taken for dead.
            rebalance_timeout_ms=session + int(options.drain * 1000) + 5000,
            max_poll_interval_ms=FOREVER_MS,
            value_deserializer=as_it_is,
            metadata_max_age_ms=int(options.refresh * 1000),
        )

    async def join(self) -> None:
        """Connect, as long as it takes."""
        if self.options.topics:
            self.consumer.subscribe(topics=self.options.topics, listener=self)
        else:
            self.consumer.subscribe(pattern=f"^(?:{self.options.pattern})$", listener=self)
        while True:
            try:
                await self.consumer.start()
            except KafkaError as error:
                log.warning("cannot connect to Kafka, trying again", source=self.options.name, error=error)
                await asyncio.sleep(1)
            else:
                return

    async def leave(self) -> None:
        """Give everything back; whoever takes it up need not wait for our session to end."""
        with suppress(KafkaError, TimeoutError):
            async with asyncio.timeout(5):
                await self.consumer.stop()

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Hold what is ours until its events are delivered (for `drain` at most) and committed, then let go of it."""
        self.round += 1
        names = [name_of(tp) for tp in revoked if tp in self.claims]
        if names:
            self.rebalances += 1
            try:
                async with asyncio.timeout(0 if self._is_out() else self.options.drain):
                    while not all(name != self.in_hand and self.held.settled(name) for name in names):  # noqa: ASYNC110  # of acks no event tells
                        await asyncio.sleep(0.01)
            except TimeoutError:
                log.warning(
                    "a rebalance did not wait: what is not delivered yet is left to who goes on there",
                    source=self.options.name,
                    limit_s=self.options.drain,
                )
                self._let_go.update(tp for tp in revoked if tp in self.claims)
                with suppress(TimeoutError):
                    async with asyncio.timeout(SENDING_SECONDS):
                        while sum([not self.held.let_go(name) for name in names]) or self.in_hand in names:  # noqa: ASYNC110  # the same
                            await asyncio.sleep(0.01)
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await self.held.save()
        self.assigned = set()
        self._read |= self.next
        for known in (self.next, self.claims, self._committed, self._slots):
            known.clear()
        self._names.clear()
        self._again = None
        if self._committing_until:  # the client would try it again as the member that we are next
            with suppress(RuntimeError):  # it is over just now
                self._committing_until.reschedule(0)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """They are taken up by who reads them."""
        self.round += 1
        self.joined = True
        self.assigned = set(assigned)
        # As `path`, for what is assigned next is no repeat in the log.
        names = ", ".join(sorted(map(name_of, self.assigned)))
        log.info("partitions assigned", source=self.options.name, count=len(self.assigned), path=names)

    async def take_up(self) -> list[Chunk]:
        """Begin with the partitions that are new to us: where we were if nobody else had them, else where others were.

        Returns a chunk without events for each that begins anew. Raises Expired.
        """
        new = self.assigned - self.next.keys()
        if not new:
            return []
        this_round = self.round
        async with asyncio.timeout(ASK_SECONDS):
            committed = await self._ask(new)
            begins = await self.consumer.beginning_offsets(new)
            ends = await self.consumer.end_offsets(new)
            unknown = [tp for tp in new if tp not in committed]
            starts = await self._starts(unknown, begins, ends)
        if this_round != self.round:
            return []
        begun: list[Chunk] = []
        states: dict[str, bytes] = {}
        taken: dict[str, Mapping[str, int]] = {}
        for tp in sorted(new):
            found = committed.get(tp)
            note = _decoded(found.metadata) if found else Committed()
            name, slot = name_of(tp), note.slot or slot_of(tp)
            position = self.held.read_to(name)
            ours = position is not None and note.claim and position.get("claim") == note.claim
            ours = ours and tp not in self._let_go
            at = int(position["offset"] if ours and position else found.offset if found else starts[tp])
            there = self._in_range(tp, at, begins[tp], ends[tp])
            claim = note.claim
            if not ours or there != at:
                claim = uuid.uuid4().hex[:12]
                self.claims[tp] = claim
                begun.append(Chunk(name, self.position(tp, there), [], [], self.labels(tp), 0))
                states[name] = bytes(note.state) if there == at else b"{}"
                taken[name] = note.taken if there == at else {}
                self.held.restart(name, begun[-1].position, states[name], slot, taken[name])
            self.consumer.seek(tp, there)
            self.next[tp], self.claims[tp], self._slots[tp], self._names[name] = there, claim, slot, tp
            self._committed[tp] = (found.offset, note.taken) if found and claim == note.claim else (-1, {})
        self._gone -= new
        self._let_go -= new
        await self.commit({chunk.partition: chunk.position for chunk in begun}, states, taken)
        return begun

    def position(self, tp: TopicPartition, offset: int) -> Position:
        """As it is saved."""
        return {"offset": offset, "claim": self.claims[tp]}

    def labels(self, tp: TopicPartition) -> dict[str, str]:
        """What holds for all messages of a partition."""
        return {"source": self.options.name, "topic": tp.topic, "partition": str(tp.partition)}

    async def commit(
        self,
        positions: Mapping[str, Position],
        states: Mapping[str, bytes],
        taken: Mapping[str, Mapping[str, int]],
    ) -> None:
        """Commit what is still ours. What fails now is committed with the next."""
        async with self._committing:
            due, done = {}, {}
            for name, position in positions.items():
                tp, at = self._names.get(name), int(position.get("offset", -1))
                # Of a partition that went and came back only what was read since counts.
                if tp is None or self.claims[tp] != position.get("claim"):
                    continue
                ahead = {sink: end for sink, end in taken.get(name, {}).items() if end > at}
                before, ahead_before = self._committed[tp]
                if at > before or (at == before and ahead != ahead_before):
                    state = msgspec.Raw(states.get(name, b"{}"))
                    due[tp] = OffsetAndMetadata(at, _encoded(Committed(self.claims[tp], self._slots[tp], state, ahead)))
                    done[tp] = at, ahead
            if not due:
                return
            self._again = None
            try:
                async with asyncio.timeout(ASK_SECONDS / 3) as self._committing_until:
                    await self.consumer.commit(due)
            except CommitFailedError:
                log.warning("not committed: the group has given the partitions to others", source=self.options.name)
            except (KafkaError, TimeoutError) as error:
                log.warning("cannot commit, trying again", source=self.options.name, error=error or "no answer")
                self._again = positions, states, taken
            else:
                self._committed.update({tp: one for tp, one in done.items() if tp in self._committed})
            finally:
                self._committing_until = None

    async def poll(self, *partitions: TopicPartition) -> dict[TopicPartition, list[Any]]:
        """What has come of one of our partitions, of these if any are given. Raises what the client raises."""
        polled = await self.consumer.getmany(*partitions, timeout_ms=POLL_MS, max_records=1)
        return {tp: messages for tp, (messages,) in polled.items()}

    async def commit_again(self) -> None:
        """Try what could not be committed before."""
        if self._again:
            await self.commit(*self._again)

    def _is_out(self) -> bool:
        """The group has given what is ours to others already: there is nothing to hold it for."""
        told: int = getattr(getattr(self.consumer, "_coordinator", None), "generation", 0)
        return told < 0

    async def at(self, ends: Mapping[TopicPartition, int]) -> bool:
        """Everything that is ours was read up to these ends."""
        if not self.joined or self.assigned - self.next.keys():
            return False
        return all([await self.consumer.position(tp) >= ends.get(tp, 1 << 62) for tp in list(self.next)])

    def rewind(self) -> None:
        """Ask again from where we are: what was asked for last did not come to us."""
        for tp, at in self.next.items():
            with suppress(IllegalStateError):
                self.consumer.seek(tp, at)

    def lag(self) -> Iterable[tuple[TopicPartition, int]]:
        """Messages of each partition that are not read yet, as far as the brokers have told."""
        self._read |= self.next  # stays while partitions that came back cannot be taken up, as sinks have no room
        for tp in sorted(self.consumer.assignment() & self._read.keys()):
            if (end := self.consumer.highwater(tp)) is not None:
                yield tp, max(0, end - self._read[tp])

    async def raw(self, tp: TopicPartition, offset: int) -> bytes:
        """What a broker has from this offset on, as it is; nothing when that cannot be asked for."""
        client = AIOKafkaClient(**self.connection)
        try:
            await client.bootstrap()
            await client.set_topics([tp.topic])
            topics = [(tp.topic, [(tp.partition, offset, 1 << 20)])]
            answer = await client.send(
                client.cluster.leader_for_partition(tp), FetchRequest(POLL_MS, 1, 1 << 20, 0, topics)
            )
            return bytes(answer.topics[0][1][0][-1] or b"")
        except (KafkaError, OSError):
            return b""
        finally:
            await client.close()

    def out_of_range(self, offsets: Mapping[TopicPartition, int]) -> None:
        """What was to be read of these is gone: they are taken up anew, which says what was lost."""
        self._gone.update(offsets)
        for tp in offsets:
            self.next.pop(tp, None)

    async def _ask(self, new: Iterable[TopicPartition]) -> dict[TopicPartition, Any]:
        """The committed offsets, with what is kept with them."""
        admin = AIOKafkaAdminClient(**self.connection)
        await admin.start()
        try:
            told = await admin.list_consumer_group_offsets(self.options.group, partitions=list(new))
        finally:
            await admin.close()
        return {tp: one for tp, one in told.items() if one.offset >= 0}

    async def _starts(
        self, new: list[TopicPartition], begins: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int]
    ) -> Mapping[TopicPartition, int]:
        """Where the group begins in partitions of which it has never committed anything."""
        if self.options.start_at == "earliest":
            return begins
        if self.options.start_at == "latest":
            return ends
        if not new:
            return {}
        found = await self.consumer.offsets_for_times(dict.fromkeys(new, self.options.start_ms()))
        return {tp: one.offset if one else ends[tp] for tp, one in found.items()}

    def _in_range(self, tp: TopicPartition, at: int, begin: int, end: int) -> int:
        """The offset itself if it is still (or already) there, else as `on_expired` says, loudly."""
        if begin <= at and (at <= end or tp not in self._gone):
            return at
        lost = max(0, begin - at)
        words = f"{name_of(tp)}: offset {at} is not there, the partition has {begin} to {end}"
        if self.options.on_expired == "stop":
            raise Expired(f"{words}; set `on_expired`, or the group's offset")
        there: int = begin if self.options.on_expired == "earliest" else end
        self.expired += lost if there == begin else max(0, end - at)
        log.error(
            "messages were gone before they were read" if lost else "the partition is not the one that was read",
            source=self.options.name,
            path=name_of(tp),
            offset=at,
            begins=begin,
            ends=end,
            goes_on_at=there,
        )
        return there


def slot_of(tp: TopicPartition) -> int:
    """The same in every process, and different for all partitions of a topic: see `clock`."""
    number: int = tp.partition
    return zlib.crc32(tp.topic.encode()) % 62_000 + number + 1


def _encoded(note: Committed) -> str:
    text = msgspec.json.encode(note).decode()
    if len(text) <= METADATA_BYTES:
        return text
    log.warning("the stages carry too much to be kept with an offset: a repeat elsewhere may not be known as one")
    return msgspec.json.encode(Committed(note.claim, note.slot, taken=note.taken)).decode()


def _decoded(text: str) -> Committed:
    """What another consumer wrote there counts as nothing."""
    try:
        return msgspec.json.decode(text, type=Committed)
    except (msgspec.DecodeError, TypeError):
        return Committed()
