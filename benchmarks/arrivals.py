"""What has arrived: at the counting sink, in the output file of S4, or in the archive of S6."""

from __future__ import annotations

import subprocess
import time
import urllib.request
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
from backports import zstd
from prometheus_client.parser import text_string_to_metric_families

from .process import has_ended


class Arrived(NamedTuple):
    """How far a shipper is."""

    amount: int
    """Records at the sink, or bytes in the file."""
    first: float | None
    """Unix time of the first arrival, where it is known exactly."""
    last: float
    """Unix time of the last arrival."""


class Stats(msgspec.Struct):
    """What the counting sink has counted."""

    requests: int
    wire_bytes: int
    entries: int
    line_bytes: int
    errors: int
    first_ns: int
    last_ns: int
    leaks: dict[str, int]
    labels: dict[str, int]
    kinds: dict[str, int]


class Arrivals(Protocol):
    """Where the records of a scenario go."""

    def look(self) -> Arrived:
        """How much is there now."""
        ...

    def complete(self, arrived: Arrived) -> bool:
        """True when nothing more can come."""
        ...


class AtSink:
    """Records that were pushed to the counting sink."""

    def __init__(self, port: int, wanted: int | None = None) -> None:
        self._port = port
        self._wanted = wanted
        self._url = f"http://127.0.0.1:{port}"

    def expecting(self, wanted: int) -> AtSink:
        """The same, complete with so many records."""
        return AtSink(self._port, wanted)

    def wait_ready(self, sink: subprocess.Popen[bytes], seconds: float = 15) -> None:
        """Wait until the sink answers. Raises RuntimeError when it does not."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                _get(f"{self._url}/ready")
                return
            except OSError:
                if has_ended(sink) or time.monotonic() > deadline:
                    raise RuntimeError(f"the counting sink does not answer at {self._url}") from None
                time.sleep(0.02)

    def stats(self) -> Stats:
        """All that the sink has counted."""
        return msgspec.json.decode(_get(f"{self._url}/stats"), type=Stats)

    def delays(self) -> list[int]:
        """For each marked line that arrived: ns from when it was written."""
        return msgspec.json.decode(_get(f"{self._url}/delays"), type=list[int])

    def look(self) -> Arrived:
        """Records at the sink, with its own times."""
        stats = self.stats()
        if not stats.entries:
            return Arrived(0, None, time.time())
        return Arrived(stats.entries, stats.first_ns / 1e9, stats.last_ns / 1e9)

    def complete(self, arrived: Arrived) -> bool:
        """Every record is here."""
        return self._wanted is not None and arrived.amount >= self._wanted


class Exporter:
    """What tailrace says of itself at `/metrics`."""

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/metrics"

    def in_flight(self) -> int:
        """Records that some sink has not taken yet."""
        return int(sum(self._values("tailrace_in_flight_events", "sink").values()))

    def stage_seconds(self) -> dict[str, float]:
        """The time each stage took, in the order of the chain."""
        seconds = self._values("tailrace_batch_seconds_sum", "component", kind="stage")
        return {stage: round(value, 3) for stage, value in seconds.items()}

    def _values(self, sample: str, key: str, **labels: str) -> dict[str, float]:
        families = text_string_to_metric_families(_get(self._url).decode())
        return {
            found.labels[key]: found.value
            for family in families
            for found in family.samples
            if found.name == sample and labels.items() <= found.labels.items()
        }


class OfBoth:
    """Records that are at the counting sink and, by tailrace's own word, with all of its sinks."""

    def __init__(self, sink: AtSink, exporter: Exporter, wanted: int) -> None:
        self._sink = sink
        self._exporter = exporter
        self._wanted = wanted

    def look(self) -> Arrived:
        """Records at the counting sink; the last one is missing until every sink has them all."""
        arrived = self._sink.look()
        if arrived.amount < self._wanted:
            return arrived
        missing = 1 if self._exporter.in_flight() else 0  # asked only now: an answer costs tailrace time
        return Arrived(arrived.amount - missing, arrived.first, time.time())

    def complete(self, arrived: Arrived) -> bool:
        """Every record is everywhere."""
        return arrived.amount >= self._wanted


class InFile:
    """Bytes that were written to a file; not every shipper writes them as they were read, so their number is open."""

    QUIET = 2.5
    """Seconds without growth after which it is taken for finished."""

    def __init__(self, path: Path, likely: int) -> None:
        self._path = path
        self._likely = likely
        self._size = 0
        self._grew = 0.0

    def look(self) -> Arrived:
        """Bytes in the file; the time is that of the look which found them."""
        size = self._path.stat().st_size if self._path.exists() else 0
        if size != self._size:
            self._size, self._grew = size, time.time()
        return Arrived(size, None, self._grew)

    def complete(self, arrived: Arrived) -> bool:
        """As large as the input, or no longer growing."""
        return arrived.amount == self._likely or (arrived.amount > 0 and time.time() - self._grew > self.QUIET)


def archived(folder: Path) -> int:
    """The lines of all archives in a folder."""
    found = 0
    for path in folder.glob("*.jsonl.zst"):
        with zstd.open(path) as file:
            while piece := file.read(1 << 22):
                found += piece.count(b"\n")
    return found


def occurrences(path: Path, mark: bytes) -> int:
    """How often the mark stands in a file."""
    found, tail = 0, b""
    with path.open("rb") as file:
        while piece := file.read(1 << 22):
            piece = tail + piece
            found += piece.count(mark)
            tail = piece[len(piece) - len(mark) + 1 :]
    return found


_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never through a proxy of the environment


def _get(url: str) -> bytes:
    with _direct.open(url, timeout=10) as answer:
        body: bytes = answer.read()
    return body
