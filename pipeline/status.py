"""The status: how far every partition is, what every sink does, as the state folder or the run itself tells."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from .batch import Position
from .checkpoint import Checkpoint
from .component import Lag
from .dead_letter import FILE, DeadLetter
from .flight import Flight
from .partition import Partition, Partitions
from .runner import Runner

Extent = Callable[[str, Position], int | None]
"""The offset up to which there is something now, of a source's partition with this position."""


class SinkBooks(msgspec.Struct):
    """What became of the events of one partition at one sink; in events, since the start of the run."""

    delivered: int
    dropped: int
    dead: int
    in_flight: int
    residual: int
    """Events unaccounted for: must be 0."""


class PartitionStatus(msgspec.Struct, omit_defaults=True):
    """One partition, such as a file."""

    source: str
    partition: str
    position: int
    """Everything before this offset was taken by every sink."""
    path: str = ""
    """Where the file is, as far as known."""
    read: int | None = None
    """Up to where it was read."""
    events: int | None = None
    """Events read of it since the start."""
    size: int | None = None
    """Up to where there is something; absent where that cannot be told."""
    lag_bytes: int | None = None
    """What there is behind the position."""
    lag_seconds: float | None = None
    """Since when not everything was read."""
    error: str = ""
    taken: dict[str, int] = {}
    """For each sink the offset before which it has taken everything."""
    books: dict[str, SinkBooks] = {}
    """For each sink, while tailrace runs."""
    worker: int | None = None
    """Which of several workers has it."""


class SinkStatus(msgspec.Struct, omit_defaults=True):
    """One sink."""

    sink: str
    up: bool | None = None
    """Absent while tailrace does not run."""
    error: str = ""
    """What the last send failed with."""
    delivered: int | None = None
    dead: int | None = None
    in_flight: int | None = None
    """Events that it has not taken yet."""
    in_flight_bytes: int | None = None
    """Of chunks that were on their way when tailrace ended, and that it has not taken."""
    residual: int | None = None
    """Events unaccounted for: must be 0."""


class Status(msgspec.Struct):
    """All of it."""

    state: str
    """The state folder."""
    running: bool = False
    pid: int | None = None
    """Of who holds the state folder."""
    version: str = ""
    checkpoint_age: float | None = None
    """Seconds since the saved positions were known to be true; while tailrace does not run: since they were saved."""
    errors: dict[str, dict[str, str]] = {}
    """For each source what it cannot read at present, and why."""
    partitions: list[PartitionStatus] = []
    sinks: list[SinkStatus] = []
    dead_letters: dict[str, int] = {}
    """For each stage and sink the letters that it has."""
    dead_letter_problem: str = ""
    """Why nothing can be written to the dead letter."""


def of_run(runner: Runner, version: str) -> Status:
    """The status of a run, by itself; the dead letter is not looked into."""
    status = Status(
        state=str(runner.checkpoint.folder.absolute()),
        running=True,
        pid=os.getpid(),
        version=version,
        checkpoint_age=round(time.monotonic() - runner.saved_at, 3),
        dead_letter_problem=runner.dead_letter.problem,
    )
    for name, source in runner.sources.items():
        failing = dict(source.failing())
        if failing:
            status.errors[name] = failing
        lags = {lag.partition: lag for lag in source.lag()}
        for key, partition in runner.partitions.of(name).items():
            one = _partition(name, key, partition)
            one.read, one.events = partition.end, partition.ledger.books.read
            one.books = {sink: _books(partition, sink) for sink in runner.sinks}
            one.error = failing.get(one.path, "")
            _measure(one, lags.get(one.path) or lags.get(key))
            status.partitions.append(one)
    for delivery in runner.deliveries:
        meter = delivery.meter
        status.sinks.append(
            SinkStatus(
                sink=delivery.sink.name,
                up=not delivery.failing,
                error=delivery.failing,
                delivered=meter.events_out,
                dead=meter.dead,
                in_flight=delivery.held_events,
                residual=runner.residual(delivery),
            )
        )
    return status


