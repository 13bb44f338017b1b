"""Writes messages to Kafka: each once as long as the process lives, or in one transaction with where they came from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeAlias

import msgspec
from aiokafka import AIOKafkaProducer, OffsetAndMetadata, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, UnknownTopicOrPartitionError

from ..batch import Batch

PATIENCE = 30.0
"""Seconds for the brokers to take messages, before somebody is told that they do not."""
BATCH_BYTES = 256 << 10
"""Of one batch of messages for a partition."""
NO_TOPIC_SECONDS = 3.0
"""A topic that nobody made is waited for this long: the broker may be about to make it."""

OF_TRANSACTIONS = ".tailrace-transactions"
"""Behind `transactional_id`, the group that keeps how far the transactions have got."""

Refused: TypeAlias = list[tuple["Message", str]]
"""Messages that can never be taken, each with the reason."""


Key: TypeAlias = tuple[int, int]


class Message(NamedTuple):
    """One record as it is written."""

    batch: Batch
    place: int
    """In the batch."""
    offset: int
    """Of the record, in its own partition."""
    topic: str
    value: bytes
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int

    @property
    def id(self) -> Key:
        """Tells it from all others, as long as the batch is there."""
        return id(self.batch), self.place


Pending: TypeAlias = dict[Key, tuple[Message, "asyncio.Future[Any]"]]
"""Messages that the client was given, and what tells that they were written."""


class Producer:
    """Writes with retries that a broker can tell from new messages."""

    def __init__(self, options: Mapping[str, Any], *, chosen: bool) -> None:
        self._options = options
        self._chosen = chosen
        """Records choose topics: one that is not there is the record's fault."""
        self._client: AIOKafkaProducer | None = None
        self._pending: Pending = {}
        """What the client has and did not answer for yet: not handed over again by a second attempt."""
        self._done: set[Key] = set()
        """What was written by attempts that failed for other messages."""

    async def put(self, messages: Sequence[Message]) -> Refused:
        """Write; after an error what is left of the same batches is written by the next call."""
        refused: Refused = []
        try:
            await self._put(messages, refused)
        except (TimeoutError, KafkaTimeoutError):
            raise  # the client still has what it was given, and goes on trying
        except Exception:
            for one, future in self._pending.values():
                if future.done() and not future.exception():
                    self._done.add(one.id)
            self._pending.clear()
            await self.close()
            raise
        self._done.clear()
        return refused

    async def _put(self, messages: Sequence[Message], refused: Refused) -> None:
        left = [one for one in messages if one.id not in self._done and one.id not in self._pending]
        await hand_over(await self._started(), left, self._pending, refused, chosen=self._chosen)
        failed = await wait_for(self._pending)
        if not failed:
            self._pending.clear()
            return
        if not any(isinstance(error, MessageSizeTooLargeError) for _, error in failed):
            raise failed[0][1]
        self._done.update(self._pending)
        self._done.difference_update(one.id for one, _ in failed)
        self._pending.clear()
        await self.close()  # it has counted what it sent, the broker what it took
        for one, _ in failed:
            try:
                await (await self._started()).send_and_wait(one.topic, **arguments(one))  # without the others
            except MessageSizeTooLargeError as error:
                refused.append((one, too_large(one, error)))
                await self.close()
            self._done.add(one.id)

    async def close(self) -> None:
        """Let the connections go."""
        client, self._client = self._client, None
        if client:
            await stop(client)

    async def _started(self) -> AIOKafkaProducer:
        if self._client is None:
            self._client = await start(AIOKafkaProducer(**self._options, enable_idempotence=True))
        return self._client


class Note(msgspec.Struct, omit_defaults=True):
    """What is kept with the offsets of a transaction."""

    refused: list[int] = []
    """Offsets of records that the transaction left out: a crash may have come before they were dead letters."""


