"""The tap: shows the records that pass one point of a running pipeline to whoever asks, over a socket.

While nobody asks, the pipeline pays one `if` a batch and point. To who does it gives a fifth of a core at most: what
that does not do for, or what a slow reader leaves waiting, is counted and told, and the pipeline never waits for it.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, NamedTuple, Protocol

import msgspec

from .batch import Batch, LineForm
from .chain import Chain
from .delivery import Delivery
from .log import log
from .match import Match, MatchError
from .record import Fields, Record, encode, rfc3339

SOCKET = "tap.sock"
"""Its name in the state folder, in a worker's folder."""
SOURCE, SINKS, SINK = "source", "sinks", "sink:"
"""The points beside the stages: as it was read, as it is offered to all sinks, what one of them takes."""
MOST_RECORDS, MOST_BYTES = 2000, 1 << 20
"""Held for one reader."""
READERS = 8
"""At a time."""
SHARE, BURST = 0.2, 0.2
"""Of a core, and the seconds of it that may be used at once."""
SLICE = 100
"""Records that are made ready in one go."""
BUFFER_BYTES = 256 << 10
ASK_BYTES = 64 << 10
ASK_SECONDS = 5.0
END_SECONDS = 1.0
"""Given to readers to take what is held when the run ends."""
_ADDRESS_BYTES = 100
"""An address of a socket has 104 bytes on some systems, 108 on others."""


class Ask(msgspec.Struct, omit_defaults=True):
    """The one line that a reader sends."""

    at: str = SINKS
    match: str = ""
    """LogQL; empty: all."""


class Tapped(msgspec.Struct, omit_defaults=True):
    """One record as it passed the point, without secrets."""

    id: str
    """Source, partition and offset: what `tailrace why --id` takes."""
    at: str
    source: str
    read: str
    """When it was read, RFC 3339."""
    time: str = ""
    """Its own, as far as a stage had found it."""
    line: str = ""
    fields: msgspec.Raw = msgspec.Raw(b"{}")
    labels: dict[str, str] = {}
    """Of the partition."""
    withheld: bool = False
    """It cannot be redacted: neither line nor fields are shown."""


class Told(msgspec.Struct, omit_defaults=True):
    """One line that a reader gets."""

    record: Tapped | None = None
    lost: int = 0
    """So many records were not looked at, for the reader or the tap was too slow."""
    error: str = ""
    """The question cannot be answered."""
    end: str = ""
    """Why nothing more comes."""
    begun: bool = False
    """From here on."""


class Shown(NamedTuple):
    """A record that may be shown."""

    record: Record
    fields: Fields


class Veil(Protocol):
    """Takes out of records what must not leave the process."""

    def veil(self, batch: Batch, done: int) -> list[Shown | None]:
        """What may be shown of each record after so many stages; None of one that cannot be redacted.

        The records are the veil's own: it changes them.
        """

    def clean(self, text: str) -> str:
        """A text without secrets."""


def identity(source: str, partition: str, offset: int) -> str:
    """The id of a record."""
    return f"{source}:{partition}@{offset}"


def identified(text: str) -> tuple[str, str, int]:
    """Source, partition and offset of an id. Raises ValueError."""
    rest, _, offset = text.rpartition("@")
    source, colon, partition = rest.partition(":")
    if not (source and colon and partition and offset.isdecimal()):
        raise ValueError(f"{text!r} is no id: it is SOURCE:PARTITION@OFFSET, as `tailrace tap` shows it")
    return source, partition, int(offset)


@contextmanager
def address(folder: Path) -> Iterator[str]:
    """A path to the socket that is short enough to be its address. Raises OSError."""
    path = str(folder / SOCKET)
    if len(os.fsencode(path)) <= _ADDRESS_BYTES or not sys.platform.startswith("linux"):
        yield path
        return
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}/{SOCKET}"
    finally:
        os.close(fd)


