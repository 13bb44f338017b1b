"""What the runner keeps of each partition: how far it was read and delivered, and what of it is on its way."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from .ack import Books, Ledger
from .batch import Position
from .checkpoint import Saved
from .flight import Begun, Flown, Taken


class Partition:
    """One partition of one source in this run."""

    def __init__(self, sinks: Iterable[str], slot: int, saved: Saved | None = None) -> None:
        saved = saved or Saved({})
        self.slot = slot
        self.end = int(saved.position.get("offset", 0))
        """Where the last chunk that was read ended."""
        self.ledger: Ledger[Position] = Ledger(sinks, saved.position or None, bytes(saved.state), self.end)
        self.ledger.taken.update({sink: at for sink, at in saved.taken.items() if sink in self.ledger.taken})
        self._taken: dict[str, dict[int, int]] = {sink: {} for sink in self.ledger.taken}
        """For each sink start and end of chunks that it has taken out of order."""
        self.state: dict[str, Any] = msgspec.json.decode(saved.state)
        self.flown: deque[Flown] = deque()
        """Chunks written down and not yet settled, oldest first; at first those of the run that crashed."""
        self.anew = False
        """It goes on from another process, which is not written down yet."""
        self.let_go = False
        """It went to another process, with what waited for sinks here."""

    @property
    def sending(self) -> bool:
        """Some sink has records of it, or some wait for one."""
        return any(account.in_flight for account in self.ledger.books.sinks.values())

    def begin(self, position: Position) -> bool:
        """Have this as the position as long as nothing behind it was read; False when something was."""
        self.ledger.advance()
        now, offset = self.ledger.position, int(position["offset"])
        if self.ledger.in_flight or (now is not None and int(now["offset"]) != offset):
            return False
        self.ledger.position = position
        self.end = max(self.end, offset)
        for sink, taken in self.ledger.taken.items():
            self.ledger.taken[sink] = max(taken, offset)
        return True

    def take(self, sink: str, start: int, end: int) -> None:
        """This sink took a chunk in the run that crashed."""
        taken, ahead = self.ledger.taken, self._taken
        if sink in taken:
            ahead[sink][start] = end
            while (next_end := ahead[sink].pop(taken[sink], None)) is not None:
                taken[sink] = max(taken[sink], next_end)

    def skip_before(self, sink: str, start: int) -> int:
        """The offset before which this sink has everything of the chunk that starts here."""
        return max(self.ledger.taken[sink], self._taken[sink].get(start, 0))

    def known(self, start: int) -> Flown | None:
        """What was written down of the chunk that starts here, when the last run crashed with it on its way."""
        return next((one for one in self.flown if one.start <= start < one.end), None)

    def advance(self) -> Position | None:
        """The position before which everything is settled; what lies before it is no longer on its way."""
        self.ledger.advance()
        if self.ledger.position is not None:
            settled = int(self.ledger.position["offset"])
            while self.flown and self.flown[0].end <= settled:
                self.flown.popleft()
        return self.ledger.position

    def saved(self, position: Position) -> Saved:
        """As the checkpoint holds it."""
        return Saved(position, msgspec.Raw(self.ledger.state), dict(self.ledger.taken), self.slot)


class Partitions:
    """All partitions of a run, by source and name."""

    def __init__(self, sources: Iterable[str], sinks: Iterable[str]) -> None:
        self._sinks = tuple(sinks)
        self._of: dict[str, dict[str, Partition]] = {name: {} for name in sources}
        self._forgotten: dict[str, set[str]] = {name: set() for name in self._of}
        """Those that their source is done with for good; dropped once nothing of them is in flight."""
        self._past: dict[str, Books] = {name: Books(self._sinks) for name in self._of}
        """The books of those that were dropped, together."""
        self._left: dict[str, list[Partition]] = {name: [] for name in self._of}
        """Those that began anew while something of them was on its way."""

    def restore(
        self, saved: Mapping[str, Mapping[str, Saved]], flight: Iterable[Flown | Begun | Taken], number: int = -1
    ) -> None:
        """As the last run left them; `number`: of the last send that is in `saved`."""
        for source, partitions in self._of.items():
            for name, one in saved.get(source, {}).items():
                partitions[name] = Partition(self._sinks, one.slot, one)
        for entry in flight:
            if isinstance(entry, Flown | Begun) and entry.source in self._of:
                partitions = self._of[entry.source]
                if isinstance(entry, Begun) and entry.anew and entry.number > number:
                    saved_then = Saved(entry.position, entry.state, entry.taken, entry.slot)
                    partitions[entry.partition] = Partition(self._sinks, entry.slot, saved_then)
                    continue
                if entry.number > number:
                    partitions.setdefault(entry.partition, Partition(self._sinks, entry.slot))
                partition = partitions.get(entry.partition)
                if partition is None:
                    continue
                if isinstance(entry, Begun):
                    if entry.number > number:
                        partition.begin(entry.position)
                elif entry.end > partition.end:
                    partition.flown.append(entry)
            elif isinstance(entry, Taken) and entry.number > number:
                for source, name, start, end in entry.chunks:
                    if known := self._of.get(source, {}).get(name):
                        known.take(entry.sink, start, end)

    def of(self, source: str) -> Mapping[str, Partition]:
        """The partitions of one source, by name."""
        return self._of[source]

    def get(self, source: str, name: str) -> Partition:
        """A partition, new at its first chunk."""
        partition = self._of[source].get(name)
        if partition is None:
            used = {one.slot for one in self}
            slot = next(slot for slot in range(len(used) + 1) if slot not in used)
            partition = self._of[source][name] = Partition(self._sinks, slot)
        return partition

    def restart(self, source: str, name: str, saved: Saved) -> None:
        """Go on with a partition as another process left it. What was on its way here belongs to nobody any more."""
        old = self._of[source].get(name)
        if old is not None:
            self._left[source].append(old)
        for one in list(self._left[source]):
            one.ledger.advance()
            if not one.ledger.in_flight or (one.let_go and not one.sending):
                self._left[source].remove(one)
                self._past[source].add(one.ledger.books)
        self._of[source][name] = Partition(self._sinks, saved.slot, saved)
        self._of[source][name].anew = True

    def forget(self, source: str, names: Iterable[str]) -> None:
        """Their source is done with them."""
        self._forgotten[source].update(names)

    def saved(self) -> dict[str, dict[str, Saved]]:
        """All positions as of now, without those of partitions that are done with and delivered."""
        positions: dict[str, dict[str, Saved]] = {}
        for source, partitions in self._of.items():
            positions[source] = {}
            for name, partition in partitions.items():
                position = partition.advance()
                if position is None and not partition.flown:
                    continue
                if partition.ledger.in_flight or name not in self._forgotten[source]:
                    positions[source][name] = partition.saved(position or {})
        return positions

    def drop_forgotten(self) -> None:
        """Let go of what is done with, now that the saved state no longer holds it."""
        for source, names in self._forgotten.items():
            for name in list(names):
                partition = self._of[source].get(name)
                if partition is None or not partition.ledger.in_flight:
                    names.discard(name)
                    self._of[source].pop(name, None)
                    if partition is not None:
                        self._past[source].add(partition.ledger.books)

    def books(self, source: str) -> Books:
        """The books of all partitions that one source had in this run."""
        whole = Books(self._sinks)
        whole.add(self._past[source])
        for partition in (*self._left[source], *self._of[source].values()):
            whole.add(partition.ledger.books)
        return whole

    def flown(self) -> list[Flown]:
        """Everything that is on its way."""
        return [chunk for partition in self for chunk in partition.flown]

    def __iter__(self) -> Iterator[Partition]:
        """All of them."""
        for partitions in self._of.values():
            yield from partitions.values()
