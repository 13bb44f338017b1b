"""Delivery: one sink's bounded queue, its grouping, its retries, and the settling of what it has taken."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from time import monotonic, perf_counter

from .batch import Batch, Dead, Position
from .component import Gone, Rejected, RetryAfter, Sink
from .log import log
from .meter import Meter

BACKOFF_FIRST = 0.25
"""Seconds; doubled at every failure."""
BACKOFF_MOST = 30.0
"""Seconds. The wait is drawn evenly from zero to the backoff (full jitter), so that many shippers spread out."""

EVENT_BYTES = 64
"""A held event counts at least this much …"""
FREE_EVENTS = 1024
"""… above this number of them."""

FAULTS = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What a sink raises that cannot say a record, while one whose other side is away raises OSError and the like …"""
PATIENCE = 3
"""… After so many attempts that fail so, the records to blame are looked for: one would hold all others for ever."""

KeepDead = Callable[[Batch, list[Dead]], Awaitable[None]]
"""Writes dead records down, as long as it takes."""


class Delivery:
    """Between the chain and one sink. `room` holds its caller while the sink has too much to do."""

    def __init__(
        self,
        sink: Sink,
        keep_dead: KeepDead,
        *,
        settled: Callable[[str, Position, list[Batch]], None] = lambda sink, position, batches: None,
        stop: Callable[[], None] = lambda: None,
        jitter: Callable[[float], float] = lambda most: random.uniform(0, most),
    ) -> None:
        self.sink = sink
        self.meter = Meter("sink", sink.name)
        self.failing = ""
        """What the last send failed with; empty while deliveries succeed."""
        self.last_progress = monotonic()
        self.held_bytes = 0
        """Bytes of lines that wait or are being sent."""
        self.held_events = 0
        self.gone = False
        """Nobody is left to deliver to: what is held is nobody's any more."""
        self.position: Position = {}
        """What the sink must find again after a crash, as of the last batch that was settled."""
        self.see: Callable[[Batch], None] | None = None
        """Shown what the sink takes of each batch, while somebody taps it."""
        self._keep_dead = keep_dead
        self._settled = settled
        self._stop = stop
        self._jitter = jitter
        self._queue: deque[tuple[Batch, int]] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._clear = asyncio.Event()
        self._clear.set()
        self._closing = False

    def resume(self, position: Position, save: Callable[[], Awaitable[None]]) -> None:
        """Hand the sink what was saved of it, and a way to have its position saved at once."""

        async def save_now() -> None:
            self.position = self.sink.position()
            await save()

        self.position = position
        self.sink.resume(position, save_now)

    def put(self, batch: Batch, skip_before: int = 0) -> None:
        """Queue the records that this sink takes; then wait for `room`. `skip_before`: delivered before a restart.

        Does not wait itself: a record that was read is always in the books of every sink.
        """
        owned = batch
        if skip_before > batch.span[0] and len(batch) and batch.records[0].offset < skip_before:
            owned = owned.with_records([r for r in owned.records if r.offset >= skip_before])
            owned.size = owned.measure()
            self.meter.drop("delivered_before", len(batch) - len(owned))
        if self.sink.match is not None:
            matching = owned.where(self.sink.match.mask(owned))
            self.meter.drop("no_match", len(owned) - len(matching))
            owned = matching
            owned.size = owned.measure()
        size = owned.size
        self.meter.count_in(len(batch), size)
        account = batch.ack.books.of(self.sink.name)
        account.dropped += len(batch) - len(owned)
        account.in_flight += len(owned)
        if not len(owned):
            self._settle([batch])
            return
        if self.see:
            self.see(owned)
        if not self.held_events:
            self.last_progress = monotonic()
        self.held_bytes += size
        self.held_events += len(owned)
        self._queue.append((owned, size))
        self._arrived.set()

    async def room(self) -> None:
        """Wait while more than `queue_bytes` are held, so that memory is bounded by that and one chunk a source.

        Very short lines count for the memory that their records take.
        """
        most = self.sink.queue_bytes
        while self.held_bytes > most or self.held_events > FREE_EVENTS + most // EVENT_BYTES:
            self._room.clear()
            await self._room.wait()

    def let_go(self, source: str, partition: str) -> None:
        """Leave what waits of a partition to another process; what is being sent goes on."""
        kept: deque[tuple[Batch, int]] = deque()
        for batch, size in self._queue:
            if batch.source != source or batch.partition != partition:
                kept.append((batch, size))
                continue
            account, count = batch.ack.books.of(self.sink.name), len(batch)
            account.in_flight -= count
            account.dropped += count
            self.meter.drop("let_go", count)
            self.held_bytes -= size
            self.held_events -= count
        self._queue = kept
        self._room.set()

    def close(self) -> None:
        """No more will be put: `run` sends what waits and returns."""
        self._closing = True
        self._arrived.set()

    async def run(self) -> None:
        """Send until closed and empty."""
        slots = asyncio.Semaphore(self.sink.concurrency)
        try:
            async with asyncio.TaskGroup() as sends:
                while group := await self._next_group():
                    await slots.acquire()
                    # While one send is failing no other starts: Loki refuses entries too far behind the newest.
                    await self._clear.wait()
                    sends.create_task(self._send(group, slots))
        except* Gone as gone:
            log.info("nobody is left to deliver to", sink=self.sink.name, reason=gone.exceptions[0])
            self.gone = True
            self._stop()

    async def _next_group(self) -> list[tuple[Batch, int]]:
        """What fills `batch_bytes`, or what came within `batch_wait`; empty when closed and empty."""
        while True:
            while not self._queue:
                if self._closing:
                    return []
                self._arrived.clear()
                await self._arrived.wait()
            try:
                async with asyncio.timeout(self.sink.batch_wait):
                    while not self._closing and sum(size for _, size in self._queue) < self.sink.batch_bytes:
                        self._arrived.clear()
                        await self._arrived.wait()
            except TimeoutError:
                pass
            if self._queue:  # else what waited was let go of
                break
        group = [self._queue.popleft()]
        size = group[0][1]
        while self._queue and size + self._queue[0][1] <= self.sink.batch_bytes:
            size += self._queue[0][1]
            group.append(self._queue.popleft())
        return group

    async def _send(self, group: list[tuple[Batch, int]], slots: asyncio.Semaphore) -> None:
        batches = [batch for batch, _ in group]
        start = perf_counter()
        retries = self.meter.retries
        dead = await self._deliver(batches)
        buried = await self._bury(batches, dead) if dead else [0] * len(batches)
        if failures := self.meter.retries - retries:
            log.info("delivery works again", sink=self.sink.name, after_attempts=failures + 1)
        self.failing = ""
        self._clear.set()
        size = sum(size for _, size in group)
        events = 0
        for batch, lost in zip(batches, buried, strict=True):
            account, count = batch.ack.books.of(self.sink.name), len(batch)
            account.in_flight -= count
            account.delivered += count - lost
            account.dead += lost
            events += count
        self.meter.dead += sum(buried)
        self.meter.count_out(events - sum(buried), size, perf_counter() - start)
        self.held_bytes -= size
        self.held_events -= events
        self.last_progress = monotonic()
        self.position = self.sink.position()
        self._settle(batches)
        self._room.set()
        slots.release()

    async def _deliver(self, batches: list[Batch], failures: int = 0) -> list[Dead]:
        """Send, as often as it takes. Returns the records that can never be delivered; all others are."""
        while True:
            try:
                await self.sink.send(batches)
            except Rejected as rejected:
                return [Dead(record, self.sink.name, reason, rejected.hint) for record, reason in rejected.records]
            except Gone:
                raise
            except Exception as error:
                failures += 1
                if failures >= PATIENCE and isinstance(error, FAULTS):
                    return await self._deliver_apart(batches, error)
                await self._back_off(error, failures)
            else:
                return []

    async def _deliver_apart(self, batches: list[Batch], error: Exception) -> list[Dead]:
        """Send the halves one after the other, and theirs, down to the single records that the sink raises on."""
        if len(batches) == len(batches[0]) == 1:
            log.error("a record that the sink cannot take", sink=self.sink.name, error=_told(error))
            return [Dead(batches[0].records[0], self.sink.name, _told(error))]
        halves = [await self._deliver(half, PATIENCE - 1) for half in _halves(batches)]
        return [dead for half in halves for dead in half]

    async def _back_off(self, error: Exception, failures: int) -> None:
        self.failing = _told(error)
        self._clear.clear()
        self.meter.retries += 1
        wait = self._jitter(min(BACKOFF_MOST, BACKOFF_FIRST * 2 ** min(failures - 1, 10)))
        if isinstance(error, RetryAfter):
            wait = max(error.seconds, 0.0)
        log.warning("delivery failed, trying again", sink=self.sink.name, error=self.failing, wait_s=round(wait, 2))
        await asyncio.sleep(wait)

    async def _bury(self, batches: list[Batch], dead: list[Dead]) -> list[int]:
        """Put each of these records into the dead letter of its batch. Returns how many each batch had."""
        buried = []
        for batch in batches:
            records = {id(record) for record in batch.records}
            own = [one for one in dead if id(one.record) in records]
            if own:
                await self._keep_dead(batch, own)
            buried.append(len(own))
        return buried

    def _settle(self, batches: list[Batch]) -> None:
        for batch in batches:
            batch.ack.settle(self.sink.name)
        self._settled(self.sink.name, self.position, batches)


def _halves(batches: list[Batch]) -> tuple[list[Batch], list[Batch]]:
    """Two parts of what has more than one record."""
    if len(batches) > 1:
        middle = len(batches) // 2
        return batches[:middle], batches[middle:]
    (batch,) = batches
    middle = len(batch) // 2
    halves = [batch.with_records(records) for records in (batch.records[:middle], batch.records[middle:])]
    for half in halves:
        half.size = half.measure()
    return halves[:1], halves[1:]


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