class _Credit:
    """Time that may be used: it grows by a share of what passes, up to a burst."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._at = clock()
        self._left = BURST

    def left(self) -> float:
        """Seconds; below 0: it has to grow first."""
        now = self._clock()
        self._left = min(BURST, self._left + SHARE * (now - self._at))
        self._at = now
        return self._left

    def spend(self, seconds: float) -> None:
        """So much was used."""
        self._left -= seconds

    def wait(self) -> float:
        """Seconds until there is some."""
        return max(0.0, -self.left() / SHARE)


class _Part(NamedTuple):
    """Copies of records of one batch that wait to be made ready."""

    batch: Batch
    bytes: int


class _Reader:
    """Who reads: what of which point, and what is held for it."""

    def __init__(self, at: str, done: int, match: Match | None, form: LineForm) -> None:
        self.at = at
        self.done = done
        """How many stages a record has passed there."""
        self.match = match
        self.form = form
        self.lost = 0
        self.error = ""
        self.ended = False
        self.arrived = asyncio.Event()
        self._parts: deque[_Part] = deque()
        self._records = self._bytes = 0

    def offer(self, batch: Batch) -> None:
        """Copy as many records as there is room for."""
        count = len(batch)
        room = min(count, MOST_RECORDS - self._records)
        lines = batch.lines
        size = taken = 0
        for line in lines[: max(0, room)]:
            if self._bytes + size + len(line) > MOST_BYTES and (taken or self._records):
                break
            size += len(line)
            taken += 1
        self.lost += count - taken
        if taken:
            self._parts.append(_Part(batch.with_records(copies(batch, taken)), size))
            self._records += taken
            self._bytes += size
        self.arrived.set()

    def miss(self, count: int) -> None:
        """These are not looked at."""
        self.lost += count
        self.arrived.set()

    def take(self) -> Batch | None:
        """The next few."""
        if not self._parts:
            self.arrived.clear()
            return None
        batch, size = self._parts.popleft()
        records = batch.records
        if len(records) > SLICE:
            first = sum(len(record.line) for record in records[:SLICE])
            self._parts.appendleft(_Part(batch.with_records(records[SLICE:]), size - first))
            batch, size = batch.with_records(records[:SLICE]), first
        self._records -= len(batch)
        self._bytes -= size
        return batch


class Tap:
    """The socket of one run. `veil` makes what redacts; it is asked for when the first reader comes."""

    def __init__(self, folder: Path, veil: Callable[[], Veil]) -> None:
        self._folder = folder
        self._make_veil = veil
        self._veil: Veil | None = None
        self._making = asyncio.Lock()
        self._credit = _Credit()
        self._readers: list[_Reader] = []
        self._clients: set[asyncio.Task[None]] = set()
        self._chain: Chain
        self._deliveries: Mapping[str, Delivery]

    @asynccontextmanager
    async def beside(self, chain: Chain, deliveries: Sequence[Delivery]) -> AsyncIterator[None]:
        """Answer as long as the run lasts. Only for who holds the state folder: a socket left by a crash gives way."""
        self._chain, self._deliveries = chain, {one.sink.name: one for one in deliveries}
        try:
            server = await asyncio.start_unix_server(self._serve, sock=self._listening(), limit=ASK_BYTES)
        except OSError as error:
            log.warning("no tap", path=self._folder / SOCKET, error=error.strerror or error)
            yield
            return
        try:
            yield
        finally:
            server.close()
            (self._folder / SOCKET).unlink(missing_ok=True)
            await self._end()

    def _listening(self) -> socket.socket:
        (self._folder / SOCKET).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            before = os.umask(0o177)
            try:
                with address(self._folder) as path:
                    listening.bind(path)
            finally:
                os.umask(before)
            listening.listen(READERS)
            listening.setblocking(False)
        except OSError:
            listening.close()
            raise
        return listening

    async def _end(self) -> None:
        for reader in self._readers:
            reader.ended = True
            reader.arrived.set()
        if self._clients:
            _, late = await asyncio.wait(self._clients, timeout=END_SECONDS)
            for client in late:
                client.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _serve(self, stream: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client
        self._clients.add(client)
        try:
            if not _may_read(writer):
                return
            writer.transport.set_write_buffer_limits(high=BUFFER_BYTES)
            reader = await self._asked(stream)
            if isinstance(reader, str):
                writer.write(_line(Told(error=reader)))
                await asyncio.wait_for(writer.drain(), END_SECONDS)
                return
            async with asyncio.TaskGroup() as group:
                pump = group.create_task(self._pump(reader, writer))
                while await stream.read(ASK_BYTES):  # nothing that is sent means anything; its end does
                    pass
                pump.cancel()
        except (OSError, TimeoutError, ExceptionGroup, asyncio.CancelledError):
            pass  # the reader has gone, or the run has ended
        finally:
            self._clients.discard(client)
            writer.transport.abort() if writer.is_closing() else writer.close()

    async def _asked(self, stream: asyncio.StreamReader) -> _Reader | str:
        """Who asks for what; or what is wrong with it."""
        try:
            line = await asyncio.wait_for(stream.readline(), ASK_SECONDS)
            ask = msgspec.json.decode(line, type=Ask)
            match = Match(ask.match) if ask.match else None
        except MatchError as error:
            return str(error)
        except (ValueError, UnicodeDecodeError):
            return "that is no question that this tailrace understands: is it of another version?"
        if len(self._readers) >= READERS:
            return f"{READERS} are reading already"
        names = [stage.name for stage in self._chain.stages]
        places = {SOURCE: 0, **{name: place for place, name in enumerate(names, 1)}, SINKS: len(names) + 1}
        places |= {SINK + name: len(names) for name in self._deliveries}
        if ask.at not in places:
            return f"there is no {ask.at!r} in this run: {', '.join(places)}"
        form: LineForm = "raw"
        if ask.at.startswith(SINK):
            form = getattr(self._deliveries[ask.at.removeprefix(SINK)].sink, "line", "raw")
        async with self._making:
            if self._veil is None:
                self._veil = await asyncio.to_thread(self._make_veil)
        return _Reader(ask.at, places[ask.at], match, form)

    async def _pump(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        """Make ready what waits, and send it as fast as it is taken."""
        self._readers.append(reader)
        self._hook()
        try:
            writer.write(_line(Told(begun=True)))
            while True:
                await reader.arrived.wait()
                part = reader.take()
                begun = perf_counter()
                if reader.lost:
                    lost, reader.lost = reader.lost, 0
                    writer.write(_line(Told(lost=lost)))
                if part is not None:
                    try:
                        writer.write(b"".join(self._lines(reader, part)))
                    except Exception as error:  # of a stage of a user's own, on a copy
                        reader.error = f"cannot show it: {type(error).__name__}"
                    self._credit.spend(perf_counter() - begun)
                if reader.error or (part is None and reader.ended):
                    break
                await writer.drain()
                await asyncio.sleep(0 if reader.ended else self._credit.wait())
            writer.write(_line(Told(end=reader.error or "the run has ended")))
            await writer.drain()
            writer.close()
        finally:
            self._readers.remove(reader)
            self._hook()

    def _hook(self) -> None:
        """Look at what somebody reads, and at nothing else."""
        points = {reader.at for reader in self._readers}
        taken = {at.removeprefix(SINK) for at in points if at.startswith(SINK)}
        self._chain.see = self._see if any(not at.startswith(SINK) for at in points) else None
        for name, delivery in self._deliveries.items():
            delivery.see = partial(self._see_sink, SINK + name) if name in taken else None

    def _see(self, place: int, batch: Batch) -> None:
        for reader in self._readers:
            if reader.done == place and not reader.at.startswith(SINK):
                self._offer(reader, batch)

    def _see_sink(self, at: str, batch: Batch) -> None:
        for reader in self._readers:
            if reader.at == at:
                self._offer(reader, batch)

    def _offer(self, reader: _Reader, batch: Batch) -> None:
        if not len(batch) or reader.error:
            return
        if self._credit.left() < 0:
            reader.miss(len(batch))
            return
        begun = perf_counter()
        try:
            reader.offer(batch)
        except Exception as error:  # a field of a stage of a user's own that cannot be copied: the run must not suffer
            reader.error = f"cannot look: {type(error).__name__}"
            reader.arrived.set()
        self._credit.spend(perf_counter() - begun)

    def _lines(self, reader: _Reader, batch: Batch) -> Iterator[bytes]:
        """What is sent of these."""
        assert self._veil
        clean, offsets = self._veil.clean, [record.offset for record in batch.records]
        times = [record.time_ns for record in batch.records]
        read, labels = rfc3339(batch.read_at_ns), {name: clean(value) for name, value in batch.labels.items()}
        shown = self._veil.veil(batch, reader.done)
        wanted = _matching(reader.match, batch.with_labels(labels), shown)
        for offset, time_ns, one, wants in zip(offsets, times, shown, wanted, strict=True):
            if not wants:
                continue
            told = Tapped(clean(identity(batch.source, batch.partition, offset)), reader.at, batch.source, read)
            told.labels = labels
            if time_ns is not None:
                told.time = rfc3339(time_ns)
            if one is None:
                told.withheld = True
            else:
                record, fields = one
                told.line = (record.to_json() if reader.form == "json" else record.line).decode("utf-8", "replace")
                told.fields = msgspec.Raw(encode(fields))
            yield _line(Told(record=told))


def copies(batch: Batch, count: int) -> list[Record]:
    """The first few records of a batch as they are now, whatever becomes of the batch; nothing of it is changed."""
    if batch.columns is None:
        return [
            msgspec.structs.replace(
                record,
                added=_copied(record.added),
                parsed=_copied(record.parsed) if record.format == "text" else None,
            )
            for record in batch.records[:count]
        ]
    part = batch.columns.where([True] * count + [False] * (len(batch) - count))
    parsed = part.parsed if part.format == "text" else None
    found: list[Record] = []
    for place, (line, offset) in enumerate(zip(part.lines, part.offsets, strict=True)):
        added = {name: values[place] for name, values in part.added.items() if values[place] is not None}
        added |= part.rows.get(place, {})
        own = _copied(parsed[place]) if parsed is not None else None
        if own is not None or (added and part.format == "text"):
            own = ({"message": line.decode("utf-8", "replace")} if own is None else own) | added
        time_ns = None if part.times is None else part.times[place]
        found.append(Record(line, offset, time_ns, part.format, _copied(added) or None, own))
    return found


def _copied(value: Any) -> Any:
    """What stages could change in place, once more."""
    if isinstance(value, dict):
        return {name: _copied(inner) for name, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value


def _matching(match: Match | None, batch: Batch, shown: Sequence[Shown | None]) -> list[bool]:
    """Which of them match as they are shown: a question must not find out what is hidden."""
    if match is None:
        return [True] * len(shown)
    records = [Record(one.record.line, parsed=one.fields) for one in shown if one is not None]
    found = iter(match.mask(batch.with_records(records)))
    return [one is not None and next(found) for one in shown]


def _may_read(writer: asyncio.StreamWriter) -> bool:
    """The other side is the same user, or root: beside the mode of the socket, which some systems do not look at."""
    with suppress(AttributeError, OSError):
        size = struct.calcsize("3i")
        told = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
        return struct.unpack("3i", told)[1] in (0, os.geteuid())
    return not sys.platform.startswith("linux")


def _line(told: Told) -> bytes:
    return msgspec.json.encode(told) + b"\n"
