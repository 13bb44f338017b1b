"""The status: how far every partition is, what every sink does, as the state folder or the run itself tells."""

from __future__ import annotations

import fcntl
import heapq
import os
import time
from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from typing import TypeAlias

import msgspec

from .batch import Position
from .checkpoint import Checkpoint
from .component import Lag, Source, Stage
from .dead_letter import FILE, DeadLetter
from .flight import Flight
from .log import log
from .meter import Meter
from .partition import Partition, Partitions
from .runner import Runner
from .troubles import MOST, Trouble

FOREMOST = 200
MINIMAL = "return=minimal"
"""Of a request's `Prefer` (RFC 7240): only the partitions to look at first. All of thousands take a while to tell."""
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


class SourceStatus(msgspec.Struct, omit_defaults=True):
    """What one source has read, since the start of the run."""

    source: str
    use: str = ""
    """The word of the config."""
    events: int = 0
    bytes: int = 0
    dead: int = 0
    """Events that could not be taken as they were read."""
    long: int = 0
    """Events over the limit."""
    seconds: float = 0.0
    """That its events took in all stages together."""
    partitions: int = 0
    """Files, or whatever it reads."""
    lag_bytes: int = 0
    """What there is behind their positions."""
    lag_seconds: float = 0.0
    """Since when not everything of one of them was read, the longest."""


class StageStatus(msgspec.Struct, omit_defaults=True):
    """What one stage has done, since the start of the run."""

    stage: str
    use: str = ""
    """The word of the config."""
    events_in: int = 0
    events_out: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    dropped: dict[str, int] = {}
    """Events left out, by reason."""
    dead: int = 0
    """Events it could not take."""
    seconds: float = 0.0
    """That it took."""


class SinkStatus(msgspec.Struct, omit_defaults=True):
    """One sink."""

    sink: str
    use: str = ""
    """The word of the config."""
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
    bytes: int | None = None
    """Bytes of lines sent."""
    dropped: dict[str, int] | None = None
    """Events that it does not take, by reason."""
    queue_bytes: int | None = None
    """Bytes of lines that wait for it."""
    queue_limit: int | None = None
    """How many may wait before the sources are held."""
    retries: int | None = None
    """Sends that failed and were tried again."""
    seconds: float | None = None
    """That its sends took; those side by side count each."""


_Counted: TypeAlias = SourceStatus | StageStatus | SinkStatus


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
    at: float | None = None
    """When the run told this, in Unix seconds."""
    started: float | None = None
    """Since when it counts, in Unix seconds."""
    sources: list[SourceStatus] = []
    """While tailrace runs; so are the following."""
    stages: list[StageStatus] = []
    """In their order."""
    troubles: list[Trouble] = []
    """What went wrong lately, the latest first."""


def of_run(runner: Runner, version: str) -> Status:
    """The status of a run, by itself; the dead letter is not looked into."""
    status = Status(
        state=str(runner.checkpoint.folder.absolute()),
        running=True,
        pid=os.getpid(),
        version=version,
        checkpoint_age=round(time.monotonic() - runner.saved_at, 3),
        dead_letter_problem=runner.dead_letter.problem,
        at=round(time.time(), 3),
        started=round(runner.started, 3),
        stages=[_stage(stage, meter) for stage, meter in zip(runner.chain.stages, runner.chain.meters, strict=True)],
        troubles=list(log.troubles),
    )
    for name, source in runner.sources.items():
        whole = _source(source, runner.meters[name])
        status.sources.append(whole)
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
            whole.partitions += 1
            whole.lag_bytes += one.lag_bytes or 0
            whole.lag_seconds = max(whole.lag_seconds, one.lag_seconds or 0.0)
            status.partitions.append(one)
    for delivery in runner.deliveries:
        meter = delivery.meter
        status.sinks.append(
            SinkStatus(
                sink=delivery.sink.name,
                use=delivery.sink.word(),
                up=not delivery.failing,
                error=delivery.failing,
                delivered=meter.events_out,
                dead=meter.dead,
                in_flight=delivery.held_events,
                residual=runner.residual(delivery),
                bytes=meter.bytes_out,
                dropped=dict(meter.dropped),
                queue_bytes=delivery.held_bytes,
                queue_limit=int(delivery.sink.queue_bytes),
                retries=meter.retries,
                seconds=round(meter.seconds, 6),
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
    sources: dict[str, SourceStatus] = {}
    stages: dict[str, StageStatus] = {}
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
        for read in part.sources:
            _add(sources.setdefault(read.source, SourceStatus(read.source)), read)
        for stage in part.stages:
            _add(stages.setdefault(stage.stage, StageStatus(stage.stage)), stage)
        for sink in part.sinks:
            _add(sinks.setdefault(sink.sink, SinkStatus(sink.sink)), sink)
        whole.at = max(part.at or 0.0, whole.at or 0.0) or None
        whole.started = min(part.started or inf, whole.started or inf)
        whole.troubles += [msgspec.structs.replace(trouble, worker=worker) for trouble in part.troubles]
    whole.started = whole.started if whole.started != inf else None
    whole.sources, whole.stages, whole.sinks = list(sources.values()), list(stages.values()), list(sinks.values())
    whole.troubles = sorted(whole.troubles, key=lambda trouble: -trouble.at)[:MOST]
    return whole


def _add(whole: _Counted, part: _Counted) -> None:
    """Add the numbers, also those by reason. A text is that of the first who has one; up is what is up everywhere."""
    for name in part.__struct_fields__[1:]:
        own, more = getattr(whole, name), getattr(part, name)
        if own is None or (isinstance(own, str) and not own):
            setattr(whole, name, more)
        elif isinstance(more, bool):
            setattr(whole, name, own and more)
        elif name == "lag_seconds":
            setattr(whole, name, max(own, more))
        elif isinstance(more, dict):
            setattr(whole, name, {reason: own.get(reason, 0) + more.get(reason, 0) for reason in own | more})
        elif isinstance(more, int | float):
            setattr(whole, name, own + more)


def foremost(partitions: Iterable[PartitionStatus]) -> list[PartitionStatus]:
    """Those to look at first, and not endlessly many: what cannot be read, then what is furthest behind."""
    return heapq.nsmallest(FOREMOST, partitions, key=lambda one: (not one.error, -(one.lag_bytes or 0), one.path))


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


def _source(source: Source, meter: Meter) -> SourceStatus:
    return SourceStatus(
        source=meter.component,
        use=source.word(),
        events=meter.events_in,
        bytes=meter.bytes_in,
        dead=meter.dead,
        long=meter.long,
        seconds=round(meter.seconds, 6),
    )


def _stage(stage: Stage, meter: Meter) -> StageStatus:
    return StageStatus(
        stage=meter.component,
        use=stage.word(),
        events_in=meter.events_in,
        events_out=meter.events_out,
        bytes_in=meter.bytes_in,
        bytes_out=meter.bytes_out,
        dropped=dict(meter.dropped),
        dead=meter.dead,
        seconds=round(meter.seconds, 6),
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