def of_state(folder: Path, sources: Iterable[str], sinks: Iterable[str], extent: Extent) -> Status:
    """The status as the state folder tells it, whether tailrace runs or not.

    Raises:
        StateError: the checkpoint is not readable.
        OSError: another file of the folder is not.
    """
    checkpoint = Checkpoint(folder)
    state, flight = checkpoint.load(), Flight(folder / "flight.jsonl").load()
    sinks = tuple(sinks)
    partitions = Partitions(dict.fromkeys((*sources, *state.sources)), sinks)
    partitions.restore(state.sources, flight, state.number)
    status = Status(state=str(folder.absolute()), pid=holder(folder))
    status.running = status.pid is not None
    if checkpoint.path.exists():
        status.checkpoint_age = round(max(0.0, time.time() - checkpoint.path.stat().st_mtime), 3)
    waiting = dict.fromkeys(sinks, 0)
    for name in dict.fromkeys((*sources, *state.sources)):
        for key, partition in partitions.of(name).items():
            one = _partition(name, key, partition)
            try:
                one.size = extent(name, partition.ledger.position) if partition.ledger.position else None
            except (OSError, LookupError, ValueError) as error:
                one.error = getattr(error, "strerror", None) or type(error).__name__
            if one.size is not None:
                one.lag_bytes = max(0, one.size - one.position)
            status.partitions.append(one)
            for sink in sinks:
                for chunk in partition.flown:
                    waiting[sink] += max(0, chunk.end - max(chunk.start, partition.skip_before(sink, chunk.start)))
    status.sinks = [SinkStatus(sink, in_flight_bytes=waiting[sink]) for sink in sinks]
    status.dead_letters = DeadLetter(folder / FILE).counts()
    return status


def merged(told: Sequence[Status], state: Path, pid: int | None) -> Status:
    """The status of several workers, each of its own part, as one. `pid`: of the process that started them."""
    whole = Status(state=str(state.absolute()), running=pid is not None, pid=pid)
    sinks: dict[str, SinkStatus] = {}
    for worker, part in enumerate(told):
        whole.version = whole.version or part.version
        whole.dead_letter_problem = whole.dead_letter_problem or part.dead_letter_problem
        if part.checkpoint_age is not None:
            whole.checkpoint_age = max(part.checkpoint_age, whole.checkpoint_age or 0.0)
        for one in part.partitions:
            one.worker = worker
            whole.partitions.append(one)
        for source, errors in part.errors.items():
            whole.errors[source] = whole.errors.get(source, {}) | errors
        for sink in part.sinks:
            _add(sinks.setdefault(sink.sink, SinkStatus(sink.sink)), sink)
    whole.sinks = list(sinks.values())
    return whole


def _add(whole: SinkStatus, part: SinkStatus) -> None:
    if part.up is not None:
        whole.up = part.up and whole.up is not False
    whole.error = whole.error or part.error
    for name in ("delivered", "dead", "in_flight", "in_flight_bytes", "residual"):
        if (more := getattr(part, name)) is not None:
            setattr(whole, name, (getattr(whole, name) or 0) + more)


def holder(folder: Path) -> int | None:
    """The process that holds the state folder, None when nobody does; 0 when it did not leave its number."""
    try:
        with open(folder / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                text = lock.read().strip()
                return int(text) if text.isdecimal() else 0
    except OSError:
        return None
    return None


def _partition(source: str, key: str, partition: Partition) -> PartitionStatus:
    ledger = partition.ledger
    settled, latest = ledger.position or {}, ledger.read or {}
    return PartitionStatus(
        source=source,
        partition=key,
        path=str(latest.get("path", "")),
        position=int(settled.get("offset", 0)),
        taken=dict(ledger.taken),
    )


def _books(partition: Partition, sink: str) -> SinkBooks:
    books = partition.ledger.books
    own = books.of(sink)
    dropped, dead = books.dropped + own.dropped, books.dead + own.dead
    return SinkBooks(own.delivered, dropped, dead, own.in_flight, books.residual(sink))


def _measure(one: PartitionStatus, lag: Lag | None) -> None:
    if lag is not None and one.read is not None:
        one.size = one.read + lag.bytes
        one.lag_bytes, one.lag_seconds = one.size - one.position, round(lag.seconds, 3)
