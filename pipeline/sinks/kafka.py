"""Sink `kafka`: writes records to a topic, each once; what comes from Kafka exactly once, by transactions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from ..batch import Batch, LineForm
from ..component import ProbeError, Rejected, Sink
from ..kafka_client import Sasl, connection, problems, topics
from ..options import Size, Template, Tls

if TYPE_CHECKING:
    from ._kafka_producer import Message, Producer, Transactions

TOPIC_CHARS = 249
"""Kafka takes no longer name."""
_ILLEGAL = re.compile(r"[^A-Za-z0-9._-]")
MISSING = "unknown"
"""Of a field in the topic's name that a record does not have."""


class Kafka(Sink):
    """Writes each record as a message: the line or all fields as JSON, with the record's time.

    A broker tells a repeated attempt from a new message, so each record is written once while the process lives; after
    a crash the last ones may be written again. With `transactional_id`, records that came from Kafka are written
    exactly once whatever happens, for readers with `isolation.level=read_committed`.
    """

    brokers: Annotated[list[str], msgspec.Meta(min_length=1)]
    """Where to ask first, as `HOST:9092`; the others are found."""
    topic: Template
    """Where to write; `{field}` chooses among topics that begin like the text in front of it. What may not stand in
    a topic's name becomes `_`, a missing field `unknown`."""
    key: str = ""
    """The field that is the message's key: equal keys go to the same partition, in their order."""
    headers: list[str] = []
    """Fields that become headers of the message."""
    line: LineForm = "raw"
    """`raw` writes the line as the stages left it, `json` all fields as one JSON object."""
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = "lz4"
    """How batches of messages are compressed."""
    max_message: Size = Size(1_000_000)
    """A larger message goes to the dead letter. Brokers take a little over 1 MB unless they are told otherwise."""
    transactional_id: str = ""
    """For records of a source `kafka` on the same brokers: a name for this config, the same in all processes of the
    group. Each send is a transaction with the offsets that it comes from, which the group
    `ID.tailrace-transactions` keeps."""
    tls: Tls | None = None
    """Encrypt the connection; `{}` trusts what the system trusts."""
    sasl: Sasl | None = None
    """How to log in."""

    _producers: dict[Any, Any] = {}
    _attempt: list[Batch] = []
    """What is being sent, or could not be sent as a whole …"""
    _answers: dict[Any, Any] = {}
    """… and what became of those parts of it that were."""

    def check(self) -> Iterable[tuple[str, str]]:
        """A topic that a record could choose freely, or a name that Kafka does not take."""
        yield from problems(self.brokers, self.sasl)
        head = self.topic.parts[0]
        if self.topic.fields and not re.search("[A-Za-z0-9]", head):
            yield "topic", f"begin with a name, such as logs-{self.topic.text}: a record must not choose any topic"
        literal = "".join(self.topic.parts[::2])
        if bad := _ILLEGAL.search(literal):
            yield "topic", f"{bad[0]!r} cannot stand in the name of a topic: letters, digits, `.`, `_` and `-` can"
        if not self.topic.fields and not 0 < len(literal.strip(".")) <= TOPIC_CHARS:
            yield "topic", f"{literal!r} is not the name of a topic"

    def reads(self) -> Iterable[str]:
        """The fields of the topic's name, the key, the headers and `match`."""
        keys = (self.key,) if self.key else ()
        return {*self.topic.fields, *keys, *self.headers, *(self.match.fields if self.match else ())}

    async def probe(self) -> None:
        """Connect and log in; a topic that is named must be there."""
        there = await topics(self.brokers, self.tls, self.sasl)
        if not self.topic.fields and self.topic.text not in there:
            raise ProbeError(f"there is no topic {self.topic.text!r}, or this user may not see it", "topic")

    async def close(self) -> None:
        """Let the connections go."""
        await asyncio.gather(*(producer.close() for producer in self._producers.values()))
        self._producers.clear()

    async def send(self, batches: Sequence[Batch]) -> None:
        """Write. Raises Rejected for messages that are too large, or whose topic is not there."""
        if list(map(id, batches)) != list(map(id, self._attempt)):
            self._attempt, self._answers = list(batches), {}
        groups: dict[Any, list[Message]] = {}
        for batch in batches:
            if (writer := self._writer(batch)) not in self._answers:
                groups.setdefault(writer, []).extend(self._messages(batch))
        puts = (self._producer(writer).put(messages) for writer, messages in groups.items())
        found = dict(zip(groups, await asyncio.gather(*puts, return_exceptions=True), strict=True))
        errors = [answer for answer in found.values() if isinstance(answer, BaseException)]
        self._answers |= {writer: answer for writer, answer in found.items() if not isinstance(answer, BaseException)}
        if errors:
            raise errors[0]
        refused = [one for answer in self._answers.values() for one in answer]
        self._attempt, self._answers = [], {}
        if refused:
            hint = "raise max_message (and max.message.bytes of the topic), make the topic, or shorten with `truncate`"
            raise Rejected([(one.batch.records[one.place], reason) for one, reason in refused], hint)

    def _writer(self, batch: Batch) -> tuple[str, int] | None:
        """The partition whose transactions it belongs to."""
        topic, partition = batch.labels.get("topic"), batch.labels.get("partition", "")
        if not self.transactional_id or topic is None or not partition.isdecimal():
            return None
        return topic, int(partition)

    def _producer(self, writer: tuple[str, int] | None) -> Producer | Transactions:
        from ._kafka_producer import BATCH_BYTES, Producer, Transactions

        found: Producer | Transactions | None = self._producers.get(writer)
        if found is None:
            common = connection(self.brokers, self.tls, self.sasl)
            options = {
                **common,
                "compression_type": None if self.compression == "none" else self.compression,
                "max_request_size": int(self.max_message),
                "max_batch_size": BATCH_BYTES,
                "linger_ms": 5,
            }
            chosen = bool(self.topic.fields)
            if writer is None:
                found = Producer(options, chosen=chosen)
            else:
                found = Transactions(options, common, self.transactional_id, writer, chosen=chosen)
            self._producers[writer] = found
        return found

    def _messages(self, batch: Batch) -> list[Message]:
        from ._kafka_producer import Message

        count = len(batch)
        columns = [batch.values(field) for field in self.topic.fields]
        rows = zip(*columns, strict=True) if columns else [()] * count
        names = [_topic(self.topic, tuple(map(_text, row))) for row in rows]
        keys = batch.values(self.key) if self.key else [None] * count
        headers = [(field, batch.values(field)) for field in self.headers]
        offsets = [record.offset for record in batch.records]
        return [
            Message(
                batch,
                place,
                offsets[place],
                names[place],
                line,
                _bytes(keys[place]),
                [(field, value) for field, values in headers if (value := _bytes(values[place])) is not None],
                time_ns // 1_000_000,
            )
            for place, (line, time_ns) in enumerate(zip(batch.shipped(self.line), batch.times, strict=True))
        ]


@lru_cache(maxsize=4096)
def _topic(template: Template, values: tuple[str, ...]) -> str:
    """The name with these values, confined to what begins with the template's first words."""
    fields = dict(zip(template.fields, values, strict=True))
    return template.render(lambda field: _ILLEGAL.sub("_", fields[field]) or MISSING)[:TOPIC_CHARS]


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _bytes(value: object) -> bytes | None:
    return None if value is None else _text(value).encode("utf-8", "replace")
