"""Who still owes what, and what became of each event: a position moves only past what every sink has taken."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

P = TypeVar("P")


class Account:
    """What became of the events that one sink was given."""

    __slots__ = ("dead", "delivered", "dropped", "in_flight")

    def __init__(self) -> None:
        self.delivered = 0
        self.dropped = 0
        """Not for this sink: no match, or delivered before a restart."""
        self.dead = 0
        self.in_flight = 0


class Books:
    """What became of the events of one partition (or of several together) in this run, counted once a batch."""

    __slots__ = ("dead", "dropped", "read", "sinks")

    def __init__(self, sinks: Iterable[str] = ()) -> None:
        self.read = 0
        self.dropped = 0
        """By stages; less than none where one makes several records of one."""
        self.dead = 0
        """Put into the dead letter for a stage."""
        self.sinks = {sink: Account() for sink in sinks}

    def of(self, sink: str) -> Account:
        """The account of one sink."""
        account = self.sinks.get(sink)
        if account is None:
            account = self.sinks[sink] = Account()
        return account

    def add(self, other: Books) -> None:
        """Take the numbers of other books in."""
        self.read += other.read
        self.dropped += other.dropped
        self.dead += other.dead
        for sink, theirs in other.sinks.items():
            own = self.of(sink)
            for name in Account.__slots__:
                setattr(own, name, getattr(own, name) + getattr(theirs, name))

    def residual(self, sink: str) -> int:
        """Events that nobody can account for: read - dropped - dead - delivered - in flight. Must be 0."""
        own = self.of(sink)
        left = self.read - self.dropped - self.dead
        return left - own.delivered - own.dropped - own.dead - own.in_flight


class Ack:
    """The debt of one chunk: the sinks that have not taken it yet. No nack: what is not settled is read again."""

    __slots__ = ("books", "end", "owed", "position", "state")

    def __init__(self, position: Any, end: int, sinks: Iterable[str], books: Books | None = None) -> None:
        self.position = position
        self.end = end
        self.state = b"{}"
        self.owed = set(sinks)
        self.books = books or Books()
        """Those of the partition."""

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
        self.books = Books(self._sinks)

    def promise(self, position: P, end: int) -> Ack:
        """Note that a chunk ending at `position` was read (`end`: the same as a record offset); order matters."""
        ack = Ack(position, end, self._sinks, self.books)
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
    def read(self) -> P | None:
        """The position up to which it was read."""
        return self._open[-1].position if self._open else self.position

    @property
    def in_flight(self) -> int:
        """Chunks read and not settled by every sink."""
        return len(self._open)
