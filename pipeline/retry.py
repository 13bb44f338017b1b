"""The retry: delivers what is in the dead letter, and takes out of it what arrived."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from itertools import groupby
from pathlib import Path
from time import monotonic

import msgspec

from .ack import Ack
from .batch import Batch, Dead
from .chain import Chain
from .checkpoint import Checkpoint, State
from .component import Sink, Source, Stage
from .dead_letter import DeadLetter, Key, Letter, letter_of
from .delivery import Delivery
from .flight import Flight, Taken
from .log import log
from .partition import Partitions
from .record import Record

REASONS = 10
"""Of the reasons why letters stay the most frequent are told."""
GROUP = 500
"""Letters that go to a sink together."""
LOOK_SECONDS = 0.25
"""Between looks at whether there is still progress."""


class Outcome(msgspec.Struct):
    """What became of the letters."""

    tried: int = 0
    delivered: int = 0
    """Letters that left the dead letter: their records were taken by every sink, or are not meant to ship."""
    stay: int = 0
    why: dict[str, int] = {}
    """Why those that stay do: how many for each reason, as far as it was found out now."""
    failed: str = ""
    """Why not all of them were tried to the end."""


class _Parcel:
    """Some letters on their way: of one partition, and for a sink of one sink."""

    def __init__(self, letters: Sequence[Letter], batch: Batch, targets: Sequence[str]) -> None:
        self.on_file = {letter.key for letter in letters}
        """What of the dead letter they stand for."""
        self.count = len(letters)
        self.batch = batch
        self.targets = targets
        self.parts: dict[str, Batch] = {}
        """What each sink was given."""
        self.refused: dict[str, list[Letter]] = {}

    @property
    def owed(self) -> set[str]:
        """The sinks that have not taken it yet."""
        return self.batch.ack.owed

    def left(self, failing: Mapping[str, str]) -> list[Letter]:
        """The letters that there are to be of it, as of now."""
        left = [letter_of(self.batch, dead, "stage") for dead in self.batch.dead]
        for sink in self.targets:
            if sink not in self.owed:
                left += self.refused.get(sink, [])
            else:
                why = failing.get(sink) or "the retry was stopped"
                left += [letter_of(self.batch, Dead(record, sink, why), "sink") for record in self.parts[sink].records]
        return left


class Retry:
    """One try for every letter; `run` once."""

    def __init__(
        self,
        sources: Mapping[str, Source],
        stages: Sequence[Stage],
        sinks: Mapping[str, Sink],
        *,
        wanted: Sequence[frozenset[str] | None],
        state: Path,
        dead_letter: DeadLetter,
        goes: Callable[[Letter], bool] = lambda letter: True,
        patience: float = 30.0,
    ) -> None:
        self.outcome = Outcome()
        self._sources = sources
        self._sinks = sinks
        self._chain = Chain(stages, wanted)
        self._checkpoint = Checkpoint(state)
        self._flight = Flight(state / "flight.jsonl")
        self._dead_letter = dead_letter
        self._goes = goes
        self._patience = patience
        self._partitions = Partitions(sources, sinks)
        self._deliveries: dict[str, Delivery] = {}
        self._open: deque[_Parcel] = deque()
        self._gone: set[Key] = set()
        self._born: list[Letter] = []
        self._number = 0
        self._why: Counter[str] = Counter()

    async def run(self) -> Outcome:
        """Deliver. What was not, for whatever reason, stays in the dead letter.

        Raises:
            StateError: the state folder is in use, or not readable.
            ProbeError: a sink that letters are meant for cannot be used.
            OSError: the dead letter or the checkpoint cannot be read or written.
        """
        log.clean = self._chain.clean
        self._checkpoint.lock()
        try:
            self._restore()
            needed = self._needed()
            async with AsyncExitStack() as opened:
                for name in needed:
                    # A copy without `match`: a letter for a sink is the sink's, whatever its match says by now.
                    sink = msgspec.structs.replace(self._sinks[name], match=None)
                    delivery = Delivery(sink, self._keep_dead, stop=lambda: None)
                    delivery.resume(self._positions.get(name, {}), self._save)
                    await sink.open()
                    opened.push_async_callback(sink.close)
                    await sink.probe()
                    self._deliveries[name] = delivery
                try:
                    await self._deliver()
                finally:
                    self._commit()
        finally:
            self._checkpoint.unlock()
        self.outcome.stay = self.outcome.tried - self.outcome.delivered
        self.outcome.why = dict(self._why.most_common(REASONS))
        return self.outcome

    def _restore(self) -> None:
        """What the last run left, as the next one will find it."""
        state, flight = self._checkpoint.load(), self._flight.load()
        self._dead_letter.recover(state.number)
        self._partitions.restore(state.sources, flight, state.number)
        self._number, self._positions = state.number, dict(state.sinks)
        for entry in flight:
            if isinstance(entry, Taken) and entry.number > state.number:
                self._positions[entry.sink] = entry.position
            self._number = max(self._number, entry.number)

    def _needed(self) -> list[str]:
        """The sinks that there are letters for."""
        needed: set[str] = set()
        for letter in self._dead_letter.letters():
            if self._goes(letter):
                self.outcome.tried += 1
                needed.update(self._sinks if letter.kind == "stage" else {letter.where} & self._sinks.keys())
        return [name for name in self._sinks if name in needed]

    async def _deliver(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(delivery.run()) for delivery in self._deliveries.values()]
            tasks.append(group.create_task(self._feed()))
            while not self.outcome.failed and (running := [task for task in tasks if not task.done()]):
                await asyncio.wait(running, timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
                self.outcome.failed = self._stuck()
            for task in tasks:
                task.cancel()

    def _stuck(self) -> str:
        """Why there is no use in waiting any longer."""
        for name, delivery in self._deliveries.items():
            if delivery.gone:
                return f"{name}: nobody is left to deliver to"
            if delivery.failing and monotonic() - delivery.last_progress > self._patience:
                return f"{name}: {delivery.failing}"
        return ""

    async def _feed(self) -> None:
        chosen = filter(self._goes, self._dead_letter.letters())
        for _, letters in groupby(chosen, _together):
            async for parcel in self._parcels(list(letters)):
                self._open.append(parcel)
                for name, part in parcel.parts.items():
                    self._deliveries[name].put(part)
                for name in parcel.targets:
                    await self._deliveries[name].room()
                self._sweep()
                await asyncio.sleep(0)
        for delivery in self._deliveries.values():
            delivery.close()

    async def _parcels(self, letters: list[Letter]) -> AsyncIterator[_Parcel]:
        first = letters[0]
        if first.kind == "stage":
            records = await self._records(letters)
            if records:
                yield self._through_the_chain([letter for letter, _ in records], [record for _, record in records])
            return
        if first.where not in self._sinks:
            self._why[f"no sink {first.where!r} in the config"] += len(letters)
            return
        for start in range(0, len(letters), GROUP):
            some = letters[start : start + GROUP]
            batch = _batch(first, [letter.record() for letter in some], [first.where])
            batch.size = batch.measure()
            parcel = _Parcel(some, batch, [first.where])
            parcel.parts[first.where] = batch
            yield parcel

    def _through_the_chain(self, letters: list[Letter], records: list[Record]) -> _Parcel:
        """As when they were read, from the first stage on; without what stages remembered of the events before them."""
        first = letters[0]
        batch = _batch(first, records, self._sinks)
        partition = self._partitions.of(first.source).get(first.partition) if first.source in self._sources else None
        batch.slot = partition.slot if partition else 0
        withheld = next((letter for letter in letters if letter.withheld), first)
        batch.ack.position, batch.span = withheld.position, withheld.span
        batch = self._chain.run(batch)
        parcel = _Parcel(letters, batch, list(self._sinks))
        for name, sink in self._sinks.items():
            part = batch if sink.match is None else batch.with_records(sink.match.select(batch))
            part.size = part.measure()
            parcel.parts[name] = part
        return parcel

    async def _records(self, letters: list[Letter]) -> list[tuple[Letter, Record]]:
        """The records of letters of one chunk, in its order; a line that was withheld comes from the source again."""
        lines: dict[int, bytes] = {}
        withheld = [letter for letter in letters if letter.withheld]
        if withheld:
            first = withheld[0]
            source = self._sources.get(first.source)
            try:
                chunk = await source.reread(first.position, first.span) if source else None
                lines = dict(zip(chunk.offsets, chunk.lines, strict=True)) if chunk else {}
            except (OSError, LookupError, ValueError) as error:
                log.warning("cannot read a record again", source=first.source, error=type(error).__name__)
        found = []
        for letter in letters:
            if not letter.withheld:
                found.append((letter, letter.record()))
            elif letter.offset in lines:
                found.append((letter, Record(lines[letter.offset], letter.offset)))
            else:
                self._why["what it was read from is not there any more"] += 1
        return sorted(found, key=lambda one: one[1].offset)

    async def _keep_dead(self, batch: Batch, dead: list[Dead]) -> None:
        """A sink refused these: said once it has taken the rest."""
        parcel = next(parcel for parcel in self._open if parcel.batch.ack is batch.ack)
        parcel.refused[dead[0].where] = [letter_of(batch, one, "sink") for one in self._chain.clean_dead(dead)]

    async def _save(self) -> None:
        """For a sink that must not go on before its position is on disk."""
        self._commit()

    def _sweep(self) -> None:
        """Be done with those that every sink has taken."""
        still: deque[_Parcel] = deque()
        for parcel in self._open:
            if parcel.owed:
                still.append(parcel)
            else:
                left = parcel.left({})
                self._gone |= parcel.on_file
                self._born += left
                self._why.update(letter.reason for letter in left)
                self.outcome.delivered += max(0, parcel.count - len(left))
        self._open = still

    def _commit(self) -> None:
        """Have the dead letter and the sinks' positions on disk in one step, both as of now."""
        self._sweep()
        gone, born = set(self._gone), list(self._born)
        positions = self._positions | {
            name: delivery.position for name, delivery in self._deliveries.items() if delivery.position
        }
        failing = {name: delivery.failing for name, delivery in self._deliveries.items()}
        begun = [(parcel, parcel.left(failing)) for parcel in self._open if parcel.owed != set(parcel.targets)]
        for parcel, left in begun:
            gone |= parcel.on_file
            born += left
        if not gone and positions == self._positions:
            return
        number = self._number + 1
        state = State(self._partitions.saved(), positions, number)
        self._dead_letter.replace(gone, born, number, lambda: self._checkpoint.save(state))
        self._number, self._positions, self._gone, self._born = number, positions, set(), []
        for parcel, left in begun:
            parcel.on_file = {letter.key for letter in left}


def _together(letter: Letter) -> tuple[object, ...]:
    """Equal for neighbours that may travel in one batch."""
    if letter.kind == "stage":
        return letter.kind, letter.source, letter.partition, letter.read
    return letter.kind, letter.source, letter.partition, letter.where, tuple(letter.labels.items())


def _batch(letter: Letter, records: list[Record], sinks: Iterable[str]) -> Batch:
    """Of the letter's partition; taken for a repeat, since a retry may have been cut off before this one."""
    return Batch(
        records=records,
        source=letter.source,
        partition=letter.partition,
        labels=letter.labels,
        ack=Ack({}, 0, sinks),
        read_at_ns=letter.read_at_ns,
        state={},
        repeated=True,
    )
