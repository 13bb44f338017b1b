"""Who still owes what: a chunk is done when every sink has taken it, and a position moves only past what is done."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

P = TypeVar("P")


class Ack:
    """The debt of one chunk: the sinks that have not taken it yet. No nack: what is not settled is read again."""

    __slots__ = ("end", "owed", "position", "state")

    def __init__(self, position: Any, end: int, sinks: Iterable[str]) -> None:
        self.position = position
        self.end = end
        self.state = b"{}"
        self.owed = set(sinks)

    def settle(self, sink: str) -> None:
        """This sink has taken the whole chunk (delivered it, passed it over, or put it into the dead letter)."""
        self.owed.discard(sink)


class Ledger(Generic[P]):
    """The reads of one partition, oldest first, and how far each sink has got."""

    def __init__(self, sinks: Iterable[str], position: P | None = None, state: bytes = b"{}", end: int = 0) -> None:
        self._sinks = tuple(sinks)
        self._open: deque[Ack] = deque()
        self.position = position
        """The position before which everything is settled."""
        self.state = state
        """The stages' state at that position, as JSON."""
        self.taken = dict.fromkeys(self._sinks, end)
        """For each sink the offset before which it has taken everything."""

    def promise(self, position: P, end: int) -> Ack:
        """Note that a chunk ending at `position` was read (`end`: the same as a record offset); order matters."""
        ack = Ack(position, end, self._sinks)
        self._open.append(ack)
        return ack

    def advance(self) -> bool:
        """Move past what is settled; True when the position moved."""
        moved = False
        while self._open and not self._open[0].owed:
            done = self._open.popleft()
            self.position, self.state = done.position, done.state
            for sink in self._sinks:
                self.taken[sink] = max(self.taken[sink], done.end)
            moved = True
        for sink in self._sinks:
            for ack in self._open:
                if sink in ack.owed:
                    break
                self.taken[sink] = max(self.taken[sink], ack.end)
        return moved

    @property
    def in_flight(self) -> int:
        """Chunks read and not settled by every sink."""
        return len(self._open)
