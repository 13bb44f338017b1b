"""The runner: follows chunks from every source through the chain to every sink, and the checkpoint behind them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing, contextmanager
from pathlib import Path

import msgspec

from .batch import Batch, Chunk, Dead, Position
from .chain import Chain
from .checkpoint import Checkpoint, Saved, State, StateError
from .component import Sink, Source, Stage
from .dead_letter import FILE, DeadLetter, Kind
from .delivery import Delivery
from .flight import Begun, Flight, Flown, Taken
from .log import log
from .meter import Meter
from .partition import Partitions
from .tap import Tap

CHECKPOINT_SECONDS = 1.0
"""How often positions that moved are saved."""
DEAD_LETTER = "dead letter"
"""As debtor of a chunk beside the sinks, whose names have no space."""
SAME_SIGNAL_SECONDS = 0.05
"""A tool that signals the process and its group (`timeout`) sends one signal twice; a person is slower."""
GC_TURNS = 60
"""A full garbage collection every so many checkpoints."""


class Runner:
    """One run of a config. `run` returns when the sources have ended, or after a signal and the drain."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        stages: Sequence[Stage],
        sinks: Mapping[str, Sink],
        *,
        wanted: Sequence[frozenset[str] | None],
        state: Path,
        drain: float = 30.0,
        dead_letter: DeadLetter | None = None,
        tap: Tap | None = None,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.sources = sources
        self.sinks = sinks
        self.chain = Chain(stages, wanted)
        self.checkpoint = Checkpoint(state)
        self.flight = Flight(state / "flight.jsonl")
        self.dead_letter = dead_letter or DeadLetter(state / FILE)
        self.deliveries = [
            Delivery(sink, self._keep_dead, settled=self._note_taken, stop=self.stop) for sink in sinks.values()
        ]
        self.meters = {name: Meter("source", name) for name in sources}
        self.saved_at = time.monotonic()
        """When the checkpoint was last known to be true, for its age."""
        self.started = time.time()
        """Since when everything is counted, in Unix seconds."""
        self._tap = tap
        self._drain = drain
        self._clock_ns = clock_ns
        self.partitions = Partitions(sources, sinks)
        self._changes = self._saved_changes = self._number = 0
        self._saving = asyncio.Lock()
        self._stopping = asyncio.Event()

    async def run(self, *, once: bool = False) -> int:
        """Ship. Returns the exit code: 0, or 1 when the drain limit or a second signal left records for the next run.

        A sink whose reader went away (`| head`) ends the run as well, and well: 0.

        Raises:
            StateError: the state folder is taken, not writable, or not readable.
        """
        log.clean = self.chain.clean
        self.checkpoint.lock()
        try:
            self._restore()
            async with AsyncExitStack() as opened:
                if self._tap:
                    await opened.enter_async_context(self._tap.beside(self.chain, self.deliveries))
                for source in self.sources.values():
                    opened.push_async_callback(source.close)
                for sink in self.sinks.values():
                    await sink.open()
                    opened.push_async_callback(sink.close)
                with self._signals():
                    return await self._ship(once)
        finally:
            self.flight.close()
            self.checkpoint.unlock()

    def residual(self, delivery: Delivery) -> int:
        """Events read that a sink cannot account for, by the components' own numbers. Must be 0, as in all books."""
        read = sum(meter.events_in - meter.dead for meter in self.meters.values())
        stages = sum(meter.dead + sum(meter.dropped.values()) for meter in self.chain.meters)
        sink = delivery.meter
        return read - stages - sink.events_out - sink.dead - sum(sink.dropped.values()) - delivery.held_events

    def stop(self) -> None:
        """Stop reading and drain; as SIGTERM does."""
        self._stopping.set()

    async def _ship(self, once: bool) -> int:
        log.info("started", sources=len(self.sources), stages=len(self.chain.stages), sinks=len(self.sinks))
        try:
            async with asyncio.TaskGroup() as group:
                deliveries = [group.create_task(delivery.run()) for delivery in self.deliveries]
                saving = group.create_task(self._save_regularly())
                sources = [group.create_task(self._read(name, once)) for name in self.sources]
                stopping = group.create_task(_until(self._stopping))
                await asyncio.wait({stopping, group.create_task(_all(sources))}, return_when=asyncio.FIRST_COMPLETED)
                for task in sources:
                    task.cancel()
                for delivery in self.deliveries:
                    delivery.close()
                if not stopping.done():
                    # The sources have ended by themselves: deliver everything, a signal may still come.
                    await asyncio.wait({stopping, group.create_task(_all(deliveries))}, return_when="FIRST_COMPLETED")
                _, late = await asyncio.wait(deliveries, timeout=self._drain)
                for task in (*late, saving, stopping):
                    task.cancel()
        finally:
            await self._save()
        left = sum(delivery.held_events for delivery in self.deliveries if not delivery.gone)
        if left:
            log.warning("stopped with undelivered records; they are read again at the next start", records=left)
            return 1
        log.info("stopped" if any(delivery.gone for delivery in self.deliveries) else "stopped, all delivered")
        return 0

    async def _read(self, name: str, once: bool) -> None:
        source, partitions = self.sources[name], self.partitions.of(name)
        if not self.chain.stages and not any(sink.cuts() for sink in self.sinks.values()):
            source.leave_whole()
        source.hold(_Held(self.partitions, name, self._save_now, self.deliveries))
        source.repeat({key: [one.end for one in p.flown if not one.inside] for key, p in partitions.items() if p.flown})
        resume = {key: p.ledger.position for key, p in partitions.items() if p.ledger.position is not None}
        async with aclosing(source.chunks(resume, once=once)) as chunks:
            async for chunk in chunks:
                await self._follow(name, chunk)

    async def _follow(self, name: str, chunk: Chunk) -> None:
        """One chunk through the chain and into every sink's queue."""
        partition = self.partitions.get(name, chunk.partition)
        if not (chunk.lines or chunk.dead) and partition.begin(chunk.position):
            self._number += 1
            state, anew, taken = msgspec.Raw(partition.ledger.state), partition.anew, dict(partition.ledger.taken)
            noted = Begun(self._number, name, chunk.partition, chunk.position, partition.slot, state, anew, taken)
            await self.flight.note(noted)
            partition.anew = False
        start, end = partition.end, int(chunk.position["offset"])
        known = partition.known(start)
        read_at_ns, slot = (known.read_at_ns, known.slot) if known else (self._clock_ns(), partition.slot)
        read_at_ns = chunk.read_at_ns or read_at_ns
        if chunk.lines and (known is None or known.end < end):
            self._number += 1
            flown = Flown(name, chunk.partition, start, end, read_at_ns, slot, chunk.inside, self._number)
            partition.flown.append(flown)
            await self.flight.note(flown)
        partition.end = end
        ack = partition.ledger.promise(chunk.position, end)
        batch = Batch.of_chunk(
            chunk,
            name,
            ack,
            read_at_ns,
            partition.state,
            slot=slot,
            repeated=known is not None,
            span=(start, end),
        )
        meter = self.meters[name]
        read = len(batch) + len(batch.dead)
        meter.count_in(read, chunk.size)
        meter.dead += len(batch.dead)
        if chunk.long or chunk.cut:
            meter.long += chunk.long
            meter.cut += chunk.cut
            log.warning("events over the limit", source=name, path=chunk.labels.get("file", ""), left_out=chunk.cut)
        begun = time.perf_counter()
        batch = self.chain.run(batch)
        meter.count_out(len(batch), batch.size, time.perf_counter() - begun)
        books = ack.books
        books.read += read
        books.dead += len(batch.dead)
        books.dropped += read - len(batch) - len(batch.dead)
        ack.state = msgspec.json.encode(partition.state)
        if batch.dead:
            ack.owed.add(DEAD_LETTER)
        # No await since the promise: whenever the books are looked at, or the reading is cancelled, they are closed.
        for delivery in self.deliveries:
            delivery.put(batch, partition.skip_before(delivery.sink.name, start))
        if batch.dead:
            await self._keep_dead(batch, batch.dead, "stage")
            ack.settle(DEAD_LETTER)
            self._changes += 1
        for delivery in self.deliveries:
            await delivery.room()
        # Gives the sinks their turn: a source that never waits would starve them.
        await asyncio.sleep(0)

    async def _keep_dead(self, batch: Batch, dead: list[Dead], kind: Kind = "sink") -> None:
        """Write to the dead letter, waiting as long as the disk refuses, or it is full."""
        if kind == "sink":  # the chain has cleaned those of its stages
            dead = self.chain.clean_dead(dead)
        for where, count in Counter(one.where for one in dead).items():
            reason = next(one.reason for one in reversed(dead) if one.where == where)
            log.troubles.note(where, DEAD_LETTER, reason, count)
        while True:
            try:
                await asyncio.to_thread(self.dead_letter.write, batch, dead, kind)
                self.dead_letter.problem = ""
                return
            except OSError as error:
                self.dead_letter.problem = error.strerror or str(error)
                log.error("cannot write the dead letter, waiting", path=self.dead_letter.path, error=error.strerror)
                await asyncio.sleep(1)

    def _restore(self) -> None:
        """Take up what the last run left. Raises StateError."""
        state, flight = self.checkpoint.load(), self.flight.load()
        self.partitions.restore(state.sources, flight, state.number)
        self._number = state.number
        positions = dict(state.sinks)
        for entry in flight:
            if isinstance(entry, Taken) and entry.number > state.number:
                positions[entry.sink] = entry.position
            self._number = max(self._number, entry.number)
        for delivery in self.deliveries:
            delivery.resume(positions.get(delivery.sink.name, {}), self._save_now)
        try:
            self.dead_letter.recover(state.number)
            if self._number > state.number:
                # What was taken goes into the checkpoint before the file that told of it is written anew.
                self.checkpoint.save(State(self.partitions.saved(), self._positions(), self._number))
            self.flight.open(self.partitions.flown())
        except OSError as error:
            raise StateError(f"{self.checkpoint.folder}: cannot be written: {error.strerror}") from None

    def _note_taken(self, sink: str, position: Position, batches: list[Batch]) -> None:
        self._changes += 1
        self._number += 1
        chunks = [(batch.source, batch.partition, *batch.span) for batch in batches if batch.span[0] < batch.span[1]]
        if chunks:
            self.flight.take(Taken(self._number, sink, position, chunks))

    async def _save_regularly(self) -> None:
        for turn in itertools.count(1):
            await asyncio.sleep(CHECKPOINT_SECONDS)
            await self._save()
            # Cycles are few (requests, exceptions): collected here, not in the middle of a batch.
            gc.collect(2 if turn % GC_TURNS == 0 else 1)

    def _positions(self) -> dict[str, Position]:
        return {delivery.sink.name: delivery.position for delivery in self.deliveries if delivery.position}

    async def _save_now(self) -> None:
        """For a sink that must not go on before its position is on disk."""
        self._changes += 1
        while not await self._save():  # noqa: ASYNC110  # waits for a disk, of which no event tells
            await asyncio.sleep(1)

    async def _save(self) -> bool:
        """Save what is settled by now. A disk that refuses is waited for: positions then simply stay behind."""
        async with self._saving:
            changes = self._changes
            if changes == self._saved_changes:
                self.saved_at = time.monotonic()
                return True
            for name, source in self.sources.items():
                self.partitions.forget(name, source.forgotten())
            number, positions = self._number, self.partitions.saved()
            try:
                await asyncio.to_thread(self.checkpoint.save, State(positions, self._positions(), number))
            except OSError as error:
                log.error("cannot save the checkpoint, trying again", path=self.checkpoint.path, error=error.strerror)
                return False
            # Only now: a save that is cancelled may never have begun.
            self._saved_changes = changes
            self.flight.saved(number)
            self.saved_at = time.monotonic()
            self.partitions.drop_forgotten()
        await self.flight.compact(self.partitions.flown)
        for name, source in self.sources.items():
            saved = positions[name].items()
            await source.commit(
                {key: one.position for key, one in saved},
                {key: bytes(one.state) for key, one in saved},
                {key: one.taken for key, one in saved},
            )
        return True

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT stop and drain; the second one leaves at once, and what is open is read again."""
        loop = asyncio.get_running_loop()

        stopped_at = float("inf")

        def on_signal() -> None:
            nonlocal stopped_at
            if time.monotonic() - stopped_at > SAME_SIGNAL_SECONDS:
                log.warning("second signal: leaving at once; what is not delivered is read again at the next start")
                os._exit(1)
            if not self._stopping.is_set():
                stopped_at = time.monotonic()
                log.info("stopping: delivering what was read", limit_s=self._drain)
                self._stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)


class _Held:
    """What a source is shown of its partitions, see `component.Held`."""

    def __init__(
        self,
        partitions: Partitions,
        source: str,
        save: Callable[[], Awaitable[None]],
        deliveries: Sequence[Delivery],
    ) -> None:
        self._partitions = partitions
        self._deliveries = deliveries
        self._source = source
        self.save = save

    def read_to(self, partition: str) -> Position | None:
        found = self._partitions.of(self._source).get(partition)
        return found.ledger.read if found else None

    def settled(self, partition: str) -> bool:
        found = self._partitions.of(self._source).get(partition)
        if found is not None:
            found.ledger.advance()
        return found is None or not found.ledger.in_flight

    def restart(self, partition: str, position: Position, state: bytes, slot: int, taken: Mapping[str, int]) -> None:
        saved = Saved(position, msgspec.Raw(state), dict(taken), slot)
        self._partitions.restart(self._source, partition, saved)

    def let_go(self, partition: str) -> bool:
        for delivery in self._deliveries:
            delivery.let_go(self._source, partition)
        found = self._partitions.of(self._source).get(partition)
        if found is None:
            return True
        found.let_go = True
        return not found.sending


async def _until(event: asyncio.Event) -> None:
    await event.wait()


async def _all(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for all of them, however they end."""
    if tasks:
        await asyncio.wait(tasks)