class Transactions:
    """Writes what comes from one partition, with the offset behind it: both or nothing.

    Whoever begins with a partition fences off all who wrote for it before, and learns how far they got.
    """

    def __init__(
        self,
        options: Mapping[str, Any],
        connection: Mapping[str, Any],
        name: str,
        partition: tuple[str, int],
        *,
        chosen: bool,
    ) -> None:
        self._options = options
        self._connection = connection
        self._name = name
        # Never the group that the source commits to: there is only what every sink has taken.
        self._group = f"{name}{OF_TRANSACTIONS}"
        self._partition = TopicPartition(*partition)
        self._chosen = chosen
        self._client: AIOKafkaProducer | None = None
        self._written = 0
        """What comes before this offset was written before."""
        self._refused: frozenset[int] = frozenset()
        """Of it, what was left out."""
        self._large: set[Key] = set()
        """Messages that a broker found too large when they came alone."""
        self._alone = False
        """Find out which message is too large."""

    async def put(self, messages: Sequence[Message]) -> Refused:
        """Write in one transaction. After an error nothing of it counts: call again."""
        while True:
            refused: Refused = []
            try:
                async with asyncio.timeout(2 * PATIENCE):
                    if await self._try(messages, refused):
                        self._large.clear()
                        return refused
            except TimeoutError:
                await self.close()
                raise TimeoutError("the brokers did not finish the transaction") from None
            except BaseException:
                await self.close()
                raise
            await self.close()

    async def _try(self, messages: Sequence[Message], refused: Refused) -> bool:
        """False when a message was found too large: to be called again, which leaves it out."""
        if self._client is not None and messages[0].offset < self._written:
            await self.close()  # a topic made anew, or a second attempt: the broker knows what counts
        if self._client is None:
            await self._begin()
        assert self._client is not None
        left = []
        for one in messages:
            if one.offset < self._written:
                if one.offset in self._refused:
                    refused.append((one, "left out by a transaction before a restart"))
            elif one.id in self._large:
                refused.append((one, "the broker says that it is too large"))
            else:
                left.append(one)
        if not left and not (refused and refused[-1][0].offset >= self._written):
            return True
        await self._client.begin_transaction()
        if self._alone:
            for one in left:
                if await self._fails(one, refused):
                    return False
        elif any(isinstance(error, MessageSizeTooLargeError) for error in await self._fill(left, refused)):
            self._alone = True
            return False
        end = max(one.offset for one in messages) + 1
        note = Note(sorted({one.offset for one, _ in refused}))
        at = OffsetAndMetadata(end, msgspec.json.encode(note).decode())
        await self._client.send_offsets_to_transaction({self._partition: at}, self._group)
        await self._client.commit_transaction()
        self._written, self._alone = end, False
        return True

    async def _fill(self, messages: Sequence[Message], refused: Refused) -> list[Exception]:
        pending: Pending = {}
        await hand_over(self._client, messages, pending, refused, chosen=self._chosen)
        errors = [error for _, error in await wait_for(pending)]
        for error in errors:
            if not isinstance(error, MessageSizeTooLargeError):
                raise error
        return errors

    async def _fails(self, one: Message, refused: Refused) -> bool:
        if await self._fill([one], refused):
            self._large.add(one.id)
            return True
        return False

    async def close(self) -> None:
        """Let go; a transaction that is open is aborted by who begins next, or by its time."""
        client, self._client = self._client, None
        if client:
            await stop(client)

    async def _begin(self) -> None:
        name = f"{self._name}-{self._partition.topic}-{self._partition.partition}"
        client = await start(AIOKafkaProducer(**self._options, transactional_id=name))
        admin = AIOKafkaAdminClient(**self._connection)
        try:
            await admin.start()
            told = await admin.list_consumer_group_offsets(self._group, partitions=[self._partition])
        except BaseException:
            await stop(client)
            raise
        finally:
            await admin.close()
        found = told.get(self._partition)
        self._written, self._refused = 0, frozenset()
        if found is not None and found.offset >= 0:
            self._written = found.offset
            with suppress(msgspec.DecodeError):
                self._refused = frozenset(msgspec.json.decode(found.metadata, type=Note).refused)
        self._client = client


async def start(client: AIOKafkaProducer) -> AIOKafkaProducer:
    """The client itself, once it has begun."""
    try:
        async with asyncio.timeout(PATIENCE):
            await client.start()
    except BaseException:
        await stop(client)
        raise
    return client


async def stop(client: AIOKafkaProducer) -> None:
    """End it, with or without what it still has to send."""
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(3):
            await client.stop()


async def hand_over(
    client: Any, messages: Sequence[Message], pending: Pending, refused: Refused, *, chosen: bool
) -> None:
    """Give the messages to the client; those that it can never take are added to `refused`."""
    topics = {one.topic for one in messages} if chosen else set()
    there = await asyncio.gather(*(_is_there(client, topic) for topic in topics))
    missing = {topic for topic, found in zip(topics, there, strict=True) if not found}
    for one in messages:
        if one.topic in missing:
            refused.append((one, f"there is no topic {one.topic!r}, and the broker does not make it"))
            continue
        try:
            pending[one.id] = one, await client.send(one.topic, **arguments(one))
        except MessageSizeTooLargeError as error:
            refused.append((one, too_large(one, error)))


async def _is_there(client: Any, topic: str) -> bool:
    try:
        async with asyncio.timeout(NO_TOPIC_SECONDS):
            await client.partitions_for(topic)
    except (TimeoutError, UnknownTopicOrPartitionError):
        return False
    return True


async def wait_for(pending: Pending) -> list[tuple[Message, Exception]]:
    """What failed of it, once the brokers have answered for all. Raises TimeoutError."""
    if pending:
        _, late = await asyncio.wait([future for _, future in pending.values()], timeout=PATIENCE)
        if late:
            raise TimeoutError("the brokers have not taken the messages yet")
    return [(one, error) for one, future in pending.values() if isinstance(error := future.exception(), Exception)]


def arguments(one: Message) -> dict[str, Any]:
    """What the client's `send` takes beside the topic."""
    return {"value": one.value, "key": one.key, "headers": one.headers, "timestamp_ms": one.timestamp_ms}


def too_large(one: Message, error: Exception) -> str:
    """Why it is refused."""
    return f"{len(one.value)} bytes are too large for a message: {error}"
