"""Messages of one Kafka partition as chunks: which of them are events, which are dead, which are left out."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from operator import itemgetter
from typing import Any, Literal, Protocol, TypeAlias, overload

from ..batch import Chunk, Position

Tombstones: TypeAlias = Literal["skip", "ship", "dead_letter"]

HEADER = "header."
_last_byte = itemgetter(-1)


class Expired(Exception):
    """What is to be read next is no longer there, and the policy is to stop."""


class Message(Protocol):
    """What aiokafka gives of a message."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""

    @property
    def timestamp(self) -> int:
        """Unix ms, -1 where it has none."""

    @property
    def key(self) -> bytes | None:
        """What decides on its partition."""

    @property
    def value(self) -> bytes | None:
        """None in a tombstone."""

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Names may come more than once."""


class _Times(Sequence[int | None]):
    """When messages were made, in Unix ns: looked at only where no stage finds a time."""

    def __init__(self, messages: Sequence[Message]) -> None:
        self._messages = messages

    @cached_property
    def _all(self) -> list[int | None]:
        times = [message.timestamp for message in self._messages]
        return [time * 1_000_000 if time >= 0 else None for time in times]

    def __len__(self) -> int:
        return len(self._messages)

    @overload
    def __getitem__(self, place: int) -> int | None: ...
    @overload
    def __getitem__(self, place: slice) -> list[int | None]: ...
    def __getitem__(self, place: int | slice) -> int | list[int | None] | None:
        return self._all[place]

    def __iter__(self) -> Iterator[int | None]:
        return iter(self._all)


class Messages:
    """Makes chunks of the messages of a source's partitions, and counts what is no event."""

    def __init__(self, *, chunk_bytes: int, max_event: int, tombstones: Tombstones, fields: Mapping[str, str]) -> None:
        self.tombstones = 0
        """Messages without a value, so far."""
        self._chunk_bytes = chunk_bytes
        self._max_event = max_event
        self._policy = tombstones
        self._fields = {name: _reader(what) for name, what in fields.items()}

    def chunks(
        self, partition: str, position: Position, labels: Mapping[str, str], messages: Sequence[Message]
    ) -> Iterator[Chunk]:
        """In pieces of about `chunk_bytes`; each ends after a whole message, and its position is like the given one."""
        values = [message.value for message in messages]
        try:
            sizes = list(map(len, values))  # type: ignore[arg-type]  # None is what the error is about
        except TypeError:
            sizes = [0 if value is None else len(value) for value in values]
        start = size = 0
        if sum(sizes) >= 2 * self._chunk_bytes:
            for place, more in enumerate(sizes):
                size += more
                if size >= self._chunk_bytes:
                    piece = slice(start, place + 1)
                    yield self._chunk(partition, position, labels, messages[piece], values[piece], sizes[piece])
                    start, size = place + 1, 0
        if start < len(messages):
            yield self._chunk(partition, position, labels, messages[start:], values[start:], sizes[start:])

    def _chunk(
        self,
        partition: str,
        position: Position,
        labels: Mapping[str, str],
        messages: Sequence[Message],
        values: list[bytes | None],
        sizes: list[int],
    ) -> Chunk:
        good, dead, long = messages, list[tuple[int, str]](), 0
        if None in values or max(sizes) > self._max_event:
            good, dead, long = self._sort(messages)
            values = [message.value or b"" for message in good]
        sent = next((message.timestamp for message in messages if message.timestamp >= 0), 0)
        first, end = messages[0].offset, messages[-1].offset + 1
        return Chunk(
            partition,
            position | {"offset": end},
            _without_line_breaks(values),  # type: ignore[arg-type]  # no None is left
            range(first, end) if end - first == len(good) else [message.offset for message in good],
            labels,
            sum(sizes),
            long=long,
            times=_Times(good),
            # Not the clock: another process that reads the same must make the same of it.
            read_at_ns=sent * 1_000_000,
            fields={name: list(map(read, good)) for name, read in self._fields.items()},
            dead=dead,
        )

    def _sort(self, messages: Sequence[Message]) -> tuple[list[Message], list[tuple[int, str]], int]:
        good: list[Message] = []
        dead: list[tuple[int, str]] = []
        long = 0
        for message in messages:
            if message.value is None:
                self.tombstones += 1
                if self._policy == "ship":
                    good.append(message)
                elif self._policy == "dead_letter":
                    dead.append((message.offset, "a tombstone: the message has no value"))
            elif len(message.value) > self._max_event:
                long += 1
                dead.append((message.offset, f"{len(message.value)} bytes, over max_event ({self._max_event})"))
            else:
                good.append(message)
        return good, dead, long


def _without_line_breaks(values: list[bytes]) -> list[bytes]:
    """The values, without a line break at their end."""
    try:
        if 10 not in map(_last_byte, values):
            return values
    except IndexError:
        pass  # one is empty
    return [value[:-1] if value[-1:] == b"\n" else value for value in values]


def name_of(partition: tuple[str, int]) -> str:
    """What a topic's partition is called in the state."""
    return "{}/{}".format(*partition)


def end_of_batch(data: bytes, offset: int) -> int:
    """The offset after the first batch that a broker answered with (Kafka's record batch, magic 2), at least one on."""
    end = 0
    if len(data) >= 27 and data[16] == 2:
        (base,), (last,) = struct.unpack_from(">q", data), struct.unpack_from(">i", data, 23)
        end = base + last + 1
    return max(end, offset + 1)


def known(what: str) -> bool:
    """True for what `fields` can take of a message."""
    return what in _READ or (what.startswith(HEADER) and len(what) > len(HEADER))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")


def _header(name: str) -> Callable[[Message], str | None]:
    def read(message: Message) -> str | None:
        found: Iterable[bytes | None] = (value for key, value in reversed(message.headers) if key == name)
        return _text(next(iter(found), None))

    return read


_READ: dict[str, Callable[[Message], Any]] = {
    "key": lambda message: _text(message.key),
    "offset": lambda message: message.offset,
    "timestamp": lambda message: message.timestamp if message.timestamp >= 0 else None,
}


def _reader(what: str) -> Callable[[Message], Any]:
    return _READ[what] if what in _READ else _header(what.removeprefix(HEADER))
